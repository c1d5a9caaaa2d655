//! The camera of `porthole demo`: a bundled clip, looped in real time and
//! served over real RTSP on loopback, so that the ordinary ingest pulls it
//! like any other camera. `static/demo/make.sh` makes the clip.

use std::future::pending;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::auth::Access;
use crate::bus::{BusMetrics, Limits, Publisher, Registry, SourceState, SourceStatus, Stream};
use crate::egress::rtsp;
use crate::http::SessionMetrics;
use crate::media::{
    Avc, ClockRate, Codec, Draft, FrameKind, G711Law, MediaTime, StreamName, Track, TrackId,
    Tracks, WallTime, length_prefixed,
};

/// H.264 byte stream (annex B), 25 pictures a second, a slice each.
const VIDEO: &[u8] = include_bytes!("../../static/demo/camera.h264");

/// G.711 A-law, 8 000 samples a second.
const AUDIO: &[u8] = include_bytes!("../../static/demo/camera.alaw");

/// Between two pictures.
const PICTURE: Duration = Duration::from_millis(40);

/// Ticks of 90 kHz in [`PICTURE`].
const PICTURE_TICKS: i64 = 3600;

/// Samples in a sound packet, 20 ms as from most cameras: two per picture.
const PACKET_SAMPLES: usize = 160;

/// A camera that runs until it is dropped.
pub struct DemoCamera {
    /// Where it serves: `rtsp://127.0.0.1:port/demo`.
    pub url: String,
    _tasks: JoinSet<()>,
}

/// Starts the camera on a free port of the loopback interface.
///
/// # Errors
///
/// When no port can be had.
pub async fn start() -> io::Result<DemoCamera> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let url = format!("rtsp://{}/demo", listener.local_addr()?);

    let name: StreamName = "demo".parse().expect("`demo` is a stream name");
    let status = SourceStatus::new(SourceState::Live, SystemTime::now(), "the bundled clip");
    let (stream, publisher) =
        Stream::new(name, Limits::default(), status, BusMetrics::unregistered());
    let registry = Registry::new();
    registry.insert(stream);
    let deps = rtsp::Deps {
        registry: Arc::new(registry),
        access: Arc::new(Access::Open),
        sessions: SessionMetrics::unregistered().of("rtsp"),
        draining: Arc::default(),
    };

    let mut tasks = JoinSet::new();
    tasks.spawn(play(Clip::bundled(), publisher));
    tasks.spawn(rtsp::serve(listener, deps, pending()));
    Ok(DemoCamera { url, _tasks: tasks })
}

/// Publishes the clip over and over, in real time; time runs on.
async fn play(clip: Clip, mut publisher: Publisher) {
    let started = SystemTime::now();
    let mut ticks = interval(PICTURE);
    // A late tick is made up for: a camera's clock does not stop.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in 0.. {
        ticks.tick().await;
        let [picture, sound @ ..] = clip.frames_at(number, WallTime::from(started));
        publisher.publish(picture);
        sound.into_iter().for_each(|packet| drop(publisher.publish(packet)));
    }
}

/// The clip, cut into frames.
struct Clip {
    tracks: Arc<Tracks>,
    pictures: Vec<(FrameKind, Bytes)>,
    sound: Vec<Bytes>,
}

impl Clip {
    fn bundled() -> Self {
        let (mut sps, mut pps, mut pictures) = (Bytes::new(), Bytes::new(), Vec::new());
        for unit in annex_b(VIDEO) {
            match unit.first().map(|header| header & 0x1f) {
                Some(7) => sps = Bytes::from_static(unit),
                Some(8) => pps = Bytes::from_static(unit),
                Some(5) => pictures.push((FrameKind::Key, length_prefixed([unit]))),
                Some(1) => pictures.push((FrameKind::Delta, length_prefixed([unit]))),
                _ => {}
            }
        }
        let avc = Avc::new(sps, vec![pps]).expect("the bundled clip's parameter sets are valid");
        let hz = |hz| ClockRate::new(hz).expect("no clock of ours has zero hertz");
        let track = |rate, codec| Track { id: TrackId(0), rate, codec };
        let tracks = Tracks::new(vec![
            track(ClockRate::VIDEO, Codec::H264(avc)),
            track(hz(8000), Codec::G711 { law: G711Law::A, channels: 1 }),
        ]);
        let sound = AUDIO.chunks(PACKET_SAMPLES).map(Bytes::from_static).collect();
        Self { tracks: Arc::new(tracks), pictures, sound }
    }

    /// Picture `number`, counted over all loops, and the sound beside it.
    fn frames_at(&self, number: usize, started: WallTime) -> [Draft; 3] {
        let (kind, picture) = &self.pictures[number % self.pictures.len()];
        let draft = |track: u8, ticks: i64, kind, data: &Bytes| {
            let track = TrackId(track);
            let rate = self.tracks.get(track).map_or(ClockRate::VIDEO, |track| track.rate);
            let at = MediaTime::new(ticks, rate);
            Draft {
                track,
                tracks: Arc::clone(&self.tracks),
                pts: at,
                dts: at,
                wall: started.offset_by(at.nanos()),
                kind,
                lost_before: 0,
                discontinuity: false,
                arrived: Instant::now(),
                data: data.clone(),
            }
        };
        let sound = |nth: usize| {
            let packet = 2 * number + nth;
            let ticks = (packet * PACKET_SAMPLES) as i64;
            draft(1, ticks, FrameKind::Audio, &self.sound[packet % self.sound.len()])
        };
        [draft(0, number as i64 * PICTURE_TICKS, *kind, picture), sound(0), sound(1)]
    }
}

/// NAL units of a byte stream (H.264 annex B), without start codes.
fn annex_b(mut stream: &'static [u8]) -> impl Iterator<Item = &'static [u8]> {
    let start = |bytes: &[u8]| bytes.windows(3).position(|w| w == [0, 0, 1]);
    stream = start(stream).map_or(&[], |at| &stream[at + 3..]);
    std::iter::from_fn(move || {
        if stream.is_empty() {
            return None;
        }
        let end = start(stream);
        let unit = &stream[..end.unwrap_or(stream.len())];
        stream = end.map_or(&[], |at| &stream[at + 3..]);
        // What precedes a start code of four bytes, and trailing zeros.
        let length = unit.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        Some(&unit[..length])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clip_is_whole_and_fit_for_every_browser() {
        let clip = Clip::bundled();
        assert_eq!((clip.pictures.len(), clip.sound.len()), (250, 500));
        let keys =
            clip.pictures.iter().enumerate().filter(|(_, (kind, _))| *kind == FrameKind::Key);
        assert_eq!(keys.map(|(i, _)| i).collect::<Vec<_>>(), [0, 50, 100, 150, 200]);
        let Codec::H264(avc) = &clip.tracks.video().unwrap().codec else { panic!() };
        assert_eq!((avc.size.width, avc.size.height), (1280, 720));
        assert_eq!(avc.max_num_reorder_frames, Some(0));
        // Constrained baseline, level 3.1: what every WebRTC browser decodes.
        assert_eq!(avc.codec_string(), "avc1.42C01F");
        assert!(VIDEO.len() + AUDIO.len() < 1 << 20);
    }

    #[test]
    fn time_runs_on_over_loops_and_sound_keeps_pace() {
        let clip = Clip::bundled();
        let started = WallTime::from_unix_nanos(0);
        let mut last = -1;
        for number in 0..1000 {
            let [picture, first, second] = clip.frames_at(number, started);
            assert_eq!(picture.pts, first.pts);
            assert!(picture.pts.nanos() > last && second.pts > first.pts);
            assert_eq!(picture.wall.unix_nanos(), picture.pts.nanos());
            last = picture.pts.nanos();
        }
        assert_eq!(last, 39_960_000_000);
        assert_eq!(clip.frames_at(250, started)[0].data, clip.frames_at(0, started)[0].data);
    }
}
