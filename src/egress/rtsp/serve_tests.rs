use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::*;
use crate::auth::Access;
use crate::bus::Registry;

/// A server without streams on loopback; it ends with the sender.
async fn server() -> (SocketAddr, oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let deps = Deps {
        registry: Arc::new(Registry::new()),
        access: Arc::new(Access::Open),
        sessions: crate::http::SessionMetrics::unregistered().of("rtsp"),
        draining: Arc::default(),
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(serve(listener, deps, async move { drop(stopped.await) }));
    (address, stop, task)
}

async fn said(socket: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let end = timeout(Duration::from_secs(5), socket.read_to_end(&mut text)).await;
    end.expect("the server closes").unwrap();
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn requests_in_pieces_are_answered_in_order_until_teardown() {
    let (address, _stop, _) = server().await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    let text = b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n$\x01\x00\x02hi\
        TEARDOWN rtsp://h/a RTSP/1.0\r\nCSeq: 2\r\n\r\n";
    for piece in text.chunks(7) {
        socket.write_all(piece).await.unwrap();
        socket.flush().await.unwrap();
    }
    let said = said(&mut socket).await;
    assert!(said.starts_with("RTSP/1.0 200 OK\r\nCSeq: 1\r\n"), "{said}");
    assert!(said.contains("Public: OPTIONS, DESCRIBE"), "{said}");
    assert!(said.contains("RTSP/1.0 454 Session Not Found\r\nCSeq: 2\r\n"), "{said}");
}

#[tokio::test]
async fn a_web_browser_is_told_what_this_is_and_left() {
    let (address, _stop, _) = server().await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    assert!(said(&mut socket).await.starts_with("RTSP/1.0 505 "));
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_left() {
    let (address, _stop, _) = server().await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    let begun = Instant::now();
    let mut byte = [0];
    assert_eq!(socket.read(&mut byte).await.unwrap(), 0);
    assert_eq!(begun.elapsed().as_secs(), FIRST_REQUEST.as_secs());
}

#[tokio::test]
async fn shutdown_closes_every_connection() {
    let (address, stop, task) = server().await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n").await.unwrap();
    let mut answer = [0; 8];
    socket.read_exact(&mut answer).await.unwrap();
    drop(stop);
    said(&mut socket).await;
    task.await.unwrap();
}
