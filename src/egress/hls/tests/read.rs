//! A media playlist as a player reads it.

use std::collections::BTreeMap;

/// A media playlist as a player reads it.
pub(super) struct Read<'t> {
    pub(super) header: BTreeMap<&'t str, &'t str>,
    pub(super) segments: Vec<Segment<'t>>,
    pub(super) hints: Vec<&'t str>,
}

#[derive(Default)]
pub(super) struct Segment<'t> {
    pub(super) uri: &'t str,
    pub(super) duration: Option<f64>,
    /// Name, duration, independent.
    pub(super) parts: Vec<(&'t str, f64, bool)>,
    /// How many of them cannot be fetched.
    pub(super) missing: usize,
    pub(super) discontinuity: bool,
    pub(super) gap: bool,
    pub(super) map: Option<&'t str>,
    pub(super) date: bool,
    pub(super) date_line: &'t str,
}

impl Segment<'_> {
    pub(super) fn length(&self) -> f64 {
        self.duration.unwrap_or_else(|| self.parts.iter().map(|part| part.1).sum())
    }
}

fn attribute<'t>(line: &'t str, name: &str) -> Option<&'t str> {
    let pair = line.split(',').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    Some(pair.trim_matches('"'))
}

impl<'t> Read<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let mut read = Self { header: BTreeMap::new(), segments: Vec::new(), hints: Vec::new() };
        let mut open = Segment::default();
        for line in text.lines() {
            let (tag, value) = line.split_once(':').unwrap_or((line, ""));
            match tag {
                "#EXTINF" => open.duration = value.trim_end_matches(',').parse().ok(),
                "#EXT-X-DISCONTINUITY" => open.discontinuity = true,
                "#EXT-X-GAP" => open.gap = true,
                "#EXT-X-MAP" => {
                    assert!(open.parts.is_empty(), "MAP before the first part");
                    open.map = attribute(value, "URI");
                }
                "#EXT-X-PROGRAM-DATE-TIME" => {
                    assert!(open.parts.is_empty(), "date before the first part");
                    (open.date, open.date_line) = (true, value);
                }
                "#EXT-X-PART" => {
                    open.missing += usize::from(value.ends_with("GAP=YES"));
                    open.parts.push((
                        attribute(value, "URI").unwrap(),
                        attribute(value, "DURATION").unwrap().parse().unwrap(),
                        value.ends_with("INDEPENDENT=YES"),
                    ));
                }
                "#EXT-X-PRELOAD-HINT" if value.starts_with("TYPE=PART") => {
                    read.hints.push(attribute(value, "URI").unwrap());
                }
                _ if !line.starts_with('#') => {
                    open.uri = line;
                    read.segments.push(std::mem::take(&mut open));
                }
                _ => {
                    read.header.insert(tag, value);
                }
            }
        }
        if open.date {
            read.segments.push(open);
        }
        read
    }

    pub(super) fn attribute(&self, tag: &str, name: &str) -> f64 {
        attribute(self.header[tag], name).unwrap().parse().unwrap()
    }

    pub(super) fn first(&self) -> u64 {
        self.header["#EXT-X-MEDIA-SEQUENCE"].parse().unwrap()
    }

    pub(super) fn discontinuities(&self) -> u64 {
        self.header["#EXT-X-DISCONTINUITY-SEQUENCE"].parse().unwrap()
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = &'t str> {
        self.segments.iter().flat_map(|segment| segment.parts.iter().map(|part| part.0))
    }
}
