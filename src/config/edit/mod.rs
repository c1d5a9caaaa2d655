//! A YAML text changed in place: comments, order and every line that the change
//! does not concern stay as they are, byte for byte.
//!
//! The change is what differs between two trees. Where each value stands is
//! known from `layout`; and whatever came out is read again, and refused unless
//! it says what was meant: anchors and other rare ways of writing cannot make
//! us write something else.

mod layout;
mod write;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use self::layout::{Entry, Kind, Map, Piece, layout};
use super::document::{Key, Node, Value, parse};

/// The text is written in a way that no edit of ours is sure to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is written in a way that a program cannot change with certainty (anchors, perhaps)")]
pub(super) struct Unsure;

/// `text`, which says `old`, so that it says `new`; both are mappings.
pub(super) fn edit(text: &str, old: &Node, new: &Node) -> Result<String, Unsure> {
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let mut edits = Edits { text, newline, splices: Vec::new() };
    let (Value::Map(before), Value::Map(after)) = (&old.value, &new.value) else {
        return Err(Unsure);
    };
    match layout(text) {
        Some(Piece { kind: Kind::Map(map), .. }) => edits.map(&map, before, after),
        Some(Piece { kind: Kind::Null, .. }) | None if before.is_empty() => {
            edits.insert_line(text.len(), &write::lines(after, "", newline));
        }
        _ => return Err(Unsure),
    }
    let text = edits.done();
    let written = parse(&Arc::new(PathBuf::new()), &text).map_err(|_| Unsure)?;
    if same(&written.value, &new.value) { Ok(text) } else { Err(Unsure) }
}

/// Whether both say the same, whatever the order of keys.
pub(super) fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Null, Value::Null) => true,
        (Value::Scalar(one), Value::Scalar(other)) => one == other,
        (Value::List(one), Value::List(other)) => {
            let mut pairs = one.iter().zip(other);
            one.len() == other.len() && pairs.all(|(one, other)| same(&one.value, &other.value))
        }
        (Value::Map(one), Value::Map(other)) => {
            let is_in = |(key, value): &(Key, Node)| {
                find(other, &key.text).is_some_and(|found| same(&value.value, &found.value))
            };
            one.len() == other.len() && one.iter().all(is_in)
        }
        // A mapping that lost its last entry is written as nothing.
        (Value::Null, Value::Map(none)) | (Value::Map(none), Value::Null) => none.is_empty(),
        _ => false,
    }
}

pub(super) fn find<'n>(entries: &'n [(Key, Node)], key: &str) -> Option<&'n Node> {
    entries.iter().find(|(found, _)| found.text == key).map(|(_, node)| node)
}

/// Splices of one text, which do not overlap.
struct Edits<'t> {
    text: &'t str,
    newline: &'static str,
    splices: Vec<(Range<usize>, String)>,
}

impl Edits<'_> {
    fn splice(&mut self, at: Range<usize>, with: impl Into<String>) {
        self.splices.push((at, with.into()));
    }

    /// What differs between two mappings, of which the first is written as `map`.
    fn map(&mut self, map: &Map, old: &[(Key, Node)], new: &[(Key, Node)]) {
        let is_new = |(key, _): &&(Key, Node)| !map.entries.iter().any(|e| e.text == key.text);
        // What an alias brings in is not written here.
        let brought = |key: &Key, node: &Node| {
            find(old, &key.text).is_some_and(|known| same(&known.value, &node.value))
        };
        let added = new.iter().filter(is_new).filter(|(key, node)| !brought(key, node));
        let added: Vec<_> = added.cloned().collect();
        let stays = |entry: &Entry| entry.text == "<<" || find(new, &entry.text).is_some();
        let last_left = map.entries.iter().rposition(stays);
        // What ends a mapping in braces goes in one piece, with the comma before it.
        let left = last_left.filter(|_| map.is_flow).map_or(map.entries.len(), |at| at + 1);
        let (entries, tail) = map.entries.split_at(left);
        if let (Some(left), Some(last)) = (entries.last(), tail.last()) {
            self.splice(left.value.span.end..last.value.span.end, "");
        }
        for entry in entries {
            let before = find(old, &entry.text).map(|node| &node.value);
            match (before, find(new, &entry.text)) {
                (Some(before), Some(after)) if same(before, &after.value) => {}
                (Some(before), Some(after)) => self.value(map, entry, before, &after.value),
                (_, None) if entry.text != "<<" => self.remove(map, entry),
                _ => {}
            }
        }
        if !added.is_empty() {
            self.append(map, entries.last(), &added);
        }
    }

    /// Another value of `entry`.
    fn value(&mut self, map: &Map, entry: &Entry, old: &Value, new: &Value) {
        let Piece { span, kind } = &entry.value;
        if let (Kind::Map(below), Value::Map(before), Value::Map(after)) = (kind, old, new)
            && !below.entries.is_empty()
        {
            // Where nothing stays, new entries have nothing to stand behind.
            let stays = |entry: &Entry| find(after, &entry.text).is_some();
            if after.is_empty() || below.entries.iter().any(stays) {
                return self.map(below, before, after);
            }
        }
        let Value::Map(lines) = new else {
            return self.put(entry, &write::inline(new));
        };
        let was_flow =
            matches!(kind, Kind::Map(below) if below.is_flow && !below.entries.is_empty());
        if map.is_flow || was_flow || lines.is_empty() {
            return self.put(entry, &write::inline(new));
        }
        // A mapping in lines of its own, below what is left of this one.
        let mut lines = lines.clone();
        let source = self.text.get(span.clone()).unwrap_or_default();
        let copied = match (old, lines.iter().position(|(_, node)| same(&node.value, old))) {
            (Value::Scalar(_), Some(at)) if matches!(kind, Kind::Word) => Some(lines.remove(at).0),
            _ => None,
        };
        let indent = format!("{}  ", self.indent(entry.key.start));
        let mut below = String::new();
        if let Some(key) = copied {
            // As it was written, quotes and all.
            below = format!("{indent}{}: {source}{}", write::scalar(&key.text), self.newline);
        }
        below.push_str(&write::lines(&lines, &indent, self.newline));
        self.splice(self.blank_before(entry)..span.end, "");
        self.insert_line(span.end, &below);
    }

    /// `text` in the place of the value.
    fn put(&mut self, entry: &Entry, text: &str) {
        let from = self.blank_before(entry);
        let space = if from == entry.colon { " " } else { "" };
        self.splice(from..entry.value.span.end, format!("{space}{text}"));
    }

    /// Where the value begins, with what is blank before it, if nothing else is.
    fn blank_before(&self, entry: &Entry) -> usize {
        let start = entry.value.span.start;
        let between = self.text.get(entry.colon..start).unwrap_or_default();
        if between.trim().is_empty() { entry.colon } else { start }
    }

    fn remove(&mut self, map: &Map, entry: &Entry) {
        let (start, end) = (entry.key.start, entry.value.span.end);
        if !map.is_flow {
            return self.splice(self.line_start(start)..self.line_end(end), "");
        }
        // In braces, with the comma behind it.
        let rest = self.text.get(end..).unwrap_or_default();
        let blank = rest.len() - rest.trim_start().len();
        if rest.trim_start().starts_with(',') {
            let end = end + blank + 1;
            let rest = self.text.get(end..).unwrap_or_default();
            let blank = rest.len() - rest.trim_start_matches(' ').len();
            return self.splice(start..end + blank, "");
        }
        // The last of a mapping of which nothing is left.
        self.splice(start..end, "");
    }

    /// Further entries of a mapping that is written, behind its last one that
    /// is left.
    fn append(&mut self, map: &Map, last_left: Option<&Entry>, added: &[(Key, Node)]) {
        let Some(last) = last_left else { return };
        if !map.is_flow {
            let indent = self.indent(last.key.start);
            let text = write::lines(added, &indent, self.newline);
            return self.insert_line(last.value.span.end, &text);
        }
        let pairs: Vec<_> = added.iter().map(|(key, node)| write::pair(key, &node.value)).collect();
        let end = last.value.span.end;
        self.splice(end..end, format!(", {}", pairs.join(", ")));
    }

    /// Lines below the one in which `at` is.
    fn insert_line(&mut self, at: usize, lines: &str) {
        let end = self.line_end(at);
        let is_open = end > 0 && !self.text.get(..end).unwrap_or_default().ends_with('\n');
        let newline = if is_open { self.newline } else { "" };
        self.splice(end..end, format!("{newline}{lines}"));
    }

    fn line_start(&self, at: usize) -> usize {
        self.text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1)
    }

    /// Behind the line's end.
    fn line_end(&self, at: usize) -> usize {
        let rest = self.text.get(at..).unwrap_or_default();
        rest.find('\n').map_or(self.text.len(), |end| at + end + 1)
    }

    /// What stands before `at` in its line, all of which is to be blank.
    fn indent(&self, at: usize) -> String {
        self.text.get(self.line_start(at)..at).unwrap_or_default().to_owned()
    }

    /// The text with all splices made.
    fn done(mut self) -> String {
        // Of two at one place the first stays before the second.
        self.splices.sort_by_key(|(range, _)| (range.start, range.end));
        let (mut out, mut at) = (String::new(), 0);
        for (range, with) in &self.splices {
            out.push_str(self.text.get(at..range.start.max(at)).unwrap_or_default());
            out.push_str(with);
            at = range.end.max(at);
        }
        out.push_str(self.text.get(at..).unwrap_or_default());
        out
    }
}

#[cfg(test)]
mod tests;
