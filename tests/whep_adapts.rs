//! A way that does not carry the main stream: its viewer gets the substream,
//! or key frames, and the main stream again once the way is wide; the one
//! beside it notices nothing.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

mod whep_support;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use porthole::egress::whep::Config;
use porthole::media::{AvcSps, Codec};
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind::Video;
use whep_support::line::{Line, Weather};
use whep_support::player::{Depacketizer, Event, Player};
use whep_support::{Camera, Clip, FPS, Gateway, encode_as, eventually};

/// Widths of the two, by which they are told apart.
const MAIN: u32 = 640;
const SUB: u32 = 320;

fn main_clip() -> &'static Clip {
    static CLIP: OnceLock<Clip> = OnceLock::new();
    CLIP.get_or_init(|| encode_as("640x360", "1500k", 50, &["-profile:v", "baseline"]))
}

fn sub_clip() -> &'static Clip {
    static CLIP: OnceLock<Clip> = OnceLock::new();
    CLIP.get_or_init(|| encode_as("320x180", "150k", 25, &["-profile:v", "baseline"]))
}

/// One address, so that a viewer has no way around its line.
async fn gateway() -> (Gateway, SocketAddr) {
    let config = Config { listen: ([127, 0, 0, 1], 0).into(), ..Config::default() };
    let gateway = Gateway::with(config).await;
    let address = gateway.whep.local_addr().unwrap();
    (gateway, address)
}

/// A picture as it came.
#[derive(Clone, Copy, Debug, Default)]
struct Shown {
    /// RTP time.
    time: u32,
    /// The parameter sets before it.
    sets: usize,
    key: bool,
    /// Of the newest SPS by then.
    width: u32,
    /// When its last packet came.
    whole: Option<Instant>,
}

/// All that came to a viewer, in the order of its sequence numbers.
#[derive(Default)]
struct Tape {
    packets: BTreeMap<i64, (rtc::rtp::Packet, Instant)>,
    newest: Option<i64>,
}

impl Tape {
    fn push(&mut self, packet: rtc::rtp::Packet) {
        let number = packet.header.sequence_number;
        let newest = self.newest.unwrap_or(i64::from(number));
        let number = newest + i64::from(number.wrapping_sub(newest as u16) as i16);
        self.newest = Some(newest.max(number));
        self.packets.entry(number).or_insert_with(|| (packet, Instant::now()));
    }

    /// Whole pictures; what breaks off is left out.
    fn shown(&self) -> Vec<Shown> {
        let mut pictures: Vec<Shown> = Vec::new();
        let (mut before, mut part, mut width) = (None, Vec::new(), 0);
        let mut torn = false;
        for (number, packet) in &self.packets {
            torn |= before.is_some_and(|before| before + 1 != *number);
            before = Some(*number);
            part.push(packet);
            if !packet.0.header.marker {
                continue;
            }
            if std::mem::take(&mut torn) {
                part.clear();
                continue;
            }
            let mut units = Depacketizer::default();
            let first = part[0].0.header.timestamp;
            part.iter().for_each(|(packet, _)| units.push(packet));
            let one = units.units.iter().all(|(time, _)| *time == first);
            let mut shown = Shown { time: first, ..Shown::default() };
            for (_, unit) in &units.units {
                match unit[0] & 0x1f {
                    7 => width = AvcSps::read(unit).unwrap().size.width,
                    5 => shown.key = true,
                    _ => {}
                }
                shown.sets += usize::from(matches!(unit[0] & 0x1f, 7 | 8));
            }
            shown.width = width;
            shown.whole = part.iter().map(|(_, at)| *at).max();
            if one {
                pictures.push(shown);
            }
            part.clear();
        }
        pictures
    }

    fn width(&self) -> u32 {
        self.shown().last().map_or(0, |shown| shown.width)
    }

    /// Packets that are missing between the first and the last.
    fn missing(&self) -> usize {
        let numbers: Vec<i64> = self.packets.keys().copied().collect();
        let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else { return 0 };
        (last - first + 1) as usize - numbers.len()
    }
}

/// Records what comes to a viewer until the test ends.
fn record(mut player: Player) -> Arc<Mutex<Tape>> {
    let tape = Arc::new(Mutex::new(Tape::default()));
    let ours = Arc::clone(&tape);
    tokio::spawn(async move {
        while let Some(event) = player.events.recv().await {
            if let Event::Rtp("video", packet) = event {
                ours.lock().unwrap().push(packet);
            }
        }
    });
    tape
}

/// Waits until what is shown is so wide; how long it took.
async fn until_width(tape: &Mutex<Tape>, width: u32, most: Duration) -> Duration {
    let began = Instant::now();
    while tape.lock().unwrap().width() != width {
        assert!(began.elapsed() < most, "never so wide: {width}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    began.elapsed()
}

/// A decoder plays on: one stream of packets, parameter sets before every key
/// frame, times that rise, and no faster or slower than those of the camera.
fn assert_plays(tape: &Tape, seconds: f64) {
    let packets: Vec<&rtc::rtp::Packet> = tape.packets.values().map(|(packet, _)| packet).collect();
    let first = packets[0].header.ssrc;
    assert!(packets.iter().all(|packet| packet.header.ssrc == first), "another SSRC");
    let shown = tape.shown();
    assert!(shown.iter().all(|shown| !shown.key || shown.sets >= 2), "no parameter sets");
    let steps: Vec<i32> =
        shown.windows(2).map(|pair| pair[1].time.wrapping_sub(pair[0].time) as i32).collect();
    assert!(steps.iter().all(|step| *step > 0), "time stood still or went back: {steps:?}");
    let live = |shown: &&Shown| shown.whole.is_some();
    let (a, b) = (shown.iter().rfind(live).unwrap(), shown.iter().find(live).unwrap());
    let span = f64::from(a.time.wrapping_sub(b.time)) / 90_000.0;
    // The first ones are the past, a millisecond apart.
    assert!((span - seconds).abs() < 2.5, "{span} s of pictures in {seconds} s");
}

/// How far behind the camera pictures are, beyond the quickest of them.
fn delays(shown: &[Shown]) -> Vec<f64> {
    let times: Vec<f64> = shown
        .iter()
        .map(|picture| {
            let of = picture.time.wrapping_sub(shown[0].time) as i32;
            let came = picture.whole.unwrap() - shown[0].whole.unwrap();
            came.as_secs_f64() - f64::from(of) / 90_000.0
        })
        .collect();
    let least = times.iter().copied().fold(f64::MAX, f64::min);
    times.iter().map(|time| time - least).collect()
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reports {
    EveryPacket,
    LossAlone,
}

/// A viewer behind a line that becomes narrow and wide again, another beside it.
async fn there_and_back(reports: Reports) {
    let (gateway, address) = gateway().await;
    let [first, second] = gateway.pair("yard");
    let cameras = [
        Camera::new(first, main_clip(), None).run(60),
        Camera::new(second, sub_clip(), None).run(60),
    ];
    let url = format!("{}/yard/whep", gateway.url);
    let line = Line::to(address, 3).await;
    let keep = |text: &str| reports == Reports::EveryPacket || !text.contains("transport");
    let narrow = Player::behind_as(&line, &url, address, keep).await;
    let (mut beside, offer) = Player::offering(&[Video]).await;
    beside.play(&url, &offer).await;
    let (narrow, beside) = (record(narrow), record(beside));
    until_width(&narrow, MAIN, Duration::from_secs(10)).await;
    until_width(&beside, MAIN, Duration::from_secs(10)).await;
    let began = Instant::now();
    // Nobody is sent the substream yet, so nobody reads it.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(gateway.readers(), 1);

    line.set(Weather { rate: Some(600_000), ..Weather::default() });
    let down = until_width(&narrow, SUB, Duration::from_secs(12)).await;
    let listed = || gateway.table.list().into_iter().find(|one| one.news.quality.as_str() == "sub");
    eventually("the table says so", || listed().is_some()).await;
    assert!(listed().unwrap().news.adapts);
    assert_eq!(gateway.readers(), 2);
    // What had been queued on the line is gone soon, and then it carries all.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let lost = line.lost();
    let from = Instant::now();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let shown = narrow.lock().unwrap().shown();
    let on_sub: Vec<Shown> =
        shown.into_iter().filter(|shown| shown.whole.unwrap() > from).collect();
    assert!(line.lost() - lost < 5, "{} lost on the substream", line.lost() - lost);
    assert!(on_sub.len() as i64 > 3 * FPS, "{} pictures in 4 s", on_sub.len());
    assert!(on_sub.iter().all(|shown| shown.width == SUB));
    let late = median(delays(&on_sub));
    assert!(late < 0.25, "pictures are {late} s behind");

    line.set(Weather::default());
    let up = until_width(&narrow, MAIN, Duration::from_secs(25)).await;
    println!("{reports:?}: down after {down:?}, back after {up:?}, {} lost", line.lost());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_plays(&narrow.lock().unwrap(), began.elapsed().as_secs_f64());
    eventually("the substream is left alone", || gateway.readers() == 1).await;

    let beside = beside.lock().unwrap();
    assert_eq!(beside.missing(), 0);
    assert!(beside.shown().iter().all(|shown| shown.width == MAIN));
    let changes =
        |to| gateway.metric(&format!(r#"porthole_webrtc_quality_changes_total{{to="{to}"}}"#));
    assert_eq!(
        [changes("sub"), changes("main"), changes("key_frames")].map(Option::unwrap),
        [1.0, 1.0, 0.0]
    );
    cameras.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_narrow_way_gets_the_substream_and_the_main_stream_again() {
    there_and_back(Reports::EveryPacket).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_that_reports_loss_alone_gets_it_too() {
    there_and_back(Reports::LossAlone).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_substream_it_gets_key_frames_and_they_are_not_late() {
    let (gateway, address) = gateway().await;
    let (_stream, publisher) = gateway.stream("gate");
    let camera = Camera::new(publisher, main_clip(), None).run(60);
    let line = Line::to(address, 4).await;
    let player = Player::behind(&line, &format!("{}/gate/whep", gateway.url), address).await;
    let tape = record(player);
    until_width(&tape, MAIN, Duration::from_secs(10)).await;
    tokio::time::sleep(Duration::from_secs(2)).await;

    line.set(Weather { rate: Some(400_000), ..Weather::default() });
    eventually("key frames alone", || gateway.table.list()[0].news.stage == "key_frames").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (from, lost) = (Instant::now(), line.lost());
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (to, lost) = (Instant::now(), line.lost() - lost);
    line.set(Weather::default());
    eventually("all of it again", || gateway.table.list()[0].news.stage == "live").await;
    tokio::time::sleep(Duration::from_secs(4)).await;

    let tape = tape.lock().unwrap();
    let shown = tape.shown();
    let (narrow, all): (Vec<Shown>, Vec<Shown>) =
        shown.into_iter().partition(|shown| (from..to).contains(&shown.whole.unwrap()));
    println!("{} key frames in 5 s, {lost} packets lost", narrow.len());
    assert!((2..=4).contains(&narrow.len()) && narrow.iter().all(|shown| shown.key), "{narrow:?}");
    assert!(lost < 10, "{lost} lost");
    let both: Vec<Shown> = all.iter().take(60).chain(&narrow).copied().collect();
    let late = median(delays(&both).split_off(60));
    assert!(late < 2.0, "key frames are {late} s behind");
    let last = &all[all.len() - 40..];
    assert!(last.windows(2).all(|pair| pair[1].time.wrapping_sub(pair[0].time) == 3_600));
    camera.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_names_the_main_stream_is_never_sent_another() {
    let (gateway, address) = gateway().await;
    let [first, second] = gateway.pair("yard");
    let cameras = [
        Camera::new(first, main_clip(), Some(Camera::pcma())).run(60),
        Camera::showing(second, sub_clip(), Codec::H264(sub_clip().avc.clone()), None).run(60),
    ];
    let line = Line::to(address, 5).await;
    let url = format!("{}/yard/whep?quality=main", gateway.url);
    let tape = record(Player::behind(&line, &url, address).await);
    until_width(&tape, MAIN, Duration::from_secs(10)).await;
    line.set(Weather { rate: Some(400_000), ..Weather::default() });
    eventually("key frames alone", || gateway.table.list()[0].news.stage == "key_frames").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!gateway.table.list()[0].news.adapts);
    assert!(tape.lock().unwrap().shown().iter().all(|shown| shown.width == MAIN));
    assert_eq!(gateway.readers(), 1);
    cameras.iter().for_each(tokio::task::JoinHandle::abort);
}
