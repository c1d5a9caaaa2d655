use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::net::UdpSocket;

use super::super::receiver::Carrier;
use super::*;
use crate::media::{ClockRate, WallTime};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn rtp(payload_type: u8, ssrc: u8, number: u16) -> Bytes {
    let mut packet = vec![0x80, payload_type];
    packet.extend_from_slice(&number.to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, ssrc, 1]);
    packet.into()
}

/// A sender report of the Unix epoch at RTP time zero.
fn report(ssrc: u8) -> Bytes {
    let mut report = vec![0x80, 200, 0, 6, 0, 0, 0, ssrc];
    report.extend_from_slice(&2_208_988_800u32.to_be_bytes());
    report.extend_from_slice(&[0; 16]);
    report.into()
}

fn receiver(section: usize, payload_type: u8, carrier: Carrier) -> Receiver {
    Receiver::new(section, payload_type, ClockRate::VIDEO, carrier)
}

/// Sections 0 and 2, of types 96 and 8, on these first channels.
fn interleaved(channels: [u8; 2]) -> Media {
    let mut media = Media::default();
    for ((section, payload_type), rtp) in [(0, 96), (2, 8)].into_iter().zip(channels) {
        let path = Path::Interleaved { rtp, rtcp: rtp + 1 };
        let receiver = receiver(section, payload_type, Carrier::Ordered);
        media.add(section, payload_type, path, None, receiver, Instant::now());
    }
    media
}

/// Sections of what is ready.
fn sections(media: &mut Media) -> Vec<usize> {
    let section = |item| match item {
        Item::Packet(packet) => packet.section(),
        Item::Report { section, report } => {
            assert_eq!((report.rtp, report.wall), (0, WallTime::from_unix_nanos(0)));
            section
        }
    };
    std::iter::from_fn(|| media.pull()).map(section).collect()
}

#[test]
fn channels_lead_to_tracks() {
    let (mut media, now) = (interleaved([0, 4]), Instant::now());
    assert!(media.interleaved(4, rtp(8, 2, 1), now));
    assert!(media.interleaved(0, rtp(96, 1, 1), now));
    assert!(media.interleaved(5, report(2), now));
    assert_eq!(sections(&mut media), [0, 2, 2]);
    assert!(!media.interleaved(2, rtp(96, 1, 2), now));
    assert!(media.interleaved(0, Bytes::new(), now));
    assert_eq!(media.arrivals(0).unwrap().0.malformed, 1);
}

#[test]
fn one_channel_for_two_tracks_is_parted_by_payload_type() {
    let (mut media, now) = (interleaved([0, 0]), Instant::now());
    assert!(media.interleaved(0, rtp(8, 2, 1), now));
    assert!(media.interleaved(0, rtp(96, 1, 1), now));
    assert!(media.interleaved(0, rtp(77, 1, 1), now));
    assert!(media.interleaved(1, report(2), now));
    assert_eq!(sections(&mut media), [0, 2, 2]);
}

#[test]
fn reports_are_due_on_the_second_channel_of_each_track() {
    let (mut media, now) = (interleaved([0, 4]), Instant::now());
    media.interleaved(0, rtp(96, 1, 1), now);
    media.interleaved(4, rtp(8, 2, 1), now);
    assert_eq!(media.tick(now), None);
    let later = now + Duration::from_secs(10);
    assert!(media.deadline().unwrap() < later);
    let due: Vec<u8> =
        std::iter::from_fn(|| media.tick(later)).map(|(channel, _)| channel).collect();
    assert_eq!(due, [1, 5]);
    assert!(media.deadline().unwrap() > later);
}

/// Sections 0 and 2 by UDP, and the camera's sockets.
async fn udp() -> (Media, [UdpSocket; 4], [u16; 2]) {
    let socket = async || UdpSocket::bind((LOCAL, 0)).await.unwrap();
    let camera = [socket().await, socket().await, socket().await, socket().await];
    let (mut media, mut to) = (Media::default(), Vec::new());
    for (index, (section, payload_type)) in [(0, 96), (2, 8)].into_iter().enumerate() {
        let ports = Ports::open(SocketAddr::new(LOCAL, 0), LOCAL).await.unwrap();
        to.push(ports.port().unwrap());
        let port = |socket: &UdpSocket| socket.local_addr().unwrap().port();
        let server = Some((port(&camera[2 * index]), port(&camera[2 * index + 1])));
        let receiver = receiver(section, payload_type, Carrier::Unordered);
        media.add(
            section,
            payload_type,
            Path::Udp { server },
            Some(ports),
            receiver,
            Instant::now(),
        );
    }
    (media, camera, [to[0], to[1]])
}

async fn receive(media: &mut Media) {
    tokio::time::timeout(Duration::from_secs(5), media.receive()).await.unwrap().unwrap();
}

#[tokio::test]
async fn ports_lead_to_tracks_and_none_is_drowned() {
    let (mut media, camera, [video, audio]) = udp().await;
    for number in 0..100 {
        camera[0].send_to(&rtp(96, 1, number), (LOCAL, video)).await.unwrap();
    }
    camera[2].send_to(&rtp(8, 2, 1), (LOCAL, audio)).await.unwrap();
    camera[3].send_to(&report(2), (LOCAL, audio + 1)).await.unwrap();
    // Until all sockets are known to be readable.
    tokio::task::yield_now().await;
    receive(&mut media).await;
    // The first packets wait for those they may have overtaken.
    media.tick(Instant::now() + Duration::from_millis(100));
    let seen = sections(&mut media);
    assert_eq!(seen.iter().filter(|section| **section == 2).count(), 2, "{seen:?}");
}

#[tokio::test]
async fn reports_go_to_the_cameras_second_port_by_udp() {
    let (mut media, camera, [video, _]) = udp().await;
    camera[0].send_to(&rtp(96, 1, 1), (LOCAL, video)).await.unwrap();
    receive(&mut media).await;
    assert_eq!(media.tick(Instant::now() + Duration::from_secs(10)), None);
    let mut buffer = [0; 100];
    let mut lengths = Vec::new();
    for _ in 0..2 {
        let receiving = camera[1].recv_from(&mut buffer);
        let received = tokio::time::timeout(Duration::from_secs(5), receiving).await;
        lengths.push(received.unwrap().unwrap().0);
    }
    // What opened the way, and the report.
    assert!(lengths[0] == 8 && lengths[1] > 32, "{lengths:?}");
}
