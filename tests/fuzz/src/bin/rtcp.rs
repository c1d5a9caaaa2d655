//! RTCP compounds: no panic, and our own reports can be read back.
//!
//! Input: a compound of a camera whose source is 7.
#![no_main]

use std::time::{Duration, Instant};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use porthole::ingest::rtsp::receiver::{Carrier, Receiver};
use porthole::ingest::rtsp::rtcp::{self, Reporter};
use porthole::media::ClockRate;

fuzz_target!(|data: &[u8]| {
    let now = Instant::now();
    let mut receiver = Receiver::new(0, 96, ClockRate::VIDEO, Carrier::Ordered);
    receiver.push(Bytes::from_static(&[0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 1]), now);
    let mut reporter = Reporter::new(now);
    if let Some(report) = rtcp::read(data, &mut receiver, now) {
        assert!(report.rtp.unsigned_abs() <= 1 << 31);
    }
    let later = now + Duration::from_secs(10);
    let ours = reporter.report(&mut receiver, later).expect("there is something to report");
    assert_eq!(ours.len() % 4, 0);
    assert_eq!(rtcp::read(&ours, &mut receiver, later), None);
});
