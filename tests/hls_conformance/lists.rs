//! Rules about what playlists say.

use std::collections::{BTreeMap, BTreeSet};

use super::recording::{Playlist, Segment};
use super::rules::{Found, Watch};

/// Playlists print microseconds.
const EXACT: f64 = 0.000_01;

pub(crate) fn part_hold_back(watch: &Watch<'_>, found: &mut Found) {
    for list in watch.playlists() {
        let (hold, part) = (list.control("PART-HOLD-BACK"), list.part_target());
        found.see(hold >= part * 3.0, || format!("{hold} < 3 * {part}"));
    }
}

pub(crate) fn hold_back(watch: &Watch<'_>, found: &mut Found) {
    for list in watch.playlists() {
        let hold = list.control("HOLD-BACK");
        let holds = hold.is_nan() || hold >= list.target() * 3.0;
        found.see(holds, || format!("{hold} < 3 * {}", list.target()));
    }
}

pub(crate) fn skip_boundary(watch: &Watch<'_>, found: &mut Found) {
    for list in watch.playlists().filter(|list| list.skipped() > 0) {
        let (until, target) = (list.control("CAN-SKIP-UNTIL"), list.target());
        let kept = list.length();
        found.see(until >= target * 6.0, || format!("{until} < 6 * {target}"));
        found.see(kept + EXACT >= until, || format!("only {kept} s were not skipped"));
    }
}

/// What must never change of a segment.
fn fixed(segment: &Segment<'_>) -> String {
    let Segment { uri, duration, discontinuity, gap, date, .. } = segment;
    format!("{uri:?} {duration:?} {discontinuity} {gap} {date:?}")
}

/// The parts of one are the first of the other's, or gone.
fn parts_agree(a: &Segment<'_>, b: &Segment<'_>) -> bool {
    let key = |s: &Segment<'_>| -> Vec<String> {
        s.parts.iter().map(|p| format!("{} {} {}", p.uri, p.duration, p.independent)).collect()
    };
    key(a).iter().zip(&key(b)).all(|(a, b)| a == b)
}

pub(crate) fn delta(watch: &Watch<'_>, found: &mut Found) {
    for lists in watch.lists.values() {
        let full = |list: &&Playlist<'_>| list.skipped() == 0;
        for list in lists.iter().filter(|list| !full(list)) {
            found.see(list.version() >= 9.0, || format!("version {}", list.version()));
            found.see(list.answer.asks("_HLS_skip").is_some(), || "nobody asked".into());
            for segment in list.segments.iter().filter(|segment| segment.uri.is_some()) {
                let same =
                    lists.iter().filter(full).filter_map(|full| full.segment(segment.number));
                for other in same.filter(|other| other.uri.is_some()) {
                    let agree = fixed(segment) == fixed(other) && parts_agree(segment, other);
                    found.see(agree, || format!("{} is not {}", fixed(segment), fixed(other)));
                }
            }
        }
    }
}

pub(crate) fn part_lengths(watch: &Watch<'_>, found: &mut Found) {
    for list in watch.playlists() {
        let target = list.part_target();
        for segment in &list.segments {
            for (part, index) in segment.parts.iter().zip(1..) {
                let long = part.duration <= target + EXACT;
                found.see(long, || format!("{} s of {target}: {}", part.duration, part.uri));
                let may_be_short = part.independent || index == segment.parts.len();
                let enough = part.duration >= target * 0.85;
                found.see(may_be_short || enough, || format!("{} is short", part.uri));
            }
        }
    }
}

pub(crate) fn tags_first(watch: &Watch<'_>, found: &mut Found) {
    for list in watch.playlists() {
        found.see(list.late.is_empty(), || format!("after a part: {:?}", list.late));
    }
}

pub(crate) fn unchanged(watch: &Watch<'_>, found: &mut Found) {
    for lists in watch.lists.values() {
        let mut known: BTreeMap<u64, &Segment<'_>> = BTreeMap::new();
        for list in lists {
            for tag in ["#EXT-X-TARGETDURATION", "#EXT-X-PART-INF", "#EXT-X-SERVER-CONTROL"] {
                let (now, first) = (list.header.get(tag), lists[0].header.get(tag));
                found.see(now == first && now.is_some(), || format!("{now:?} was {first:?}"));
            }
            for segment in &list.segments {
                if let Some(old) = known.get(&segment.number) {
                    let open = old.uri.is_none();
                    let head =
                        (old.date, old.discontinuity) == (segment.date, segment.discontinuity);
                    let same = if open { head } else { fixed(old) == fixed(segment) };
                    let holds = same && parts_agree(old, segment);
                    found.see(holds, || format!("{} was {}", fixed(segment), fixed(old)));
                }
                known.insert(segment.number, segment);
            }
        }
    }
}

pub(crate) fn dates(watch: &Watch<'_>, found: &mut Found) {
    for list in watch.playlists() {
        for segment in &list.segments {
            found.see(segment.date.is_some(), || format!("{} has no date", segment.number));
        }
        // Over an outage, too: what is missing is listed as gaps.
        for two in list.segments.windows(2) {
            let (Some(before), Some(date)) = (two[0].date, two[1].date) else { continue };
            let off = date - before - two[0].length();
            found.see(off.abs() < 1.0, || format!("{} is {off} s off", two[1].number));
        }
    }
}

pub(crate) fn reports(watch: &Watch<'_>, found: &mut Found) {
    for list in watch.playlists().filter(|list| !list.ended()) {
        let others = watch.lists.iter().filter(|(path, _)| **path != list.answer.path);
        found.see(list.reports.len() == others.clone().count(), || {
            format!("{:?} in {}", list.reports, list.answer.path)
        });
        for (path, lists) in others {
            let at = |uri: &str| match uri.strip_prefix("../") {
                Some(uri) => {
                    list.answer.folder().rsplit_once('/').map(|up| format!("{}/{uri}", up.0))
                }
                None => Some(format!("{}/{uri}", list.answer.folder())),
            };
            let report = list.reports.iter().find(|report| at(report.0).as_deref() == Some(path));
            found.see(report.is_some(), || format!("none of {path} in {}", list.answer.path));
            let then = list.answer.answered;
            let away = |other: &&Playlist<'_>| (other.answer.answered - then).abs();
            let near = lists.iter().min_by(|a, b| away(a).total_cmp(&away(b)));
            let (Some(report), Some(near)) = (report, near) else { continue };
            found.see(report.1.abs_diff(near.next()) <= 2, || {
                format!("LAST-MSN {} of {path}, which is at {}", report.1, near.next())
            });
        }
    }
}

pub(crate) fn key_frames(watch: &Watch<'_>, found: &mut Found) {
    for lists in watch.lists.values() {
        // The first part behind an outage is a segment (`Cutter::close_full_segment`).
        let threes = lists.iter().flat_map(|list| list.segments.windows(3));
        let cut = threes.filter(|three| three[0].gap && three[1].discontinuity);
        let cut: BTreeSet<u64> = cut.map(|three| three[2].number).collect();
        for list in lists {
            let all = list.header.contains_key("#EXT-X-INDEPENDENT-SEGMENTS");
            for segment in list.segments.iter().filter(|segment| segment.uri.is_some()) {
                let Some(first) = segment.parts.first().filter(|_| !segment.gap) else { continue };
                let any = segment.parts.iter().any(|part| part.independent);
                let has = any || cut.contains(&segment.number);
                found.see(has && (first.independent || !all), || format!("{:?}", segment.uri));
            }
        }
    }
}

pub(crate) fn numbers(watch: &Watch<'_>, found: &mut Found) {
    for lists in watch.lists.values() {
        let mut cuts = BTreeMap::new();
        for list in lists {
            cuts.extend(
                list.segments.iter().map(|segment| (segment.number, segment.discontinuity)),
            );
            let maps = list.segments.windows(2).filter(|two| two[1].map.is_some());
            for two in maps {
                found.see(two[1].discontinuity, || format!("{} has a new map", two[1].number));
            }
        }
        for two in lists.windows(2) {
            let (old, new) = (&two[0], &two[1]);
            found.see(new.first() >= old.first(), || {
                format!("{} after {}", new.first(), old.first())
            });
            let left = cuts.range(old.first()..new.first().max(old.first()));
            let left = left.filter(|(_, cut)| **cut).count() as u64;
            found.see(new.discontinuities() == old.discontinuities() + left, || {
                format!("{} + {left} is {}", old.discontinuities(), new.discontinuities())
            });
        }
    }
}

pub(crate) fn targets(watch: &Watch<'_>, found: &mut Found) {
    for list in watch.playlists() {
        for length in list.segments.iter().filter_map(|segment| segment.duration) {
            found.see(length.round() <= list.target(), || format!("{length} of {}", list.target()));
        }
        found.see(list.part_target() <= list.target(), || format!("{}", list.part_target()));
    }
    // A playlist that is there takes a round trip.
    let plain = watch.playlists().filter(|list| list.answer.query.is_empty()).skip(1);
    let mut trips: Vec<f64> = plain.map(|list| list.answer.answered - list.answer.asked).collect();
    trips.sort_by(f64::total_cmp);
    if let (Some(trip), Some(list)) = (trips.get(trips.len() / 2), watch.playlists().next()) {
        found.see(*trip <= list.part_target(), || format!("{trip} s for a round trip"));
    }
}
