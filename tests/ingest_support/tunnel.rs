//! HTTP in front of a camera that speaks RTSP alone: one connection's GET and
//! another's POST become one to the camera.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

/// What it answers to a request's head; `None` to dig the tunnel.
pub type Objection = dyn Fn(&str) -> Option<&'static str> + Send + Sync;

/// The mouth; ends with it.
pub struct TunnelMouth {
    pub port: u16,
    heads: watch::Receiver<Vec<String>>,
    _connections: JoinSet<()>,
}

/// Ways to the camera that a GET has dug, by cookie.
type Dug = Mutex<HashMap<String, OwnedWriteHalf>>;

impl TunnelMouth {
    pub async fn start(
        camera: u16,
        objects: impl Fn(&str) -> Option<&'static str> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let objects = Arc::<Objection>::from(Box::new(objects) as Box<Objection>);
        let (log, heads) = watch::channel(Vec::new());
        let (log, dug) = (Arc::new(log), Arc::<Dug>::default());
        let mut mouth = JoinSet::new();
        mouth.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let gateway = listener.accept().await.unwrap().0;
                let (objects, log) = (Arc::clone(&objects), Arc::clone(&log));
                let dug = Arc::clone(&dug);
                connections.spawn(async move {
                    let mut gateway = BufReader::new(gateway);
                    let mut head = String::new();
                    while !head.ends_with("\r\n\r\n") {
                        if gateway.read_line(&mut head).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    log.send_modify(|log| log.push(head.clone()));
                    match objects(&head) {
                        Some(answer) => _ = gateway.write_all(answer.as_bytes()).await,
                        None if head.starts_with("GET ") => {
                            down(gateway, camera, &head, &dug).await
                        }
                        None => up(gateway, &head, &dug).await,
                    }
                });
            }
        });
        Self { port, heads, _connections: mouth }
    }

    /// Heads of the requests so far.
    pub fn heads(&self) -> Vec<String> {
        self.heads.borrow().clone()
    }
}

fn cookie(head: &str) -> String {
    let cookie = head.lines().find_map(|line| line.strip_prefix("x-sessioncookie: "));
    cookie.expect("a cookie").to_owned()
}

async fn down(mut gateway: BufReader<TcpStream>, camera: u16, head: &str, dug: &Dug) {
    let (mut camera, requests) =
        TcpStream::connect((Ipv4Addr::LOCALHOST, camera)).await.unwrap().into_split();
    dug.lock().await.insert(cookie(head), requests);
    let answer = "HTTP/1.0 200 OK\r\nContent-Type: application/x-rtsp-tunnelled\r\n\r\n";
    if gateway.write_all(answer.as_bytes()).await.is_ok() {
        let _ = tokio::io::copy(&mut camera, &mut gateway).await;
    }
}

async fn up(mut gateway: BufReader<TcpStream>, head: &str, dug: &Dug) {
    let mut camera = dug.lock().await.remove(&cookie(head)).expect("GET comes before POST");
    let mut four = [0; 4];
    while gateway.read_exact(&mut four).await.is_ok() {
        let bytes = BASE64_STANDARD.decode(four).expect("each message is base64 of its own");
        if camera.write_all(&bytes).await.is_err() {
            return;
        }
    }
}
