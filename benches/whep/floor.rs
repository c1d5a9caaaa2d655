//! The least that sending the camera to so many viewers can cost: seal every
//! packet for each of them into one reused buffer, and send it in batches.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};
use rtc::crypto::{AeadAlgorithm, AeadCipher};
use serde_json::json;

use crate::camera::{FPS, picture_bytes};
use crate::usage::Usage;
use crate::{Failure, viewer};

/// As the gateway cuts pictures.
const MAX_PAYLOAD: usize = 1_172;
const HEADER: usize = 12;
const TAG: usize = 16;

/// CPU time per viewer and second, ms: by a process of its own, to sockets that
/// are read here as viewers read theirs.
pub(crate) fn measure(viewers: usize, seconds: u64, kbit: usize) -> Result<f64, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let sinks: Result<Vec<_>, _> =
        runtime.block_on(async { (0..viewers).map(|_| viewer::Socket::bind()).collect() });
    let sinks = sinks?;
    let ports: Vec<String> = sinks.iter().map(|sink| sink.address.port().to_string()).collect();
    std::thread::spawn(move || {
        let tasks = tokio::task::LocalSet::new();
        let drain =
            |sink: viewer::Socket| async move { while sink.receive(|_, _| ()).await.is_ok() {} };
        sinks.into_iter().for_each(|sink| drop(tasks.spawn_local(drain(sink))));
        runtime.block_on(tasks);
    });
    let output = Command::new(std::env::current_exe()?)
        .args(["floor", &seconds.to_string(), &kbit.to_string()])
        .args(ports)
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let report: serde_json::Value = serde_json::from_str(&text)?;
    report["floor_ms"].as_f64().ok_or_else(|| "the floor has failed".into())
}

/// Sends to these ports of the loopback interface for so long.
pub(crate) fn run(seconds: u64, kbit: usize, ports: &[&str]) -> Result<(), Failure> {
    let crypto = rtc::crypto::default_provider()?;
    let mut viewers: Vec<(SocketAddr, Box<dyn AeadCipher>)> = Vec::new();
    for port in ports {
        let key: [u8; 16] = rand::random();
        let cipher = crypto.crypto().new_aead(AeadAlgorithm::Aes128Gcm, &key)?;
        viewers.push(((Ipv4Addr::LOCALHOST, port.parse()?).into(), cipher));
    }
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
    socket.set_nonblocking(false)?;
    let picture = vec![7_u8; picture_bytes(kbit, 0)];
    let mut out = Vec::with_capacity(2 * picture.len());
    let mut sequence = 0_u64;
    let (begin, start) = (Usage::of(std::process::id())?, Instant::now());
    for number in 0..seconds * FPS {
        let due = start + number as u32 * Duration::from_millis(1_000 / FPS);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let size = picture_bytes(kbit, number);
        let picture = &picture[..size];
        let payload = size.div_ceil(size.div_ceil(MAX_PAYLOAD));
        let segment = HEADER + payload + TAG;
        let first = sequence;
        for (address, cipher) in &mut viewers {
            out.clear();
            sequence = first;
            for payload in picture.chunks(payload) {
                let mut header = [0x80; HEADER];
                header[4..].copy_from_slice(&sequence.to_be_bytes());
                sequence += 1;
                out.extend_from_slice(&header);
                let body = out.len();
                out.extend_from_slice(payload);
                let (mut nonce, mut tag) = ([0; 12], [0; TAG]);
                nonce[4..].copy_from_slice(&sequence.to_be_bytes());
                cipher.seal_in_place(&nonce, &header, &mut out[body..], &mut tag)?;
                out.extend_from_slice(&tag);
            }
            for batch in out.chunks(segment * state.max_gso_segments().max(1)) {
                let transmit = Transmit {
                    destination: *address,
                    ecn: None,
                    contents: batch,
                    segment_size: (segment < batch.len()).then_some(segment),
                    src_ip: None,
                };
                state.try_send(UdpSockRef::from(&socket), &transmit)?;
            }
        }
    }
    let (cpu, seconds) = Usage::of(std::process::id())?.since(&begin);
    let floor = cpu.as_secs_f64() * 1e3 / viewers.len() as f64 / seconds;
    println!("{}", json!({ "floor_ms": floor }));
    Ok(())
}
