//! Takes a tree apart key by key and collects what is wrong with it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::document::{Key, Node, Value};
use super::fault::{ConfigFault, Origin};

/// What every section shares: variables, and the faults found so far.
pub(super) struct Reader<'a> {
    pub(super) environment: &'a BTreeMap<String, String>,
    pub(super) faults: RefCell<Vec<ConfigFault>>,
    /// Files that were read, or would have been.
    pub(super) files: RefCell<Vec<PathBuf>>,
}

/// A mapping being read.
pub(super) struct Section<'r> {
    reader: &'r Reader<'r>,
    /// Path from the root, for messages.
    path: String,
    origin: Origin,
    entries: Vec<(Key, Node)>,
    /// Every key asked for, to suggest the one that was meant.
    known: Vec<&'static str>,
}

/// A value being read.
pub(super) struct Item<'r> {
    reader: &'r Reader<'r>,
    pub(super) path: String,
    pub(super) node: Node,
}

impl<'r> Reader<'r> {
    pub(super) fn fault(&self, origin: &Origin, key: &str, message: impl Into<String>) {
        self.faults.borrow_mut().push(ConfigFault {
            origin: Some(origin.clone()),
            key: key.to_owned(),
            message: message.into(),
        });
    }

    pub(super) fn item(&'r self, path: String, node: Node) -> Item<'r> {
        Item { reader: self, path, node }
    }

    /// `text` with `${VAR}` and `${VAR:default}` filled in; `$$` is `$`.
    fn filled(&self, text: &str) -> Result<String, String> {
        let (mut out, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                out.push('$');
                rest = after;
            } else if let Some((inside, after)) =
                after.strip_prefix('{').and_then(|after| after.split_once('}'))
            {
                let (name, default) = match inside.split_once(':') {
                    Some((name, default)) => (name, Some(default)),
                    None => (inside, None),
                };
                let value = self.environment.get(name).map(String::as_str).or(default);
                out.push_str(value.ok_or_else(|| {
                    format!(
                        "environment variable {name} is not set; `${{{name}:…}}` gives a default"
                    )
                })?);
                rest = after;
            } else {
                out.push('$');
                rest = after;
            }
        }
        out.push_str(rest);
        Ok(out)
    }
}

impl<'r> Item<'r> {
    pub(super) fn reader(&self) -> &'r Reader<'r> {
        self.reader
    }

    pub(super) fn fault(&self, message: impl Into<String>) {
        self.reader.fault(&self.node.origin, &self.path, message);
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self.node.value, Value::Null)
    }

    pub(super) fn is_map(&self) -> bool {
        matches!(self.node.value, Value::Map(_))
    }

    /// The scalar as it stands in the file, variables and all.
    pub(super) fn written(&self) -> Option<&str> {
        match &self.node.value {
            Value::Scalar(text) => Some(text),
            _ => None,
        }
    }

    /// The scalar's text, variables filled in.
    pub(super) fn text(&self) -> Option<String> {
        match &self.node.value {
            // What a shell or an orchestrator has filled in already stays as it is.
            Value::Scalar(text) if !matches!(self.node.origin, Origin::File { .. }) => {
                return Some(text.clone());
            }
            Value::Scalar(text) => match self.reader.filled(text) {
                Ok(text) => return Some(text),
                Err(message) => self.fault(message),
            },
            Value::Null => self.fault("a value is missing"),
            Value::List(_) => self.fault("one value is expected here, not a list"),
            Value::Map(_) => self.fault("one value is expected here, not a mapping"),
        }
        None
    }

    /// The content of the file that the text names, which may be a secret.
    pub(super) fn file(&self) -> Option<(String, Vec<u8>)> {
        let path = self.text()?;
        self.reader.files.borrow_mut().push(PathBuf::from(&path));
        match std::fs::read(&path) {
            Ok(content) => Some((path, content)),
            Err(error) => {
                self.fault(format!("cannot read {path}: {error}"));
                None
            }
        }
    }

    /// The text as a `T`; `what` says what is expected when it is none.
    pub(super) fn parsed<T: FromStr>(&self, what: &str) -> Option<T> {
        let text = self.text()?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.fault(format!("`{text}` is not {what}"));
        }
        parsed
    }

    /// The text as a `T` whose error says what is wrong, without the text:
    /// it may hold a password.
    pub(super) fn checked<T: FromStr<Err: std::fmt::Display>>(&self) -> Option<T> {
        match self.text()?.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.fault(error.to_string());
                None
            }
        }
    }

    /// `500ms`, `2s`, `1m`, `1h`, between `least` and `most`.
    pub(super) fn duration(&self, least: Duration, most: Duration) -> Option<Duration> {
        let text = self.text()?;
        let Some(duration) = duration(&text) else {
            self.fault(format!("`{text}` is not a duration such as 500ms, 2s or 1m"));
            return None;
        };
        if !(least..=most).contains(&duration) {
            self.fault(format!("{text} is not between {least:?} and {most:?}"));
            return None;
        }
        Some(duration)
    }

    /// A list's items; one value counts as a list of one.
    pub(super) fn list(self) -> Vec<Self> {
        let Self { reader, path, node } = self;
        match node.value {
            Value::List(items) => {
                let item = |(i, node)| reader.item(format!("{path}[{i}]"), node);
                items.into_iter().enumerate().map(item).collect()
            }
            Value::Null => Vec::new(),
            _ => vec![reader.item(path, node)],
        }
    }

    /// The mapping's entries, for names that users choose.
    pub(super) fn entries(self) -> Vec<(Key, Self)> {
        let Self { reader, path, node } = self;
        match node.value {
            Value::Map(entries) => entries
                .into_iter()
                .map(|(key, node)| {
                    let item = reader.item(join(&path, &key.text), node);
                    (key, item)
                })
                .collect(),
            Value::Null => Vec::new(),
            _ => {
                reader.fault(&node.origin, &path, "a mapping is expected here");
                Vec::new()
            }
        }
    }

    /// The mapping, for keys that we choose.
    pub(super) fn section(self) -> Section<'r> {
        let (reader, path, origin) = (self.reader, self.path.clone(), self.node.origin.clone());
        let entries = self.entries().into_iter().map(|(key, item)| (key, item.node)).collect();
        Section { reader, path, origin, entries, known: Vec::new() }
    }
}

impl<'r> Section<'r> {
    pub(super) fn fault(&self, message: impl Into<String>) {
        self.reader.fault(&self.origin, &self.path, message);
    }

    /// The value of `key`, if it is there.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Item<'r>> {
        self.known.push(key);
        let index = self.entries.iter().position(|(found, _)| found.text == key)?;
        let (_, node) = self.entries.remove(index);
        Some(self.reader.item(join(&self.path, key), node))
    }

    /// Whether there is such a key.
    pub(super) fn has_key(&self, is_it: impl Fn(&str) -> bool) -> bool {
        self.entries.iter().any(|(found, _)| is_it(&found.text))
    }

    /// What nobody asked for.
    pub(super) fn rest(self) -> Vec<(Key, Item<'r>)> {
        let Self { reader, path, entries, .. } = self;
        let item = |(key, node): (Key, Node)| {
            let item = reader.item(join(&path, &key.text), node);
            (key, item)
        };
        entries.into_iter().map(item).collect()
    }

    /// Reports every key that nobody asked for.
    pub(super) fn finish(self) {
        for (key, _) in &self.entries {
            let near = self
                .known
                .iter()
                .map(|known| (strsim::damerau_levenshtein(known, &key.text), known))
                .min()
                .filter(|(distance, _)| *distance <= 2);
            let message = match near {
                Some((_, known)) => format!("unknown key; did you mean `{known}`?"),
                None => format!("unknown key; known here: {}", self.known.join(", ")),
            };
            self.reader.fault(&key.origin, &join(&self.path, &key.text), message);
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit.trim() {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
}
