//! A WHEP viewer made of str0m: `whep-str0m HOST:PORT/PATH [udp|tcp|trickle]`.
//!
//! Plays until it has two seconds of pictures, the first of them a key frame,
//! prints what it saw as JSON, ends the session by DELETE, and exits with 0;
//! with 1 if they do not come within ten seconds. With `udp` or `tcp` it keeps
//! only those candidates of the answer, and has no others of its own. With
//! `trickle` its offer has none: they follow by PATCH (RFC 8840).

use std::collections::HashMap;
use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use str0m::change::SdpAnswer;
use str0m::media::{Direction, MediaKind};
use str0m::net::{Protocol, Receive, TcpType, Transmit};
use str0m::{Candidate, Event, Input, Output, RtcConfig};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Two seconds of a camera.
const PICTURES: usize = 50;
const LIMIT: Duration = Duration::from_secs(10);

/// A datagram or a TCP frame: protocol, from, to, contents.
type Arrival = (Protocol, SocketAddr, SocketAddr, Vec<u8>);

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("usage: whep-str0m HOST:PORT/PATH [udp|tcp|trickle]")?;
    let way = arguments.next();
    let trickles = way.as_deref() == Some("trickle");
    let only = way.filter(|_| !trickles);
    let (host, path) = url.split_once('/').ok_or("a path is missing")?;
    str0m::crypto::from_feature_flags().install_process_default();

    let begun = Instant::now();
    let mut rtc = RtcConfig::new().build(begun);
    let (arrived, arrivals) = channel();
    let mut lines = Lines::new(arrived)?;
    let mut candidates = Vec::new();
    if only.as_deref() != Some("tcp") {
        candidates.push(Candidate::host(lines.udp.local_addr()?, "udp")?);
    }
    if only.as_deref() != Some("udp") {
        let address = SocketAddr::from(([127, 0, 0, 1], 9));
        candidates.push(Candidate::builder().tcp().host(address).tcptype(TcpType::Active).build()?);
    }
    let late = if trickles { std::mem::take(&mut candidates) } else { Vec::new() };
    for candidate in candidates {
        rtc.add_local_candidate(candidate);
    }
    let mut changes = rtc.sdp_api();
    changes.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
    let (offer, pending) = changes.apply().ok_or("nothing to offer")?;
    let offer = offer.to_sdp_string();
    if trickles && offer.contains("a=candidate") {
        return Err("an offer that trickles has no candidates".into());
    }
    let (location, answer) = post(host, path, &offer)?;
    let session = format!("{}/{location}", path.rsplit_once('/').map_or("", |(folder, _)| folder));
    let kept: String = answer
        .lines()
        .filter(|line| {
            let protocol = line.strip_prefix("a=candidate:").and_then(|c| c.split(' ').nth(2));
            protocol.is_none_or(|p| only.as_ref().is_none_or(|o| p.eq_ignore_ascii_case(o)))
        })
        .map(|line| format!("{line}\r\n"))
        .collect();
    rtc.sdp_api().accept_answer(pending, SdpAnswer::from_sdp_string(&kept)?)?;
    for candidate in late {
        trickle(host, &session, &offer, &candidate)?;
        rtc.add_local_candidate(candidate);
    }

    let mut pictures: Vec<(Duration, bool)> = Vec::new();
    while pictures.len() < PICTURES && begun.elapsed() < LIMIT && rtc.is_alive() {
        let deadline = match rtc.poll_output()? {
            Output::Transmit(transmit) => {
                lines.send(&transmit)?;
                continue;
            }
            Output::Event(event) => {
                if let Event::MediaData(picture) = event {
                    pictures.push((begun.elapsed(), picture.is_keyframe()));
                }
                continue;
            }
            Output::Timeout(deadline) => deadline,
        };
        let mut buffer = Vec::new();
        rtc.handle_input(next(&arrivals, deadline, &mut buffer)?)?;
    }
    let (status, _) = request(host, "DELETE", &session, "application/sdp", "")?;
    let first = pictures.first().map_or(0, |(at, _)| at.as_millis());
    let key = pictures.first().is_some_and(|(_, key)| *key);
    println!(
        r#"{{"pictures": {}, "first_ms": {first}, "first_is_key": {key}, "delete": {status}}}"#,
        pictures.len()
    );
    if pictures.len() < PICTURES || !key || status != 200 {
        return Err("not what a viewer should see".into());
    }
    Ok(())
}

/// The next thing to tell the engine.
fn next<'a>(
    arrivals: &Receiver<Arrival>,
    deadline: Instant,
    buffer: &'a mut Vec<u8>,
) -> Outcome<Input<'a>> {
    match arrivals.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok((proto, source, destination, contents)) => {
            *buffer = contents;
            let contents = buffer.as_slice().try_into()?;
            Ok(Input::Receive(Instant::now(), Receive { proto, source, destination, contents }))
        }
        Err(RecvTimeoutError::Timeout) => Ok(Input::Timeout(Instant::now())),
        Err(RecvTimeoutError::Disconnected) => Err("all lines are down".into()),
    }
}

/// A UDP socket, and a TCP connection to each address that was sent to.
struct Lines {
    udp: UdpSocket,
    tcp: HashMap<SocketAddr, TcpStream>,
    arrived: Sender<Arrival>,
}

impl Lines {
    fn new(arrived: Sender<Arrival>) -> Outcome<Self> {
        let udp = UdpSocket::bind("127.0.0.1:0")?;
        let (reader, sender, to) = (udp.try_clone()?, arrived.clone(), udp.local_addr()?);
        std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok((size, from)) = reader.recv_from(&mut buffer) {
                if sender.send((Protocol::Udp, from, to, buffer[..size].to_vec())).is_err() {
                    break;
                }
            }
        });
        Ok(Self { udp, tcp: HashMap::new(), arrived })
    }

    fn send(&mut self, transmit: &Transmit) -> Outcome<()> {
        if transmit.proto == Protocol::Udp {
            self.udp.send_to(&transmit.contents, transmit.destination)?;
            return Ok(());
        }
        let to = transmit.destination;
        if !self.tcp.contains_key(&to) {
            let stream = TcpStream::connect(to)?;
            let (mut reader, sender) = (stream.try_clone()?, self.arrived.clone());
            // The engine knows its end by the candidate's address.
            let ours = transmit.source;
            std::thread::spawn(move || {
                let mut size = [0; 2];
                while reader.read_exact(&mut size).is_ok() {
                    // RFC 4571 §2: 16 bits of length before each packet.
                    let mut frame = vec![0; usize::from(u16::from_be_bytes(size))];
                    if reader.read_exact(&mut frame).is_err()
                        || sender.send((Protocol::Tcp, to, ours, frame)).is_err()
                    {
                        break;
                    }
                }
            });
            self.tcp.insert(to, stream);
        }
        let size = u16::try_from(transmit.contents.len())?.to_be_bytes();
        let frame = [&size[..], &transmit.contents].concat();
        let mut stream = &self.tcp[&to];
        stream.write_all(&frame).map_err(Into::into)
    }
}

/// Location and answer.
fn post(host: &str, path: &str, offer: &str) -> Outcome<(String, String)> {
    let (status, response) = request(host, "POST", path, "application/sdp", offer)?;
    let (head, answer) = response.split_once("\r\n\r\n").ok_or("no body")?;
    if status != 201 {
        return Err(format!("{status}: {answer}").into());
    }
    let location = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("location").then(|| value.to_owned())
    });
    Ok((location.ok_or("no Location")?, answer.to_owned()))
}

/// Tells the gateway one more candidate of who sent the `offer`.
fn trickle(host: &str, session: &str, offer: &str, candidate: &Candidate) -> Outcome<()> {
    let line = |name: &str| offer.lines().find(|line| line.starts_with(name)).ok_or("a poor offer");
    let (ufrag, pwd) = (line("a=ice-ufrag:")?, line("a=ice-pwd:")?);
    let (media, mid, candidate) = (line("m=")?, line("a=mid:")?, candidate.to_sdp_string());
    let fragment = format!("{ufrag}\r\n{pwd}\r\n{media}\r\n{mid}\r\na={candidate}\r\n");
    let kind = "application/trickle-ice-sdpfrag\r\nIf-Match: *";
    match request(host, "PATCH", session, kind, &fragment)? {
        (204, _) => Ok(()),
        (status, response) => Err(format!("PATCH: {status}: {response}").into()),
    }
}

/// Status and everything, by HTTP/1.1 without chunks; `kind` of content.
fn request(host: &str, method: &str, path: &str, kind: &str, body: &str) -> Outcome<(u16, String)> {
    let mut stream = TcpStream::connect(host)?;
    let size = body.len();
    write!(
        stream,
        "{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
         Content-Type: {kind}\r\nContent-Length: {size}\r\n\r\n{body}"
    )?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    let status = response.split(' ').nth(1).and_then(|word| word.parse().ok());
    Ok((status.ok_or("not HTTP")?, response))
}
