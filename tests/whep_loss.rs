//! Lines that lose, that are too narrow, and viewers that stop reading: what
//! the viewer behind one sees, and what the others do not notice.
#![allow(clippy::unwrap_used, reason = "a test")]

mod whep_support;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use porthole::media::NalUnits;
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind::Video;
use whep_support::line::{Line, Weather};
use whep_support::player::{Depacketizer, Event, Player, Raw, without_rtx};
use whep_support::{Camera, Clip, FPS, Gateway, clip, encode_as};

const PICTURE: Duration = Duration::from_millis(1_000 / FPS as u64);

/// Which pictures of a viewer are whole, and when the last packet of each came.
#[derive(Default)]
struct Screen {
    /// Sequence number, unrolled: RTP time, end of a picture, arrival.
    packets: BTreeMap<i64, (u32, bool, Instant)>,
    newest: Option<i64>,
    /// What came before is not of this screen, also what of it comes again.
    first: Option<i64>,
}

impl Screen {
    /// One that goes on where this one ends.
    fn next(&self) -> Self {
        Self { newest: self.newest, first: self.newest.map(|newest| newest + 1), ..Self::default() }
    }

    fn push(&mut self, packet: &rtc::rtp::Packet) {
        let number = packet.header.sequence_number;
        let newest = self.newest.unwrap_or(i64::from(number));
        let step = i64::from(number.wrapping_sub(newest as u16) as i16);
        let number = newest + step;
        self.newest = Some(newest.max(number));
        if number < *self.first.get_or_insert(number) {
            return;
        }
        let seen = (packet.header.timestamp, packet.header.marker, Instant::now());
        self.packets.entry(number).or_insert(seen);
    }

    /// When each picture could be shown: once it and all before it are whole.
    fn shown(&self) -> Vec<Instant> {
        let mut shown = Vec::new();
        let mut ready = None;
        for (next, (number, (_, marker, at))) in (self.first.unwrap_or(0)..).zip(&self.packets) {
            if next != *number {
                break;
            }
            ready = ready.max(Some(*at));
            if *marker {
                shown.extend(ready);
            }
        }
        shown
    }

    /// Packets that never came, of those up to the last.
    fn missing(&self) -> i64 {
        let (Some(first), Some((last, _))) = (self.first, self.packets.last_key_value()) else {
            return 0;
        };
        last - first + 1 - self.packets.len() as i64
    }

    /// Share of the time in which the picture stood still, as WebRTC's
    /// statistics count it: a step of more than 150 ms beyond the usual.
    fn frozen(&self) -> f64 {
        let shown = self.shown();
        let [first, .., last] = shown[..] else { return 1.0 };
        let frozen: Duration = shown
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .filter(|step| *step > PICTURE + Duration::from_millis(150))
            .map(|step| step - PICTURE)
            .sum();
        frozen.as_secs_f64() / (last - first).as_secs_f64()
    }
}

/// Everything that comes within `time`.
async fn watch(player: &mut Player, screen: &mut Screen, time: Duration) {
    let end = tokio::time::Instant::now() + time;
    while let Ok(Some(event)) = tokio::time::timeout_at(end, player.events.recv()).await {
        if let Event::Rtp("video", packet) = event {
            screen.push(&packet);
        }
    }
}

/// A viewer that looks for packets to ask for again as often as browsers do. Where
/// it does so ten times a second, as the library would, one repair that is lost
/// freezes the picture, whatever the gateway does.
async fn eager(line: &Line, gateway: &Gateway, address: SocketAddr) -> Player {
    let url = format!("{}/yard/whep", gateway.url);
    let asks = Duration::from_millis(20);
    let (player, offer) = Player::asking_every(asks, "127.0.0.1:0", &[Video]).await;
    player.go_behind(line, &url, address, &without_rtx(&offer), |_| true).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_line_loses_is_sent_again() {
    let (gateway, address) = Gateway::on_loopback().await;
    let (_stream, publisher) = gateway.stream("yard");
    let camera = Camera::new(publisher, clip(), None).run(10);
    let (line, fair) = (Line::to(address, 42).await, Line::to(address, 43).await);
    let mut player = eager(&line, &gateway, address).await;
    let mut other = eager(&fair, &gateway, address).await;
    let mut both = async |screen: &mut Screen, beside: &mut Screen, time| {
        tokio::join!(watch(&mut player, screen, time), watch(&mut other, beside, time));
    };
    let (mut screen, mut beside) = (Screen::default(), Screen::default());
    both(&mut screen, &mut beside, Duration::from_secs(2)).await;
    // A machine with other things to do freezes pictures by itself: also those of
    // a viewer whose line loses nothing, which says what of it is the loss's. The
    // best of three looks at both counts, but packets must come in each.
    let (mut least, mut looks) = (f64::MAX, 0);
    for _ in 0..10 {
        (screen, beside) = (screen.next(), beside.next());
        let lost_before = line.lost();
        line.set(Weather { loss: 0.05, ..Weather::default() });
        both(&mut screen, &mut beside, Duration::from_secs(6)).await;
        line.set(Weather::default());
        let (lost, frozen) = (line.lost() - lost_before, [screen.frozen(), beside.frozen()]);
        // The last ones' repair.
        for _ in 0..5 {
            both(&mut screen, &mut beside, Duration::from_secs(1)).await;
            if screen.missing() + beside.missing() == 0 {
                break;
            }
        }
        let missing = [screen.missing(), beside.missing()];
        let packets = screen.packets.len();
        println!("{lost} lost of {packets}, {missing:?} never came, frozen {frozen:.3?}");
        if missing[1] > 0 || frozen[1] > 0.1 {
            // A machine that does so much harm by itself says nothing.
            continue;
        }
        assert!(lost > 20, "the line lost only {lost}");
        assert_eq!(missing[0], 0, "packets were never sent again");
        assert!(screen.shown().len() > 6 * FPS as usize, "{} pictures", screen.shown().len());
        least = least.min(frozen[0] - frozen[1]);
        looks += 1;
        if least < 0.05 || looks == 3 {
            break;
        }
    }
    // Of browsers tests/browser/loss.js says more.
    assert!(least < 0.05, "frozen {least:.3} of the time more than without loss");
    camera.abort();
}

/// What came to a viewer, by SSRC: the track's first, then that of its repairs.
struct Came {
    track: Vec<rtc::rtp::Packet>,
    repairs: Vec<rtc::rtp::Packet>,
    /// Numbers of the track that the line lost.
    lost: BTreeSet<u16>,
}

impl Came {
    fn of(raw: &Raw, line: &Line) -> Self {
        let all = raw.lock().unwrap().clone();
        let first = all[0].header.ssrc;
        let (track, repairs) = all.into_iter().partition(|packet| packet.header.ssrc == first);
        let lost = line.lost_packets().into_iter().filter(|(ssrc, _)| *ssrc == first);
        let lost = lost.map(|(_, number)| number).collect();
        Self { track, repairs, lost }
    }

    /// Numbers that the line lost, and that came all the same.
    fn repaired(&self) -> BTreeSet<u16> {
        let mut came: BTreeSet<u16> =
            self.track.iter().map(|packet| packet.header.sequence_number).collect();
        came.extend(self.repairs.iter().map(original));
        came.intersection(&self.lost).copied().collect()
    }
}

/// RFC 4588 §4: the number that the packet had.
fn original(repair: &rtc::rtp::Packet) -> u16 {
    u16::from_be_bytes([repair.payload[0], repair.payload[1]])
}

/// Plays behind a line that loses until so many packets have been repaired. That
/// all are cannot be asked of a machine too busy to: its viewers are sent key
/// frames alone, and what was lost before is not sent again.
const REPAIRED: usize = 10;

async fn repaired(rtx: bool) -> (String, Came) {
    let (gateway, address) = Gateway::on_loopback().await;
    let (_stream, publisher) = gateway.stream("yard");
    let camera = Camera::new(publisher, small(), None).run(10);
    let line = Line::to(address, 7).await;
    let (player, offer) = Player::offering(&[Video]).await;
    assert!(offer.contains("rtx/90000"));
    let offer = if rtx { offer } else { without_rtx(&offer) };
    let url = format!("{}/yard/whep", gateway.url);
    let mut player = player.go_behind(&line, &url, address, &offer, |_| true).await;
    let first = |event| matches!(event, Event::Rtp("video", _)).then_some(());
    player.until("a packet", first).await;
    line.set(Weather { loss: 0.1, ..Weather::default() });
    let begun = Instant::now();
    loop {
        watch(&mut player, &mut Screen::default(), Duration::from_millis(500)).await;
        let came = Came::of(&player.raw, &line);
        let again = came.repaired().len();
        if again >= REPAIRED && came.lost.len() >= 2 * REPAIRED {
            camera.abort();
            return (player.answer, came);
        }
        let (waited, lost) = (begun.elapsed(), came.lost.len());
        assert!(waited < Duration::from_secs(60), "{lost} lost, {again} sent again");
    }
}

/// A packet or two a picture, and a key frame every two seconds.
fn small() -> &'static Clip {
    static CLIP: OnceLock<Clip> = OnceLock::new();
    CLIP.get_or_init(|| encode_as("320x180", "300k", 50, &["-profile:v", "baseline"]))
}

/// Every slice in these packets is one of the clip's.
fn assert_whole(packets: impl Iterator<Item = rtc::rtp::Packet>) {
    let clip = small().pictures.iter().flat_map(|picture| NalUnits::new(&picture.data));
    let sent: HashSet<&[u8]> = clip.collect();
    let mut packets: Vec<_> = packets.collect();
    packets.sort_by_key(|packet| packet.header.sequence_number);
    let mut slices = 0;
    let next = |a: &rtc::rtp::Packet, b: &rtc::rtp::Packet| {
        b.header.sequence_number == a.header.sequence_number.wrapping_add(1)
    };
    for run in packets.chunk_by(next) {
        // From a picture's beginning on.
        let marker = |packet: &rtc::rtp::Packet| packet.header.marker;
        let Some(start) = run.iter().position(marker) else { continue };
        let mut units = Depacketizer::default();
        run[start + 1..].iter().for_each(|packet| units.push(packet));
        for (_, unit) in &units.units {
            let slice = matches!(unit[0] & 0x1f, 1 | 5);
            slices += usize::from(slice);
            assert!(!slice || sent.contains(&unit[..]), "a slice was mended wrongly");
        }
    }
    assert!(slices > FPS as usize, "{slices} slices");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_offers_rtx_gets_repairs_on_a_stream_of_their_own() {
    let (answer, came) = repaired(true).await;
    let line = |what: &str| {
        let found = answer.lines().find_map(|line| line.strip_prefix(what));
        found.unwrap_or_else(|| panic!("no {what} in {answer}")).to_owned()
    };
    let (track, repairs) = (&came.track[0].header, &came.repairs[0].header);
    // RFC 4588 §8.6, RFC 5576 §4.2.
    assert_eq!(line(&format!("a=rtpmap:{} ", repairs.payload_type)), "rtx/90000");
    let apt = line(&format!("a=fmtp:{} ", repairs.payload_type));
    assert_eq!(apt, format!("apt={}", track.payload_type));
    assert_eq!(line("a=ssrc-group:FID "), format!("{} {}", track.ssrc, repairs.ssrc));
    let same = |one: &rtc::rtp::Packet| {
        (one.header.ssrc, one.header.payload_type) == (repairs.ssrc, repairs.payload_type)
    };
    assert!(came.repairs.iter().all(same), "a third stream");

    // What was lost comes there alone.
    let on_track: BTreeSet<u16> = came.track.iter().map(|p| p.header.sequence_number).collect();
    assert!(came.lost.is_disjoint(&on_track), "{:?}", came.lost);
    let own: Vec<u16> = came.repairs.iter().map(|p| p.header.sequence_number).collect();
    assert!(own.is_sorted_by(|a, b| a < b), "{own:?}");
    let originals: BTreeSet<u16> = came.repairs.iter().map(original).collect();
    assert!(originals.is_disjoint(&on_track), "{originals:?}");
    // Behind their first two bytes they are what was lost.
    let mended = came.repairs.iter().map(|repair| {
        let mut packet = repair.clone();
        packet.header.sequence_number = original(repair);
        packet.payload = packet.payload.slice(2..);
        packet
    });
    let mut seen = BTreeSet::new();
    let mended: Vec<_> = mended.filter(|p| seen.insert(p.header.sequence_number)).collect();
    assert_whole(came.track.iter().cloned().chain(mended));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_offer_rtx_gets_the_packets_again() {
    let (answer, came) = repaired(false).await;
    assert!(!answer.contains("rtx") && !answer.contains("FID"), "{answer}");
    assert_eq!(came.repairs.len(), 0, "a second stream");
    assert_whole(came.track.iter().cloned());
}

/// How long after publishing the whole of each picture is with the viewer.
async fn delays(camera: &mut Camera, player: &mut Player, pictures: usize) -> Vec<Duration> {
    let mut delays = Vec::new();
    let mut tick = tokio::time::interval(PICTURE);
    let mut before: Option<u16> = None;
    for _ in 0..pictures {
        tick.tick().await;
        camera.publish();
        let published = Instant::now();
        let whole = async {
            loop {
                if let Some(Event::Rtp("video", packet)) = player.events.recv().await {
                    let number = packet.header.sequence_number;
                    if let Some(before) = before {
                        assert_eq!(number, before.wrapping_add(1), "a packet is missing");
                    }
                    before = Some(number);
                    if packet.header.marker {
                        break;
                    }
                }
            }
        };
        let whole = tokio::time::timeout(Duration::from_secs(5), whole).await;
        assert!(whole.is_ok(), "a picture never came");
        delays.push(published.elapsed());
    }
    delays
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_narrow_line_and_a_viewer_that_stopped_reading_cost_the_others_nothing() {
    let (gateway, address) = Gateway::on_loopback().await;
    let (_stream, publisher) = gateway.stream("yard");
    let mut camera = Camera::new(publisher, clip(), None);
    camera.publish();
    let url = format!("{}/yard/whep", gateway.url);
    let (mut good, offer) = Player::offering(&[Video]).await;
    good.play(&url, &offer).await;
    good.until("a picture", |event| {
        matches!(event, Event::Rtp("video", p) if p.header.marker).then_some(())
    })
    .await;

    let mut gains = Vec::new();
    // A machine that is busy with something else now need not be so later.
    for round in 0..3 {
        let alone = median(delays(&mut camera, &mut good, 50).await);
        let (narrow, deaf) = (Line::to(address, 1).await, Line::to(address, 2).await);
        let mut behind_narrow = Player::behind(&narrow, &url, address).await;
        let mut behind_deaf = Player::behind(&deaf, &url, address).await;
        let first = |event| matches!(event, Event::Rtp("video", _)).then_some(());
        behind_narrow.until("a packet", first).await;
        behind_deaf.until("a packet", first).await;
        narrow.set(Weather { rate: Some(64_000), ..Weather::default() });
        deaf.set(Weather { dead: true, ..Weather::default() });
        let beside = median(delays(&mut camera, &mut good, 75).await);
        println!("round {round}: alone {alone:?}, beside the two {beside:?}");
        assert!(narrow.lost() > 0 && deaf.lost() > 0, "both lines were too good");
        gains.push(beside.saturating_sub(alone));
        if gains[round] <= Duration::from_millis(5) {
            return;
        }
        // Gone before the next round.
        behind_narrow.connection.close().await.unwrap();
        behind_deaf.connection.close().await.unwrap();
    }
    panic!("the others' pictures came later by {gains:?}");
}
