//! Requests that wait: for a stream to begin, and for what comes next.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Hls;
use super::channel::{Channel, ready, wait_for};
use super::multivariant::Variant;
use super::snapshot::{BEGUN_WITH, Snapshot};
use super::store::State;
use crate::bus::SourceState;
use crate::fault::{Code, Fault};
use crate::http::Problem;
use crate::media::Quality;

/// Longest wait for a stream's first segment while the camera sends nothing
/// yet: it may never.
const FIRST_SEGMENT: Duration = Duration::from_secs(3);
/// The same while it sends. A stream that is cut from now on has a segment
/// with its next key frame, or after [`targets`]' longest lesson of 6 s.
///
/// [`targets`]: super::targets
const FIRST_SEGMENT_LIVE: Duration = Duration::from_secs(8);
/// How many segments a player should begin with, and how long it waits for them
/// in all: Shaka 5 fails in a playlist that begins with two. Enough for the
/// groups of pictures of most cameras, and less than players' patience.
const BEGINNING: (usize, Duration) = (3, Duration::from_secs(8));
/// The same for one that asks for a media playlist by its name: GStreamer 1.22
/// loses its place for good in one that began with a single segment.
const MEDIA_BEGINNING: (usize, Duration) = (2, Duration::ZERO);
/// Even where the first segment took long, more are waited for this long.
const MORE_SEGMENTS: Duration = Duration::from_secs(3);
/// How long the first player of a stream with two qualities waits to be told
/// of the second: a camera's connection, and two key frames.
const OTHER_QUALITY: Duration = Duration::from_secs(4);
/// A held request gives up after this many target durations (§6.2.5.2)...
const HOLD: u32 = 3;
/// ... or sooner, where those are long: a camera that sends no part for this long sends
/// nothing. Shorter than a playlist goes on without a request (`reader`).
const LONGEST_HOLD: Duration = Duration::from_secs(36);

/// The playlist of a channel, once there is one.
pub(super) async fn first_snapshot(channel: &Channel) -> Result<Arc<Snapshot>, Problem> {
    // As nearly always: no clock and no status needs to be looked at.
    if let State::Live(snapshot) = &*channel.state()
        && !snapshot.segments.is_empty()
    {
        return Ok(Arc::clone(snapshot));
    }
    let mut state = channel.watch();
    let starting = matches!(*state.borrow(), State::Starting);
    if starting && is_down(channel) {
        // Nobody waits for a failure that is known.
        return Err(Problem::not_ready(channel.stream()));
    }
    // A player that knows no parts wants a segment.
    let mut first = None;
    if !is_live(channel) {
        first = tokio::time::timeout(FIRST_SEGMENT, ready(&mut state, 1)).await.ok();
    }
    // Or it sends by now: whoever asks first for a camera on demand has it connected.
    if first.is_none() && is_live(channel) {
        first = tokio::time::timeout(FIRST_SEGMENT_LIVE, ready(&mut state, 1)).await.ok();
    }
    match first.flatten() {
        Some(State::Live(snapshot)) => Ok(snapshot),
        Some(State::Unplayable(codec)) => {
            let detail = format!("HLS cannot carry {codec}");
            Err(Fault::new(Code::VideoUnplayable, detail).into())
        }
        Some(State::Starting) | None => Err(Problem::not_ready(channel.stream())),
    }
}

/// The same for a player that begins with a media playlist.
pub(super) async fn begun_snapshot(channel: &Channel) -> Result<Arc<Snapshot>, Problem> {
    longer_snapshot(channel, MEDIA_BEGINNING).await
}

/// With so many segments, if they come soon.
async fn longer_snapshot(
    channel: &Channel,
    (segments, patience): (usize, Duration),
) -> Result<Arc<Snapshot>, Problem> {
    let asked = Instant::now();
    let first = first_snapshot(channel).await?;
    let until = (asked + patience).max(Instant::now() + MORE_SEGMENTS);
    let mut state = channel.watch();
    match tokio::time::timeout_at(until, ready(&mut state, segments)).await {
        Ok(Some(State::Live(snapshot))) => Ok(snapshot),
        _ => Ok(first),
    }
}

/// The playlist for a player that comes now. What is left from before the
/// source went away would play for a moment and then stand still, without a
/// word; so there must be media newer than the player. Players that are there
/// stay.
pub(super) async fn fresh_snapshot(channel: &Channel) -> Result<Arc<Snapshot>, Problem> {
    let mut state = channel.watch();
    let old = match &*state.borrow() {
        State::Live(snapshot) if !snapshot.ended && !is_live(channel) => Some(Arc::clone(snapshot)),
        _ => None,
    };
    let Some(old) = old else { return longer_snapshot(channel, BEGINNING).await };
    if is_down(channel) {
        return Err(Problem::not_ready(channel.stream()));
    }
    // What was being cut may still end up in the open segment.
    let fresh = |s: &Snapshot| s.newest_media() > Some(old.next);
    match tokio::time::timeout(FIRST_SEGMENT, wait_for(&mut state, fresh)).await {
        Ok(Some(snapshot)) => Ok(snapshot),
        // The old window was dropped meanwhile.
        Ok(None) => longer_snapshot(channel, BEGINNING).await,
        Err(_) => Err(Problem::not_ready(channel.stream())),
    }
}

/// Whether frames come, as far as is known.
fn is_live(channel: &Channel) -> bool {
    let stream = channel.stream();
    stream.tracks().is_some() && stream.status().state == SourceState::Live
}

pub(super) fn is_down(channel: &Channel) -> bool {
    channel.stream().status().state == SourceState::Down
}

fn longest_hold(snapshot: &Snapshot) -> Duration {
    (snapshot.targets.segment * HOLD).min(LONGEST_HOLD)
}

/// Holds a request until `enough` holds, for as long as the client stays.
/// `None` when the stream was detached meanwhile.
pub(super) async fn hold(
    hls: &Hls,
    channel: &Channel,
    snapshot: &Snapshot,
    enough: impl Fn(&Snapshot) -> bool,
) -> Result<Option<Arc<Snapshot>>, Problem> {
    let _permit = hls.held.try_acquire().map_err(|_| Code::ViewerLimit)?;
    let _held = hls.metrics.hold();
    let mut state = channel.watch();
    match tokio::time::timeout(longest_hold(snapshot), wait_for(&mut state, enough)).await {
        Ok(snapshot) => {
            channel.touch();
            Ok(snapshot)
        }
        // 503, whatever ails the camera: §6.2.5.2 knows no other status.
        Err(_) => {
            let fault = channel.stream().status().fault;
            let why = fault.map_or("no new media for three target durations".into(), |fault| {
                format!("no new media for three target durations: {fault}")
            });
            Err(Fault::new(Code::StreamStarting, why).into())
        }
    }
}

/// Chromium's own player wants 10 s before it begins to play, and sound may be shorter.
const CHROMIUM_BUFFER: Duration = Duration::from_millis(10_200);

/// While its player waits for news, a stream is watched: said this often, which is more than
/// once in the time that a player lingers (`channel`).
const THERE: Duration = Duration::from_secs(5);

/// The playlist for Chromium's own player (156), with news. Once it can play, it reads again
/// what it has read to its end, and ends with an error where nothing is new ("Segment queue
/// never had any data"); it tells no request from another, and neither can we, so each waits
/// for the next segment. Where segments are long enough for it to leave one, none waits.
pub(super) async fn news(hls: &Hls, channel: &Channel, now: Arc<Snapshot>) -> Arc<Snapshot> {
    let listed = now.begun_with_key();
    let begun = listed.len().saturating_sub(BEGUN_WITH);
    let before_last = listed[begun..].iter().rev().skip(1).map(|segment| segment.duration);
    let newest = listed.last().map(|segment| segment.head.number);
    if before_last.sum::<Duration>() > CHROMIUM_BUFFER {
        return now;
    }
    let Ok(_permit) = hls.held.try_acquire() else { return now };
    let _held = hls.metrics.hold();
    // Not two of one group: what it has played of that it drops, and the rest with it.
    let newer = |s: &Snapshot| {
        let listed = s.begun_with_key();
        listed.len() >= BEGUN_WITH && listed.last().map(|last| last.head.number) > newest
    };
    let mut state = channel.watch();
    let news = tokio::time::timeout(longest_hold(&now), wait_for(&mut state, newer));
    tokio::pin!(news);
    let news = loop {
        // It is there, though a group of 30 s is longer than a player lingers.
        channel.touch();
        tokio::select! {
            news = &mut news => break news,
            () = sleep(THERE) => {}
        }
    };
    channel.touch();
    news.ok().flatten().unwrap_or(now)
}

/// What the multivariant playlist says of a stream's substream; `None` where
/// it does not come soon.
pub(super) async fn substream(sub: &Channel) -> Option<Variant> {
    let known = || sub.variant(Quality::Sub).map(|variant| Variant::clone(&variant));
    if is_down(sub) {
        return None;
    }
    if let Some(known) = known() {
        return Some(known);
    }
    let _ = tokio::time::timeout(OTHER_QUALITY, ready(&mut sub.watch(), 1)).await;
    known()
}
