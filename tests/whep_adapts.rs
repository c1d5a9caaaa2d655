//! A way that does not carry the main stream: its viewer gets the substream,
//! or key frames, and the main stream again once the way is wide; the one
//! beside it notices nothing.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

mod whep_support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use porthole::media::{AvcSps, Codec};
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind::{Audio, Video};
use whep_support::line::{Line, Weather};
use whep_support::player::{Depacketizer, Event, Player, without_rtx};
use whep_support::{Camera, Clip, FPS, Gateway, encode_as};

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

/// What 64 kbit/s carry, with key frames that fit into the queue before them.
fn thin_clip() -> &'static Clip {
    static CLIP: OnceLock<Clip> = OnceLock::new();
    CLIP.get_or_init(|| encode_as("96x54", "10k", 25, &["-profile:v", "baseline"]))
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
fn record(player: Player) -> Arc<Mutex<Tape>> {
    record_both(player).0
}

/// The same, and counts packets of sound.
fn record_both(mut player: Player) -> (Arc<Mutex<Tape>>, Arc<AtomicUsize>) {
    let (tape, sound) = (Arc::new(Mutex::new(Tape::default())), Arc::new(AtomicUsize::new(0)));
    let ours = (Arc::clone(&tape), Arc::clone(&sound));
    tokio::spawn(async move {
        while let Some(event) = player.events.recv().await {
            match event {
                Event::Rtp("video", packet) => ours.0.lock().unwrap().push(packet),
                Event::Rtp(..) => drop(ours.1.fetch_add(1, Ordering::Relaxed)),
                _ => {}
            }
        }
    });
    (tape, sound)
}

/// Waits until what is shown is so wide; how long it took.
async fn until_width(tape: &Mutex<Tape>, width: u32, most: Duration) -> Result<Duration, String> {
    let began = Instant::now();
    while tape.lock().unwrap().width() != width {
        ensure(began.elapsed() < most, || format!("never so wide: {width}"))?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(began.elapsed())
}

/// Waits until `condition` holds.
async fn until(what: &str, condition: impl Fn() -> bool) -> Result<(), String> {
    let began = Instant::now();
    while !condition() {
        ensure(began.elapsed() < Duration::from_secs(20), || format!("never: {what}"))?;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// What a machine that is busy with something else may fail, too.
fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

/// The best of three: a line by a relay on the same machine is no more even than
/// that is. What must never happen is asserted in each.
async fn best_of_three(scene: impl AsyncFn(u64) -> Result<(), String>) {
    let mut failed = Vec::new();
    for seed in 1..=3 {
        match scene(seed).await {
            Ok(()) => return,
            Err(why) => failed.push(why),
        }
        println!("{failed:?}");
    }
    panic!("{failed:?}");
}

/// A decoder plays on: one stream of packets, parameter sets before every key
/// frame, times that rise, and no faster or slower than those of the camera.
fn assert_plays(tape: &Tape, seconds: f64) -> Result<(), String> {
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
    ensure((span - seconds).abs() < 2.5, || format!("{span} s of pictures in {seconds} s"))
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

/// Ends what publishes when the scene does, however that ends.
struct Cameras(Vec<tokio::task::JoinHandle<()>>);

impl Drop for Cameras {
    fn drop(&mut self) {
        self.0.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// A viewer behind a line that becomes narrow and wide again, another beside it.
async fn there_and_back(reports: Reports, seed: u64) -> Result<(), String> {
    let (gateway, address) = Gateway::on_loopback().await;
    let [first, second] = gateway.pair("yard");
    let _cameras = Cameras(vec![
        Camera::new(first, main_clip(), None).run(60),
        Camera::new(second, sub_clip(), None).run(60),
    ]);
    let url = format!("{}/yard/whep", gateway.url);
    let line = Line::to(address, seed).await;
    let keep = |text: &str| reports == Reports::EveryPacket || !text.contains("transport");
    let narrow = Player::behind_as(&line, &url, address, &[Video], keep).await;
    let (mut beside, offer) = Player::offering(&[Video]).await;
    beside.play(&url, &without_rtx(&offer)).await;
    let (narrow, beside) = (record(narrow), record(beside));
    until_width(&narrow, MAIN, Duration::from_secs(10)).await?;
    until_width(&beside, MAIN, Duration::from_secs(10)).await?;
    let began = Instant::now();
    // Nobody is sent the substream yet, so nobody reads it.
    tokio::time::sleep(Duration::from_secs(3)).await;
    ensure(gateway.readers() == 1, || "the substream before the line was narrow".into())?;

    line.set(Weather { rate: Some(600_000), ..Weather::default() });
    let down = until_width(&narrow, SUB, Duration::from_secs(12)).await?;
    let listed = || gateway.table.list().into_iter().find(|one| one.news.quality.as_str() == "sub");
    until("the table says so", || listed().is_some()).await?;
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
    let lost = line.lost() - lost;
    ensure(lost < 5, || format!("{lost} lost on the substream"))?;
    ensure(on_sub.len() as i64 > 3 * FPS, || format!("{} pictures in 4 s", on_sub.len()))?;
    ensure(on_sub.iter().all(|shown| shown.width == SUB), || "the main stream again".into())?;
    let late = median(delays(&on_sub));
    ensure(late < 0.25, || format!("pictures are {late} s behind"))?;

    line.set(Weather::default());
    let up = until_width(&narrow, MAIN, Duration::from_secs(25)).await?;
    println!("{reports:?}: down after {down:?}, back after {up:?}, {} lost", line.lost());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_plays(&narrow.lock().unwrap(), began.elapsed().as_secs_f64())?;
    until("the substream is left alone", || gateway.readers() == 1).await?;

    let beside = beside.lock().unwrap();
    ensure(beside.missing() == 0, || format!("{} missing beside it", beside.missing()))?;
    let other = beside.shown().into_iter().find(|shown| shown.width != MAIN);
    assert!(other.is_none(), "{other:?}");
    let changes =
        |to| gateway.metric(&format!(r#"porthole_webrtc_quality_changes_total{{to="{to}"}}"#));
    let changes = [changes("sub"), changes("main"), changes("key_frames")].map(Option::unwrap);
    ensure(changes == [1.0, 1.0, 0.0], || format!("changes: {changes:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_narrow_way_gets_the_substream_and_the_main_stream_again() {
    best_of_three(async |seed| there_and_back(Reports::EveryPacket, seed).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_that_reports_loss_alone_gets_it_too() {
    best_of_three(async |seed| there_and_back(Reports::LossAlone, seed).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_that_carries_next_to_nothing_gets_the_substream_before_players_give_up() {
    let (gateway, address) = Gateway::on_loopback().await;
    let names = ["", "yard", "gate", "door"];
    best_of_three(async |seed| {
        let name = names[seed as usize];
        let [first, second] = gateway.pair(name);
        let _cameras = Cameras(vec![
            Camera::new(first, main_clip(), None).run(60),
            Camera::new(second, thin_clip(), None).run(60),
        ]);
        let line = Line::to(address, seed).await;
        let url = format!("{}/{name}/whep", gateway.url);
        let tape = record(Player::behind(&line, &url, address).await);
        until_width(&tape, MAIN, Duration::from_secs(10)).await?;
        tokio::time::sleep(Duration::from_secs(5)).await;
        line.set(Weather { rate: Some(64_000), ..Weather::default() });
        let took = until_width(&tape, 96, Duration::from_secs(12)).await?;
        println!("substream at 64 kbit/s after {took:?}");
        ensure(took < Duration::from_secs(2), || format!("the substream came after {took:?}"))
    })
    .await;
}

/// Key frames alone on a line without a substream, and everything once it is wide.
async fn key_frames_alone(seed: u64) -> Result<(), String> {
    let (gateway, address) = Gateway::on_loopback().await;
    let (_stream, publisher) = gateway.stream("gate");
    let _camera = Cameras(vec![Camera::new(publisher, main_clip(), None).run(60)]);
    let line = Line::to(address, seed).await;
    let player = Player::behind(&line, &format!("{}/gate/whep", gateway.url), address).await;
    let tape = record(player);
    until_width(&tape, MAIN, Duration::from_secs(10)).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;

    line.set(Weather { rate: Some(400_000), ..Weather::default() });
    let stage = || gateway.table.list()[0].news.stage;
    until("key frames alone", || stage() == "key_frames").await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (from, lost) = (Instant::now(), line.lost());
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (to, lost) = (Instant::now(), line.lost() - lost);
    line.set(Weather::default());
    until("all of it again", || stage() == "live").await?;
    tokio::time::sleep(Duration::from_secs(4)).await;

    let tape = tape.lock().unwrap();
    let shown = tape.shown();
    let (narrow, all): (Vec<Shown>, Vec<Shown>) =
        shown.into_iter().partition(|shown| (from..to).contains(&shown.whole.unwrap()));
    println!("{} key frames in 5 s, {lost} packets lost", narrow.len());
    ensure((2..=4).contains(&narrow.len()), || format!("{narrow:?}"))?;
    ensure(narrow.iter().all(|shown| shown.key), || format!("more than key frames: {narrow:?}"))?;
    ensure(lost < 10, || format!("{lost} lost"))?;
    let both: Vec<Shown> = all.iter().take(60).chain(&narrow).copied().collect();
    let late = median(delays(&both).split_off(60));
    ensure(late < 2.0, || format!("key frames are {late} s behind"))?;
    let last = &all[all.len() - 40..];
    let even = last.windows(2).all(|pair| pair[1].time.wrapping_sub(pair[0].time) == 3_600);
    ensure(even, || format!("pictures are missing: {last:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_substream_it_gets_key_frames_and_they_are_not_late() {
    best_of_three(key_frames_alone).await;
}

/// A line that sound alone would fill: pictures come, sound does not, and the
/// session says so to whoever asks; sound is back when the line is wide.
async fn sound_held_back(seed: u64) -> Result<(), String> {
    let (gateway, address) = Gateway::on_loopback().await;
    let (_stream, publisher) = gateway.stream("gate");
    let camera = Camera::new(publisher, main_clip(), Some(Camera::pcma()));
    let _camera = Cameras(vec![camera.run(60)]);
    let line = Line::to(address, seed).await;
    let url = format!("{}/gate/whep", gateway.url);
    let player = Player::behind_as(&line, &url, address, &[Video, Audio], |_| true).await;
    let session = player.session.clone().unwrap();
    let (tape, sound) = record_both(player);
    let heard = || sound.load(Ordering::Relaxed);
    until_width(&tape, MAIN, Duration::from_secs(10)).await?;
    until("sound", || heard() > 100).await?;
    let notice = async || {
        let answer = reqwest::get(session.clone()).await.unwrap();
        assert_eq!(answer.status(), 204);
        answer.headers().get("porthole-notice").map(|notice| notice.to_str().unwrap().to_owned())
    };
    assert_eq!(notice().await, None);

    line.set(Weather { rate: Some(64_000), ..Weather::default() });
    let news = || gateway.table.list()[0].news.clone();
    until("sound is held back", || news().held_back == Some("sound")).await?;
    ensure(news().stage == "key_frames", || format!("{:?}", news()))?;
    ensure(notice().await.as_deref() == Some("viewer.slow"), || "the session does not say".into())?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (from, before) = (Instant::now(), heard());
    tokio::time::sleep(Duration::from_secs(14)).await;
    let shown = tape.lock().unwrap().shown();
    let keys = shown.iter().filter(|shown| shown.whole.unwrap() > from && shown.key).count();
    println!("{keys} key frames in 14 s, {} packets of sound", heard() - before);
    ensure(keys >= 2, || format!("{keys} key frames in 14 s"))?;
    ensure(heard() - before < 20, || format!("{} packets of sound", heard() - before))?;

    line.set(Weather::default());
    until("all of it again", || news().stage == "live" && news().held_back.is_none()).await?;
    let before = heard();
    until("sound again", || heard() > before + 100).await?;
    let changes =
        |to| gateway.metric(&format!(r#"porthole_webrtc_quality_changes_total{{to="{to}"}}"#));
    ensure([changes("no_sound"), changes("sound")] == [Some(1.0); 2], || {
        "not counted once".into()
    })?;
    ensure(notice().await.is_none(), || "the line is wide".into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_sound_would_fill_is_left_to_pictures() {
    best_of_three(sound_held_back).await;
}

/// On a line for the substream alone.
async fn main_by_name(seed: u64) -> Result<(), String> {
    let (gateway, address) = Gateway::on_loopback().await;
    let [first, second] = gateway.pair("yard");
    let _cameras = Cameras(vec![
        Camera::new(first, main_clip(), Some(Camera::pcma())).run(60),
        Camera::showing(second, sub_clip(), Codec::H264(sub_clip().avc.clone()), None).run(60),
    ]);
    let line = Line::to(address, seed).await;
    let url = format!("{}/yard/whep?quality=main", gateway.url);
    let tape = record(Player::behind(&line, &url, address).await);
    until_width(&tape, MAIN, Duration::from_secs(10)).await?;
    line.set(Weather { rate: Some(400_000), ..Weather::default() });
    until("key frames alone", || gateway.table.list()[0].news.stage == "key_frames").await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!gateway.table.list()[0].news.adapts);
    assert!(tape.lock().unwrap().shown().iter().all(|shown| shown.width == MAIN));
    assert_eq!(gateway.readers(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_names_the_main_stream_is_never_sent_another() {
    best_of_three(main_by_name).await;
}
