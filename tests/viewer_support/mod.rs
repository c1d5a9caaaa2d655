//! Viewers of the stream `yard`, one for each output that lasts but WebRTC;
//! `query` goes behind their URLs.

use futures_util::{SinkExt, StreamExt};
use reqwest::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

/// Plays over MSE until it is closed: pictures seen, and why it ended.
pub(crate) async fn mse(base: &str, query: &str) -> (usize, String) {
    let url = format!("{}/yard/mse{query}", base.replace("http", "ws"));
    let (mut socket, _) = connect_async(url).await.unwrap();
    let plays = r#"{"type":"mse","value":"avc1.640029,avc1.64002A,mp4a.40.2,flac,opus"}"#;
    socket.send(Message::text(plays)).await.unwrap();
    let mut pictures = 0;
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Binary(_) => pictures += 1,
            Message::Close(Some(close)) => return (pictures, close.reason.to_string()),
            _ => {}
        }
    }
    (pictures, String::new())
}

/// Reads pictures until the end: their bytes.
pub(crate) async fn mjpeg(base: &str, query: &str) -> usize {
    let url = format!("{base}/yard/stream.mjpeg{query}");
    let mut answer = Client::new().get(url).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut bytes = 0;
    while let Some(chunk) = answer.chunk().await.unwrap() {
        bytes += chunk.len();
    }
    bytes
}

/// Plays over RTSP until the connection is closed: bytes read while playing.
pub(crate) async fn rtsp(address: &str, query: &str) -> usize {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let mut session = String::new();
    let mut buffer = vec![0; 64 << 10];
    for (cseq, (method, path)) in
        [("DESCRIBE", "yard"), ("SETUP", "yard/trackID=0"), ("PLAY", "yard")].iter().enumerate()
    {
        let request = format!(
            "{method} rtsp://{address}/{path}{query} RTSP/1.0\r\nCSeq: {cseq}\r\n{session}\
             Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let read = socket.read(&mut buffer).await.unwrap();
        let answer = String::from_utf8_lossy(&buffer[..read]).into_owned();
        assert!(answer.starts_with("RTSP/1.0 200"), "{method}: {answer}");
        if let Some(line) = answer.lines().find(|line| line.starts_with("Session: ")) {
            session = format!("{}\r\n", line.split(';').next().unwrap());
        }
    }
    let mut bytes = 0;
    loop {
        match socket.read(&mut buffer).await.unwrap() {
            0 => return bytes,
            read => bytes += read,
        }
    }
}
