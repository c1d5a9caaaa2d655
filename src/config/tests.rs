//! What users type, and what they are told.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use super::*;
use crate::ingest::{AfterLoss, Transport, Trust};

struct Written {
    layers: Layers,
    file: tempfile::NamedTempFile,
}

fn written(yaml: &str) -> Written {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(yaml.as_bytes()).unwrap();
    let layers = Layers { file: Some(file.path().to_owned()), ..Layers::default() };
    Written { layers, file }
}

impl Written {
    fn with(mut self, variables: &[(&str, &str)]) -> Self {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.layers.environment = variables.iter().map(own).collect::<BTreeMap<_, _>>();
        self
    }

    fn loaded(&self) -> Config {
        match self.layers.load() {
            Ok(config) => config,
            Err(faults) => panic!("{faults}"),
        }
    }

    /// Faults without the file's name.
    fn faults(&self) -> Vec<String> {
        let name = format!("{}:", self.file.path().display());
        let faults = self.layers.load().err().expect("this must not load");
        faults.iter().map(|fault| fault.to_string().replace(&name, "")).collect()
    }
}

#[test]
fn an_empty_file_and_no_file_mean_the_defaults() {
    let none = Layers::default().load().unwrap();
    for config in [none, written("").loaded(), written("# nothing\n").loaded()] {
        assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(config.admin_listen.to_string(), "127.0.0.1:9998");
        assert!(config.streams.is_empty());
    }
}

#[test]
fn both_forms_of_a_stream_are_read() {
    let secret = written("s3cret\n");
    let yaml = format!(
        "streams:\n  front-door: rtsp://viewer:${{FRONT_PW}}@10.0.0.5/stream1\n  yard:\n    \
         source: rtsp://10.0.0.6/main\n    username: viewer\n    password_file: {}\n    \
         transport: udp\n    after_loss: show\n    on_demand: true\n",
        secret.file.path().display()
    );
    let config = written(&yaml).with(&[("FRONT_PW", "a b")]).loaded();
    let [front, yard] = &config.streams[..] else { panic!() };
    assert_eq!((front.name.as_str(), yard.name.as_str()), ("front-door", "yard"));
    let (short, long) = (&front.source, &yard.source);
    assert_eq!(short.login.as_ref().unwrap().password.expose(), "a b");
    let login = long.login.as_ref().unwrap();
    assert_eq!((login.username.as_str(), login.password.expose()), ("viewer", "s3cret"));
    assert_eq!((long.transport, long.on_demand), (Transport::Udp, true));
    assert_eq!((short.after_loss, long.after_loss), (AfterLoss::Hold, AfterLoss::Show));
    let faults =
        written("streams: { a: { source: \"rtsp://a/\", after_loss: freeze } }\n").faults();
    assert!(faults[0].contains("streams.a.after_loss: after_loss is hold or show"), "{faults:?}");
}

#[test]
fn whom_an_encrypted_camera_must_be_is_read() {
    let hex = "ab".repeat(32);
    let stream =
        |tls: &str| format!("streams: {{ a: {{ source: \"rtsps://a/\", tls: {tls} }} }}\n");
    let trust = |tls: &str| written(&stream(tls)).loaded().streams[0].source.tls.clone();
    assert_eq!(trust("{ verify: false }"), Trust::Anybody);
    assert_eq!(trust("{ verify: true }"), Trust::System);
    let pinned = format!("sha256:{hex}").parse().map(Trust::Pinned);
    assert_eq!(Ok(trust(&format!("{{ fingerprint: \"sha256:{hex}\" }}"))), pinned);
    let made = rcgen::generate_simple_self_signed(vec!["cam".into()]).unwrap();
    let (ca, empty) = (written(&made.cert.pem()), written("hello"));
    let ca_file = |written: &Written| format!("{{ ca_file: {} }}", written.file.path().display());
    assert!(matches!(trust(&ca_file(&ca)), Trust::Authorities(_)));
    for (tls, words) in [
        (ca_file(&empty), "no certificate"),
        ("{ ca_file: /nowhere/ca.pem }".into(), "cannot read /nowhere/ca.pem"),
        ("{ fingerprint: \"sha256:ab\" }".into(), "64 hex digits"),
        ("{ verify: maybe }".into(), "true or false"),
        (format!("{{ verify: false, fingerprint: \"sha256:{hex}\" }}"), "give one of"),
        ("{ pin: x }".into(), "unknown key"),
    ] {
        let faults = written(&stream(&tls)).faults();
        assert!(faults.len() == 1 && faults[0].contains(words), "{tls}: {faults:?}");
    }
    let udp = stream("{ verify: true }, transport: udp");
    assert!(written(&udp).faults()[0].contains("unencrypted"));
    let plain = stream("{ verify: false }").replace("rtsps", "rtsp");
    assert!(written(&plain).faults()[0].contains("`tls` is for an rtsps:// source"));
}

#[test]
fn a_substream_is_asked_for_as_its_stream_is_and_on_demand() {
    let yaml = "streams:\n  yard:\n    source: rtsp://10.0.0.6/main\n    substream: rtsp://10.0.0.6/sub\n    \
                username: viewer\n    password: pw\n    transport: udp\n    after_loss: show\n";
    let config = written(yaml).loaded();
    let sub = config.streams[0].substream.as_ref().unwrap();
    assert_eq!(sub.url().as_str(), "rtsp://10.0.0.6/sub");
    assert_eq!(sub.login.as_ref().unwrap().username, "viewer");
    assert_eq!((sub.transport, sub.after_loss), (Transport::Udp, AfterLoss::Show));
    assert!(sub.on_demand && !config.streams[0].source.on_demand);
}

#[test]
fn a_camera_url_named_twice_is_a_fault_that_says_where() {
    let yaml = "streams:\n  door: rtsp://ann:s3cret@cam/live\n  gate:\n    source: rtsp://CAM:554/live\n    \
                substream: rtsp://cam/sub\n  yard: { source: \"rtsp://cam/x\", substream: \"rtsp://cam/x\" }\n";
    let faults = written(yaml).faults();
    let [gate, yard] = &faults[..] else { panic!("{faults:?}") };
    assert!(
        gate.starts_with(
            "4:13: streams.gate.source: this camera URL is `streams.door` already (2:9)"
        ),
        "{gate}"
    );
    assert!(
        yard.starts_with("6:46: streams.yard.substream: ") && yard.contains("(6:19)"),
        "{yard}"
    );
    assert!(faults.iter().all(|fault| fault.contains("name it once") && !fault.contains("s3cret")));

    let urls = vec!["rtsp://cam/live".to_owned(), "rtsp://bob@cam/live".to_owned()];
    let faults = Layers { urls, ..Layers::default() }.load().err().unwrap().to_string();
    let words =
        "argument 2: streams.camera-2: this camera URL is `streams.camera-1` already (argument 1)";
    assert!(faults.starts_with(words), "{faults}");
}

#[test]
fn all_faults_are_reported_at_once_with_line_and_column() {
    let yaml = "listne: 1.2.3.4:80\nstreams:\n  Yard: rtsp://a/\n  gate: http://a/\n  door:\n    \
                sorce: rtsp://a/\nhls:\n  part: 5\n  window: 2h\n  dir: /nowhere\nauth: basic\n";
    assert_eq!(
        written(yaml).faults(),
        [
            "1:1: listne: unknown key; did you mean `listen`?",
            "3:3: streams: `Yard` is not a stream name: use 1 to 63 of a-z, 0-9 and `-`, and not \
             `api`, which is taken",
            "4:9: streams.gate: a source is an rtsp:// or rtsps:// URL",
            "6:5: streams.door: `source` is missing: the camera's rtsp:// or rtsps:// URL",
            "6:5: streams.door.sorce: unknown key; did you mean `source`?",
            "8:9: hls.part: `5` is not a duration such as 500ms, 2s or 1m",
            "9:11: hls.window: 2h is not between 10s and 3600s",
            "10:8: hls.dir: there is no directory /nowhere",
            "11:7: auth: `auth` is a mapping (`auth: { users: [{ name, password_hash, streams }] }`, `allow_from` for networks, `jwt` or `http` for a server that decides), or the word `none`",
        ]
    );
}

#[test]
fn broken_yaml_and_doubled_keys_name_their_place() {
    assert!(written("streams:\n  a: [\n").faults()[0].starts_with(['2', '3']));
    let doubled = written("streams:\n  a: rtsp://a/\n  a: rtsp://b/\n").faults();
    assert!(doubled[0].starts_with("3:3: "), "{doubled:?}");
}

#[test]
fn variables_override_the_file_and_name_themselves_in_faults() {
    let file = written("listen: 127.0.0.1:1\nhls: { part: 1s, always: true }\n");
    let config = file
        .with(&[
            ("PORTHOLE__LISTEN", "127.0.0.1:2"),
            ("PORTHOLE__STREAMS__FRONT_DOOR", "rtsp://a/x"),
            ("PORTHOLE__HLS__SEGMENT", "4s"),
            ("PORTHOLE__WEBRTC__ADVERTISE", "[192.0.2.1, 192.0.2.2]"),
        ])
        .loaded();
    assert_eq!(config.listen.port(), 2);
    assert_eq!(config.streams[0].name.as_str(), "front-door");
    assert!(config.hls.always && !Config::default().hls.always);
    assert_eq!(config.hls.part, Duration::from_secs(1));
    assert_eq!(config.hls.segment, Duration::from_secs(4));
    assert_eq!(config.webrtc.advertise, ["192.0.2.1", "192.0.2.2"]);

    let faults = written("").with(&[("PORTHOLE__HLS__PART", "x")]).faults();
    assert_eq!(
        faults,
        ["environment variable PORTHOLE__HLS__PART: hls.part: `x` is not a duration such as \
          500ms, 2s or 1m"]
    );
}

#[test]
fn an_unset_variable_is_named_and_a_default_is_used() {
    let faults = written("streams: { a: \"rtsp://u:${NO_SUCH}@a/\" }\n").faults();
    assert!(faults[0].contains("environment variable NO_SUCH is not set"), "{faults:?}");
    let config = written("streams: { a: \"rtsp://u:${NO_SUCH:pw}@a/\" }\n").loaded();
    assert_eq!(config.streams[0].source.login.as_ref().unwrap().password.expose(), "pw");
}

#[test]
fn dollars_are_filled_in_the_file_only() {
    let url = "rtsp://u:pa$$w${x}rd@cam/".to_owned();
    let layers = Layers { urls: vec![url], ..Layers::default() };
    let config = layers.load().unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(config.streams[0].source.login.as_ref().unwrap().password.expose(), "pa$$w${x}rd");

    let file = "streams:\n  a:\n    source: rtsp://a/\n    username: u\n    password: a$$b\n";
    let config = written(file).loaded();
    assert_eq!(config.streams[0].source.login.as_ref().unwrap().password.expose(), "a$b");
    let config = written(file)
        .with(&[("PORTHOLE__STREAMS__A__PASSWORD", "[a$$b]"), ("PORTHOLE__CORS", "[\"*\"]")])
        .loaded();
    assert_eq!(config.streams[0].source.login.as_ref().unwrap().password.expose(), "[a$$b]");
    assert_eq!(config.policy.cors.len(), 1);
}

#[test]
fn a_faulty_source_does_not_show_its_password() {
    let faults = written("streams: { a: \"http://ann:s3cret@a/\" }\n").faults();
    assert!(!faults[0].contains("s3cret"), "{faults:?}");
}

#[test]
fn a_password_of_digits_keeps_its_zeros() {
    let yaml = "streams:\n  a:\n    source: rtsp://a/\n    username: u\n    password: 0070\n";
    let config = written(yaml).loaded();
    assert_eq!(config.streams[0].source.login.as_ref().unwrap().password.expose(), "0070");
}

#[test]
fn listening_beyond_this_machine_needs_a_word() {
    for (yaml, key) in [
        ("listen: 0.0.0.0:8080\n", "`listen: 0"),
        ("admin: { listen: \":9998\" }\n", "`admin.listen: 0"),
        ("rtsp: { listen: \"[::]:8554\" }\n", "`rtsp.listen: ["),
    ] {
        let faults = written(yaml).faults();
        assert!(faults[0].contains("auth: none") && faults[0].contains(key), "{faults:?}");
    }
    written("listen: 0.0.0.0:8080\nauth: none\n").loaded();
}

#[test]
fn urls_on_the_command_line_become_numbered_cameras() {
    let layers = Layers { urls: vec!["rtsp://a/".into(), "x".into()], ..Layers::default() };
    let faults = layers.load().err().unwrap();
    assert_eq!(faults.to_string(), "argument 2: streams.camera-2: this is not a URL\n");
    let layers = Layers { urls: vec!["rtsp://a/".into()], ..Layers::default() };
    assert_eq!(layers.load().unwrap().streams[0].name.as_str(), "camera-1");
}

#[test]
fn ice_servers_are_read_in_both_forms() {
    let yaml = "webrtc:\n  ice_servers:\n    - stun:a:3478\n    - urls: [turn:b, turns:b]\n      \
                username: u\n      credential: c\n";
    let config = written(yaml).loaded();
    let [stun, turn] = &config.webrtc.ice_servers[..] else { panic!() };
    assert_eq!((&stun.urls[..], &stun.username), (&["stun:a:3478".to_owned()][..], &None));
    assert_eq!((turn.urls.len(), turn.credential.as_deref()), (2, Some("c")));
    let faults = written("webrtc: { ice_servers: [\"http://a\"] }\n").faults();
    assert!(faults[0].contains("is not a stun: or turn: URL"), "{faults:?}");
    for bare in ["turn:b", "{ urls: turns:b }", "{ urls: [stun:a, turn:b], username: u }"] {
        let faults = written(&format!("webrtc: {{ ice_servers: [{bare}] }}\n")).faults();
        assert!(faults[0].contains("without `username` and `credential`"), "{bare}: {faults:?}");
    }
}

#[test]
fn what_is_advertised_is_an_address_or_a_name() {
    let good = [
        "203.0.113.7",
        "203.0.113.7:9000",
        "cam.example.org",
        "cam:9000",
        "'2001:db8::1'",
        "'[::1]'",
        "'[::1]:9'",
    ];
    let config = written(&format!("webrtc: {{ advertise: [{}] }}\n", good.join(", "))).loaded();
    assert_eq!(config.webrtc.advertise.len(), good.len());
    for bad in ["https://cam.example.org", "cam:90000", "cam/path", "'a b'", "'[::1'", "''"] {
        let faults = written(&format!("webrtc: {{ advertise: [{bad}] }}\n")).faults();
        assert!(faults[0].contains("is no address or name"), "{bad}: {faults:?}");
    }
}

#[test]
fn certificates_caps_and_proxies_are_read() {
    let made = rcgen::generate_simple_self_signed(vec!["gate".into()]).unwrap();
    let (cert, key) = (written(&made.cert.pem()), written(&made.signing_key.serialize_pem()));
    let tls = |cert: &Written, key: &Written| {
        let (cert, key) = (cert.file.path().display(), key.file.path().display());
        format!("tls: {{ cert_file: {cert}, key_file: {key} }}\n")
    };
    let rest = "limits: { connections: 10, connections_per_address: 3, viewers: 2 }\ntrusted_proxies: [10.0.0.1, 192.168.0.0/16]\n";
    let config = written(&(tls(&cert, &key) + rest)).loaded();
    assert_eq!(config.tls.unwrap().key_file, key.file.path());
    assert_eq!((config.caps.connections, config.caps.per_address, config.viewers), (10, 3, 2));
    for (address, crowd) in [("10.0.0.1", true), ("127.0.0.1", true), ("10.0.0.2", false)] {
        assert_eq!(config.caps.crowds.contain(address.parse().unwrap()), crowd, "{address}");
    }
    assert!(!config.policy.proxies.contain([127, 0, 0, 1].into()), "whoever is on this machine");
    for (yaml, words) in [
        (tls(&key, &key), "no certificate (PEM)"),
        (tls(&cert, &cert), "no private key (PEM)"),
        (
            "tls: { cert_file: /nowhere/c.pem, key_file: k }\n".into(),
            "/nowhere/c.pem: No such file",
        ),
        ("tls: { cert_file: c.pem }\n".into(), "`key_file` is missing"),
        ("limits: { connections: 0 }\n".into(), "at least 1"),
        ("limits: { connections: many }\n".into(), "`many` is not a number"),
        ("trusted_proxies: [10.0.0.0/40]\n".into(), "a network is an address"),
    ] {
        let faults = written(&yaml).faults();
        assert!(faults.len() == 1 && faults[0].contains(words), "{yaml}: {faults:?}");
    }
}
