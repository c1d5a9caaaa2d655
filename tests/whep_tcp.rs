//! Viewers whose network lets no UDP through (ICE-TCP, RFC 6544), and strangers
//! who connect to the same port.
#![allow(clippy::unwrap_used, reason = "a test")]

mod whep_support;

use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use porthole::egress::whep::{Config, Metrics, Whep};
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind::Video;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use whep_support::player::{Event, Player, without_rtx};
use whep_support::tcp::TcpPlayer;
use whep_support::{Camera, Clip, Gateway, clip, eventually};

#[tokio::test]
async fn a_viewer_on_tcp_alone_sees_every_packet() {
    let (gateway, _) = Gateway::on_loopback().await;
    let (_stream, publisher) = gateway.stream("yard");
    let camera = Camera::new(publisher, clip(), None).run(10);
    let mut player = TcpPlayer::play(&format!("{}/yard/whep", gateway.url)).await;
    player.until(300).await;
    let numbers: Vec<u16> = player.packets.iter().map(|p| p.header.sequence_number).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "{numbers:?}");

    // It leaves: the gateway says goodbye, and closes.
    let client = reqwest::Client::new();
    assert_eq!(client.delete(player.session.clone()).send().await.unwrap().status(), 200);
    let closed = async { while player.step(true).await {} };
    tokio::time::timeout(Duration::from_secs(5), closed).await.expect("it is closed");
    camera.abort();
}

/// Pictures of 20 kB, each of them a key frame.
fn heavy() -> &'static Clip {
    let mut pictures = clip().pictures.clone();
    let key = pictures[0].data.repeat(1 + 20_000 / pictures[0].data.len());
    pictures.truncate(1);
    pictures[0].data = key.into();
    Box::leak(Box::new(Clip { avc: clip().avc.clone(), pictures }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_does_not_read_is_let_go_and_the_others_lose_nothing() {
    let (gateway, _) = Gateway::on_loopback().await;
    let (_stream, publisher) = gateway.stream("yard");
    let camera = Camera::new(publisher, heavy(), None).run(1);
    let url = format!("{}/yard/whep", gateway.url);
    let mut deaf = TcpPlayer::play(&url).await;
    deaf.until(20).await;
    let mut good = TcpPlayer::play(&url).await;
    // It goes on sending, so that nobody takes it for dead.
    let deaf = tokio::spawn(async move {
        loop {
            deaf.step(false).await;
        }
    });
    let ended = r#"porthole_session_duration_seconds_count{end="slow",output="whep"}"#;
    let limit = Instant::now() + Duration::from_secs(40);
    while gateway.metric(ended) != Some(1.0) {
        assert!(Instant::now() < limit, "it is still served");
        assert!(good.step(true).await);
    }
    deaf.abort();
    let numbers: Vec<u16> = good.packets.iter().map(|p| p.header.sequence_number).collect();
    assert!(numbers.len() > 1_000, "{}", numbers.len());
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)),
        "a packet is missing"
    );
    assert_eq!(gateway.whep.sessions(), 1);
    camera.abort();
}

/// Whether the other side closes within that time, without a word.
async fn closes(stream: &mut TcpStream, time: Duration) -> bool {
    let read = tokio::time::timeout(time, stream.read(&mut [0; 64])).await;
    matches!(read, Ok(Ok(0) | Err(_)))
}

#[tokio::test]
async fn strangers_are_closed_without_a_word() {
    let (gateway, address) = Gateway::on_loopback().await;
    let mut check = vec![0, 1, 0, 16, 0x21, 0x12, 0xa4, 0x42];
    check.extend([7; 12]);
    check.extend([0, 6, 0, 11]);
    check.extend(b"nobody:here\0");
    let framed = [&(check.len() as u16).to_be_bytes()[..], &check].concat();
    let words: [&[u8]; 4] = [b"GET / HTTP/1.1\r\n\r\n", &[0, 0], &[0, 4, 22, 254, 253, 0], &framed];
    for words in words {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(words).await.unwrap();
        assert!(closes(&mut stream, Duration::from_secs(3)).await, "{words:?}");
    }
    // More than a browser opens are not taken, and those that say nothing do
    // not stay.
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let mut refused = 0;
    for stream in &mut silent {
        refused += usize::from(closes(stream, Duration::from_millis(20)).await);
    }
    assert_eq!(refused, 8);
    for stream in &mut silent {
        assert!(closes(stream, Duration::from_secs(8)).await);
    }
    let unproven = r#"porthole_webrtc_ice_failures_total{stage="tcp_unproven"}"#;
    assert_eq!(gateway.metric(unproven), Some(32.0));

    // Others are served as ever.
    let (_stream, publisher) = gateway.stream("yard");
    let camera = Camera::new(publisher, clip(), None).run(10);
    TcpPlayer::play(&format!("{}/yard/whep", gateway.url)).await.until(1).await;
    camera.abort();
}

#[tokio::test]
async fn a_port_that_tcp_cannot_have_is_a_fault_that_says_so() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = Config { listen: taken.local_addr().unwrap(), ..Config::default() };
    let error = Whep::bind(config, Metrics::unregistered()).await.err().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert!(error.to_string().starts_with("TCP: "), "{error}");
}

#[tokio::test]
async fn udp_is_there_beside_it() {
    let (gateway, _) = Gateway::on_loopback().await;
    let (_stream, publisher) = gateway.stream("yard");
    let camera = Camera::new(publisher, clip(), None).run(10);
    let url = format!("{}/yard/whep", gateway.url);
    let mut tcp = TcpPlayer::play(&url).await;
    tcp.until(1).await;
    let (mut udp, offer) = Player::offering(&[Video]).await;
    udp.play(&url, &offer).await;
    udp.until("a packet", |event| matches!(event, Event::Rtp("video", _)).then_some(())).await;
    camera.abort();
}

#[tokio::test]
async fn pictures_come_over_ipv6_by_udp_and_by_tcp() {
    // Where IPv4 is there, too.
    let config = Config { listen: "[::]:0".parse().unwrap(), ..Config::default() };
    let gateway = Gateway::with(config).await;
    let (_stream, publisher) = gateway.stream("yard");
    let camera = Camera::new(publisher, clip(), None).run(10);
    let url = format!("{}/yard/whep", gateway.url);
    let way = |wanted| {
        let list = gateway.table.list();
        let ways = list.iter().filter(|one| one.news.transport == Some(wanted));
        ways.filter_map(|one| one.news.remote).map(|remote| remote.ip()).next()
    };
    let (mut udp, offer) = Player::offering_from("[::1]:0", &[Video]).await;
    udp.play(&url, &without_rtx(&offer)).await;
    let whole = |event| matches!(event, Event::Rtp("video", p) if p.header.marker).then_some(());
    for _ in 0..10 {
        udp.until("a picture", whole).await;
    }
    let here = Some(Ipv6Addr::LOCALHOST.into());
    eventually("the table says how", || way("udp") == here).await;

    let mut tcp = TcpPlayer::play_from(&url, Ipv6Addr::LOCALHOST.into()).await;
    tcp.until(100).await;
    assert!(tcp.packets.iter().filter(|packet| packet.header.marker).count() >= 10);
    eventually("the table says how", || way("tcp") == here).await;
    camera.abort();
}
