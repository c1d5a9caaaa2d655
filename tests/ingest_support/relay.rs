//! A relay between a camera and the gateway that breaks what passes through
//! it, in the direction camera to gateway, the way broken cameras and networks do.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]
#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test that takes part of it compiles all of it"
)]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What the relay does to the connections it has, and to new ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: bytes pass.
    None,
    /// Connections are reset, new ones refused.
    Reset,
    /// Connections are closed in order, new ones refused.
    Close,
    /// Bytes stop, sockets stay open, new ones too.
    Freeze,
    /// One byte in a long while.
    Trickle,
    /// Bytes that are no RTSP stand between two packets.
    Garbage,
    /// A packet says that it is longer than it is.
    WrongLength,
    /// The packets of the first track are left out.
    NoPicture,
    /// Requests of this method never reach the camera.
    Unanswered(&'static str),
}

impl Fault {
    fn refuses(self) -> bool {
        matches!(self, Self::Reset | Self::Close)
    }
}

/// A relay in front of one camera, at a port of its own.
pub struct Relay {
    pub port: u16,
    fault: watch::Sender<Fault>,
    task: JoinHandle<()>,
    /// Holds the port while nothing listens there.
    _reserved: Socket,
}

/// A socket at that port. Several may share it as long as one listens.
fn bound(port: u16) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).unwrap();
    socket
}

fn listen(port: u16) -> TcpListener {
    let socket = bound(port);
    socket.listen(16).unwrap();
    TcpListener::from_std(socket.into()).unwrap()
}

impl Relay {
    /// To the camera at that port, with a fault from the start.
    pub fn start(camera: u16, fault: Fault) -> Self {
        let reserved = bound(0);
        let port = reserved.local_addr().unwrap().as_socket().unwrap().port();
        // Listening before anybody is told the port.
        let listener = (!fault.refuses()).then(|| listen(port));
        let (fault, faults) = watch::channel(fault);
        let task = tokio::spawn(serve(listener, port, camera, faults));
        Self { port, fault, task, _reserved: reserved }
    }

    /// From now on, for the connections there are as for new ones.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    pub fn url(&self, mount: &str) -> String {
        format!("rtsp://127.0.0.1:{}/{mount}", self.port)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut listening: Option<TcpListener>,
    port: u16,
    camera: u16,
    mut faults: watch::Receiver<Fault>,
) {
    // Aborted with this task.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        faults.wait_for(|fault| !fault.refuses()).await.unwrap();
        let listener = listening.take().unwrap_or_else(|| listen(port));
        let mut refusals = faults.clone();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let gateway = accepted.unwrap().0;
                    connections.spawn(connection(gateway, camera, faults.clone()));
                }
                refuses = refusals.wait_for(|fault| fault.refuses()) => {
                    refuses.unwrap();
                    break;
                }
                _ = connections.join_next(), if !connections.is_empty() => {}
            }
        }
    }
}

async fn connection(gateway: TcpStream, camera: u16, faults: watch::Receiver<Fault>) {
    let camera = TcpStream::connect((Ipv4Addr::LOCALHOST, camera)).await.unwrap();
    gateway.set_nodelay(true).unwrap();
    camera.set_nodelay(true).unwrap();
    let (requests, mut answers) = gateway.into_split();
    let (packets, camera) = camera.into_split();
    let mut breaks = faults.clone();
    tokio::select! {
        () = forward_requests(requests, camera, faults.clone()) => {}
        () = forward_answers(packets, &mut answers, faults) => {}
        _ = breaks.wait_for(|fault| fault.refuses()) => {}
    }
    if *breaks.borrow() == Fault::Reset {
        // Dropped with unsent data or not, it says RST.
        answers.as_ref().set_zero_linger().unwrap();
    }
}

/// Gateway to camera: requests have no body.
async fn forward_requests(
    gateway: OwnedReadHalf,
    mut camera: OwnedWriteHalf,
    faults: watch::Receiver<Fault>,
) {
    let mut gateway = BufReader::new(gateway);
    loop {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            match gateway.read_until(b'\n', &mut request).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        let lost = match *faults.borrow() {
            Fault::Unanswered(method) => request.starts_with(method.as_bytes()),
            Fault::Freeze => true,
            _ => false,
        };
        if !lost && camera.write_all(&request).await.is_err() {
            return;
        }
    }
}

/// Camera to gateway, message by message. A camera that is not listened to is
/// read all the same, so that its other viewers do not suffer.
async fn forward_answers(
    camera: OwnedReadHalf,
    gateway: &mut OwnedWriteHalf,
    faults: watch::Receiver<Fault>,
) {
    let mut camera = BufReader::new(camera);
    while let Some(mut message) = message(&mut camera).await {
        let packet = message[0] == b'$';
        let fault = *faults.borrow();
        let sent = match fault {
            Fault::Freeze => continue,
            Fault::NoPicture if packet && message[1] == 0 => continue,
            Fault::Trickle => {
                let drops = &mut tokio::io::sink();
                tokio::select! {
                    _ = tokio::io::copy_buf(&mut camera, drops) => {}
                    () = trickle(&message, gateway) => {}
                }
                return;
            }
            Fault::Garbage if packet => gateway.write_all(&[0xa5; 5_000]).await,
            Fault::WrongLength if packet => {
                message[2] ^= 1;
                gateway.write_all(&message).await
            }
            _ => gateway.write_all(&message).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Until nobody reads it any more.
async fn trickle(message: &[u8], gateway: &mut OwnedWriteHalf) {
    for byte in message {
        if gateway.write_all(&[*byte]).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// The next interleaved packet or answer, whole; `None` at the end.
pub async fn message(camera: &mut BufReader<OwnedReadHalf>) -> Option<Vec<u8>> {
    let mut message = vec![camera.read_u8().await.ok()?];
    if message[0] == b'$' {
        message.resize(4, 0);
        camera.read_exact(&mut message[1..]).await.ok()?;
        let length = u16::from_be_bytes([message[2], message[3]]);
        message.resize(4 + usize::from(length), 0);
        camera.read_exact(&mut message[4..]).await.ok()?;
        return Some(message);
    }
    while !message.ends_with(b"\r\n\r\n") {
        if camera.read_until(b'\n', &mut message).await.ok()? == 0 {
            return None;
        }
    }
    let head = String::from_utf8_lossy(&message).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
    let body = message.len();
    message.resize(body + length, 0);
    camera.read_exact(&mut message[body..]).await.ok()?;
    Some(message)
}
