//! A relay between a camera and the gateway whose UDP goes through weather:
//! datagrams of the camera's are lost, repeated and held up by seeded chance.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]
#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test that takes part of it compiles all of it"
)]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::{JoinHandle, JoinSet};

use super::relay::message;

/// What happens to RTP on its way to the gateway.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    pub lost_percent: u64,
    pub repeated_percent: u64,
    /// Held up by up to this, each packet by chance.
    pub held_up: Duration,
    pub seed: u64,
}

/// An RTP packet of the picture, and whether it got through.
#[derive(Clone, Copy, Debug)]
pub struct Fate {
    /// RTP time.
    pub time: u32,
    /// Holds slices: without it the picture is damaged.
    pub slices: bool,
    /// Holds slices of a key frame.
    pub key: bool,
    pub lost: bool,
}

/// A relay in front of one camera, at a port of its own.
pub struct WeatherRelay {
    port: u16,
    picture: Arc<Mutex<Vec<Fate>>>,
    slowest: Arc<Mutex<Duration>>,
    task: JoinHandle<()>,
}

/// What one connection needs to know.
#[derive(Clone)]
struct Way {
    weather: Weather,
    picture: Arc<Mutex<Vec<Fate>>>,
    slowest: Arc<Mutex<Duration>>,
}

impl WeatherRelay {
    pub async fn start(camera: u16, weather: Weather) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let way = Way { weather, picture: Arc::default(), slowest: Arc::default() };
        let (picture, slowest) = (Arc::clone(&way.picture), Arc::clone(&way.slowest));
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((gateway, _)) = listener.accept().await {
                connections.spawn(connection(gateway, camera, way.clone()));
            }
        });
        Self { port, picture, slowest, task }
    }

    pub fn url(&self, mount: &str) -> String {
        format!("rtsp://127.0.0.1:{}/{mount}", self.port)
    }

    /// Every packet of the picture so far, in the order sent.
    pub fn picture(&self) -> Vec<Fate> {
        self.picture.lock().unwrap().clone()
    }
}

impl WeatherRelay {
    /// Longest time for which a packet was held up in fact.
    pub fn slowest(&self) -> Duration {
        *self.slowest.lock().unwrap()
    }
}

impl Drop for WeatherRelay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connection(gateway: TcpStream, camera: u16, way: Way) {
    let camera = TcpStream::connect((Ipv4Addr::LOCALHOST, camera)).await.unwrap();
    let (requests, answers) = gateway.into_split();
    let (camera_answers, camera_requests) = camera.into_split();
    let ports: Arc<Mutex<Option<Ports>>> = Arc::default();
    tokio::select! {
        () = forward_requests(requests, camera_requests, &ports) => {}
        () = forward_answers(camera_answers, answers, &ports, way) => {}
    }
}

/// A pair of ports that stands between the camera's and the gateway's.
struct Ports {
    sockets: [UdpSocket; 2],
    port: u16,
    gateway: u16,
}

impl Ports {
    async fn open(gateway: u16) -> Self {
        loop {
            let rtp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let port = rtp.local_addr().unwrap().port();
            if port % 2 == 1 || port == u16::MAX {
                continue;
            }
            if let Ok(rtcp) = UdpSocket::bind((Ipv4Addr::LOCALHOST, port + 1)).await {
                return Self { sockets: [rtp, rtcp], port, gateway };
            }
        }
    }
}

/// The value of `name=first-…` in a Transport header: where its digits stand.
fn port_of(header: &str, name: &str) -> Option<u16> {
    let value = header.split_once(&format!("{name}="))?.1;
    value.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// `header` with the ports of `name` replaced by these.
fn with_port(header: &str, name: &str, port: u16) -> String {
    let Some((before, value)) = header.split_once(&format!("{name}=")) else {
        return header.to_owned();
    };
    let after = value.trim_start_matches(|c: char| c.is_ascii_digit() || c == '-');
    format!("{before}{name}={port}-{}{after}", port + 1)
}

/// Gateway to camera: SETUP names the relay's ports.
async fn forward_requests(
    gateway: OwnedReadHalf,
    mut camera: OwnedWriteHalf,
    ports: &Mutex<Option<Ports>>,
) {
    let mut gateway = BufReader::new(gateway);
    loop {
        let mut request = String::new();
        while !request.ends_with("\r\n\r\n") {
            match gateway.read_line(&mut request).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        if let Some(client) = port_of(&request, "client_port") {
            let opened = Ports::open(client).await;
            request = with_port(&request, "client_port", opened.port);
            *ports.lock().unwrap() = Some(opened);
        }
        if camera.write_all(request.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Camera to gateway: the answer to SETUP names the relay's ports too.
async fn forward_answers(
    camera: OwnedReadHalf,
    mut gateway: OwnedWriteHalf,
    ports: &Mutex<Option<Ports>>,
    way: Way,
) {
    let mut camera = BufReader::new(camera);
    // Ended with the connection.
    let mut relays = JoinSet::new();
    while let Some(mut answer) = message(&mut camera).await {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some(server) = port_of(&text, "server_port")
            && let Some(opened) = ports.lock().unwrap().take()
        {
            let named = with_port(&text, "server_port", opened.port);
            answer = with_port(&named, "client_port", opened.gateway).into_bytes();
            let [rtp, rtcp] = opened.sockets;
            let seed = way.weather.seed + relays.len() as u64;
            let ends = |n| (server + n, opened.gateway + n);
            relays.spawn(relay_rtp(rtp, ends(0), Chance(seed | 1), way.clone()));
            relays.spawn(relay_plain(rtcp, ends(1)));
        }
        if gateway.write_all(&answer).await.is_err() {
            return;
        }
    }
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// RTCP has good weather.
async fn relay_plain(socket: UdpSocket, (camera, gateway): (u16, u16)) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let to = if from.port() == camera { gateway } else { camera };
        socket.send_to(&buffer[..length], local(to)).await.unwrap();
    }
}

async fn relay_rtp(socket: UdpSocket, (camera, gateway): (u16, u16), mut chance: Chance, way: Way) {
    let (socket, mut held_up) = (Arc::new(socket), JoinSet::new());
    let mut buffer = vec![0; 1 << 16];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        if from.port() != camera {
            socket.send_to(&buffer[..length], local(camera)).await.unwrap();
            continue;
        }
        let data = &buffer[..length];
        let lost = chance.percent(way.weather.lost_percent);
        if data[1] & 0x7f == 96 {
            let time = u32::from_be_bytes(data[4..8].try_into().unwrap());
            let units = units(&data[12..]);
            let slices = units.iter().any(|kind| (1..=5).contains(kind));
            let fate = Fate { time, slices, key: units.contains(&5), lost };
            way.picture.lock().unwrap().push(fate);
        }
        if lost {
            continue;
        }
        let copies = 1 + usize::from(chance.percent(way.weather.repeated_percent));
        for _ in 0..copies {
            let wait = way.weather.held_up.mul_f64(chance.next() as f64 / u64::MAX as f64);
            if wait.is_zero() {
                socket.send_to(data, local(gateway)).await.unwrap();
            } else {
                let (socket, data) = (Arc::clone(&socket), data.to_vec());
                let (came, slowest) = (Instant::now(), Arc::clone(&way.slowest));
                held_up.spawn(async move {
                    tokio::time::sleep(wait).await;
                    socket.send_to(&data, local(gateway)).await.unwrap();
                    let mut slowest = slowest.lock().unwrap();
                    *slowest = came.elapsed().max(*slowest);
                });
            }
        }
        while held_up.try_join_next().is_some() {}
    }
}

/// Types of the H.264 NAL units in a payload (RFC 6184 §5.2).
fn units(payload: &[u8]) -> Vec<u8> {
    let kind = |byte: &u8| byte & 0x1f;
    match kind(&payload[0]) {
        // STAP-A: units behind their lengths.
        24 => {
            let (mut kinds, mut rest) = (Vec::new(), &payload[1..]);
            while let [high, low, unit @ ..] = rest {
                kinds.extend(unit.first().map(kind));
                rest = &unit[usize::from(u16::from_be_bytes([*high, *low])).min(unit.len())..];
            }
            kinds
        }
        // FU-A.
        28 => vec![kind(&payload[1])],
        single => vec![single],
    }
}

/// Numbers that look random (xorshift64*), the same ones for a seed.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.next() % 10_000 < percent * 100
    }
}
