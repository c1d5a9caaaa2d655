//! The line between one viewer and the gateway: a UDP relay that loses, delays
//! by its bandwidth, or goes dead, towards the viewer. What it loses is decided
//! by a seed, so a test that fails fails again.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Longest queue before the narrow part; home routers have more.
const QUEUE: Duration = Duration::from_millis(300);

/// What is kept of a lost datagram: as much as an RTP header.
const HEAD: usize = 12;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    /// Share of datagrams lost, 0 to 1.
    pub(crate) loss: f64,
    /// Bits a second that fit through; what does not is queued, then lost.
    pub(crate) rate: Option<u64>,
    /// Nothing comes through any more.
    pub(crate) dead: bool,
}

pub(crate) struct Line {
    weather: Arc<Mutex<Weather>>,
    lost: Arc<Mutex<Vec<Vec<u8>>>>,
    port: u16,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Line {
    /// A line to the gateway's WebRTC port, fair weather.
    pub(crate) async fn to(gateway: SocketAddr, seed: u64) -> Self {
        let near = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let far = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let port = near.local_addr().unwrap().port();
        let (weather, lost) = (Arc::new(Mutex::new(Weather::default())), Arc::default());
        let viewer = Arc::new(Mutex::new(None));
        let (queue, due) = mpsc::unbounded_channel();
        let tasks = vec![
            tokio::spawn(up(Arc::clone(&near), Arc::clone(&far), gateway, Arc::clone(&viewer))),
            tokio::spawn(down(far, queue, Arc::clone(&weather), Arc::clone(&lost), seed)),
            tokio::spawn(deliver(near, due, viewer)),
        ];
        Self { weather, lost, port, tasks }
    }

    pub(crate) fn set(&self, weather: Weather) {
        *self.weather.lock().unwrap() = weather;
    }

    /// Datagrams that never reached the viewer.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.lock().unwrap().len() as u64
    }

    /// Which of them were RTP: SSRC and number, which are for all to read.
    pub(crate) fn lost_packets(&self) -> Vec<(u32, u16)> {
        let lost = self.lost.lock().unwrap();
        // RFC 7983 §7, RFC 5761 §4.
        let rtp = |head: &&Vec<u8>| head[0] >> 6 == 2 && !(192..224).contains(&head[1]);
        let read = |head: &Vec<u8>| {
            let ssrc = u32::from_be_bytes(*head[8..].first_chunk().unwrap());
            (ssrc, u16::from_be_bytes([head[2], head[3]]))
        };
        lost.iter().filter(|head| head.len() == HEAD).filter(rtp).map(read).collect()
    }

    /// The answer of a gateway at this port, with the line in its place.
    pub(crate) fn redirect(&self, answer: &str, gateway: SocketAddr) -> String {
        answer.replace(&format!(" {} typ ", gateway.port()), &format!(" {} typ ", self.port))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

type Viewer = Arc<Mutex<Option<SocketAddr>>>;

async fn up(near: Arc<UdpSocket>, far: Arc<UdpSocket>, gateway: SocketAddr, viewer: Viewer) {
    let mut buffer = [0; 2048];
    loop {
        // A closed port at the other end is an error of the next call; go on.
        let Ok((size, from)) = near.recv_from(&mut buffer).await else { continue };
        *viewer.lock().unwrap() = Some(from);
        let _ = far.send_to(&buffer[..size], gateway).await;
    }
}

async fn down(
    far: Arc<UdpSocket>,
    queue: mpsc::UnboundedSender<(Instant, Vec<u8>)>,
    weather: Arc<Mutex<Weather>>,
    lost: Arc<Mutex<Vec<Vec<u8>>>>,
    mut seed: u64,
) {
    let mut buffer = [0; 2048];
    let mut free = Instant::now();
    loop {
        let Ok((size, _)) = far.recv_from(&mut buffer).await else { continue };
        let weather = *weather.lock().unwrap();
        let now = Instant::now();
        free = free.max(now);
        let full = weather.rate.is_some() && free - now > QUEUE;
        if weather.dead || full || random(&mut seed) < weather.loss {
            lost.lock().unwrap().push(buffer[..size.min(HEAD)].to_vec());
            continue;
        }
        if let Some(rate) = weather.rate {
            free += Duration::from_secs_f64(size as f64 * 8.0 / rate as f64);
        }
        let _ = queue.send((free, buffer[..size].to_vec()));
    }
}

async fn deliver(
    near: Arc<UdpSocket>,
    mut queue: mpsc::UnboundedReceiver<(Instant, Vec<u8>)>,
    viewer: Viewer,
) {
    while let Some((at, datagram)) = queue.recv().await {
        tokio::time::sleep_until(at).await;
        let to = *viewer.lock().unwrap();
        if let Some(to) = to {
            let _ = near.send_to(&datagram, to).await;
        }
    }
}

/// 0 to 1 (SplitMix64).
fn random(seed: &mut u64) -> f64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) as f64 / u64::MAX as f64
}
