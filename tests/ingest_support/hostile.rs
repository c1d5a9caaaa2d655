//! An RTSP server that means harm. It answers as a camera does, and then
//! sends what its attack says.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// SPS and PPS of a 640x480 camera, as SDP gives them.
const SDP: &str = "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n\
    a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;\
    sprop-parameter-sets=Z0LAHtkDxWhAAAADAEAAAAwDxYuS,aMuMsg==\r\na=control:track\r\n";

/// Sound whose parameters come with it, if it comes.
const SOUND: &str = "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MP4A-LATM/90000\r\na=control:sound\r\n";

/// RTP payload, timestamp and marker of the nth packet.
pub type Attack = fn(u64) -> (Vec<u8>, u32, bool);

/// What it does with a session.
#[derive(Clone)]
pub enum Plot {
    /// Sends these packets, for ever, as fast as they are taken.
    Packets(Attack),
    /// The same, beside sound that is announced and never comes.
    Soundless(Attack),
    /// Answers the method with a redirection.
    Redirect(&'static str, String),
    /// Answers DESCRIBE with the first bytes, and then the second for ever.
    Endless(&'static str, &'static str),
}

/// The server; ends with it.
pub struct Hostile {
    pub port: u16,
    most_sent: Arc<AtomicUsize>,
    _connections: JoinSet<()>,
}

impl Hostile {
    pub async fn start(plot: Plot) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let most_sent = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&most_sent);
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let gateway = listener.accept().await.unwrap().0;
                connections.spawn(serve(gateway, plot.clone(), Arc::clone(&counter)));
            }
        });
        Self { port, most_sent, _connections: server }
    }

    pub fn url(&self) -> String {
        format!("rtsp://127.0.0.1:{}/live", self.port)
    }

    /// Bytes it got rid of in the connection that took most.
    pub fn most_sent(&self) -> usize {
        self.most_sent.load(Ordering::Relaxed)
    }
}

async fn serve(mut gateway: TcpStream, plot: Plot, most_sent: Arc<AtomicUsize>) {
    let (requests, mut answers) = gateway.split();
    let mut requests = BufReader::new(requests).lines();
    let (mut method, mut sequence, mut setups) = (String::new(), String::new(), 0);
    while let Ok(Some(line)) = requests.next_line().await {
        let lower = line.to_ascii_lowercase();
        if method.is_empty() {
            method = line.split(' ').next().unwrap().to_owned();
        } else if let Some(number) = lower.strip_prefix("cseq:") {
            number.trim().clone_into(&mut sequence);
        }
        if !line.is_empty() {
            continue;
        }
        let (status, headers, body) = match (&plot, method.as_str()) {
            (Plot::Redirect(of, to), method) if *of == method => {
                ("302 Found", format!("Location: {to}\r\n"), String::new())
            }
            (_, "DESCRIBE") => {
                let content = "Content-Type: application/sdp\r\nContent-Length: ";
                let sound = if matches!(plot, Plot::Soundless(_)) { SOUND } else { "" };
                let sdp = [SDP, sound].concat();
                ("200 OK", format!("{content}{}\r\n", sdp.len()), sdp)
            }
            (_, "SETUP") => {
                let transport = match setups {
                    0 => "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;ssrc=00000001",
                    _ => "Transport: RTP/AVP/TCP;unicast;interleaved=2-3",
                };
                setups += 1;
                ("200 OK", format!("{transport}\r\nSession: 1\r\n"), String::new())
            }
            _ => ("200 OK", "Session: 1\r\n".into(), String::new()),
        };
        let mut answer = format!("RTSP/1.0 {status}\r\nCSeq: {sequence}\r\n{headers}\r\n{body}");
        if let (Plot::Endless(first, _), "DESCRIBE") = (&plot, method.as_str()) {
            (*first).clone_into(&mut answer);
        }
        if answers.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        if let (Plot::Endless(_, more), "DESCRIBE") = (&plot, method.as_str()) {
            return pour(&mut answers, more.as_bytes(), &most_sent).await;
        }
        if let (Plot::Packets(attack) | Plot::Soundless(attack), "PLAY") = (&plot, method.as_str())
        {
            return flood(&mut answers, *attack, &most_sent).await;
        }
        method.clear();
    }
}

async fn pour(gateway: &mut tokio::net::tcp::WriteHalf<'_>, bytes: &[u8], most_sent: &AtomicUsize) {
    let bytes = bytes.repeat((16 << 10) / bytes.len());
    let mut sent = 0;
    while gateway.write_all(&bytes).await.is_ok() {
        sent += bytes.len();
        most_sent.fetch_max(sent, Ordering::Relaxed);
        tokio::task::yield_now().await;
    }
}

async fn flood(
    gateway: &mut tokio::net::tcp::WriteHalf<'_>,
    attack: Attack,
    most_sent: &AtomicUsize,
) {
    let mut sent = 0;
    for nth in 0_u64.. {
        let (payload, timestamp, marker) = attack(nth);
        let mut packet = vec![b'$', 0];
        packet.extend((12 + payload.len() as u16).to_be_bytes());
        packet.extend([0x80, 96 | u8::from(marker) << 7]);
        packet.extend((nth as u16).to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(1_u32.to_be_bytes());
        packet.extend(payload);
        if gateway.write_all(&packet).await.is_err() {
            return;
        }
        sent += packet.len();
        most_sent.fetch_max(sent, Ordering::Relaxed);
        // Not faster than the gateway's runtime can be asked anything else.
        tokio::task::yield_now().await;
    }
}
