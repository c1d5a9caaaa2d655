//! An RTSP server that means harm. It answers as a camera does, and then
//! sends what its attack says.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::WriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// SPS and PPS of a 640x480 camera, as SDP gives them.
const SDP: &str = "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n\
    a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;\
    sprop-parameter-sets=Z0LAHtkDxWhAAAADAEAAAAwDxYuS,aMuMsg==\r\na=control:track\r\n";

/// Sound whose parameters come with it, if it comes.
const SOUND: &str = "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MP4A-LATM/90000\r\na=control:sound\r\n";

/// G.711, whose parameters are known.
const PLAIN_SOUND: &str = "m=audio 0 RTP/AVP 8\r\na=control:sound\r\n";

/// RTP payload, timestamp and marker of the nth packet.
pub type Attack = fn(u64) -> (Vec<u8>, u32, bool);

/// What it does with a session.
#[derive(Clone)]
pub enum Plot {
    /// Sends these packets, for ever, as fast as they are taken.
    Packets(Attack),
    /// The same, beside sound that is announced and never comes.
    Soundless(Attack),
    /// Sends one of these packets as sound beside each plain picture, 200 a
    /// second.
    Sounding(Attack),
    /// Answers the method with a redirection.
    Redirect(&'static str, String),
    /// Answers DESCRIBE with the first bytes, and then the second for ever.
    Endless(&'static str, &'static str),
}

/// What it got rid of, in the connection that took most.
#[derive(Default)]
struct Sent {
    /// Bytes that the other side should not take many more than.
    cap: usize,
    most: AtomicUsize,
    /// Milliseconds from the cap until it was hung up on.
    longest_after_cap: AtomicU64,
}

/// What one connection got rid of.
struct Sending<'a> {
    sent: &'a Sent,
    bytes: usize,
    capped: Option<Instant>,
}

impl<'a> Sending<'a> {
    fn new(sent: &'a Sent) -> Self {
        Self { sent, bytes: 0, capped: None }
    }

    /// Whether those were taken.
    async fn send(&mut self, gateway: &mut WriteHalf<'_>, bytes: &[u8]) -> bool {
        if gateway.write_all(bytes).await.is_err() {
            let since = self.capped.map_or(0, |capped| capped.elapsed().as_millis() as u64);
            self.sent.longest_after_cap.fetch_max(since, Ordering::Relaxed);
            return false;
        }
        self.bytes += bytes.len();
        self.sent.most.fetch_max(self.bytes, Ordering::Relaxed);
        if self.bytes >= self.sent.cap {
            self.capped.get_or_insert_with(Instant::now);
        }
        // Not faster than the gateway's runtime can be asked anything else.
        tokio::task::yield_now().await;
        true
    }
}

/// The server; ends with it.
pub struct Hostile {
    pub port: u16,
    sent: Arc<Sent>,
    _connections: JoinSet<()>,
}

impl Hostile {
    /// `cap` is how many bytes the plot should be allowed.
    pub async fn start(plot: Plot, cap: usize) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let sent = Arc::new(Sent { cap, ..Sent::default() });
        let counter = Arc::clone(&sent);
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let gateway = listener.accept().await.unwrap().0;
                connections.spawn(serve(gateway, plot.clone(), Arc::clone(&counter)));
            }
        });
        Self { port, sent, _connections: server }
    }

    pub fn url(&self) -> String {
        format!("rtsp://127.0.0.1:{}/live", self.port)
    }

    /// Bytes it got rid of in the connection that took most.
    pub fn most_sent(&self) -> usize {
        self.sent.most.load(Ordering::Relaxed)
    }

    /// From when it had got rid of the cap's bytes until it was hung up on, at
    /// the longest.
    pub fn longest_after_cap(&self) -> Duration {
        Duration::from_millis(self.sent.longest_after_cap.load(Ordering::Relaxed))
    }
}

async fn serve(mut gateway: TcpStream, plot: Plot, sent: Arc<Sent>) {
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
                let sound = match plot {
                    Plot::Soundless(_) => SOUND,
                    Plot::Sounding(_) => PLAIN_SOUND,
                    _ => "",
                };
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
            return pour(&mut answers, more.as_bytes(), &sent).await;
        }
        if let (Plot::Packets(attack) | Plot::Soundless(attack), "PLAY") = (&plot, method.as_str())
        {
            return flood(&mut answers, *attack, &sent).await;
        }
        if let (Plot::Sounding(sound), "PLAY") = (&plot, method.as_str()) {
            return sounding(&mut answers, *sound).await;
        }
        method.clear();
    }
}

async fn pour(gateway: &mut WriteHalf<'_>, bytes: &[u8], sent: &Sent) {
    let bytes = bytes.repeat((16 << 10) / bytes.len());
    let mut sending = Sending::new(sent);
    while sending.send(gateway, &bytes).await {}
}

async fn flood(gateway: &mut WriteHalf<'_>, attack: Attack, sent: &Sent) {
    let mut sending = Sending::new(sent);
    for nth in 0_u64.. {
        let (payload, timestamp, marker) = attack(nth);
        let packet = interleaved(0, 96 | u8::from(marker) << 7, nth, timestamp, &payload);
        if !sending.send(gateway, &packet).await {
            return;
        }
    }
}

/// Pictures as they should be, and sound that is not.
async fn sounding(gateway: &mut WriteHalf<'_>, sound: Attack) {
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    for nth in 0_u64.. {
        pace.tick().await;
        // In time with the pace, or it would be the picture that jumps.
        let picture = super::packet(0, nth as u16, 1_000);
        let mut both = interleaved(0, 0x80 | 96, nth, nth as u32 * 450, &picture[16..]);
        let (payload, timestamp, _) = sound(nth);
        both.extend(interleaved(2, 8, nth, timestamp, &payload));
        if gateway.write_all(&both).await.is_err() {
            return;
        }
    }
}

/// An RTP packet in the connection; `kind` is its payload type, and the marker.
fn interleaved(channel: u8, kind: u8, nth: u64, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![b'$', channel];
    packet.extend((12 + payload.len() as u16).to_be_bytes());
    packet.extend([0x80, kind]);
    packet.extend((nth as u16).to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend(1_u32.to_be_bytes());
    packet.extend(payload);
    packet
}
