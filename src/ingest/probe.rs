//! One look at a camera, for `porthole doctor`: what it offers, and what it
//! really sends for a few seconds.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::depacketize::{self, Unit};
use super::rtsp::{Item, SessionGroup};
use super::session::{self, Selected};
use super::source::{Source, Transport};
use crate::fault::{Code, Fault};
use crate::media::{Codec, FrameKind, MediaKind, WallTime};

/// A look of this length sees at least one interval of the usual 1 to 4 s
/// between key frames…
const LOOK: Duration = Duration::from_secs(8);
/// …and one of this length the 10 s that some cameras have.
const LONG_LOOK: Duration = Duration::from_secs(21);
/// How long to wait for the greeting.
const GREETING_LIMIT: Duration = Duration::from_secs(3);
/// Most bytes of an answer to an anonymous DESCRIBE that are looked at.
const GREETING_BYTES: usize = 64 << 10;

/// What was found.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Login schemes the camera asks for, as it names them; empty for none.
    pub login_schemes: Vec<String>,
    /// What the camera calls its server.
    pub server: Option<String>,
    /// How media travelled; `None` when none did.
    pub transport: Option<Transport>,
    /// Tracks that were pulled.
    pub tracks: Vec<Seen>,
    /// Tracks left out, and why.
    pub notes: Vec<Fault>,
    /// Camera's clock minus ours, nanoseconds, by its sender reports.
    pub clock_offset: Option<i64>,
    /// Why the look ended early.
    pub fault: Option<Fault>,
}

/// What was seen of a track.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Video or audio.
    pub kind: MediaKind,
    /// Parameters; `None` if they never came.
    pub codec: Option<Codec>,
    /// Frames received.
    pub frames: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Time from the first frame to the last by the camera's clock, seconds.
    pub seconds: f64,
    /// Mean time between key frames, seconds; `None` with fewer than two.
    pub keyframe_interval: Option<f64>,
    /// Whether pictures are shown in another order than they are decoded.
    pub reordered: bool,
    /// Packets received and lost.
    pub packets: u64,
    /// Packets missing by their sequence numbers.
    pub lost: u64,
    /// Frames damaged, undecodable or malformed.
    pub discarded: u64,
    /// Times that went back, stood still or jumped by more than a second.
    pub bad_times: u64,
}

impl Seen {
    /// Frames a second, by the camera's clock.
    pub fn rate(&self) -> Option<f64> {
        (self.frames > 1 && self.seconds > 0.0).then(|| (self.frames - 1) as f64 / self.seconds)
    }

    /// Bits a second, by the camera's clock.
    pub fn bit_rate(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.bytes as f64 * 8.0 / self.seconds)
    }
}

/// Connects once, looks for eight seconds (for longer where key frames are
/// rare), and tears down.
pub async fn probe(source: &Source) -> Probe {
    let mut probe = Probe {
        login_schemes: Vec::new(),
        server: None,
        transport: None,
        tracks: Vec::new(),
        notes: Vec::new(),
        clock_offset: None,
        fault: None,
    };
    let group: Arc<SessionGroup> = Arc::default();
    match session::connect(source, Arc::clone(&group)).await {
        Err(fault) => probe.fault = Some(fault),
        Ok((mut feed, selected, notes)) => {
            probe.transport = Some(feed.transport);
            probe.notes = notes.into_iter().map(|note| note.0).collect();
            let mut looks: Vec<Look> = selected.into_iter().map(Look::new).collect();
            let begun = Instant::now();
            while probe.fault.is_none() {
                let rare = looks.iter().any(Look::awaits_key_frame);
                let until = begun + if rare { LONG_LOOK } else { LOOK };
                match timeout_at(until, feed.next()).await {
                    Err(_) => break,
                    Ok(Err(fault)) => probe.fault = Some(fault),
                    Ok(Ok(Item::Report { wall, .. })) => {
                        let ours: WallTime = SystemTime::now().into();
                        probe.clock_offset = Some(wall.unix_nanos() - ours.unix_nanos());
                    }
                    Ok(Ok(Item::Packet(packet))) => {
                        let section = packet.section();
                        let look = looks.iter_mut().find(|look| look.track.section == section);
                        let taken = look.map(|look| {
                            look.packet(depacketize::Packet {
                                timestamp: packet.timestamp(),
                                marker: packet.marker(),
                                lost_before: packet.lost_before(),
                                payload: packet.payload(),
                            })
                        });
                        probe.fault = taken.and_then(Result::err);
                    }
                }
            }
            probe.tracks = looks.into_iter().map(Look::finish).collect();
            if probe.fault.is_none() && probe.tracks.iter().all(|track| track.packets == 0) {
                probe.fault = Some(Code::SourceNoMedia.into());
            }
        }
    }
    let _ = timeout(Duration::from_secs(2), group.await_teardown()).await;
    // Last, for GStreamer cameras are busy for a moment after a DESCRIBE that
    // nobody follows up.
    if let Some(greeting) = greeting(source).await {
        (probe.login_schemes, probe.server) = read_greeting(&greeting);
    }
    probe
}

/// A track being looked at.
struct Look {
    track: Selected,
    seen: Seen,
    first: Option<i64>,
    last: Option<i64>,
    keys: Vec<i64>,
}

impl Look {
    fn new(track: Selected) -> Self {
        let seen = Seen {
            kind: track.kind,
            codec: None,
            frames: 0,
            bytes: 0,
            seconds: 0.0,
            keyframe_interval: None,
            reordered: false,
            packets: 0,
            lost: 0,
            discarded: 0,
            bad_times: 0,
        };
        Self { track, seen, first: None, last: None, keys: Vec::new() }
    }

    fn packet(&mut self, packet: depacketize::Packet<'_>) -> Result<(), Fault> {
        self.seen.packets += 1;
        self.seen.lost += u64::from(packet.lost_before);
        self.track.depacketizer.push(packet)?;
        while let Some(unit) = self.track.depacketizer.pull() {
            self.unit(&unit);
        }
        Ok(())
    }

    fn unit(&mut self, unit: &Unit) {
        let second = i64::from(self.track.rate.hz());
        self.seen.frames += 1;
        self.seen.bytes += unit.data.len() as u64;
        self.seen.reordered |= unit.pts != unit.dts;
        if let Some(last) = self.last.replace(unit.dts)
            && !(1..=second).contains(&unit.dts.saturating_sub(last))
        {
            self.seen.bad_times += 1;
        }
        self.first.get_or_insert(unit.dts);
        if unit.kind == FrameKind::Key {
            self.keys.push(unit.dts);
        }
    }

    /// Whether pictures come, but no interval between key frames is known.
    fn awaits_key_frame(&self) -> bool {
        self.seen.kind == MediaKind::Video && self.seen.frames > 0 && self.keys.len() < 2
    }

    fn finish(self) -> Seen {
        let Self { track, mut seen, first, last, keys } = self;
        let seconds = |ticks: i64| ticks as f64 / f64::from(track.rate.hz());
        seen.seconds = first.zip(last).map_or(0.0, |(a, b)| seconds(b.saturating_sub(a)));
        seen.keyframe_interval = match keys[..] {
            [a, .., b] => Some(seconds(b.saturating_sub(a)) / (keys.len() - 1) as f64),
            _ => None,
        };
        seen.codec = track.depacketizer.codec().cloned();
        let discarded = track.depacketizer.discarded();
        seen.discarded = discarded.damaged + discarded.undecodable + discarded.malformed;
        seen
    }
}

/// What the camera says to somebody without a login.
async fn greeting(source: &Source) -> Option<String> {
    let url = source.url();
    let address = (url.host_str()?.trim_matches(['[', ']']), url.port().unwrap_or(554));
    let ask = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let request = format!(
            "DESCRIBE {url} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\nUser-Agent: {}\r\n\r\n",
            concat!("porthole/", env!("CARGO_PKG_VERSION"))
        );
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        while !answer.windows(4).any(|end| end == b"\r\n\r\n") && answer.len() < GREETING_BYTES {
            match stream.read(&mut buffer).await {
                Ok(read @ 1..) => answer.extend_from_slice(&buffer[..read]),
                _ => break,
            }
        }
        Some(String::from_utf8_lossy(&answer).into_owned())
    };
    timeout(GREETING_LIMIT, ask).await.ok().flatten()
}

/// Login schemes and server name in the headers of an answer.
fn read_greeting(answer: &str) -> (Vec<String>, Option<String>) {
    let headers = answer.split("\r\n\r\n").next().unwrap_or_default();
    let mut schemes: Vec<String> = Vec::new();
    let mut server = None;
    for (name, value) in headers.lines().filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("www-authenticate") {
            let mut scheme = value.split(' ').next().unwrap_or_default().to_owned();
            let algorithm = value.split("algorithm=").nth(1);
            if let Some(algorithm) = algorithm.and_then(|a| a.split([',', ' ']).next()) {
                scheme = format!("{scheme} {}", algorithm.trim_matches('"'));
            }
            if !schemes.contains(&scheme) {
                schemes.push(scheme);
            }
        } else if name.eq_ignore_ascii_case("server") {
            // A camera chooses these words; they go to a terminal.
            server = Some(value.chars().filter(|c| !c.is_control()).take(80).collect());
        }
    }
    for scheme in &mut schemes {
        *scheme = scheme.chars().filter(|c| !c.is_control()).take(40).collect();
    }
    (schemes, server)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_offered_login_is_named_once() {
        let answer = "RTSP/1.0 401 Unauthorized\r\nServer: Hipcam \x1b[31mRealServer\r\n\
             WWW-Authenticate: Digest realm=\"a\", nonce=\"b\", algorithm=SHA-256\r\n\
             WWW-Authenticate: Digest realm=\"a\", nonce=\"b\"\r\n\
             www-authenticate: Basic realm=\"a\"\r\n\
             WWW-Authenticate: Basic realm=\"b\"\r\n\r\nWWW-Authenticate: Bogus";
        let (schemes, server) = read_greeting(answer);
        assert_eq!(schemes, ["Digest SHA-256", "Digest", "Basic"]);
        assert_eq!(server.as_deref(), Some("Hipcam [31mRealServer"));
    }
}
