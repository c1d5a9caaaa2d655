//! The report, for people and for programs.

use std::fmt::Write;

use serde_json::{Value, json};

use super::verdict::{BROWSERS, OUTPUTS, Verdict, verdict};
use crate::fault::{Code, Fault};
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
        line(&mut out, "way out", way_out(source, fault));
        out.push('\n');
    }
    line(&mut out, "reachable", if reachable(probe) { "yes" } else { "no" });
    if reachable(probe) {
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
    for track in &probe.tracks {
        line(&mut out, word(track.kind), &track_text(track));
    }
    if probe.tracks.iter().any(|track| track.packets > 0) {
        line(&mut out, "loss", &loss(&probe.tracks));
        line(&mut out, "timestamps", &timestamps(&probe.tracks));
        let unknown = "not told: the camera sends no RTCP sender reports".to_owned();
        line(&mut out, "clock", &probe.clock_offset.map_or(unknown, clock));
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

/// Whether anything answered.
fn reachable(probe: &Probe) -> bool {
    let silent = |fault: &Fault| {
        matches!(fault.code, Code::SourceDns | Code::SourceRefused | Code::SourceTimeout)
    };
    let answered = !probe.login_schemes.is_empty() || probe.server.is_some();
    answered || probe.transport.is_some() || !probe.fault.as_ref().is_some_and(silent)
}

/// What to do about a fault, for somebody who has just typed a URL.
fn way_out(source: &Source, fault: &Fault) -> &'static str {
    match (fault.code, &source.login) {
        (Code::SourceAuth, None) => "Give its login in the URL: rtsp://user:password@host/path.",
        (Code::SourceAuth, Some(_)) => {
            "Check both; in a URL # is written %23, @ %40, / %2F. Cameras lock after several tries."
        }
        _ => fault.code.hint(),
    }
}

fn loss(tracks: &[Seen]) -> String {
    let sum = |of: fn(&Seen) -> u64| tracks.iter().map(of).sum::<u64>();
    let (lost, sent) = (sum(|track| track.lost), sum(|track| track.packets + track.lost));
    let discarded = sum(|track| track.discarded);
    let mut text = match lost {
        0 => format!("none of {sent} packets"),
        _ => {
            let percent = lost as f64 * 100.0 / sent as f64;
            format!("{lost} of {sent} packets ({percent:.1} %)")
        }
    };
    if discarded > 0 {
        let _ = write!(text, ", {discarded} frames not decodable");
    }
    text
}

fn timestamps(tracks: &[Seen]) -> String {
    match tracks.iter().map(|track| track.bad_times).sum() {
        0 => "rise evenly".to_owned(),
        bad => format!("{bad} go back, stand still or jump; they are repaired"),
    }
}

fn bit_rate(bits: f64) -> String {
    if bits < 1e6 {
        format!("{:.0} kbit/s", bits / 1e3)
    } else {
        format!("{:.1} Mbit/s", bits / 1e6)
    }
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
            // The string of what our fMP4 carries is the camera's only where
            // that is the same.
            let string = codec.rfc6381().filter(|string| string.contains('.'));
            let string = string.map(|s| format!(" ({s})")).unwrap_or_default();
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
    if track.frames == 0 {
        parts.push("announced, but nothing came".to_owned());
        return parts.join(", ");
    }
    if track.kind == MediaKind::Video
        && let Some(rate) = track.rate()
    {
        parts.push(format!("{rate:.1} fps"));
    }
    if let Some(bits) = track.bit_rate() {
        parts.push(bit_rate(bits));
    }
    match (&track.codec, track.keyframe_interval) {
        // Every picture is one.
        (Some(Codec::Jpeg(_)), _) => {}
        (_, Some(interval)) => parts.push(format!("key frame every {interval:.1} s")),
        (_, None) if track.kind == MediaKind::Video => {
            parts.push(format!("fewer than two key frames in {:.0} s", track.seconds));
        }
        (_, None) => {}
    }
    if track.reordered {
        parts.push("B-frames".to_owned());
    }
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
            "hint": way_out(source, fault),
            "detail": fault.detail,
        })),
        "reachable": reachable(probe),
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
        "seconds": track.seconds,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(fault: Option<Fault>) -> Probe {
        Probe { fault, ..Probe::default() }
    }

    #[test]
    fn a_camera_that_is_not_reached_is_told_from_one_that_refuses() {
        let source: Source = "rtsp://camera/live".parse().unwrap();
        let text = |probe: &Probe| text(&source, probe);
        let away = probe(Some(Code::SourceTimeout.into()));
        assert!(text(&away).contains("reachable     no"), "{}", text(&away));
        let mut locked = probe(Some(Code::SourceAuth.into()));
        locked.login_schemes = vec!["Digest SHA-256".into(), "Basic".into()];
        let said = text(&locked);
        assert!(said.contains("reachable     yes") && said.contains("Digest SHA-256, Basic"));
        assert!(said.contains("way out       Give its login in the URL"), "{said}");
        assert_eq!(json(&source, &locked)["fault"]["code"], "source.auth");
    }

    #[test]
    fn loss_and_timestamps_are_said_even_where_all_is_well() {
        let mut seen = Seen {
            kind: MediaKind::Video,
            codec: None,
            frames: 1,
            bytes: 1,
            seconds: 1.0,
            keyframe_interval: None,
            reordered: false,
            packets: 980,
            lost: 0,
            discarded: 0,
            bad_times: 0,
        };
        assert_eq!(loss(&[seen.clone()]), "none of 980 packets");
        assert_eq!(timestamps(&[seen.clone()]), "rise evenly");
        (seen.lost, seen.discarded, seen.bad_times) = (20, 3, 1);
        let words = "20 of 1000 packets (2.0 %), 3 frames not decodable";
        assert_eq!(loss(&[seen.clone()]), words);
        assert!(timestamps(&[seen]).starts_with("1 go back"));
    }
}
