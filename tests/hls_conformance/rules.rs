//! The rules of low-latency HLS (draft-pantos-hls-rfc8216bis, and Apple's
//! authoring specification), as checks of a recording. Their numbers are those
//! of `RULES`.

use std::collections::BTreeMap;

use super::recording::{Answer, Playlist, Segment};
use super::{answers, lists};

/// What is late by less is the machine's fault, in seconds.
pub(crate) const SLACK: f64 = 1.0;

pub(crate) type Check = fn(&Watch<'_>, &mut Found);

pub(crate) const RULES: [(u32, &str, Check); 23] = [
    (1, "PART-HOLD-BACK is three part targets", lists::part_hold_back),
    (2, "HOLD-BACK, if any, is three target durations", lists::hold_back),
    (3, "a delta skips what is older than CAN-SKIP-UNTIL, six targets", lists::skip_boundary),
    (4, "a delta says what the full playlist says, in version 9", lists::delta),
    (5, "a blocking reload has what it waited for", answers::waited_for),
    (6, "an old number gets the playlist of now", answers::old_numbers),
    (7, "directives that make no sense are 400, others are not", answers::refused),
    (8, "503 after three targets; an ended playlist is as it is", answers::in_vain),
    (9, "parts are of their target, and not below 85 % of it", lists::part_lengths),
    (10, "INDEPENDENT is on parts that begin with a key frame", answers::independent),
    (11, "a segment's tags come before its first part", lists::tags_first),
    (12, "parts and segments come in time", answers::in_time),
    (13, "parts leave after three targets, and can be fetched after that", answers::lifetimes),
    (14, "targets are for life, and nothing listed changes", lists::unchanged),
    (15, "one hint, for what comes next; it comes whole, others are 404", answers::hints),
    (16, "every segment has its date, and gaps keep the timeline", lists::dates),
    (17, "one report for each other playlist, in step", lists::reports),
    (18, "every segment but one behind an outage has a key frame", lists::key_frames),
    (19, "gzip, relative URIs, no cookies, the same bytes each time", answers::plain_http),
    (20, "caches are told how long", answers::cached),
    (21, "numbers grow, and discontinuities are counted as they leave", lists::numbers),
    (22, "targets hold, and a part is longer than a round trip", lists::targets),
    (23, "the multivariant playlist tells the truth", answers::multivariant),
];

/// A recording, read.
pub(crate) struct Watch<'t> {
    pub(crate) answers: &'t [Answer],
    /// Media playlists by path, in the order they came.
    pub(crate) lists: BTreeMap<&'t str, Vec<Playlist<'t>>>,
}

/// What a check has seen.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) seen: usize,
    pub(crate) faults: Vec<String>,
}

impl Found {
    pub(crate) fn see(&mut self, holds: bool, why: impl FnOnce() -> String) {
        self.seen += 1;
        if !holds {
            self.faults.push(why());
        }
    }
}

impl<'t> Watch<'t> {
    pub(crate) fn new(answers: &'t [Answer]) -> Self {
        let mut lists = BTreeMap::<_, Vec<_>>::new();
        for answer in answers.iter().filter(|answer| answer.is_media() && answer.status == 200) {
            lists.entry(answer.path.as_str()).or_default().push(Playlist::new(answer));
        }
        Self { answers, lists }
    }

    pub(crate) fn playlists(&self) -> impl Iterator<Item = &Playlist<'t>> {
        self.lists.values().flatten()
    }

    /// Playlists with the one of the same path before.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&Playlist<'t>, &Playlist<'t>)> {
        self.lists.values().flat_map(|lists| lists.windows(2).map(|two| (&two[0], &two[1])))
    }

    /// Requests for media playlists, with the newest one that was there before.
    pub(crate) fn reloads(&self) -> impl Iterator<Item = (&'t Answer, &Playlist<'t>)> {
        let media = self.answers.iter().filter(|answer| answer.is_media());
        media.filter_map(|answer| {
            let lists = self.lists.get(answer.path.as_str())?;
            let before = lists.iter().rev().find(|list| list.answer.answered <= answer.asked)?;
            Some((answer, before))
        })
    }

    pub(crate) fn objects(&self) -> impl Iterator<Item = &'t Answer> {
        self.answers
            .iter()
            .filter(|answer| answer.path.contains(".m"))
            .filter(|answer| !answer.path.ends_with(".m3u8"))
    }

    /// The body of an object.
    pub(crate) fn object(&self, folder: &str, uri: &str) -> Option<&'t [u8]> {
        let path = format!("{folder}/{uri}");
        let found = self.objects().find(|answer| answer.path == path && answer.status == 200);
        found.map(|answer| &answer.body[..])
    }

    /// A segment's part files, if all of them were fetched.
    pub(crate) fn parts(
        &self,
        list: &Playlist<'_>,
        segment: &Segment<'_>,
    ) -> Option<Vec<&'t [u8]>> {
        let folder = list.answer.folder();
        segment.parts.iter().map(|part| self.object(folder, part.uri)).collect()
    }

    /// Names that a playlist listed, or hinted too, with when it did so last.
    pub(crate) fn named(&self, hinted: bool) -> BTreeMap<String, f64> {
        let mut named = BTreeMap::new();
        for list in self.playlists() {
            let folder = list.answer.folder();
            let listed = list.segments.iter().filter(|segment| !segment.gap).flat_map(|segment| {
                segment
                    .uri
                    .into_iter()
                    .chain(segment.map)
                    .chain(segment.parts.iter().map(|p| p.uri))
            });
            for uri in listed.chain(list.hints.iter().filter(|_| hinted).map(|hint| hint.1)) {
                named.insert(format!("{folder}/{uri}"), list.answer.answered);
            }
        }
        named
    }
}

/// What the rule of that number finds in some recordings.
pub(crate) fn check(number: u32, recordings: &[Vec<Answer>]) -> Found {
    let mut found = Found::default();
    let (_, _, check) = RULES.iter().find(|rule| rule.0 == number).unwrap();
    recordings.iter().for_each(|answers| check(&Watch::new(answers), &mut found));
    found
}
