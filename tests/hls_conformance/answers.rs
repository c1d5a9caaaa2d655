//! Rules about how requests are answered.

use std::collections::BTreeMap;

use super::recording::{Answer, Playlist, attribute};
use super::rules::{Found, SLACK, Watch};

fn asked(answer: &Answer, key: &str) -> Option<u64> {
    answer.asks(key)?.parse().ok()
}

pub(crate) fn waited_for(watch: &Watch<'_>, found: &mut Found) {
    for list in watch.playlists().filter(|list| !list.ended()) {
        let Some(number) = asked(list.answer, "_HLS_msn") else { continue };
        let next = list.next();
        let holds = match asked(list.answer, "_HLS_part") {
            None => next > number,
            Some(part) => next > number || next == number && list.open_parts() as u64 > part,
        };
        found.see(holds, || format!("{} got a playlist up to {next}", list.answer.query));
    }
}

pub(crate) fn old_numbers(watch: &Watch<'_>, found: &mut Found) {
    for (answer, before) in watch.reloads() {
        let old = asked(answer, "_HLS_msn").is_some_and(|number| number < before.first());
        if old {
            let now = Playlist::new(answer);
            let holds = answer.status == 200 && now.skipped() == 0 && now.next() >= before.next();
            found.see(holds, || format!("{} for {}", answer.status, answer.query));
        }
    }
}

pub(crate) fn refused(watch: &Watch<'_>, found: &mut Found) {
    for (answer, before) in watch.reloads().filter(|(_, before)| !before.ended()) {
        let number = asked(answer, "_HLS_msn");
        let part = asked(answer, "_HLS_part");
        let odd = |key: &str, read: Option<u64>| answer.asks(key).is_some() && read.is_none();
        let alone = answer.asks("_HLS_part").is_some() && answer.asks("_HLS_msn").is_none();
        // One more may have come since.
        let far = number.is_some_and(|number| number > before.next() + 2);
        let senseless = alone || odd("_HLS_msn", number) || odd("_HLS_part", part) || far;
        let sense = number.is_none_or(|number| number <= before.next() + 1)
            && part.is_none_or(|part| part <= before.open_parts() as u64 + 2);
        if senseless || sense {
            let holds = (answer.status == 400) == senseless;
            found.see(holds, || format!("{} for {}", answer.status, answer.query));
        }
    }
}

pub(crate) fn in_vain(watch: &Watch<'_>, found: &mut Found) {
    for (answer, before) in watch.reloads() {
        let (took, limit) = (answer.answered - answer.asked, before.target() * 3.0);
        found.see(took < limit + SLACK, || format!("{} took {took} s", answer.query));
        if answer.status == 503 {
            found.see(took > limit - SLACK, || format!("503 after {took} s"));
        }
        if before.ended() {
            let same = answer.status == 200 && Playlist::new(answer).ended();
            found.see(same, || format!("{} for {} at the end", answer.status, answer.query));
        }
    }
    // Seen at all, each of the two.
    if watch.playlists().any(Playlist::ended) {
        let vain = watch.answers.iter().any(|answer| answer.is_media() && answer.status == 503);
        found.see(vain, || "nothing was waited for in vain".into());
    }
}

/// Whether the first picture of a part is a key frame, and how many there are.
fn pictures(part: &[u8]) -> Option<(bool, u32)> {
    let word =
        |data: &[u8], at: usize| Some(u32::from_be_bytes(data.get(at..at + 4)?.try_into().ok()?));
    let boxes = |mut data: &'_ [u8]| {
        let mut found = BTreeMap::new();
        while let Some(size) = word(data, 0).map(|size| size as usize).filter(|size| *size >= 8) {
            let Some(kind) = data.get(4..8) else { break };
            found.entry(kind.to_vec()).or_insert(data.get(8..size.min(data.len()))?.to_vec());
            data = data.get(size..).unwrap_or_default();
        }
        Some(found)
    };
    let moof = boxes(boxes(part)?.get(&b"moof"[..])?)?;
    let traf = boxes(moof.get(&b"traf"[..])?)?;
    let (tfhd, trun) = (traf.get(&b"tfhd"[..])?, traf.get(&b"trun"[..])?);
    let flags = word(trun, 0)? & 0xff_ffff;
    let optional =
        |bits: &[u32], flags: u32| bits.iter().filter(|bit| flags & **bit != 0).count() * 4;
    let first = if flags & 0x400 != 0 {
        word(trun, 8 + optional(&[0x1, 0x4], flags) + optional(&[0x100, 0x200], flags))?
    } else {
        let in_tfhd = word(tfhd, 0)? & 0xff_ffff;
        word(tfhd, 8 + optional(&[0x1, 0x1, 0x2, 0x8, 0x10], in_tfhd))?
    };
    Some((first & 0x1_0000 == 0, word(trun, 4)?))
}

pub(crate) fn independent(watch: &Watch<'_>, found: &mut Found) {
    for list in watch.playlists() {
        for part in list.segments.iter().flat_map(|segment| &segment.parts) {
            let Some(file) = watch.object(list.answer.folder(), part.uri) else { continue };
            let key = pictures(file).map(|pictures| pictures.0);
            found.see(key == Some(part.independent), || format!("{}: {key:?}", part.uri));
        }
    }
}

pub(crate) fn in_time(watch: &Watch<'_>, found: &mut Found) {
    for lists in watch.lists.values().filter(|lists| lists.iter().all(|list| !list.ended())) {
        let mut newest = (lists[0].next(), lists[0].answer.answered);
        for two in lists.windows(2) {
            let (old, new) = (&two[0], &two[1]);
            if new.next() > newest.0 {
                let late = new.answer.answered - newest.1;
                found.see(late <= new.target() * 1.5 + SLACK, || format!("{late} s for a segment"));
                newest = (new.next(), new.answer.answered);
            }
            // An outage is told by a gap, and takes a segment's time.
            let broken = |segment: &&super::recording::Segment<'_>| {
                segment.number + 1 >= old.next() && (segment.gap || segment.discontinuity)
            };
            let next = asked(new.answer, "_HLS_msn") == Some(old.next())
                && asked(new.answer, "_HLS_part") == Some(old.open_parts() as u64);
            if next && new.segments.iter().find(broken).is_none() {
                let took = new.answer.answered - new.answer.asked;
                found.see(took <= new.part_target() + SLACK, || format!("{took} s for a part"));
            }
        }
    }
}

pub(crate) fn lifetimes(watch: &Watch<'_>, found: &mut Found) {
    for list in watch.playlists() {
        let recent = list.target() * 3.0;
        let mut behind = 0.0;
        for segment in list.segments.iter().rev() {
            let parts = !segment.parts.is_empty();
            found.see(behind <= recent || !parts, || format!("{:?} has parts", segment.uri));
            behind += segment.length();
            let lacks = behind < recent && !parts;
            found.see(!lacks, || format!("{:?} has no parts", segment.uri));
        }
    }
    for (old, new) in watch.pairs().filter(|(old, new)| new.first() > old.first()) {
        let enough = new.skipped() > 0 || new.length() >= new.target() * 3.0;
        found.see(enough, || format!("a window of {} s, from {}", new.length(), old.first()));
    }
    let named = watch.named(false);
    let grace = watch.playlists().next().map_or(0.0, |list| list.target() * 3.0);
    for object in watch.objects() {
        // A playlist listed it, a later one did not.
        let Some(last) = named.get(&object.path) else { continue };
        let age = object.asked - last;
        let left = watch.playlists().any(|list| {
            list.answer.folder() == object.path.rsplit_once('/').map_or("", |path| path.0)
                && (*last..object.asked).contains(&list.answer.asked)
        });
        if left && age < grace {
            found.see(object.status == 200, || format!("{} after {age} s", object.path));
        }
    }
}

pub(crate) fn hints(watch: &Watch<'_>, found: &mut Found) {
    for list in watch.playlists() {
        let parts = list.hints.iter().filter(|hint| hint.0 == "PART").count();
        found.see(parts == usize::from(!list.ended()), || format!("{:?}", list.hints));
    }
    for (old, new) in watch.pairs() {
        let known: Vec<&str> =
            old.segments.iter().flat_map(|s| s.parts.iter().map(|p| p.uri)).collect();
        let newer = new.segments.iter().filter(|segment| segment.number >= old.next());
        let broken = newer.clone().any(|segment| segment.gap || segment.discontinuity);
        let mut added = newer.flat_map(|segment| &segment.parts).map(|part| part.uri);
        let Some(added) = added.find(|uri| !known.contains(uri)).filter(|_| !broken) else {
            continue;
        };
        let hinted = old.hints.contains(&("PART", added));
        found.see(hinted, || format!("{added} came after {:?}", old.hints));
    }
    let named = watch.named(true);
    for object in watch.objects() {
        if object.status == 200 {
            let whole = object.header("content-length") == object.body.len().to_string();
            found.see(whole, || format!("{} is not whole", object.path));
        }
        if !named.contains_key(&object.path) {
            found.see(object.status == 404, || format!("{} for {}", object.status, object.path));
        }
    }
    for list in watch.playlists() {
        for segment in list.segments.iter().filter(|s| s.uri.is_some() && !s.parts.is_empty()) {
            let file = watch.object(list.answer.folder(), segment.uri.unwrap_or_default());
            let (Some(file), Some(parts)) = (file, watch.parts(list, segment)) else { continue };
            found.see(file == parts.concat(), || format!("{:?} is not its parts", segment.uri));
        }
    }
}

pub(crate) fn plain_http(watch: &Watch<'_>, found: &mut Found) {
    let mut bytes: BTreeMap<&str, &[u8]> = BTreeMap::new();
    for answer in watch.answers.iter().filter(|answer| answer.status == 200) {
        found.see(!answer.headers.contains_key("set-cookie"), || answer.path.clone());
        if answer.path.ends_with(".m3u8") {
            let packed = answer.header("content-encoding") == "gzip";
            found.see(packed, || format!("{} is not compressed", answer.path));
            let elsewhere = answer.text().contains("://") || answer.text().contains("=\"/");
            found.see(!elsewhere, || format!("{} leads elsewhere", answer.path));
        } else if let Some(before) = bytes.insert(&answer.path, &answer.body) {
            found.see(before == answer.body, || format!("{} changed", answer.path));
        }
    }
}

pub(crate) fn cached(watch: &Watch<'_>, found: &mut Found) {
    let Some(target) = watch.playlists().next().map(Playlist::target) else { return };
    for answer in watch.answers.iter().filter(|answer| answer.path != "index.m3u8") {
        let blocking = answer.asks("_HLS_msn").is_some();
        let targets = match (answer.status, answer.is_media()) {
            (200, true) if !blocking => 0.5,
            (200, _) => 6.0,
            (400, _) => 4.0,
            (404, _) => 1.0,
            _ => continue,
        };
        if watch.playlists().any(|list| list.ended() && list.answer.answered <= answer.answered) {
            continue;
        }
        let shown = answer.header("cache-control");
        let wanted = format!("max-age={}", (target * targets).floor());
        found.see(shown == wanted, || format!("{shown:?} is not {wanted}: {}", answer.path));
    }
}

pub(crate) fn multivariant(watch: &Watch<'_>, found: &mut Found) {
    let Some(index) = watch.answers.iter().rev().find(|answer| answer.path == "index.m3u8") else {
        return;
    };
    let lines: Vec<&str> = index.text().lines().collect();
    for two in lines.windows(2) {
        let Some(about) = two[0].strip_prefix("#EXT-X-STREAM-INF:") else { continue };
        let value = |name| attribute(about, name).unwrap_or_default();
        let number = |name| value(name).parse::<f64>().unwrap_or(f64::NAN);
        let size = value("RESOLUTION").split_once('x');
        let size = size.and_then(|(w, h)| Some((w.parse::<u32>().ok()?, h.parse::<u32>().ok()?)));
        found.see(size.is_some(), || format!("no RESOLUTION: {about}"));
        let codecs = value("CODECS");
        found.see(["avc1.", "hvc1."].iter().any(|name| codecs.contains(name)), || codecs.into());
        let Some(lists) = watch.lists.get(two[1]) else {
            found.see(false, || format!("nobody watched {}", two[1]));
            continue;
        };
        let (mut peak, mut rates) = (0_f64, Vec::new());
        for list in lists {
            for segment in &list.segments {
                let (Some(uri), Some(length)) = (segment.uri, segment.duration) else { continue };
                let Some(file) = watch.object(list.answer.folder(), uri) else { continue };
                if length >= list.target() / 2.0 {
                    peak = peak.max(file.len() as f64 * 8.0 / length);
                }
                let parts = watch.parts(list, segment).unwrap_or_default();
                let count: u32 = parts.iter().filter_map(|part| pictures(part)).map(|p| p.1).sum();
                rates.extend((count > 0).then_some(f64::from(count) / length));
            }
        }
        let said = number("BANDWIDTH");
        found.see((peak..=peak * 1.5).contains(&said), || format!("{said} is not {peak}"));
        rates.sort_by(f64::total_cmp);
        let rate = rates.get(rates.len() / 2).copied().unwrap_or(f64::NAN);
        let off = (number("FRAME-RATE") - rate).abs();
        found.see(off < rate * 0.05, || format!("FRAME-RATE is not {rate}: {about}"));
    }
}
