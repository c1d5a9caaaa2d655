//! A camera of our own that does what it is told: it serves the demo clip in
//! real time at any path, counts its connections, and can stop its picture or
//! sound, change its password, insist on a transport, or lose packets.

mod play;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use self::play::{Way, clip, play};

/// What the camera does.
#[derive(Clone, Debug)]
pub struct Manner {
    /// Whether pictures are sent.
    pub picture: bool,
    /// Whether a session begins between two key frames, as with a camera
    /// whose encoder runs all the time.
    pub begins_between: bool,
    /// Whether those pictures are key frames now and then.
    pub key_frames: bool,
    /// Whether sound is in the SDP.
    pub announces_sound: bool,
    /// Whether sound is sent.
    pub sound: bool,
    /// `user:password` in Base64, as Basic login has it.
    pub login: Option<&'static str>,
    /// The transport it insists on: `TCP` or `UDP`.
    pub insists_on: Option<&'static str>,
    /// Of the packets sent over UDP, one in this many is lost.
    pub loses_one_in: Option<usize>,
    /// Hangs up after this many pictures.
    pub hangs_up_after: Option<usize>,
    /// Whether it fails at SETUP of the sound, when the picture is set up.
    pub fails_at_sound: bool,
    /// Whether it answers TEARDOWN.
    pub answers_teardown: bool,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            picture: true,
            begins_between: false,
            key_frames: true,
            announces_sound: true,
            sound: true,
            login: None,
            insists_on: None,
            loses_one_in: None,
            hangs_up_after: None,
            fails_at_sound: false,
            answers_teardown: true,
        }
    }
}

/// Connections, as the camera sees them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Open now.
    pub open: usize,
    /// Most at once.
    pub most: usize,
    /// Ever.
    pub all: usize,
}

/// The camera; ends with this.
pub struct Mime {
    pub port: u16,
    manner: watch::Sender<Manner>,
    board: Arc<Board>,
    _server: JoinSet<()>,
}

/// What is counted.
#[derive(Default)]
struct Board {
    count: Mutex<Count>,
    /// Sessions that play now, by path.
    playing: Mutex<HashMap<String, usize>>,
    /// Sessions that ever played over UDP and over TCP.
    udp: AtomicUsize,
    tcp: AtomicUsize,
}

impl Mime {
    pub async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (manner, manners) = watch::channel(manner);
        let board = Arc::<Board>::default();
        let shared = Arc::clone(&board);
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let socket = listener.accept().await.unwrap().0;
                let open = Open::new(&shared);
                let manners = manners.clone();
                connections.spawn(async move {
                    connection(socket, manners, &open.0).await;
                    drop(open);
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { port, manner, board, _server: server }
    }

    pub fn url(&self, path: &str) -> String {
        format!("rtsp://127.0.0.1:{}/{path}", self.port)
    }

    /// From now on.
    pub fn change(&self, change: impl FnOnce(&mut Manner)) {
        self.manner.send_modify(change);
    }

    pub fn count(&self) -> Count {
        *self.board.count.lock().unwrap()
    }

    /// Sessions that play that path now.
    pub fn playing(&self, path: &str) -> usize {
        self.board.playing.lock().unwrap().get(path).copied().unwrap_or(0)
    }

    /// Sessions that ever played over TCP and over UDP.
    pub fn ways(&self) -> (usize, usize) {
        (self.board.tcp.load(Ordering::Relaxed), self.board.udp.load(Ordering::Relaxed))
    }
}

/// A connection that counts.
struct Open(Arc<Board>);

impl Open {
    fn new(board: &Arc<Board>) -> Self {
        let mut count = board.count.lock().unwrap();
        count.open += 1;
        count.all += 1;
        count.most = count.most.max(count.open);
        drop(count);
        Self(Arc::clone(board))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.count.lock().unwrap().open -= 1;
    }
}

fn sdp(manner: &Manner) -> String {
    use base64::Engine as _;
    let [sps, pps] = clip().sets.map(|set| base64::prelude::BASE64_STANDARD.encode(set));
    let sound = "m=audio 0 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=control:sound\r\n";
    format!(
        "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n\
         a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;sprop-parameter-sets={sps},{pps}\r\n\
         a=control:picture\r\n{}",
        if manner.announces_sound { sound } else { "" }
    )
}

/// One connection, to its end.
async fn connection(socket: TcpStream, manners: watch::Receiver<Manner>, board: &Arc<Board>) {
    socket.set_nodelay(true).unwrap();
    let peer = socket.peer_addr().unwrap();
    let (requests, answers) = socket.into_split();
    let (out, queue) = mpsc::channel(256);
    tokio::select! {
        () = write(answers, queue) => {}
        () = converse(requests, peer, out, manners, board) => {}
    }
}

async fn write(mut gateway: OwnedWriteHalf, mut queue: mpsc::Receiver<Vec<u8>>) {
    while let Some(bytes) = queue.recv().await {
        if gateway.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

async fn converse(
    requests: OwnedReadHalf,
    peer: SocketAddr,
    out: mpsc::Sender<Vec<u8>>,
    manners: watch::Receiver<Manner>,
    board: &Arc<Board>,
) {
    let mut requests = BufReader::new(requests);
    let mut ways: [Option<Way>; 2] = [None, None];
    let mut player = JoinSet::new();
    loop {
        let request = tokio::select! {
            request = request(&mut requests) => request,
            Some(_) = player.join_next() => return, // It hung up.
        };
        let Some(Request { method, url, sequence, transport, login }) = request else { return };
        let manner = manners.borrow().clone();
        let refused = manner.login.is_some_and(|wanted| login != format!("Basic {wanted}"));
        let mut plays = false;
        let (status, headers, body) = match method.as_str() {
            "OPTIONS" => ("200 OK", "Public: DESCRIBE, GET_PARAMETER\r\n".into(), String::new()),
            _ if refused => {
                let challenge = "WWW-Authenticate: Basic realm=\"mime\"\r\n";
                ("401 Unauthorized", challenge.to_owned(), String::new())
            }
            "DESCRIBE" => {
                let sdp = sdp(&manner);
                let content = "Content-Type: application/sdp\r\nContent-Length: ";
                ("200 OK", format!("{content}{}\r\n", sdp.len()), sdp)
            }
            "SETUP" if manner.fails_at_sound && url.ends_with("sound") => {
                ("500 Internal Server Error", String::new(), String::new())
            }
            "SETUP" => match set_up(&transport, peer, &manner).await {
                Some((way, answer)) => {
                    ways[usize::from(url.ends_with("sound"))] = Some(way);
                    let headers = format!("Transport: {answer}\r\nSession: 1;timeout=60\r\n");
                    ("200 OK", headers, String::new())
                }
                None => ("461 Unsupported Transport", String::new(), String::new()),
            },
            "TEARDOWN" if !manner.answers_teardown => {
                // It holds on to the connection for as long as the gateway does.
                continue;
            }
            other => {
                plays = other == "PLAY";
                ("200 OK", "Session: 1;timeout=60\r\n".to_owned(), String::new())
            }
        };
        let answer = format!("RTSP/1.0 {status}\r\nCSeq: {sequence}\r\n{headers}\r\n{body}");
        if out.send(answer.into_bytes()).await.is_err() || method == "TEARDOWN" {
            return;
        }
        if plays {
            let path = url.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
            let playing = Playing::new(board, path);
            let udp = ways.iter().flatten().any(|way| matches!(way, Way::Udp(..)));
            let counter = if udp { &board.udp } else { &board.tcp };
            counter.fetch_add(1, Ordering::Relaxed);
            let (ways, out, manners) = (ways.clone(), out.clone(), manners.clone());
            player.spawn(async move {
                play(ways, out, manners).await;
                drop(playing);
            });
        }
    }
}

/// A session that plays a path.
struct Playing(Arc<Board>, String);

impl Playing {
    fn new(board: &Arc<Board>, path: &str) -> Self {
        *board.playing.lock().unwrap().entry(path.to_owned()).or_default() += 1;
        Self(Arc::clone(board), path.to_owned())
    }
}

impl Drop for Playing {
    fn drop(&mut self) {
        *self.0.playing.lock().unwrap().get_mut(&self.1).unwrap() -= 1;
    }
}

async fn set_up(transport: &str, peer: SocketAddr, manner: &Manner) -> Option<(Way, String)> {
    let tcp = transport.contains("/TCP");
    if manner.insists_on.is_some_and(|wanted| (wanted == "TCP") != tcp) {
        return None;
    }
    let field = |name: &str| {
        let value = transport.split(';').find_map(|part| part.trim().strip_prefix(name))?;
        value.split('-').next()?.parse::<u16>().ok()
    };
    if tcp {
        let channel = field("interleaved=").unwrap_or(0) as u8;
        let pair = format!("{channel}-{}", channel + 1);
        let answer = format!("RTP/AVP/TCP;unicast;interleaved={pair};ssrc=0000000{}", 1 + channel);
        return Some((Way::Interleaved(channel), answer));
    }
    let port = field("client_port=")?;
    // A pair of ports, as clients expect: the second is never used.
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let server = socket.local_addr().unwrap().port();
    let ports = format!("client_port={port}-{};server_port={server}-{}", port + 1, server + 1);
    let way = Way::Udp(Arc::new(socket), SocketAddr::new(peer.ip(), port));
    Some((way, format!("RTP/AVP;unicast;{ports}")))
}

struct Request {
    method: String,
    url: String,
    sequence: String,
    transport: String,
    login: String,
}

/// The next request; what is interleaved between (RTCP) is passed over.
async fn request(gateway: &mut BufReader<OwnedReadHalf>) -> Option<Request> {
    use tokio::io::AsyncReadExt as _;
    let mut lines: Vec<String> = Vec::new();
    loop {
        if lines.is_empty() && gateway.fill_buf().await.ok()?.first()? == &b'$' {
            let mut head = [0; 4];
            gateway.read_exact(&mut head).await.ok()?;
            let mut packet = vec![0; usize::from(u16::from_be_bytes([head[2], head[3]]))];
            gateway.read_exact(&mut packet).await.ok()?;
            continue;
        }
        let mut line = String::new();
        if gateway.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let mut first = lines.first()?.split(' ').map(str::to_owned);
    let header = |name: &str| {
        let found = lines.iter().filter_map(|line| line.split_once(':'));
        let mut found = found.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    Some(Request {
        method: first.next()?,
        url: first.next()?,
        sequence: header("CSeq"),
        transport: header("Transport"),
        login: header("Authorization"),
    })
}
