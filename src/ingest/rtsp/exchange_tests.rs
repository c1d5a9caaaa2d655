use super::super::wire::{Heard, Wire};
use super::*;
use crate::ingest::source::Login;
use crate::secret::Secret;

fn exchange() -> Exchange {
    let login = Login { username: "ann".into(), password: Secret::new("window") };
    Exchange::new(Door::new(Some(login), None))
}

fn url() -> Url {
    Url::parse("rtsp://cam/live").unwrap()
}

/// What is asked, as the camera reads it.
fn ask(exchange: &mut Exchange, method: Method) -> String {
    let mut outbox = BytesMut::new();
    exchange.ask(method, &url(), &[("X", "y")], &mut outbox);
    String::from_utf8(outbox.to_vec()).unwrap()
}

/// What an answer means, and what is sent thereupon.
fn hear(exchange: &mut Exchange, answer: &str) -> (Result<Outcome, Fault>, String) {
    let text = format!("RTSP/1.0 {answer}\r\n\r\n");
    let heard = Wire::default().next(&mut BytesMut::from(text.as_bytes()));
    let Ok(Some(Heard::Answer(answer))) = heard else { panic!("{heard:?}") };
    let mut outbox = BytesMut::new();
    let outcome = exchange.hear(answer, &mut outbox);
    (outcome, String::from_utf8(outbox.to_vec()).unwrap())
}

fn answered(exchange: &mut Exchange, answer: &str) -> bool {
    matches!(hear(exchange, answer).0, Ok(Outcome::Answered(..)))
}

#[test]
fn a_request_is_numbered_and_says_who_asks() {
    let mut exchange = exchange();
    let request = ask(&mut exchange, Method::Describe);
    assert!(
        request.starts_with("DESCRIBE rtsp://cam/live RTSP/1.0\r\nCSeq: 1\r\nX: y\r\n"),
        "{request}"
    );
    assert!(
        request.ends_with("\r\n\r\n") && request.contains("User-Agent: porthole/"),
        "{request}"
    );
    assert!(ask(&mut exchange, Method::Play).contains("CSeq: 2\r\n"));
}

#[test]
fn an_answer_is_taken_for_the_one_request_that_is_out_unless_it_is_an_earlier_ones() {
    for number in ["CSeq: 2", "cseq: 2 ", "CSeq: 77", "CSeq: x", "X: y", "CSeq: 0"] {
        let mut exchange = exchange();
        ask(&mut exchange, Method::Options);
        ask(&mut exchange, Method::Describe);
        assert!(!answered(&mut exchange, "200 OK\r\nCSeq: 1"), "the one given up");
        assert!(!answered(&mut exchange, "100 Continue\r\nCSeq: 2"));
        assert!(answered(&mut exchange, &format!("200 OK\r\n{number}")), "{number}");
        assert!(!answered(&mut exchange, "200 OK\r\nCSeq: 2"), "nothing is out any more");
    }
}

#[test]
fn the_first_session_id_is_kept_and_its_timeout_halved() {
    for (header, id, interval) in [
        ("Session: 12;timeout=40", "12", 20),
        ("session:  12 ; Timeout = 10 ", "12", 5),
        ("Session: 12", "12", 30),
        ("Session: 12;timeout=0", "12", 30),
        ("Session: 12;timeout=1", "12", 2),
        ("Session: 12;timeout=86400", "12", 60),
        ("Session: 12;timeout=-5;foo", "12", 30),
        ("Session: a$b-c.d+e;timeout=60;foo=bar", "a$b-c.d+e", 30),
    ] {
        let mut exchange = exchange();
        ask(&mut exchange, Method::Setup);
        assert!(answered(&mut exchange, &format!("200 OK\r\n{header}")));
        let second = ask(&mut exchange, Method::Setup);
        assert!(second.contains(&format!("Session: {id}\r\n")), "{header}: {second}");
        assert!(answered(&mut exchange, "200 OK\r\nSession: 99;timeout=4"));
        assert!(ask(&mut exchange, Method::Play).contains(&format!("Session: {id}\r\n")));
        assert_eq!(exchange.keep_alive_interval(), Duration::from_secs(interval), "{header}");
    }
    let mut none = exchange();
    ask(&mut none, Method::Options);
    assert!(answered(&mut none, "200 OK\r\nSession: 1"));
    assert!(!none.has_session(), "only SETUP begins a session");
}

#[test]
fn a_login_is_given_when_asked_for_and_renewed_on_any_request() {
    let mut exchange = exchange();
    assert!(!ask(&mut exchange, Method::Describe).contains("Authorization"));
    let challenge = |nonce: &str| {
        format!("401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"a\", nonce=\"{nonce}\"")
    };
    let (outcome, again) = hear(&mut exchange, &challenge("1"));
    assert!(matches!(outcome, Ok(Outcome::Again)));
    assert!(
        again.starts_with("DESCRIBE ") && again.contains("nonce=\"1\"") && again.contains("X: y")
    );
    assert!(answered(&mut exchange, "200 OK\r\nCSeq: 2"));

    // An hour later the camera has a new nonce, also for keep-alives.
    let alive = ask(&mut exchange, Method::GetParameter);
    assert!(alive.contains("nonce=\"1\""));
    let (_, again) = hear(&mut exchange, &challenge("2"));
    assert!(again.starts_with("GET_PARAMETER ") && again.contains("nonce=\"2\""), "{again}");
    assert!(answered(&mut exchange, "200 OK"));

    ask(&mut exchange, Method::GetParameter);
    let (refused, again) = hear(&mut exchange, &challenge("2"));
    assert_eq!((refused.err().unwrap().code, again.as_str()), (Code::SourceAuth, ""));
}

#[test]
fn options_prove_no_password() {
    let login = |username: &str| Login { username: username.into(), password: Secret::new("x") };
    let mut exchange = Exchange::new(Door::new(Some(login("decoded")), Some(login("typed"))));
    let challenge = |nonce: &str| {
        format!("401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"a\", nonce=\"{nonce}\"")
    };
    ask(&mut exchange, Method::Describe);
    let _ = hear(&mut exchange, &challenge("1"));
    // It has hung up behind that. Many answer OPTIONS to anybody.
    exchange.reconnected();
    assert!(ask(&mut exchange, Method::Options).contains("username=\"decoded\""));
    assert!(answered(&mut exchange, "200 OK"));
    assert!(ask(&mut exchange, Method::Describe).contains("username=\"decoded\""));
    let (_, again) = hear(&mut exchange, &challenge("2"));
    assert!(again.contains("username=\"typed\""), "the wrong one is not sent again: {again}");
    assert_eq!(hear(&mut exchange, &challenge("3")).0.err().unwrap().code, Code::SourceAuth);
}

#[test]
fn nonces_are_renewed_on_options_for_as_long_as_it_plays() {
    let mut exchange = exchange();
    let challenge = |nonce: u32| {
        format!("401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"a\", nonce=\"{nonce}\"")
    };
    ask(&mut exchange, Method::Describe);
    let _ = hear(&mut exchange, &challenge(0));
    assert!(answered(&mut exchange, "200 OK"));
    for nonce in 1..9 {
        ask(&mut exchange, Method::Options);
        assert!(matches!(hear(&mut exchange, &challenge(nonce)).0, Ok(Outcome::Again)), "{nonce}");
        assert!(answered(&mut exchange, "200 OK"));
    }
}

#[test]
fn keep_alive_is_what_the_camera_advertises() {
    let mut exchange = exchange();
    assert_eq!(exchange.keep_alive(), Method::Options);
    ask(&mut exchange, Method::Options);
    assert!(answered(&mut exchange, "200 OK\r\nPublic: DESCRIBE,GET_PARAMETER, SETUP"));
    assert_eq!(exchange.keep_alive(), Method::GetParameter);

    // It promised too much.
    let Some(Heard::Answer(answer)) =
        Wire::default().next(&mut BytesMut::from(&b"RTSP/1.0 501 No\r\n\r\n"[..])).unwrap()
    else {
        panic!("an answer")
    };
    assert!(exchange.kept(&answer).is_ok());
    assert_eq!(exchange.keep_alive(), Method::Options);
}

#[test]
fn requests_of_the_camera_are_answered() {
    for (method, status) in [
        ("OPTIONS", "200"),
        ("SET_PARAMETER", "200"),
        ("GET_PARAMETER", "200"),
        ("ANNOUNCE", "405"),
        ("TEARDOWN", "405"),
        ("X_VENDOR", "501"),
    ] {
        let asked = Asked { method: method.into(), sequence: Some("7".into()) };
        let mut outbox = BytesMut::new();
        exchange().reply(&asked, &mut outbox);
        let expected = format!("RTSP/1.0 {status} ");
        let text = String::from_utf8(outbox.to_vec()).unwrap();
        assert!(text.starts_with(&expected) && text.contains("CSeq: 7\r\n"), "{text}");
    }
}

#[test]
fn statuses_become_catalogue_codes() {
    for (status, code) in [
        ("401 Unauthorized", Code::SourceAuth),
        ("403 Forbidden", Code::SourceAuth),
        ("404 Not Found", Code::SourceNotFound),
        ("453 Not Enough Bandwidth", Code::SourceBusy),
        ("503 Service Unavailable", Code::SourceBusy),
        ("500 Oops", Code::SourceProtocol),
        ("302 Found\r\nLocation: rtsp://u:p@elsewhere:9/x", Code::SourceProtocol),
    ] {
        let text = format!("RTSP/1.0 {status}\r\n\r\n");
        let heard = Wire::default().next(&mut BytesMut::from(text.as_bytes()));
        let Ok(Some(Heard::Answer(answer))) = heard else { panic!("{heard:?}") };
        let fault = refused(Method::Play, &answer);
        assert_eq!(fault.code, code, "{fault}");
        assert!(fault.detail.starts_with("PLAY: "), "{fault}");
        if status.starts_with("302") {
            assert!(fault.detail.contains("redirects to elsewhere,"), "{fault}");
        }
    }
}

#[test]
fn a_session_id_longer_than_any_cameras_ends_the_session() {
    for (length, is_taken) in [(MAX_SESSION_ID, true), (MAX_SESSION_ID + 1, false)] {
        let mut exchange = exchange();
        ask(&mut exchange, Method::Setup);
        let id = "7".repeat(length);
        match hear(&mut exchange, &format!("200 OK\r\nCSeq: 1\r\nSession: {id};timeout=9")).0 {
            Ok(_) => assert!(is_taken && ask(&mut exchange, Method::Play).contains(&id)),
            Err(fault) => assert!(!is_taken && fault.code == Code::SourceLimit, "{fault}"),
        }
        assert_eq!(exchange.has_session(), is_taken);
    }
}
