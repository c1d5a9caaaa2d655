//! What a watcher kept of a gateway's answers, and media playlists as it reads
//! them.

use std::collections::BTreeMap;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// One request and its answer.
#[derive(Clone)]
pub(crate) struct Answer {
    /// Below the stream, such as `hls/media.m3u8`.
    pub(crate) path: String,
    pub(crate) query: String,
    /// Seconds since the watch began.
    pub(crate) asked: f64,
    pub(crate) answered: f64,
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    /// Decompressed.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn asks(&self, key: &str) -> Option<&str> {
        let mut pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|pair| pair.0 == key).map(|pair| pair.1)
    }

    pub(crate) fn is_media(&self) -> bool {
        self.path.ends_with("media.m3u8")
    }

    /// The folder that its URIs are relative to.
    pub(crate) fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |path| path.0)
    }
}

pub(crate) struct Part<'t> {
    pub(crate) uri: &'t str,
    pub(crate) duration: f64,
    pub(crate) independent: bool,
}

#[derive(Default)]
pub(crate) struct Segment<'t> {
    pub(crate) number: u64,
    pub(crate) uri: Option<&'t str>,
    pub(crate) duration: Option<f64>,
    pub(crate) parts: Vec<Part<'t>>,
    pub(crate) discontinuity: bool,
    pub(crate) gap: bool,
    pub(crate) map: Option<&'t str>,
    /// Unix time.
    pub(crate) date: Option<f64>,
}

impl Segment<'_> {
    pub(crate) fn length(&self) -> f64 {
        self.duration.unwrap_or_else(|| self.parts.iter().map(|part| part.duration).sum())
    }
}

/// A media playlist, and the answer it came in.
pub(crate) struct Playlist<'t> {
    pub(crate) answer: &'t Answer,
    pub(crate) header: BTreeMap<&'t str, &'t str>,
    pub(crate) segments: Vec<Segment<'t>>,
    /// Type and URI.
    pub(crate) hints: Vec<(&'t str, &'t str)>,
    /// URI and `LAST-MSN`.
    pub(crate) reports: Vec<(&'t str, u64)>,
    /// Tags that came after a part of their segment.
    pub(crate) late: Vec<&'t str>,
}

/// The value of an attribute; ours have no commas in quotes but `CODECS`.
pub(crate) fn attribute<'t>(list: &'t str, name: &str) -> Option<&'t str> {
    let mut quoted = false;
    let mut pairs = list.split(|c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    });
    let value = pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.trim_matches('"'))
}

fn unix(date: &str) -> Option<f64> {
    let date = OffsetDateTime::parse(date, &Rfc3339).ok()?;
    Some(date.unix_timestamp_nanos() as f64 / 1e9)
}

impl<'t> Playlist<'t> {
    pub(crate) fn new(answer: &'t Answer) -> Self {
        let mut list = Self {
            answer,
            header: BTreeMap::new(),
            segments: Vec::new(),
            hints: Vec::new(),
            reports: Vec::new(),
            late: Vec::new(),
        };
        let mut open = Segment::default();
        for line in answer.text().lines() {
            let (tag, value) = line.split_once(':').unwrap_or((line, ""));
            let heads = ["#EXT-X-DISCONTINUITY", "#EXT-X-MAP", "#EXT-X-PROGRAM-DATE-TIME"];
            if heads.contains(&tag) && !open.parts.is_empty() {
                list.late.push(line);
            }
            match tag {
                "#EXTINF" => open.duration = value.trim_end_matches(',').parse().ok(),
                "#EXT-X-DISCONTINUITY" => open.discontinuity = true,
                "#EXT-X-GAP" => open.gap = true,
                "#EXT-X-MAP" => open.map = attribute(value, "URI"),
                "#EXT-X-PROGRAM-DATE-TIME" => open.date = unix(value),
                "#EXT-X-PART" => open.parts.push(Part {
                    uri: attribute(value, "URI").unwrap_or_default(),
                    duration: number(attribute(value, "DURATION")),
                    independent: attribute(value, "INDEPENDENT") == Some("YES"),
                }),
                "#EXT-X-PRELOAD-HINT" => list.hints.push((
                    attribute(value, "TYPE").unwrap_or_default(),
                    attribute(value, "URI").unwrap_or_default(),
                )),
                "#EXT-X-RENDITION-REPORT" => list.reports.push((
                    attribute(value, "URI").unwrap_or_default(),
                    number(attribute(value, "LAST-MSN")) as u64,
                )),
                _ if !line.starts_with('#') => {
                    open.uri = Some(line);
                    list.segments.push(std::mem::take(&mut open));
                }
                _ => drop(list.header.insert(tag, value)),
            }
        }
        if open.date.is_some() || !open.parts.is_empty() {
            list.segments.push(open);
        }
        let first = list.first() + list.skipped();
        for (segment, number) in list.segments.iter_mut().zip(first..) {
            segment.number = number;
        }
        list
    }

    fn header(&self, tag: &str) -> f64 {
        number(self.header.get(tag).copied())
    }

    /// An attribute of `EXT-X-SERVER-CONTROL`; not a number where it is not
    /// there.
    pub(crate) fn control(&self, name: &str) -> f64 {
        let control = self.header.get("#EXT-X-SERVER-CONTROL").copied().unwrap_or_default();
        number(attribute(control, name))
    }

    pub(crate) fn target(&self) -> f64 {
        self.header("#EXT-X-TARGETDURATION")
    }

    pub(crate) fn part_target(&self) -> f64 {
        let info = self.header.get("#EXT-X-PART-INF").copied().unwrap_or_default();
        number(attribute(info, "PART-TARGET"))
    }

    pub(crate) fn version(&self) -> f64 {
        self.header("#EXT-X-VERSION")
    }

    pub(crate) fn first(&self) -> u64 {
        self.header("#EXT-X-MEDIA-SEQUENCE") as u64
    }

    pub(crate) fn discontinuities(&self) -> u64 {
        self.header("#EXT-X-DISCONTINUITY-SEQUENCE") as u64
    }

    pub(crate) fn skipped(&self) -> u64 {
        let skip = self.header.get("#EXT-X-SKIP").copied().unwrap_or_default();
        attribute(skip, "SKIPPED-SEGMENTS").and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    pub(crate) fn ended(&self) -> bool {
        self.header.contains_key("#EXT-X-ENDLIST")
    }

    /// Number of the open segment, or of the next one.
    pub(crate) fn next(&self) -> u64 {
        let whole = self.segments.iter().filter(|segment| segment.uri.is_some()).count();
        self.first() + self.skipped() + whole as u64
    }

    /// Parts of the open segment.
    pub(crate) fn open_parts(&self) -> usize {
        let open = self.segments.last().filter(|segment| segment.uri.is_none());
        open.map_or(0, |segment| segment.parts.len())
    }

    pub(crate) fn segment(&self, number: u64) -> Option<&Segment<'t>> {
        self.segments.iter().find(|segment| segment.number == number)
    }

    /// Seconds from its first segment, skipped ones left out, to its end.
    pub(crate) fn length(&self) -> f64 {
        self.segments.iter().map(Segment::length).sum()
    }
}

fn number(text: Option<&str>) -> f64 {
    text.and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
}
