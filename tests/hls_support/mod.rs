//! Clips that ffmpeg makes at test time, as frames of a camera.
#![allow(dead_code, reason = "every test takes what it needs")]

pub(crate) mod gateway;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use porthole::media::{
    Aac, Avc, ClockRate, Codec, Draft, FrameKind, G711Law, Hevc, MediaTime, Track, TrackId, Tracks,
    WallTime, length_prefixed,
};

/// What the camera's clock shows at the clip's start: 2026-09-21, and a bit.
pub(crate) const WALL_MS: i64 = 1_790_000_000_250;

pub(crate) struct Clip {
    pub(crate) tracks: Arc<Tracks>,
    /// In the order a camera would send them.
    pub(crate) frames: Vec<Draft>,
}

pub(crate) struct Spec<'a> {
    /// Encoder options of ffmpeg for the picture, e.g. `-c:v libx264`.
    pub(crate) video: &'a str,
    pub(crate) audio: Audio,
    pub(crate) seconds: u32,
    pub(crate) fps: u32,
    pub(crate) size: &'a str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audio {
    None,
    Aac,
    Alaw,
    Mulaw,
}

pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).output().expect(program);
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{program} {args:?}: {errors}");
    let text = format!("{}{errors}", String::from_utf8_lossy(&out.stdout));
    // A decoder that complains, complains about every frame.
    if text.contains(" @ 0x") { text.chars().take(400).collect() } else { text }
}

impl Clip {
    pub(crate) fn make(spec: &Spec<'_>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let hevc = spec.video.contains("265");
        let source =
            format!("testsrc2=size={}:rate={}:duration={}", spec.size, spec.fps, spec.seconds);
        let (muxed, raw) = (path("clip.mkv"), path(if hevc { "clip.h265" } else { "clip.h264" }));
        let mut args = vec!["-v", "error", "-f", "lavfi", "-i", &source];
        args.extend(spec.video.split_whitespace());
        args.extend(["-pix_fmt", "yuv420p", &muxed]);
        run("ffmpeg", &args);
        let filter = if hevc {
            "hevc_mp4toannexb,hevc_metadata=aud=insert"
        } else {
            "h264_mp4toannexb,h264_metadata=aud=insert"
        };
        run("ffmpeg", &["-v", "error", "-i", &muxed, "-c", "copy", "-bsf:v", filter, &raw]);
        let times = packet_times(&muxed);
        let units = access_units(&std::fs::read(&raw).unwrap(), hevc);
        assert_eq!(times.len(), units.len(), "an access unit per packet");

        let codec = video_codec(&units[0], hevc);
        let mut tracks = vec![Track { id: TrackId(0), rate: ClockRate::VIDEO, codec }];
        let sound = sound(spec, dir.path());
        tracks.extend(sound.as_ref().map(|(track, ..)| track.clone()));
        let tracks = Arc::new(Tracks::new(tracks));

        let mut frames: Vec<Draft> = units
            .iter()
            .zip(times)
            .map(|(units, (pts, dts))| {
                let slices = units.iter().filter(|unit| is_slice(unit, hevc));
                let key = slices.clone().all(|unit| is_key(unit, hevc));
                draft(
                    &tracks,
                    0,
                    pts * 90,
                    dts * 90,
                    if key { FrameKind::Key } else { FrameKind::Delta },
                    length_prefixed(slices.map(|unit| &unit[..])),
                )
            })
            .collect();
        if let Some((_, samples, packets)) = sound {
            frames.extend(packets.into_iter().zip(0..).map(|(data, n)| {
                draft(&tracks, 1, n * samples, n * samples, FrameKind::Audio, data)
            }));
        }
        frames.sort_by_key(|frame| frame.dts.nanos());
        Self { tracks, frames }
    }

    pub(crate) fn video_frames(&self) -> usize {
        self.frames.iter().filter(|frame| frame.kind != FrameKind::Audio).count()
    }

    pub(crate) fn audio_frames(&self) -> usize {
        self.frames.len() - self.video_frames()
    }
}

pub(crate) fn draft(
    tracks: &Arc<Tracks>,
    track: u8,
    pts: i64,
    dts: i64,
    kind: FrameKind,
    data: Bytes,
) -> Draft {
    let rate = tracks.get(TrackId(track)).unwrap().rate;
    let pts = MediaTime::new(pts, rate);
    Draft {
        track: TrackId(track),
        tracks: Arc::clone(tracks),
        pts,
        dts: MediaTime::new(dts, rate),
        wall: WallTime::from_unix_nanos(WALL_MS * 1_000_000 + pts.nanos()),
        kind,
        lost_before: 0,
        discontinuity: false,
        arrived: Instant::now(),
        data,
    }
}

/// Track, ticks per packet, packets.
fn sound(spec: &Spec<'_>, dir: &Path) -> Option<(Track, i64, Vec<Bytes>)> {
    let (codec, format, rate) = match spec.audio {
        Audio::None => return None,
        Audio::Aac => ("aac", "adts", 48_000),
        Audio::Alaw => ("pcm_alaw", "alaw", 8_000),
        Audio::Mulaw => ("pcm_mulaw", "mulaw", 8_000),
    };
    let path = dir.join("sound").to_str().unwrap().to_owned();
    let source = format!("sine=frequency=440:sample_rate={rate}:duration={}", spec.seconds);
    let mut args = vec!["-v", "error", "-f", "lavfi", "-i", &source, "-ac", "1"];
    args.extend(["-c:a", codec, "-f", format, &path]);
    run("ffmpeg", &args);
    let data = std::fs::read(&path).unwrap();
    let rate = ClockRate::new(rate).unwrap();
    let track = |codec| Track { id: TrackId(1), rate, codec };
    let g711 = |law| track(Codec::G711 { law, channels: 1 });
    let packets = || data.chunks(160).map(Bytes::copy_from_slice).collect();
    Some(match spec.audio {
        Audio::None => return None,
        Audio::Alaw => (g711(G711Law::A), 160, packets()),
        Audio::Mulaw => (g711(G711Law::Mu), 160, packets()),
        Audio::Aac => {
            let config = Bytes::from_static(&[0x11, 0x88]); // AAC-LC, 48 kHz, mono
            let aac = Aac { config, object_type: 2, sample_rate: 48_000, channels: 1 };
            (track(Codec::Aac(aac)), 1_024, adts_frames(&data))
        }
    })
}

fn adts_frames(mut data: &[u8]) -> Vec<Bytes> {
    let mut frames = Vec::new();
    while data.len() > 7 {
        let size =
            usize::from(data[3] & 3) << 11 | usize::from(data[4]) << 3 | usize::from(data[5] >> 5);
        let header = if data[1] & 1 == 1 { 7 } else { 9 };
        frames.push(Bytes::copy_from_slice(&data[header..size]));
        data = &data[size..];
    }
    frames
}

/// pts and dts in milliseconds, in decode order, dts starting at zero.
fn packet_times(path: &str) -> Vec<(i64, i64)> {
    let out = run(
        "ffprobe",
        &[
            "-v",
            "error",
            "-select_streams",
            "v",
            "-show_entries",
            "packet=pts",
            "-of",
            "csv=p=0",
            path,
        ],
    );
    let pts: Vec<i64> =
        out.lines().filter_map(|line| line.trim_end_matches(',').parse().ok()).collect();
    // Matroska keeps no dts: the sorted pts are one, and a shift keeps each
    // frame from being shown before it is decoded.
    let mut dts = pts.clone();
    dts.sort_unstable();
    let shift = dts.iter().zip(&pts).map(|(dts, pts)| dts - pts).max().unwrap_or(0);
    pts.into_iter().map(|pts| pts + shift).zip(dts).collect()
}

/// NAL units of each access unit; an AUD begins one.
pub(crate) fn access_units(data: &[u8], hevc: bool) -> Vec<Vec<Bytes>> {
    let mut units: Vec<Vec<Bytes>> = Vec::new();
    let starts: Vec<usize> =
        data.windows(3).enumerate().filter(|(_, w)| *w == [0, 0, 1]).map(|(at, _)| at).collect();
    for (n, &start) in starts.iter().enumerate() {
        let end = starts.get(n + 1).copied().unwrap_or(data.len());
        let mut unit = &data[start + 3..end];
        while let [rest @ .., 0] = unit {
            unit = rest;
        }
        let delimiter = if hevc { unit[0] >> 1 & 0x3f == 35 } else { unit[0] & 0x1f == 9 };
        if delimiter {
            units.push(Vec::new());
        }
        units.last_mut().expect("the stream has AUDs").push(Bytes::copy_from_slice(unit));
    }
    units
}

pub(crate) fn is_slice(unit: &[u8], hevc: bool) -> bool {
    if hevc { unit[0] >> 1 & 0x3f < 32 } else { (1..=5).contains(&(unit[0] & 0x1f)) }
}

fn is_key(unit: &[u8], hevc: bool) -> bool {
    if hevc { (16..=23).contains(&(unit[0] >> 1 & 0x3f)) } else { unit[0] & 0x1f == 5 }
}

pub(crate) fn video_codec(units: &[Bytes], hevc: bool) -> Codec {
    let of = |kind: u8| -> Vec<Bytes> {
        let kind_of = |unit: &Bytes| if hevc { unit[0] >> 1 & 0x3f } else { unit[0] & 0x1f };
        units.iter().filter(|unit| kind_of(unit) == kind).cloned().collect()
    };
    if hevc {
        Codec::H265(Hevc::new(of(32)[0].clone(), of(33)[0].clone(), of(34)).unwrap())
    } else {
        Codec::H264(Avc::new(of(7)[0].clone(), of(8)).unwrap())
    }
}
