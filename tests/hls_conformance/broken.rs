//! Faults planted in a recording: each must be seen by the rule it breaks.

use super::recording::{Answer, Playlist};

/// Recordings to be broken.
pub(crate) type Recordings = Vec<Vec<Answer>>;

pub(crate) type Break = fn(&mut Recordings);

fn each(recordings: &mut Recordings, change: impl FnMut(&mut Answer)) {
    recordings.iter_mut().flatten().for_each(change);
}

/// Changes media playlists that contain `having`.
fn lists(recordings: &mut Recordings, having: &str, change: impl Fn(&str) -> String) {
    each(recordings, |answer| {
        if answer.is_media() && answer.status == 200 && answer.text().contains(having) {
            answer.body = change(answer.text()).into_bytes();
        }
    });
}

fn swap(recordings: &mut Recordings, old: &'static str, new: &'static str) {
    lists(recordings, old, |text| text.replace(old, new));
}

fn without(recordings: &mut Recordings, tag: &'static str) {
    lists(recordings, tag, |text| {
        let kept = text.lines().filter(|line| !line.starts_with(tag));
        kept.map(|line| format!("{line}\n")).collect()
    });
}

/// Requests of the main playlist.
fn main(answer: &Answer) -> bool {
    answer.path == "hls/media.m3u8"
}

fn stale(recordings: &mut Recordings) {
    let mut old = Vec::new();
    each(recordings, |answer| {
        if main(answer) && answer.status == 200 {
            let now = answer.body.clone();
            if answer.query.contains("_HLS_part=") {
                answer.body.clone_from(&old);
            }
            old = now;
        }
    });
}

fn old_refused(recordings: &mut Recordings) {
    let newest = |answer: &Answer| Playlist::new(answer).next();
    let newest = recordings[0].iter().filter(|answer| main(answer)).map(newest).max().unwrap();
    each(recordings, |answer| {
        let asked = answer.asks("_HLS_msn").and_then(|number| number.parse::<u64>().ok());
        if asked.is_some_and(|number| number + 150 < newest) {
            answer.status = 400;
        }
    });
}

fn late(recordings: &mut Recordings) {
    let middle = recordings[0].last().unwrap().answered - 6.0;
    for answer in &mut recordings[0] {
        answer.answered += if answer.answered > middle { 6.0 } else { 0.0 };
        answer.asked += if answer.asked > middle { 6.0 } else { 0.0 };
    }
}

/// Lists a part of the oldest segment, too.
fn parts_for_ever(text: &str) -> String {
    text.replacen("#EXTINF", "#EXT-X-PART:DURATION=0.40,URI=\"s0.0.m4s\"\n#EXTINF", 1)
}

/// Changes what is fetched a second time.
fn again(recordings: &mut Recordings, change: impl Fn(&mut Answer)) {
    let mut seen = std::collections::BTreeSet::new();
    each(recordings, |answer| {
        if !answer.path.ends_with(".m3u8") && !seen.insert(answer.path.clone()) {
            change(answer);
        }
    });
}

fn tags_after_a_part(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    for at in 1..lines.len() {
        if lines[at - 1].starts_with("#EXT-X-PROGRAM") && lines[at].starts_with("#EXT-X-PART:") {
            lines.swap(at - 1, at);
        }
    }
    lines.join("\n")
}

/// Lists no gap where there was one.
fn no_gaps(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    while let Some(at) = lines.iter().position(|line| *line == "#EXT-X-GAP") {
        let begins = lines[..at].iter().rposition(|line| line.starts_with("#EXT-X-PROGRAM"));
        lines.drain(begins.unwrap()..at + 3);
    }
    lines.join("\n")
}

/// Changes what the multivariant playlist says.
fn index(recordings: &mut Recordings, old: &str, new: &str) {
    each(recordings, |answer| {
        if answer.path == "index.m3u8" {
            answer.body = answer.text().replace(old, new).into();
        }
    });
}

/// Changes the later half of the main media playlists.
fn later(recordings: &mut Recordings, old: &str, new: &str) {
    let half = recordings[0].len() / 2;
    let answers = recordings[0][half..].iter_mut().filter(|answer| main(answer));
    answers.for_each(|answer| answer.body = answer.text().replace(old, new).into());
}

/// The rule that each fault breaks.
pub(crate) const BROKEN: [(u32, Break); 44] = [
    (1, |r| swap(r, "PART-HOLD-BACK=1.32", "PART-HOLD-BACK=1.22")),
    (2, |r| swap(r, "CONTROL:", "CONTROL:HOLD-BACK=5.9,")),
    (3, |r| swap(r, "CAN-SKIP-UNTIL=12", "CAN-SKIP-UNTIL=11")),
    (3, |r| swap(r, "CAN-SKIP-UNTIL=12", "CAN-SKIP-UNTIL=15")),
    (4, |r| lists(r, "#EXT-X-SKIP", |text| text.replace("#EXTINF:1.0", "#EXTINF:1.1"))),
    (4, |r| lists(r, "#EXT-X-SKIP", |text| text.replace("VERSION:9", "VERSION:8"))),
    (5, stale),
    (6, old_refused),
    (7, |r| {
        each(r, |answer| {
            if answer.query == "_HLS_part=0" {
                answer.status = 200
            }
        })
    }),
    (7, |r| {
        each(r, |answer| {
            if answer.query.is_empty() && main(answer) {
                answer.status = 400
            }
        })
    }),
    (8, |r| {
        each(r, |answer| {
            if answer.status == 503 {
                answer.asked = answer.answered - 1.0
            }
        })
    }),
    (8, |r| {
        let last = r[1].iter_mut().rev().find(|answer| main(answer));
        last.unwrap().status = 400;
    }),
    (9, |r| swap(r, "PART:DURATION=0.40", "PART:DURATION=0.46")),
    (9, |r| swap(r, "PART:DURATION=0.40", "PART:DURATION=0.36")),
    (10, |r| swap(r, ",INDEPENDENT=YES", "")),
    (11, |r| lists(r, "#EXT-X-PART:", tags_after_a_part)),
    (12, late),
    (13, |r| again(r, |answer| answer.status = 404)),
    (13, |r| without(r, "#EXT-X-PART:")),
    (13, |r| lists(r, "#EXT-X-PART:", parts_for_ever)),
    (14, |r| later(r, "DURATION:2", "DURATION:3")),
    (14, |r| later(r, "EXTINF:1.0", "EXTINF:1.1")),
    (14, |r| later(r, "#EXT-X-PROGRAM-DATE-TIME", "#EXT-X-DATE")),
    (14, |r| later(r, "PART-HOLD-BACK=1.32", "PART-HOLD-BACK=1.42")),
    (15, |r| without(r, "#EXT-X-PRELOAD-HINT:TYPE=PART")),
    (15, |r| swap(r, "TYPE=PART,URI=\"s", "TYPE=PART,URI=\"s1")),
    (15, |r| {
        each(r, |answer| {
            if answer.status == 404 {
                answer.status = 200
            }
        })
    }),
    (16, |r| without(r, "#EXT-X-PROGRAM-DATE-TIME")),
    (16, |r| lists(r, "#EXT-X-GAP", no_gaps)),
    (17, |r| without(r, "#EXT-X-RENDITION-REPORT")),
    (17, |r| swap(r, "LAST-MSN=1", "LAST-MSN=2")),
    (18, |r| swap(r, ",INDEPENDENT=YES", "")),
    (19, |r| again(r, |answer| answer.body.push(0))),
    (19, |r| each(r, |answer| drop(answer.headers.insert("set-cookie".into(), "a=b".into())))),
    (19, |r| each(r, |answer| drop(answer.headers.remove("content-encoding")))),
    (19, |r| swap(r, "URI=\"i", "URI=\"/i")),
    (20, |r| each(r, |answer| drop(answer.headers.remove("cache-control")))),
    (21, |r| without(r, "#EXT-X-DISCONTINUITY-SEQUENCE")),
    (21, |r| swap(r, "#EXT-X-DISCONTINUITY\n", "")),
    (22, |r| swap(r, "#EXTINF:1.0", "#EXTINF:2.6")),
    (23, |r| index(r, "BANDWIDTH=", "BANDWIDTH=1")),
    (23, |r| index(r, "CODECS=\"avc1", "CODECS=\"avc3")),
    (23, |r| index(r, "RESOLUTION=", "SIZE=")),
    (23, |r| index(r, "FRAME-RATE=25", "FRAME-RATE=30")),
];
