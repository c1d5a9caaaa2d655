//! Where in a YAML text each key and value stands.

use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, Span, StructureStyle};

/// A value's place. Its end is that of its last character: no comment, no line
/// break.
pub(super) struct Piece {
    pub(super) span: Range<usize>,
    pub(super) kind: Kind,
}

pub(super) enum Kind {
    /// Nothing is written, or a word for nothing.
    Null,
    /// On one line, such that it may be copied to another.
    Word,
    /// A text in several lines, an alias, a list: no edit goes into it.
    Whole,
    Map(Map),
}

pub(super) struct Map {
    pub(super) is_flow: bool,
    pub(super) entries: Vec<Entry>,
}

pub(super) struct Entry {
    pub(super) text: String,
    pub(super) key: Range<usize>,
    /// Behind the key's colon.
    pub(super) colon: usize,
    pub(super) value: Piece,
}

/// Where everything stands; `None` for a text without anything, or one that this
/// parser does not read as the other one does.
pub(super) fn layout(text: &str) -> Option<Piece> {
    let mut events = Events { parser: Parser::new_from_str(text), text };
    loop {
        let (event, span) = events.next()?;
        match event {
            Event::StreamStart | Event::DocumentStart(..) => {}
            Event::StreamEnd | Event::DocumentEnd => return None,
            event => return events.piece(&event, span, 0),
        }
    }
}

struct Events<'t> {
    parser: Parser<'t, granit_parser::StrInput<'t>>,
    text: &'t str,
}

impl<'t> Events<'t> {
    fn next(&mut self) -> Option<(Event<'t>, Span)> {
        loop {
            let (event, span) = self.parser.next_event()?.ok()?;
            if !matches!(event, Event::Comment(..) | Event::Anchor(..)) {
                return Some((event, span));
            }
        }
    }

    /// The value that begins with `event`; one that is not written stands at
    /// `from`.
    fn piece(&mut self, event: &Event<'t>, span: Span, from: usize) -> Option<Piece> {
        let range = span.byte_range()?;
        let (start, mut end) = (range.start, range.end);
        let kind = match event {
            Event::Scalar(_, ScalarStyle::Plain, ..) if range.is_empty() => {
                return Some(Piece { span: from..from, kind: Kind::Null });
            }
            Event::Scalar(value, style, ..) => {
                // What ends a block of text is not part of it.
                end = start + self.text.get(range)?.trim_end().len();
                let is_null = *style == ScalarStyle::Plain
                    && ["~", "null", "Null", "NULL"].contains(&value.as_ref());
                let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                match () {
                    () if is_null => Kind::Null,
                    () if is_block || self.text.get(start..end)?.contains('\n') => Kind::Whole,
                    () => Kind::Word,
                }
            }
            Event::Alias(_) => Kind::Whole,
            Event::SequenceStart(style, ..) => {
                loop {
                    let (event, span) = self.next()?;
                    if event == Event::SequenceEnd {
                        if *style == StructureStyle::Flow {
                            end = span.byte_range()?.end;
                        }
                        break;
                    }
                    end = self.piece(&event, span, end)?.span.end;
                }
                Kind::Whole
            }
            Event::MappingStart(style, ..) => {
                let is_flow = *style == StructureStyle::Flow;
                let mut entries = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if event == Event::MappingEnd {
                        if is_flow {
                            end = span.byte_range()?.end;
                        }
                        break;
                    }
                    let entry = self.entry(&event, span)?;
                    end = entry.value.span.end;
                    entries.push(entry);
                }
                let start = if is_flow { start } else { entries.first()?.key.start };
                return Some(Piece { span: start..end, kind: Kind::Map(Map { is_flow, entries }) });
            }
            _ => return None,
        };
        Some(Piece { span: start..end, kind })
    }

    /// A key, whose event came, and its value.
    fn entry(&mut self, event: &Event<'t>, span: Span) -> Option<Entry> {
        let Event::Scalar(text, ..) = event else { return None };
        let key = span.byte_range()?;
        let behind = self.text.get(key.end..)?;
        let blank = behind.len() - behind.trim_start_matches([' ', '\t']).len();
        let colon = key.end + blank + usize::from(behind.get(blank..)?.starts_with(':'));
        let (event, span) = self.next()?;
        let value = self.piece(&event, span, colon)?;
        Some(Entry { text: text.clone().into_owned(), key, colon, value })
    }
}
