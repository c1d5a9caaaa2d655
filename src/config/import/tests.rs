//! What two other programs' files become.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::config::{Config, Layers};
use crate::ingest::{Transport, Trust};

const GO2RTC: &str = include_str!("tests/go2rtc.yaml");
const MEDIAMTX: &str = include_str!("tests/mediamtx.yml");

fn imported(text: &str) -> Imported {
    import(Path::new("other.yaml"), text).unwrap_or_else(|faults| panic!("{faults}"))
}

/// The configuration that the result is.
fn loaded(imported: &Imported) -> Config {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &imported.yaml).unwrap();
    let environment = [("YARD_PW".to_owned(), "y$rd".to_owned())].into();
    let layers = Layers { file: Some(file.path().to_owned()), environment, ..Layers::default() };
    layers.load().unwrap_or_else(|faults| panic!("{}{faults}", imported.yaml))
}

/// Places and keys of the notes.
fn noted(imported: &Imported) -> Vec<String> {
    imported.notes.iter().map(|note| format!("{} {}", line(note), note.key)).collect()
}

fn line(note: &ConfigFault) -> u64 {
    match note.origin {
        Some(Origin::File { line, .. }) => line,
        _ => 0,
    }
}

/// Lines of a fixture that end in `# left`: what is not carried over as it is.
fn marked(text: &str) -> Vec<u64> {
    let lines = text.lines().zip(1..);
    lines.filter(|(text, _)| text.ends_with("# left")).map(|(_, line)| line).collect()
}

fn lines(imported: &Imported) -> Vec<u64> {
    let mut lines: Vec<u64> = imported.notes.iter().map(line).collect();
    lines.dedup();
    lines
}

fn logins(config: &Config) -> Vec<(String, String)> {
    let login = |stream: &crate::config::StreamConfig| {
        let login = stream.source.login.as_ref();
        let login = login.map(|login| format!("{}:{}", login.username, login.password.expose()));
        (stream.name.to_string(), login.unwrap_or_default())
    };
    config.streams.iter().map(login).collect()
}

#[test]
fn what_no_viewer_could_use_is_not_carried() {
    let go2rtc = "streams: {}\nwebrtc:\n  candidates: [https://cam.example, cam.example]\n  ice_servers:\n\
        \x20   - urls: [turn:a]\n    - urls: [stun:b]\n";
    let mediamtx = "paths: {}\nwebrtcAdditionalHosts: [https://cam.example, cam.example]\n\
        webrtcICEServers2:\n  - url: turn:a\n  - url: stun:b\n\
        \x20 - { url: turn:c, username: AUTH_SECRET, password: s }\n";
    for (text, left) in [(go2rtc, 2), (mediamtx, 3)] {
        let imported = imported(text);
        let config = loaded(&imported);
        assert_eq!(config.webrtc.advertise, ["cam.example"]);
        let urls: Vec<_> = config.webrtc.ice_servers.iter().flat_map(|one| &one.urls).collect();
        assert_eq!(urls, ["stun:b"]);
        assert_eq!(imported.notes.len(), left, "{:?}", imported.notes);
    }
}

#[test]
fn go2rtcs_cameras_listeners_and_login_are_carried() {
    let imported = imported(GO2RTC);
    let config = loaded(&imported);
    let own = |list: &[(&str, &str)]| -> Vec<_> {
        list.iter().map(|(name, login)| ((*name).to_owned(), (*login).to_owned())).collect()
    };
    assert_eq!(
        logins(&config),
        own(&[
            ("front-door", "admin:pa$$word"),
            ("yard", "viewer:y$rd"),
            ("yard-2", ""),
            ("garage", ""),
            ("unifi", ""),
            ("hall", ""),
            ("any", ""),
        ])
    );
    assert_eq!(config.listen.to_string(), "0.0.0.0:1984");
    assert_eq!(config.rtsp.listen.unwrap().to_string(), "0.0.0.0:8554");
    assert_eq!(config.webrtc.listen.to_string(), "0.0.0.0:8555");
    assert_eq!(config.webrtc.advertise, ["192.168.1.2:8555"]);
    assert_eq!(config.webrtc.ice_servers[0].credential.as_deref(), Some("t$rn"));
    let by_name = |name: &str| {
        let found = config.streams.iter().find(|stream| stream.name.to_string() == name);
        &found.unwrap().source
    };
    assert_eq!(by_name("garage").transport, Transport::Udp);
    assert!(matches!(by_name("unifi").tls, Trust::Anybody));
    let rules = config.access.as_ref().unwrap();
    assert_eq!(rules.users.len(), 1);
    assert!(
        imported.yaml.contains(" $argon2id$v=19$"),
        "as the manual writes it: {}",
        imported.yaml
    );
    assert!(rules.users[0].grant.admin);
}

#[test]
fn each_line_of_go2rtcs_that_is_left_is_named_and_no_other() {
    let imported = imported(GO2RTC);
    assert_eq!(lines(&imported), marked(GO2RTC), "{:#?}", noted(&imported));
}

#[test]
fn mediamtxs_cameras_listeners_and_users_are_carried() {
    let imported = imported(MEDIAMTX);
    let config = loaded(&imported);
    let names: Vec<_> = config.streams.iter().map(|stream| stream.name.to_string()).collect();
    assert_eq!(names, ["gate", "tunnel", "roof-north", "secure"]);
    let sources: Vec<_> = config.streams.iter().map(|stream| &stream.source).collect();
    assert_eq!(sources[0].transport, Transport::Tcp, "of pathDefaults");
    assert!(sources[0].on_demand, "of pathDefaults");
    assert_eq!(sources[1].transport, Transport::Http);
    assert_eq!(sources[2].transport, Transport::Udp);
    assert!(!sources[2].on_demand);
    assert!(matches!(sources[3].tls, Trust::Pinned(_)));
    assert_eq!(config.listen.to_string(), "0.0.0.0:8889");
    assert_eq!(config.admin_listen.to_string(), "127.0.0.1:9998");
    assert_eq!(config.webrtc.listen.to_string(), "0.0.0.0:8189");
    assert_eq!(config.hls.window().as_secs(), 28);
    assert_eq!(config.hls.part.as_millis(), 200);
    assert!(config.hls.always);
    let rules = config.access.as_ref().unwrap();
    let users: Vec<_> =
        rules.users.iter().map(|user| (user.name.as_str(), user.grant.admin)).collect();
    assert_eq!(users, [("ann", false), ("root", true)]);
    let ann: Vec<_> = rules.users[0].grant.streams.iter().map(|p| p.as_str()).collect();
    assert_eq!(ann, ["gate"]);
    assert!(rules.allow_from.contain([10, 1, 2, 3].into()));
    assert!(config.policy.scrape_from.contain([10, 9, 0, 1].into()));
}

#[test]
fn each_line_of_mediamtxs_that_is_left_is_named_and_no_other() {
    let imported = imported(MEDIAMTX);
    assert_eq!(lines(&imported), marked(MEDIAMTX), "{:#?}", noted(&imported));
}

#[test]
fn a_note_repeats_no_value() {
    for text in [GO2RTC, MEDIAMTX] {
        for note in imported(text).notes {
            let said = note.to_string();
            for secret in ["hidden", "pa$$word", "t$rn", "apipw", "s3cret"] {
                assert!(!said.contains(secret), "{said}");
            }
        }
    }
}

#[test]
fn what_was_open_to_everybody_is_open_to_this_machine() {
    let go2rtc = "api:\n  listen: :1984\nrtsp:\n  listen: 0.0.0.0:8554\nstreams:\n  a: rtsp://a/\n";
    let mediamtx = "webrtcAddress: :1984\nrtspAddress: :8554\nauthInternalUsers:\n- user: any\n  \
                    permissions:\n  - action: read\npaths:\n  a:\n    source: rtsp://a/\n";
    for text in [go2rtc, mediamtx] {
        let imported = imported(text);
        let config = loaded(&imported);
        assert_eq!(config.listen.to_string(), "127.0.0.1:1984");
        assert_eq!(config.rtsp.listen.unwrap().to_string(), "127.0.0.1:8554");
        assert!(config.access.is_none());
        let notes: Vec<_> = imported.notes.iter().map(ToString::to_string).collect();
        assert_eq!(
            notes.iter().filter(|note| note.contains("until `auth` says")).count(),
            2,
            "{notes:?}"
        );
    }
}

#[test]
fn a_callback_is_carried_and_a_key_set_is_not() {
    let http = "authMethod: http\nauthHTTPAddress: http://127.0.0.1:9/auth\nwebrtcAddress: :1\n";
    let config = loaded(&imported(http));
    assert_eq!(config.access.unwrap().http.unwrap().url.as_str(), "http://127.0.0.1:9/auth");
    let jwt = imported("authMethod: jwt\nauthJWTJWKS: https://a/\nwebrtcAddress: :1\n");
    assert_eq!(noted(&jwt), ["1 authMethod", "2 authJWTJWKS", "3 webrtcAddress"]);
}

#[test]
fn what_is_neither_is_refused() {
    for text in ["", "a: b\n", "- a\n", "cameras:\n  a: {}\n", "a: [\n"] {
        assert!(import(Path::new("other.yaml"), text).is_err(), "{text}");
    }
}

proptest! {
    /// Names, URLs and passwords as people write them, and worse.
    #[test]
    fn whatever_is_carried_is_a_valid_configuration(
        streams in prop::collection::vec(("[ -~]{1,80}", "(ffmpeg:)?rtsps?://([ -~]{0,12}@)?[a-z$]{1,9}[ -~]{0,20}"), 0..6),
        user in "[ -~]{0,9}",
        address in "[ -~]{0,12}|:[0-9]{1,6}|127\\.0\\.0\\.1:[0-9]{1,4}",
        texts in prop::collection::vec("[ -~]{0,12}", 4),
        is_mediamtx: bool,
    ) {
        let quoted = |text: &str| serde_json::to_string(text).unwrap();
        let mut text = String::new();
        let mut seen = std::collections::BTreeSet::new();
        for (name, url) in streams.iter().filter(|(name, _)| seen.insert(name.clone())) {
            // A variable need not be set here.
            let url = quoted(&url.replace('{', "("));
            let url = if is_mediamtx { format!("{{ source: {url} }}") } else { url };
            text.push_str(&format!("  {}: {url}\n", quoted(name)));
        }
        let body = if text.is_empty() { " {}\n".to_owned() } else { format!("\n{text}") };
        let plain: Vec<String> = texts.iter().map(|text| quoted(&text.replace('{', "("))).collect();
        let [a, b, c, d] = &plain[..] else { unreachable!() };
        let (user, address) = (quoted(&user), quoted(&address));
        // Hashing takes its time: `user` has no password here.
        let text = if is_mediamtx {
            format!(
                "paths:{body}webrtcAddress: {address}\nrtspAddress: {address}\nhlsPartDuration: {a}\n\
                 webrtcAllowOrigins: [{b}]\nwebrtcTrustedProxies: [{c}]\nwebrtcAdditionalHosts: [{d}]\n\
                 webrtcICEServers2: [{{ url: \"turn:a\", username: {a}, password: {b} }}]\n\
                 authInternalUsers: [{{ user: {user}, ips: [{c}], permissions: [{{ action: read, path: {d} }}] }}]\n",
            )
        } else {
            format!(
                "streams:{body}api: {{ listen: {address}, username: {user}, origin: {a} }}\n\
                 webrtc: {{ listen: {address}, candidates: [{b}], ice_servers: [{{ urls: [\"stun:a\"], \
                 username: {c}, credential: {d} }}] }}\n",
            )
        };
        loaded(&imported(&text));
    }
}
