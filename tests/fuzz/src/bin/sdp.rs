//! SDPs and the headers around them: no panic, nothing but the camera's own
//! host is named, nothing that is to be set up lacks what a receiver needs.
//!
//! Input: Content-Base, a zero byte, and an SDP, which also serves as an
//! answer's Transport and RTP-Info.
#![no_main]

use libfuzzer_sys::fuzz_target;
use porthole::ingest::rtsp::control::Base;
use porthole::ingest::rtsp::rtp_info::start_times;
use porthole::ingest::rtsp::sdp::Description;
use porthole::ingest::rtsp::transport::{Asked, Granted};

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let header = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let sdp = parts.next().unwrap_or_default();
    let asked = "rtsp://cam.example:8554/live?a=b".parse().expect("it is a URL");
    let base = Base::new(&asked, Some(&header), None);

    let text = String::from_utf8_lossy(sdp);
    for asked in [Asked::Interleaved(254), Asked::Udp(65_534)] {
        let _ = Granted::parse(&text, asked);
    }
    let Ok(description) = Description::parse(sdp, &base) else { return };
    assert!(description.sections.len() <= 64);
    let controls: Vec<_> = description.sections.iter().map(|section| &section.control).collect();
    let _ = start_times(&text, &base, &controls);
    for url in controls.into_iter().chain([&description.control]) {
        assert_eq!((url.scheme(), url.host_str()), ("rtsp", Some("cam.example")));
        assert_eq!((url.port(), url.username(), url.password()), (Some(8554), "", None));
        assert!(!url.as_str().contains(['\r', '\n', ' ']));
    }
    for section in description.sections.iter().filter(|section| section.kind.is_some()) {
        assert!(section.payload_type < 128 && section.clock_rate > 0);
        assert!(!section.encoding.is_empty() && section.channels != Some(0));
    }
});
