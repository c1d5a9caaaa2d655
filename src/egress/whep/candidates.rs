//! Where viewers can reach us, and how the answer tells them.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Most addresses told to a viewer: it tries each of them.
const MAX_ADDRESSES: usize = 16;

/// A name in `advertise` that resolves slower than this is left out.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(1);

/// Our addresses, best first: the one the viewer's request already reached
/// (`host`), those of `advertise`, then the interfaces', loopback last.
pub(super) async fn addresses(
    local: SocketAddr,
    advertise: &[String],
    host: Option<IpAddr>,
) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    let mut add = |address: SocketAddr| {
        if !found.contains(&address) && found.len() < MAX_ADDRESSES {
            found.push(address);
        }
    };
    if let Some(host) = host {
        add(SocketAddr::new(host, local.port()));
    }
    for entry in advertise {
        resolve(entry, local.port()).await.into_iter().for_each(&mut add);
    }
    if !local.ip().is_unspecified() {
        add(local);
    } else {
        let mut interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
            tracing::warn!(%error, "the network interfaces cannot be listed");
            Vec::new()
        });
        interfaces.sort_by_key(|interface| interface.is_loopback());
        for interface in interfaces {
            let ip = interface.ip();
            // A link-local address needs a zone that SDP cannot carry.
            let usable = !interface.is_link_local() && (ip.is_ipv4() || local.is_ipv6());
            if usable {
                add(SocketAddr::new(ip, local.port()));
            }
        }
    }
    found
}

/// `203.0.113.7`, `203.0.113.7:9000`, `cam.example.org` or with a port.
async fn resolve(entry: &str, port: u16) -> Vec<SocketAddr> {
    if let Ok(ip) = entry.parse::<IpAddr>() {
        return vec![SocketAddr::new(ip, port)];
    }
    let named = match entry.rsplit_once(':') {
        Some((_, digits)) if digits.parse::<u16>().is_ok() => entry.to_owned(),
        _ => format!("{entry}:{port}"),
    };
    match tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host(&named)).await {
        Ok(Ok(found)) => found.collect(),
        Ok(Err(error)) => {
            tracing::warn!(%error, name = entry, "webrtc.advertise cannot be resolved");
            Vec::new()
        }
        Err(_) => {
            tracing::warn!(name = entry, "webrtc.advertise resolves too slowly");
            Vec::new()
        }
    }
}

/// The engine's answer as the viewer gets it: our addresses as candidates, all
/// of them, so that no trickling is needed, and a direction in every section,
/// also in refused ones, since strict parsers want it.
pub(super) fn complete(answer: &str, addresses: &[SocketAddr]) -> String {
    let mut out = String::with_capacity(answer.len() + 100 * addresses.len());
    let mut line = |text: &str| writeln!(out, "{text}\r").expect("a String takes all");
    let (mut directed, mut told, mut active) = (true, false, false);
    let engine_lines = ["a=candidate:", "a=end-of-candidates"];
    let directions = ["a=sendonly", "a=recvonly", "a=sendrecv", "a=inactive"];
    for text in answer.lines().map(str::trim_end) {
        if engine_lines.iter().any(|prefix| text.starts_with(prefix)) {
            continue;
        }
        if text.starts_with("m=") {
            if !directed {
                line("a=inactive");
            }
            directed = false;
            active = text.split(' ').nth(1) != Some("0");
        }
        directed |= directions.contains(&text);
        line(text);
        // With BUNDLE (RFC 9143 §9) candidates of the first section serve all.
        if text.starts_with("a=ice-pwd:") && active && !told {
            told = true;
            lines(addresses).for_each(|candidate| line(&candidate));
            line("a=end-of-candidates");
        }
    }
    if !directed {
        line("a=inactive");
    }
    out
}

/// Our candidates, each an attribute line: over UDP all, then over TCP.
pub(super) fn lines(addresses: &[SocketAddr]) -> impl Iterator<Item = String> {
    let udp = addresses.iter().enumerate().map(|(at, address)| {
        // RFC 8839 §5.1; the priority as RFC 8445 §5.1.2.1 computes it for
        // hosts.
        let priority = 126 << 24 | (65_535 - at) << 8 | 255;
        let (ip, port) = (address.ip(), address.port());
        format!("a=candidate:{} 1 udp {priority} {ip} {port} typ host", at + 1)
    });
    let tcp = addresses.iter().enumerate().map(|(at, address)| {
        // RFC 6544 §4.2: behind UDP, as browsers have it; passive hosts have
        // the direction preference 4.
        let priority = 90 << 24 | (4 << 13 | (8_191 - at)) << 8 | 255;
        let (ip, port) = (address.ip(), address.port());
        let number = addresses.len() + at + 1;
        format!("a=candidate:{number} 1 tcp {priority} {ip} {port} typ host tcptype passive")
    });
    udp.chain(tcp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_address_that_was_reached_comes_first_and_none_twice() {
        let advertise = ["203.0.113.7".to_owned(), "203.0.113.7:9000".to_owned()];
        let host = Some("127.0.0.1".parse().unwrap());
        let found = addresses("0.0.0.0:8189".parse().unwrap(), &advertise, host).await;
        let text: Vec<String> = found.iter().take(3).map(SocketAddr::to_string).collect();
        assert_eq!(text, ["127.0.0.1:8189", "203.0.113.7:8189", "203.0.113.7:9000"]);
        assert!(found.iter().filter(|a| a.to_string() == "127.0.0.1:8189").count() == 1);
        assert!(found.iter().all(SocketAddr::is_ipv4), "an IPv4 socket has no IPv6 address");
    }

    #[tokio::test]
    async fn a_socket_bound_to_one_address_tells_only_that() {
        let local: SocketAddr = "127.0.0.1:8189".parse().unwrap();
        assert_eq!(addresses(local, &[], None).await, [local]);
    }

    #[test]
    fn candidates_go_once_into_the_first_section_that_lives() {
        let answer = "v=0\r\n\
            m=audio 0 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\n\
            a=candidate:1 2 udp 1 192.0.2.1 9 typ host\r\na=sendonly\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=ice-pwd:p\r\na=sendonly\r\n";
        let address = ["203.0.113.7:8189".parse().unwrap()];
        assert_eq!(
            complete(answer, &address),
            "v=0\r\n\
            m=audio 0 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=inactive\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\n\
            a=candidate:1 1 udp 2130706431 203.0.113.7 8189 typ host\r\n\
            a=candidate:2 1 tcp 1520435199 203.0.113.7 8189 typ host tcptype passive\r\n\
            a=end-of-candidates\r\na=sendonly\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=ice-pwd:p\r\na=sendonly\r\n"
        );
    }
}
