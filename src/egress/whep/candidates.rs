//! Where viewers can reach us, and how the answer tells them.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use if_addrs::Interface;

/// Most addresses told to a viewer: it tries each of them.
const MAX_ADDRESSES: usize = 16;

/// Our addresses, best first: the one the viewer's request already reached
/// (`host`), those of `advertise`, then the interfaces', loopback last.
pub(super) fn addresses(
    local: SocketAddr,
    advertised: Vec<SocketAddr>,
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
    advertised.into_iter().for_each(&mut add);
    if !local.ip().is_unspecified() {
        add(local);
    } else {
        for interface in interfaces(local) {
            add(SocketAddr::new(interface.ip(), local.port()));
        }
    }
    found
}

/// Interfaces with an address that viewers may be told, loopback last.
fn interfaces(local: SocketAddr) -> Vec<Interface> {
    let mut all = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        tracing::warn!(%error, "the network interfaces cannot be listed");
        Vec::new()
    });
    // A link-local address needs a zone that SDP cannot carry.
    all.retain(|one| !one.is_link_local() && (one.ip().is_ipv4() || local.is_ipv6()));
    all.sort_by_key(Interface::is_loopback);
    all
}

/// Says so where nobody outside of the container we run in can reach us.
pub(super) fn warn_if_hidden(local: SocketAddr, advertise: &[String]) {
    warn_if(advertise.is_empty() && are_hidden(local));
}

fn warn_if(hidden: bool) {
    if hidden {
        tracing::warn!(
            "WebRTC: every address of ours is private to this container, so viewers outside of \
             it will find no way; name in webrtc.advertise the address they reach us under"
        );
    }
}

/// Whether nobody outside of the container we run in can reach any address of
/// ours.
fn are_hidden(local: SocketAddr) -> bool {
    let bound = |one: &Interface| local.ip().is_unspecified() || one.ip() == local.ip();
    let all = interfaces(local).into_iter().filter(|one| bound(one) && !one.is_loopback());
    let all: Vec<_> = all.map(|one| (one.ip(), one.name)).collect();
    only_cables(Path::new("/sys/class/net"), &all)
}

/// Whether these are all private addresses on virtual cables, as they lead out
/// of a container; `kernel` is where Linux tells of interfaces.
fn only_cables(kernel: &Path, all: &[(IpAddr, String)]) -> bool {
    let is_cable = |name: &str| {
        let read = |what| std::fs::read_to_string(kernel.join(name).join(what)).unwrap_or_default();
        // Its other end is another interface. That is so of VLANs and of
        // macvlan too, which name their type, and are reached directly.
        let (own, other) = (read("ifindex"), read("iflink"));
        !own.is_empty() && own != other && !read("uevent").contains("DEVTYPE=")
    };
    let is_private = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => ip.is_private(),
        IpAddr::V6(ip) => ip.is_unique_local(),
    };
    !all.is_empty() && all.iter().all(|(ip, name)| is_private(ip) && is_cable(name))
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
    use crate::egress::whep::fanout::tests::logged;

    #[test]
    fn the_address_that_was_reached_comes_first_and_none_twice() {
        let advertised = ["203.0.113.7:8189", "203.0.113.7:9000", "203.0.113.7:8189"];
        let advertised = advertised.map(|address| address.parse().unwrap()).to_vec();
        let host = Some("127.0.0.1".parse().unwrap());
        let found = addresses("0.0.0.0:8189".parse().unwrap(), advertised, host);
        let text: Vec<String> = found.iter().take(3).map(SocketAddr::to_string).collect();
        assert_eq!(text, ["127.0.0.1:8189", "203.0.113.7:8189", "203.0.113.7:9000"]);
        assert!(found.iter().filter(|a| a.to_string() == "127.0.0.1:8189").count() == 1);
        assert!(found.iter().all(SocketAddr::is_ipv4), "an IPv4 socket has no IPv6 address");
    }

    #[test]
    fn a_socket_bound_to_one_address_tells_only_that() {
        let local: SocketAddr = "127.0.0.1:8189".parse().unwrap();
        assert_eq!(addresses(local, Vec::new(), None), [local]);
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

    #[test]
    fn who_sits_behind_a_containers_wall_is_told_what_to_write() {
        let told = logged(|| warn_if(true));
        let wanted = ["WARN", "private to this container", "webrtc.advertise"];
        assert!(wanted.iter().all(|word| told.contains(word)), "{told}");
        // Loopback alone is what somebody chose.
        let loopback = "127.0.0.1:8189".parse().unwrap();
        assert_eq!(logged(|| warn_if_hidden(loopback, &[])), "");
    }

    #[test]
    fn addresses_that_end_at_the_containers_wall_are_found_out() {
        let kernel = tempfile::tempdir().unwrap();
        for (name, own, other, kind) in [
            ("eth0", "2", "17", "INTERFACE=eth0"),
            ("eno1", "2", "2", "INTERFACE=eno1"),
            ("eth0.10", "3", "2", "DEVTYPE=vlan\nINTERFACE=eth0.10"),
        ] {
            let folder = kernel.path().join(name);
            std::fs::create_dir_all(&folder).unwrap();
            for (file, text) in [("ifindex", own), ("iflink", other), ("uevent", kind)] {
                std::fs::write(folder.join(file), text).unwrap();
            }
        }
        let hidden = |all: &[(&str, &str)]| {
            let read = |(ip, name): &(&str, &str)| (ip.parse().unwrap(), (*name).to_owned());
            only_cables(kernel.path(), &all.iter().map(read).collect::<Vec<_>>())
        };
        assert!(hidden(&[("172.17.0.2", "eth0")]));
        assert!(hidden(&[("172.17.0.2", "eth0"), ("fd00::2", "eth0")]));
        assert!(!hidden(&[("203.0.113.7", "eth0")]), "routed");
        assert!(!hidden(&[("192.168.1.7", "eno1")]), "a machine at home");
        assert!(!hidden(&[("192.168.1.7", "eth0.10")]), "a VLAN");
        assert!(!hidden(&[("172.17.0.2", "eth0"), ("192.168.1.7", "eno1")]));
        assert!(!hidden(&[("172.17.0.2", "gone")]) && !hidden(&[]));
    }
}
