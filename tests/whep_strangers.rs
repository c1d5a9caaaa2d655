//! Who is not answered on the WebRTC port, and whose a session is not.
#![allow(clippy::unwrap_used, reason = "a test")]

mod whep_support;

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::middleware::{Next, from_fn};
use futures_util::future::join_all;
use porthole::auth::{Grant, Principal, Proof};
use porthole::egress::whep::Config;
use reqwest::Method;
use ring::hmac;
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind::Video;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use whep_support::player::Player;
use whep_support::{Camera, Gateway, clip, session_of};

/// What a stranger gets to hear in that time is an answer, if anything.
const SOON: Duration = Duration::from_millis(300);

// RFC 8489 §14.3, §14.5; RFC 8445 §16.1.
const USERNAME: u16 = 0x0006;
const INTEGRITY: u16 = 0x0008;
const PRIORITY: u16 = 0x0024;
const CONTROLLING: u16 = 0x802a;
const FINGERPRINT: u16 = 0x8028;

/// A session's credentials, and the viewer's `ice-ufrag`.
#[derive(Clone)]
struct Session {
    ufrag: String,
    password: String,
    theirs: String,
}

impl Session {
    fn of(offer: &str, answer: &str) -> Self {
        let of = |text: &str, name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned()
        };
        let (ufrag, password) = (of(answer, "a=ice-ufrag:"), of(answer, "a=ice-pwd:"));
        Self { ufrag, password, theirs: of(offer, "a=ice-ufrag:") }
    }
}

async fn session(gateway: &Gateway) -> (Session, Player) {
    let (player, offer) = Player::offering(&[Video]).await;
    let created = player.post(&format!("{}/yard/whep", gateway.url), &offer).await;
    assert_eq!(created.status(), 201);
    (Session::of(&offer, &created.text().await.unwrap()), player)
}

/// A viewer's connectivity check (RFC 8445 §7.1.1), whole but for `without`.
fn check(session: &Session, password: &str, without: Option<u16>) -> Vec<u8> {
    let mut out = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    out.extend(rand::random::<[u8; 12]>());
    let mut add = |kind: u16, value: &dyn Fn(&[u8]) -> Vec<u8>, size: usize| {
        if without == Some(kind) {
            return;
        }
        // The length that what is hashed has to tell already counts this one.
        let total = out.len() - 20 + 4 + size.next_multiple_of(4);
        out[2..4].copy_from_slice(&(total as u16).to_be_bytes());
        let value = value(&out);
        out.extend(kind.to_be_bytes());
        out.extend((size as u16).to_be_bytes());
        out.extend(value);
        out.resize(out.len().next_multiple_of(4), 0);
    };
    let name = format!("{}:{}", session.ufrag, session.theirs);
    add(USERNAME, &|_| name.clone().into(), name.len());
    add(PRIORITY, &|_| 1_853_824_767_u32.to_be_bytes().into(), 4);
    add(CONTROLLING, &|_| vec![1; 8], 8);
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
    add(INTEGRITY, &|before| hmac::sign(&key, before).as_ref().into(), 20);
    let sum = |before: &[u8]| rtc::stun::fingerprint::fingerprint_value(before);
    add(FINGERPRINT, &|before| sum(before).to_be_bytes().into(), 4);
    out
}

/// A DTLS ClientHello, as far as its record's header (RFC 6347 §4.1).
const HELLO: &[u8] = &[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0];

async fn answered(stranger: &UdpSocket) -> Option<Vec<u8>> {
    let mut buffer = [0; 2_000];
    let came = tokio::time::timeout(SOON, stranger.recv(&mut buffer)).await.ok()?;
    Some(buffer[..came.unwrap()].to_vec())
}

async fn stranger(gateway: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(gateway).await.unwrap();
    socket
}

async fn gateway() -> (Gateway, SocketAddr, Camera) {
    let (gateway, address) = Gateway::on_loopback().await;
    let (_, publisher) = gateway.stream("yard");
    let mut camera = Camera::new(publisher, clip(), None);
    camera.publish();
    (gateway, address, camera)
}

#[tokio::test]
async fn nobody_is_answered_before_a_check_has_proven_to_be_the_viewers() {
    let (gateway, address, _camera) = gateway().await;
    let (session, _player) = session(&gateway).await;
    let nobody = Session { ufrag: "nobody".to_owned(), ..session.clone() };
    let good = || check(&session, &session.password, None);
    let cut = good()[..40].to_vec();
    let mut altered = check(&session, &session.password, Some(FINGERPRINT));
    altered[8] ^= 1;
    let words: [(&str, Vec<u8>); 12] = [
        ("a check of no session", check(&nobody, &session.password, None)),
        ("one signed with another password", check(&session, &"x".repeat(32), None)),
        ("one that is not signed", check(&session, &session.password, Some(INTEGRITY))),
        ("one that names nobody", check(&session, &session.password, Some(USERNAME))),
        ("one that was altered", altered),
        ("one that is cut short", cut),
        ("a STUN request of the old kind", [&[0, 1, 0, 0][..], &[7; 16]].concat()),
        ("DTLS", HELLO.to_vec()),
        ("RTP", [&[0x80, 96][..], &[0; 30]].concat()),
        ("RTCP", [&[0x80, 201, 0, 1][..], &[0; 20]].concat()),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("nothing", Vec::new()),
    ];
    for (what, words) in words {
        let stranger = stranger(address).await;
        stranger.send(&words).await.unwrap();
        assert_eq!(answered(&stranger).await, None, "{what}");
        // Nor does it open the way for what comes behind it.
        stranger.send(HELLO).await.unwrap();
        assert_eq!(answered(&stranger).await, None, "DTLS behind {what}");
    }

    // The viewer itself is: what was sent above is no nonsense.
    let viewer = stranger(address).await;
    viewer.send(&good()).await.unwrap();
    let answer = answered(&viewer).await.expect("the viewer's check is answered");
    assert_eq!(answer[..2], [1, 1], "a binding success");
    // From elsewhere its session takes nothing.
    let other = stranger(address).await;
    other.send(HELLO).await.unwrap();
    assert_eq!(answered(&other).await, None);
    let discarded = |reason: &str| {
        let line = format!(r#"porthole_udp_discarded_packets_total{{reason="{reason}"}}"#);
        gateway.metric(&line).unwrap()
    };
    // Of fourteen greetings none reached a session, nor did what names none.
    assert_eq!((discarded("no_session"), discarded("not_webrtc")), (20.0, 1.0));
}

#[tokio::test]
async fn on_every_address_viewers_are_answered_over_ipv6_and_ipv4_by_udp_and_tcp() {
    let config = Config { listen: "[::]:0".parse().unwrap(), ..Config::default() };
    let gateway = Gateway::with(config).await;
    let port = gateway.whep.local_addr().unwrap().port();
    let (_, publisher) = gateway.stream("yard");
    let mut camera = Camera::new(publisher, clip(), None);
    camera.publish();
    let (player, offer) = Player::offering(&[Video]).await;
    for (host, ip) in [("[::1]:8080", "::1"), ("127.0.0.1:8080", "127.0.0.1")] {
        let request = player.http.post(format!("{}/yard/whep", gateway.url)).header("host", host);
        let request = request.header("content-type", "application/sdp").body(offer.clone());
        let answer = request.send().await.unwrap().text().await.unwrap();
        let first = answer.lines().find(|line| line.starts_with("a=candidate:")).unwrap();
        assert_eq!(first, format!("a=candidate:1 1 udp 2130706431 {ip} {port} typ host"));
        let tcp = format!(" tcp 1520435199 {ip} {port} typ host tcptype passive");
        assert!(answer.lines().any(|line| line.ends_with(&tcp)), "{answer}");

        let session = Session::of(&offer, &answer);
        let socket = UdpSocket::bind((ip, 0)).await.unwrap();
        socket.connect((ip, port)).await.unwrap();
        socket.send(&check(&session, &session.password, None)).await.unwrap();
        assert_eq!(answered(&socket).await.expect("an answer over UDP")[..2], [1, 1], "{ip}");
        let check = check(&session, &session.password, None);
        let mut stream = TcpStream::connect((ip, port)).await.unwrap();
        stream.write_all(&(check.len() as u16).to_be_bytes()).await.unwrap();
        stream.write_all(&check).await.unwrap();
        let mut head = [0; 4];
        let read = stream.read_exact(&mut head);
        tokio::time::timeout(SOON * 10, read).await.expect("an answer over TCP").unwrap();
        assert_eq!(head[2..], [1, 1], "{ip}");
    }
}

/// Whoever the header `x-name` says; the gate of the real gateway asks for more.
async fn named(headers: HeaderMap, mut request: Request, next: Next) -> axum::response::Response {
    if let Some(name) = headers.get("x-name") {
        let proof = Proof::Network([127, 0, 0, 1].into());
        let name = format!("user:{}", name.to_str().unwrap());
        request.extensions_mut().insert(Principal::known(name, Grant::every_stream(), proof));
    }
    next.run(request).await
}

#[tokio::test]
async fn a_session_is_its_principals_whoever_else_knows_its_url() {
    let (gateway, _) = Gateway::on_loopback_behind(|routes| routes.layer(from_fn(named))).await;
    let (_, publisher) = gateway.stream("yard");
    let mut camera = Camera::new(publisher, clip(), None);
    camera.publish();
    let (player, offer) = Player::offering(&[Video]).await;
    let endpoint = url::Url::parse(&format!("{}/yard/whep", gateway.url)).unwrap();
    let ask = async |method: Method, url: &url::Url, name: Option<&str>, body: &str| {
        let kind = if body.starts_with("v=0") { "sdp" } else { "trickle-ice-sdpfrag" };
        let request = player.http.request(method, url.clone()).body(body.to_owned());
        let request = request.header("content-type", format!("application/{kind}"));
        let request = request.header("if-match", "*");
        let request = name.iter().fold(request, |request, name| request.header("x-name", *name));
        request.send().await.unwrap()
    };
    for (owner, others) in [(Some("ann"), [Some("bob"), None]), (None, [Some("ann"), Some("bob")])]
    {
        let created = ask(Method::POST, &endpoint, owner, &offer).await;
        assert_eq!(created.status(), 201);
        let session = session_of(endpoint.as_str(), created.headers());
        let candidate = "a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n";
        for other in others {
            for method in [Method::GET, Method::PATCH, Method::DELETE] {
                let refused = ask(method.clone(), &session, other, candidate).await;
                assert_eq!(refused.status(), 404, "{owner:?}: {method} by {other:?}");
            }
        }
        assert_eq!(gateway.whep.sessions(), 1);
        assert_eq!(ask(Method::PATCH, &session, owner, candidate).await.status(), 204);
        assert_eq!(ask(Method::DELETE, &session, owner, "").await.status(), 200);
        assert_eq!(gateway.whep.sessions(), 0);
    }
}

/// As many as may wait for their viewers for longer than a second.
const MOST: usize = 128;

#[tokio::test]
async fn offers_whose_viewers_never_come_make_room_and_those_heard_of_stay() {
    let (gateway, address, _camera) = gateway().await;
    let (player, offer) = Player::offering(&[Video]).await;
    let endpoint = url::Url::parse(&format!("{}/yard/whep", gateway.url)).unwrap();
    let post = async || {
        let created = player.post(endpoint.as_str(), &offer).await;
        assert_eq!(created.status(), 201);
        let url = session_of(endpoint.as_str(), created.headers());
        (url, Session::of(&offer, &created.text().await.unwrap()))
    };
    let is_there =
        async |url: &url::Url| player.http.get(url.clone()).send().await.unwrap().status() != 404;
    let (silent, _) = post().await;
    let (checking, session) = post().await;
    let viewer = stranger(address).await;
    viewer.send(&check(&session, &session.password, None)).await.unwrap();
    viewer.recv(&mut [0; 2_000]).await.unwrap();
    // Its candidates come one by one.
    let (trickling, _) = post().await;
    let request = player.http.patch(trickling.clone()).header("if-match", "*");
    let request = request.header("content-type", "application/trickle-ice-sdpfrag");
    let request = request.body("a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n");
    assert_eq!(request.send().await.unwrap().status(), 204);

    for _ in 0..MOST / 16 + 2 {
        join_all((0..16).map(|_| post())).await;
    }
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let (last, _) = post().await;
    let begun = std::time::Instant::now();
    while gateway.whep.sessions() > MOST + 2 {
        assert!(begun.elapsed() < Duration::from_secs(5), "{} are there", gateway.whep.sessions());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!is_there(&silent).await, "it has waited longest");
    for url in [checking, trickling, last] {
        assert!(is_there(&url).await, "{url}");
    }
    let told = r#"porthole_session_setups_total{output="whep",result="viewer.limit"}"#;
    assert!(gateway.metric(told).unwrap() >= 30.0);
}
