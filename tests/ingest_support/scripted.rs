//! A camera that answers as a script says, and shows one picture again and
//! again.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A request, or whatever else it was sent.
#[derive(Clone, Debug)]
pub struct Ask {
    /// First word of the first line; `RTSP/1.0` for an answer of ours.
    pub method: String,
    pub url: String,
    /// Of its method, over all connections: from 0.
    pub nth: usize,
    pub text: String,
}

impl Ask {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.text.lines().filter_map(|line| line.split_once(": "));
        headers.find_map(|(found, value)| found.eq_ignore_ascii_case(name).then_some(value))
    }
}

/// What it does about a request.
pub enum Reply {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Sends them, and pictures on channel 0 from then on.
    Play(Vec<u8>),
    /// Sends them, and hangs up.
    Close(Vec<u8>),
    /// Nothing.
    Nothing,
}

pub const SDP: &str = "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=x\r\nt=0 0\r\na=control:*\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;\
    sprop-parameter-sets=Z0LAHtkDxWhAAAADAEAAAAwDxYuS,aMuMsg==\r\na=control:track1\r\n\
    m=audio 0 RTP/AVP 8\r\na=control:track2\r\n";

/// An answer: status, headers with their CRLFs, body.
pub fn answer(ask: &Ask, status: &str, headers: &str, body: &str) -> Vec<u8> {
    let sequence = ask.header("CSeq").unwrap_or_default();
    let length =
        if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    format!("RTSP/1.0 {status}\r\nCSeq: {sequence}\r\n{headers}{length}\r\n{body}").into_bytes()
}

/// What a plain camera does.
pub fn ok(ask: &Ask) -> Reply {
    match ask.method.as_str() {
        "OPTIONS" => Reply::Send(answer(ask, "200 OK", "Public: DESCRIBE, SETUP, PLAY\r\n", "")),
        "DESCRIBE" => Reply::Send(answer(ask, "200 OK", "Content-Type: application/sdp\r\n", SDP)),
        "SETUP" => {
            let transport = ask.header("Transport").unwrap();
            let headers = format!("Transport: {transport}\r\nSession: 1\r\n");
            Reply::Send(answer(ask, "200 OK", &headers, ""))
        }
        "PLAY" => Reply::Play(answer(ask, "200 OK", "Session: 1\r\n", "")),
        "RTSP/1.0" => Reply::Nothing,
        _ => Reply::Send(answer(ask, "200 OK", "", "")),
    }
}

/// An interleaved RTP packet with a whole key frame of that many bytes.
pub fn packet(channel: u8, nth: u16, length: usize) -> Vec<u8> {
    let mut packet = vec![b'$', channel];
    packet.extend((12 + length as u16).to_be_bytes());
    packet.extend([0x80, 0x80 | 96]);
    packet.extend(nth.to_be_bytes());
    packet.extend((u32::from(nth) * 3_600).to_be_bytes());
    packet.extend(1_u32.to_be_bytes());
    // An IDR slice that starts a picture, as far as its header goes.
    let mut slice = vec![0x55; length];
    slice[..3].copy_from_slice(&[0x65, 0x88, 0x84]);
    packet.extend(slice);
    packet
}

type Script = dyn Fn(&Ask) -> Reply + Send + Sync;

/// The camera; ends with it.
pub struct Scripted {
    pub port: u16,
    asked: watch::Receiver<Vec<Ask>>,
    _connections: JoinSet<()>,
}

impl Scripted {
    pub async fn start(script: impl Fn(&Ask) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (log, asked) = watch::channel(Vec::new());
        let (script, log) = (Arc::<Script>::from(Box::new(script) as Box<Script>), Arc::new(log));
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let gateway = listener.accept().await.unwrap().0;
                connections.spawn(serve(gateway, Arc::clone(&script), Arc::clone(&log)));
            }
        });
        Self { port, asked, _connections: server }
    }

    pub fn url(&self) -> String {
        format!("rtsp://127.0.0.1:{}/live", self.port)
    }

    /// Everything it was asked so far.
    pub fn asked(&self) -> Vec<Ask> {
        self.asked.borrow().clone()
    }

    /// Everything it was asked, once that is so.
    pub async fn until(&self, wanted: impl Fn(&[Ask]) -> bool) -> Vec<Ask> {
        let mut asked = self.asked.clone();
        let found = asked.wait_for(|asked| wanted(asked));
        match tokio::time::timeout(crate::camera_support::PATIENCE, found).await {
            Ok(found) => found.unwrap().clone(),
            Err(_) => panic!("it was asked only {:#?}", self.asked()),
        }
    }
}

async fn serve(gateway: TcpStream, script: Arc<Script>, log: Arc<watch::Sender<Vec<Ask>>>) {
    let (requests, answers) = gateway.into_split();
    let answers = Arc::new(tokio::sync::Mutex::new(answers));
    let mut requests = BufReader::new(requests);
    let mut pictures = JoinSet::new();
    while let Some(text) = message(&mut requests).await {
        let mut words = text.split(' ');
        let (method, url) = (words.next().unwrap(), words.next().unwrap_or_default());
        let mut ask = Ask { method: method.into(), url: url.into(), nth: 0, text: text.clone() };
        log.send_modify(|log| {
            ask.nth = log.iter().filter(|before| before.method == ask.method).count();
            log.push(ask.clone());
        });
        let (bytes, then) = match script(&ask) {
            Reply::Nothing => continue,
            Reply::Send(bytes) => (bytes, None),
            Reply::Play(bytes) => (bytes, Some(true)),
            Reply::Close(bytes) => (bytes, Some(false)),
        };
        if answers.lock().await.write_all(&bytes).await.is_err() {
            return;
        }
        match then {
            Some(false) => return,
            Some(true) => {
                let answers = Arc::clone(&answers);
                pictures.spawn(async move {
                    for nth in 100_u16.. {
                        let picture = packet(0, nth, 1_000);
                        if answers.lock().await.write_all(&picture).await.is_err() {
                            return;
                        }
                        tokio::time::sleep(Duration::from_millis(40)).await;
                    }
                });
            }
            None => {}
        }
    }
}

/// A message without a body, as all of ours are; receiver reports are left out.
async fn message(gateway: &mut BufReader<tokio::net::tcp::OwnedReadHalf>) -> Option<String> {
    use tokio::io::AsyncReadExt;
    loop {
        let mut message = vec![gateway.read_u8().await.ok()?];
        if message[0] == b'$' {
            let _channel = gateway.read_u8().await.ok()?;
            let length = gateway.read_u16().await.ok()?;
            let mut report = vec![0; length.into()];
            gateway.read_exact(&mut report).await.ok()?;
            continue;
        }
        while !message.ends_with(b"\r\n\r\n") {
            if gateway.read_until(b'\n', &mut message).await.ok()? == 0 {
                return None;
            }
        }
        return Some(String::from_utf8(message).unwrap());
    }
}
