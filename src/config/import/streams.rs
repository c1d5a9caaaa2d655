//! Streams: their names, and the URLs behind them.

use std::collections::HashMap;

use super::draft::Stream;
use crate::config::document::Key;
use crate::config::reader::Item;
use crate::ingest::Source;
use crate::media::StreamName;

/// Longest name of a stream.
const LONGEST: usize = 63;

/// The streams carried over so far.
#[derive(Default)]
pub(super) struct Streams {
    pub(super) list: Vec<(String, Stream)>,
    /// Which stream has which camera.
    places: HashMap<String, String>,
}

impl Streams {
    /// Carries one over under a name like `key`; `item` is its URL.
    pub(super) fn add(&mut self, key: &Key, item: &Item<'_>, stream: Stream) {
        let name = self.name(&key.text);
        let source = by_names(&stream.source).parse::<Source>();
        if let Err(error) = &source
            // A variable may be anything.
            && !stream.source.contains("${")
        {
            return item.fault(format!("not carried over: {error}"));
        }
        if let Ok(source) = source {
            if let Some(other) = self.places.get(&source.place()) {
                return item.fault(format!(
                    "not carried over: this camera is stream {other} already; one connection \
                     serves every viewer"
                ));
            }
            self.places.insert(source.place(), name.clone());
        }
        if name != key.text {
            let message = format!("the stream is called {name} now: names are a-z, 0-9 and `-`");
            item.reader().fault(&key.origin, &item.path, message);
        }
        self.list.push((name, stream));
    }

    /// A name of ours that is like this one, and free.
    fn name(&self, text: &str) -> String {
        let plain = |c: char| match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9') => c,
            _ => '-',
        };
        let wanted: String = text.chars().map(plain).take(LONGEST).collect();
        let wanted = match wanted.trim_matches('-') {
            "" => "camera",
            trimmed => trimmed,
        };
        let is_free = |name: &str| {
            name.parse::<StreamName>().is_ok() && self.list.iter().all(|(taken, _)| taken != name)
        };
        if is_free(wanted) {
            return wanted.to_owned();
        }
        let numbered = |number: usize| {
            let number = format!("-{number}");
            format!("{}{number}", &wanted[..wanted.len().min(LONGEST - number.len())])
        };
        (2..).map(numbered).find(|name| is_free(name)).unwrap_or_default()
    }
}

/// A URL in which each variable is its own name, so that the same variables
/// make the same URL.
fn by_names(url: &str) -> String {
    let (mut out, mut rest) = (String::new(), url);
    while let Some((before, after)) = rest.split_once("${") {
        let (inside, after) = after.split_once('}').unwrap_or((after, ""));
        out.push_str(before);
        out.push_str(inside.split(':').next().unwrap_or_default());
        rest = after;
    }
    out.push_str(rest);
    out.replace("$$", "$")
}
