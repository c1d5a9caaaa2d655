//! The report, for people and for programs.

use std::fmt::Write;

use serde_json::{Value, json};

use super::verdict::{BROWSERS, OUTPUTS, Verdict, verdict};
use crate::ingest::{Probe, Seen, Source, Transport};
use crate::media::{Codec, MediaKind};

/// A line of the table: `  name       text`.
fn line(out: &mut String, name: &str, text: &str) {
    let _ = writeln!(out, "  {name:<14}{text}");
}

/// What a terminal shows.
pub(super) fn text(source: &Source, probe: &Probe) -> String {
    let mut out = format!("{source}\n\n");
    if let Some(fault) = &probe.fault {
        line(&mut out, "fault", &format!("{}: {}", fault.code, fault.code.sentence()));
        if !fault.detail.is_empty() {
            line(&mut out, "", &fault.detail);
        }
        line(&mut out, "", fault.code.hint());
    }
    let answered = !probe.login_schemes.is_empty() || probe.server.is_some();
    if answered || probe.transport.is_some() {
        line(&mut out, "reachable", "yes");
        let schemes = match probe.login_schemes.join(", ") {
            none if none.is_empty() => "not asked for".to_owned(),
            schemes => schemes,
        };
        line(&mut out, "login", &schemes);
    }
    if let Some(server) = &probe.server {
        line(&mut out, "server", server);
    }
    if let Some(transport) = probe.transport {
        line(&mut out, "transport", transport.as_str());
    }
    if let Some(offset) = probe.clock_offset {
        line(&mut out, "clock", &clock(offset));
    }
    for track in &probe.tracks {
        line(&mut out, word(track.kind), &track_text(track));
    }
    for note in &probe.notes {
        line(&mut out, "left out", &format!("{} ({})", note.code.sentence(), note.detail));
    }
    if probe.tracks.is_empty() {
        return out;
    }
    let _ =
        writeln!(out, "\n  {:<10}{}", "", BROWSERS.map(|b| format!("{b:<10}")).concat().trim_end());
    let mut reasons: Vec<String> = Vec::new();
    for output in OUTPUTS {
        let mut row = format!("  {output:<10}");
        for browser in BROWSERS {
            let Verdict { plays, reason } = verdict(probe, output, browser);
            let mut cell = if plays { "yes" } else { "no" }.to_owned();
            if !reason.is_empty() {
                let known = reasons.iter().position(|known| *known == reason);
                let number = known.unwrap_or_else(|| {
                    reasons.push(reason);
                    reasons.len() - 1
                });
                let _ = write!(cell, " ({})", number + 1);
            }
            let _ = write!(row, "{cell:<10}");
        }
        let _ = writeln!(out, "{}", row.trim_end());
    }
    for (i, reason) in reasons.iter().enumerate() {
        let _ = writeln!(out, "  ({}) {reason}", i + 1);
    }
    out
}

fn word(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Video => "picture",
        MediaKind::Audio => "sound",
    }
}

fn clock(offset_nanos: i64) -> String {
    let seconds = offset_nanos as f64 / 1e9;
    if seconds.abs() < 1.0 {
        "right, within a second".to_owned()
    } else {
        let side = if seconds < 0.0 { "behind" } else { "ahead" };
        format!("{:.0} s {side} of ours: set NTP in the camera", seconds.abs())
    }
}

fn track_text(track: &Seen) -> String {
    let mut parts = Vec::new();
    match &track.codec {
        Some(codec) => {
            let string = codec.rfc6381().map(|s| format!(" ({s})")).unwrap_or_default();
            parts.push(format!("{}{string}", codec.name()));
            if let Some(size) = codec.pixel_size() {
                parts.push(format!("{} x {}", size.width, size.height));
            }
            if let Codec::Aac(aac) = codec {
                parts.push(format!("{} Hz", aac.sample_rate));
            }
        }
        None => parts.push("parameters never came".to_owned()),
    }
    if track.kind == MediaKind::Video
        && let Some(rate) = track.rate()
    {
        parts.push(format!("{rate:.1} fps"));
    }
    if let Some(bits) = track.bit_rate() {
        parts.push(format!("{:.2} Mbit/s", bits / 1e6));
    }
    match track.keyframe_interval {
        Some(interval) => parts.push(format!("key frame every {interval:.1} s")),
        None if track.kind == MediaKind::Video => {
            parts.push("fewer than two key frames in 8 s".to_owned());
        }
        None => {}
    }
    if track.reordered {
        parts.push("B-frames".to_owned());
    }
    let health = [
        (track.lost, "packets lost"),
        (track.discarded, "frames not decodable"),
        (track.bad_times, "bad timestamps"),
    ];
    parts.extend(health.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")));
    parts.join(", ")
}

/// What programs read.
pub(super) fn json(source: &Source, probe: &Probe) -> Value {
    let tracks: Vec<Value> = probe.tracks.iter().map(track_json).collect();
    let plays: Value = OUTPUTS
        .iter()
        .map(|output| {
            let row: Value = BROWSERS
                .iter()
                .map(|browser| {
                    let Verdict { plays, reason } = verdict(probe, output, browser);
                    ((*browser).to_owned(), json!({ "plays": plays, "reason": reason }))
                })
                .collect::<serde_json::Map<_, _>>()
                .into();
            ((*output).to_owned(), row)
        })
        .collect::<serde_json::Map<_, _>>()
        .into();
    json!({
        "source": source.to_string(),
        "fault": probe.fault.as_ref().map(|fault| json!({
            "code": fault.code.as_str(),
            "title": fault.code.sentence(),
            "hint": fault.code.hint(),
            "detail": fault.detail,
        })),
        "login_schemes": probe.login_schemes,
        "server": probe.server,
        "transport": probe.transport.map(Transport::as_str),
        "clock_offset_seconds": probe.clock_offset.map(|nanos| nanos as f64 / 1e9),
        "tracks": tracks,
        "left_out": probe.notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "plays": plays,
    })
}

fn track_json(track: &Seen) -> Value {
    let size = track.codec.as_ref().and_then(Codec::pixel_size);
    json!({
        "kind": track.kind.as_str(),
        "codec": track.codec.as_ref().map(Codec::name),
        "rfc6381": track.codec.as_ref().and_then(Codec::rfc6381),
        "width": size.map(|size| size.width),
        "height": size.map(|size| size.height),
        "frames": track.frames,
        "fps": track.rate(),
        "bits_per_second": track.bit_rate(),
        "keyframe_interval_seconds": track.keyframe_interval,
        "b_frames": track.reordered,
        "packets": track.packets,
        "packets_lost": track.lost,
        "frames_discarded": track.discarded,
        "bad_timestamps": track.bad_times,
    })
}
