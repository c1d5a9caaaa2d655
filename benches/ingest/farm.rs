//! A farm of cameras: an RTSP server that is cheap enough to stand beside what
//! it measures. Camera `n` is at `/camera-n`; all send the same second over
//! and over, evenly spread over time.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::{Instant, sleep_until};

use crate::clip::{Clip, PPS, Rhythm, SPS};

/// Camera farm alone, to point any gateway at.
#[derive(Args, Clone, Debug)]
pub(crate) struct FarmOptions {
    #[arg(long, default_value = "127.0.0.1:8554")]
    pub(crate) listen: SocketAddr,
    /// How many cameras share the time between two pictures evenly.
    #[arg(long, default_value_t = 100)]
    pub(crate) cameras: u32,
    #[command(flatten)]
    pub(crate) rhythm: Rhythm,
}

/// Seconds between sender reports; what cameras do.
const REPORT_SECONDS: u64 = 5;
/// One RTP packet of G.711: 20 ms.
const SOUND_BYTES: usize = 160;
const SOUND_INTERVAL: Duration = Duration::from_millis(20);

/// Serves until the process is killed; prints its address first.
pub(crate) fn run(options: FarmOptions) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(options.listen).await?;
        println!("{}", listener.local_addr()?);
        let farm =
            Arc::new(Farm { clip: Clip::new(&options.rhythm), options, began: Instant::now() });
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            // A viewer that leaves is no error of the farm.
            tokio::spawn(Connection::new(Arc::clone(&farm), socket).serve());
        }
    })
}

struct Farm {
    options: FarmOptions,
    clip: Clip,
    began: Instant,
}

/// Where the packets of a track go.
enum Channel {
    /// Number of the interleaved channel; RTCP has the next one.
    Tcp(u8),
    /// Connected sockets for RTP and RTCP.
    Udp(UdpSocket, UdpSocket),
}

/// A track that was set up.
struct Sender {
    channel: Channel,
    payload_type: u8,
    ssrc: u32,
    sequence: u16,
}

struct Connection {
    farm: Arc<Farm>,
    socket: TcpStream,
    /// What has been read and not understood yet.
    input: Vec<u8>,
    /// What a picture's packets are put together in.
    output: Vec<u8>,
    camera: u32,
    video: Option<Sender>,
    sound: Option<Sender>,
    /// Picture to be sent next, counted from the farm's begin, once playing.
    picture: Option<u64>,
    sound_packet: u64,
}

impl Connection {
    fn new(farm: Arc<Farm>, socket: TcpStream) -> Self {
        Self {
            farm,
            socket,
            input: Vec::new(),
            output: Vec::new(),
            camera: 0,
            video: None,
            sound: None,
            picture: None,
            sound_packet: 0,
        }
    }

    async fn serve(mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        loop {
            let (picture_at, sound_at) = (self.picture_at(), self.sound_at());
            tokio::select! {
                read = self.socket.read(&mut buffer) => {
                    let count = read?;
                    if count == 0 {
                        return Ok(());
                    }
                    self.input.extend_from_slice(&buffer[..count]);
                    while let Some(request) = self.next_request() {
                        self.answer(&request).await?;
                    }
                }
                () = wait(picture_at) => self.send_picture().await?,
                () = wait(sound_at) => self.send_sound().await?,
            }
        }
    }

    /// The next whole request; interleaved RTCP of the viewer is passed over.
    fn next_request(&mut self) -> Option<String> {
        loop {
            if self.input.first() == Some(&b'$') {
                let length = self.input.get(2..4)?;
                let end = 4 + usize::from(u16::from_be_bytes([length[0], length[1]]));
                self.input.get(..end)?;
                self.input.drain(..end);
                continue;
            }
            let end = self.input.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
            let request: Vec<u8> = self.input.drain(..end).collect();
            return Some(String::from_utf8_lossy(&request).into_owned());
        }
    }

    async fn answer(&mut self, request: &str) -> io::Result<()> {
        let mut first = request.lines().next().unwrap_or_default().split(' ');
        let (method, url) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
        let headers: HashMap<String, &str> = request
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
            .collect();
        let (mut extra, mut body) = (String::new(), String::new());
        match method {
            "OPTIONS" => {
                extra =
                    "Public: OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN\r\n".into();
            }
            "DESCRIBE" => {
                body = self.sdp();
                extra = format!("Content-Base: {url}/\r\nContent-Type: application/sdp\r\n");
            }
            "SETUP" => {
                let number = url.rsplit("camera-").next().unwrap_or_default();
                let number = number.split('/').next().unwrap_or_default();
                self.camera = number.parse().unwrap_or(1);
                let transport = headers.get("transport").copied().unwrap_or_default();
                let transport = self.set_up(url.ends_with("sound"), transport).await?;
                extra = format!("Transport: {transport}\r\n");
            }
            "PLAY" => {
                // The next key frame, as of cameras that keep their rhythm.
                let fps = u64::from(self.farm.options.rhythm.fps);
                let now = self.farm.began.elapsed().as_secs() + 1;
                self.picture = Some(now * fps + u64::from(self.camera) % fps);
                self.sound_packet = now * 50;
            }
            _ => {}
        }
        let answer = format!(
            "RTSP/1.0 200 OK\r\nCSeq: {}\r\nSession: 1;timeout=60\r\n{extra}Content-Length: {}\r\n\r\n{body}",
            headers.get("cseq").copied().unwrap_or("0"),
            body.len(),
        );
        self.socket.write_all(answer.as_bytes()).await
    }

    fn sdp(&self) -> String {
        let [sps, pps] = [&SPS[..], &PPS[..]].map(|set| BASE64_STANDARD.encode(set));
        let sound = "m=audio 0 RTP/AVP 8\r\na=control:sound\r\n";
        format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=farm\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n\
             m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
             a=fmtp:96 packetization-mode=1;profile-level-id=42C01F;sprop-parameter-sets={sps},{pps}\r\n\
             a=control:picture\r\n{}",
            if self.farm.options.rhythm.audio { sound } else { "" },
        )
    }

    async fn set_up(&mut self, sound: bool, asked: &str) -> io::Result<String> {
        let first = |key: &str| -> Option<u16> {
            let value = asked.split(';').find_map(|part| part.trim().strip_prefix(key))?;
            value.split('-').next()?.parse().ok()
        };
        let (channel, transport) = match first("client_port=") {
            Some(port) => {
                let [rtp, rtcp] = udp_pair(self.socket.local_addr()?.ip()).await?;
                let peer = self.socket.peer_addr()?.ip();
                rtp.connect((peer, port)).await?;
                rtcp.connect((peer, port + 1)).await?;
                let ours = rtp.local_addr()?.port();
                let transport = format!(
                    "RTP/AVP;unicast;client_port={port}-{};server_port={ours}-{}",
                    port + 1,
                    ours + 1
                );
                (Channel::Udp(rtp, rtcp), transport)
            }
            None => {
                let channel = first("interleaved=").unwrap_or(if sound { 2 } else { 0 }) as u8;
                let next = channel + 1;
                let transport = format!("RTP/AVP/TCP;unicast;interleaved={channel}-{next}");
                (Channel::Tcp(channel), transport)
            }
        };
        let ssrc = self.camera << 1 | u32::from(sound);
        let payload_type = if sound { 8 } else { 96 };
        let sender = Sender { channel, payload_type, ssrc, sequence: 0 };
        *(if sound { &mut self.sound } else { &mut self.video }) = Some(sender);
        Ok(transport)
    }

    /// This camera's share of the time between two pictures.
    fn phase(&self) -> Duration {
        let picture = Duration::from_secs(1) / self.farm.options.rhythm.fps;
        picture * (self.camera % self.farm.options.cameras.max(1))
            / self.farm.options.cameras.max(1)
    }

    fn picture_at(&self) -> Option<Instant> {
        let fps = f64::from(self.farm.options.rhythm.fps);
        let since = Duration::from_secs_f64(self.picture? as f64 / fps);
        Some(self.farm.began + since + self.phase())
    }

    fn sound_at(&self) -> Option<Instant> {
        self.picture?;
        self.sound.as_ref()?;
        Some(self.farm.began + SOUND_INTERVAL * self.sound_packet as u32 + self.phase())
    }

    async fn send_picture(&mut self) -> io::Result<()> {
        let (Some(n), Some(sender)) = (self.picture, &mut self.video) else { return Ok(()) };
        self.picture = Some(n + 1);
        let fps = u64::from(self.farm.options.rhythm.fps);
        let key_at = u64::from(self.camera) % fps;
        let farm = Arc::clone(&self.farm);
        let mut payloads = farm.clip.picture(n + fps - key_at).peekable();
        let time = (n * 90_000 / fps) as u32;
        self.output.clear();
        if n % (REPORT_SECONDS * fps) == key_at {
            sender.report(time, &mut self.output).await?;
        }
        while let Some(payload) = payloads.next() {
            let last = payloads.peek().is_none();
            sender.packet(time, last, payload, &mut self.output).await?;
        }
        self.socket.write_all(&self.output).await
    }

    async fn send_sound(&mut self) -> io::Result<()> {
        let Some(sender) = &mut self.sound else { return Ok(()) };
        let time = (self.sound_packet * SOUND_BYTES as u64) as u32;
        self.output.clear();
        if self.sound_packet.is_multiple_of(REPORT_SECONDS * 50) {
            sender.report(time, &mut self.output).await?;
        }
        self.sound_packet += 1;
        sender.packet(time, false, &[0xd5; SOUND_BYTES], &mut self.output).await?;
        self.socket.write_all(&self.output).await
    }
}

impl Sender {
    /// One RTP packet (RFC 3550 §5.1), sent or appended to `out`.
    async fn packet(
        &mut self,
        time: u32,
        marker: bool,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let start = out.len();
        if let Channel::Tcp(channel) = self.channel {
            put_interleaved(channel, 12 + payload.len(), out);
        }
        out.extend_from_slice(&[0x80, self.payload_type | u8::from(marker) << 7]);
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&time.to_be_bytes());
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        out.extend_from_slice(payload);
        self.sequence = self.sequence.wrapping_add(1);
        if let Channel::Udp(rtp, _) = &self.channel {
            // What nobody receives is lost, as with any camera.
            let _ = rtp.send(&out[start..]).await;
            out.truncate(start);
        }
        Ok(())
    }

    /// A sender report (RFC 3550 §6.4.1) without counts, which nobody reads.
    async fn report(&self, time: u32, out: &mut Vec<u8>) -> io::Result<()> {
        let start = out.len();
        if let Channel::Tcp(channel) = self.channel {
            put_interleaved(channel + 1, 28, out);
        }
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // NTP counts from 1900, in 1/2^32 s.
        let seconds = (unix.as_secs() + 2_208_988_800) as u32;
        let fraction = ((u64::from(unix.subsec_nanos()) << 32) / 1_000_000_000) as u32;
        out.extend_from_slice(&[0x80, 200, 0, 6]);
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        out.extend_from_slice(&seconds.to_be_bytes());
        out.extend_from_slice(&fraction.to_be_bytes());
        out.extend_from_slice(&time.to_be_bytes());
        out.extend_from_slice(&[0; 8]);
        if let Channel::Udp(_, rtcp) = &self.channel {
            let _ = rtcp.send(&out[start..]).await;
            out.truncate(start);
        }
        Ok(())
    }
}

/// RTSP's frame around a packet (RFC 2326 §10.12).
fn put_interleaved(channel: u8, bytes: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'$', channel]);
    out.extend_from_slice(&(bytes as u16).to_be_bytes());
}

/// An even port and the next one.
async fn udp_pair(address: std::net::IpAddr) -> io::Result<[UdpSocket; 2]> {
    for _ in 0..1_000 {
        let rtp = UdpSocket::bind((address, 0)).await?;
        let port = rtp.local_addr()?.port();
        if port.is_multiple_of(2)
            && let Ok(rtcp) = UdpSocket::bind((address, port + 1)).await
        {
            return Ok([rtp, rtcp]);
        }
    }
    Err(io::Error::other("no pair of free ports"))
}

async fn wait(until: Option<Instant>) {
    match until {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
