//! Challenges of cameras: whatever they ask, at most two passwords are sent,
//! neither in the clear but by Basic, and no header is broken.
//!
//! Input: lines, each the `WWW-Authenticate` of a further refusal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use porthole::ingest::Login;
use porthole::ingest::rtsp::login::Door;
use porthole::secret::Secret;

fuzz_target!(|data: &[u8]| {
    // What the messages' reader lets through.
    let text: String =
        data.iter().map(|&b| if b == b'\n' { '\n' } else { b.clamp(b' ', b'~') as char }).collect();
    let login = |password| Login { username: "ann".into(), password: Secret::new(password) };
    let mut door = Door::new(Some(login("door-pass")), Some(login("window-pass")));
    let mut given: Option<String> = None;
    for (nth, line) in text.lines().enumerate() {
        if door.refused(&[line.to_owned()], given.is_some()).is_err() {
            return;
        }
        given = door.authorize("DESCRIBE", "rtsp://camera/live?a=b");
        if let Some(given) = &given {
            assert!(!given.contains(['\r', '\n']), "{given:?}");
            assert!(!given.contains("-pass") || text.contains("-pass"), "{given}");
            assert!(given.starts_with("Basic ") || given.starts_with("Digest "), "{given}");
        }
        assert!(nth < 6, "it never has enough");
    }
});
