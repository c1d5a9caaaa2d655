//! YAML as a tree that remembers where each value was written, so that all
//! faults can be reported at once (a derived `Deserialize` stops at the first).

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::fault::{ConfigFaults, Origin};

/// A value and where it was written.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) origin: Origin,
    pub(super) value: Value,
}

#[derive(Clone)]
pub(super) enum Value {
    Null,
    /// Any scalar, as it was written: `007` stays a password.
    Scalar(String),
    List(Vec<Node>),
    /// Keys in order of writing.
    Map(Vec<(Key, Node)>),
}

#[derive(Clone)]
pub(super) struct Key {
    pub(super) origin: Origin,
    pub(super) text: String,
}

impl Node {
    pub(super) fn scalar(origin: Origin, text: impl Into<String>) -> Self {
        Self { origin, value: Value::Scalar(text.into()) }
    }
}

/// What serde sees, before the origin is known.
enum Raw {
    Null,
    Text(String),
    /// A number or boolean: its text is taken from the file.
    Plain,
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

/// Reads `text`, the content of `file`.
pub(super) fn parse(file: &Arc<PathBuf>, text: &str) -> Result<Node, ConfigFaults> {
    let parsed: Result<Option<Spanned<Raw>>, _> = serde_saphyr::from_str(text);
    let place = |at: Location| Origin::File {
        file: Arc::clone(file),
        line: at.line().max(1),
        column: at.column().max(1),
    };
    match parsed {
        Ok(Some(raw)) => Ok(node(raw, text, &place)),
        // An empty file configures nothing.
        Ok(None) => Ok(Node { origin: place(Location::UNKNOWN), value: Value::Map(Vec::new()) }),
        Err(error) => {
            let plain = error.without_snippet();
            let message = plain.to_string();
            Err(ConfigFaults::one(plain.location().map(place), message))
        }
    }
}

fn node(raw: Spanned<Raw>, text: &str, place: &impl Fn(Location) -> Origin) -> Node {
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Text(text) => Value::Scalar(text),
        Raw::Plain => Value::Scalar(written(text, raw.defined)),
        Raw::List(items) => {
            Value::List(items.into_iter().map(|item| node(item, text, place)).collect())
        }
        Raw::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| {
                    let key = Key { origin: place(key.referenced), text: key.value };
                    (key, node(value, text, place))
                })
                .collect(),
        ),
    };
    Node { origin: place(raw.referenced), value }
}

/// A plain scalar as it stands in the file.
fn written(text: &str, at: Location) -> String {
    let span = at.span();
    let start = span.byte_offset().and_then(|offset| usize::try_from(offset).ok());
    let rest = start.and_then(|start| text.get(start..)).unwrap_or_default();
    let end = |c: char| c.is_whitespace() || matches!(c, ',' | ']' | '}' | '#');
    rest.split(end).next().unwrap_or_default().to_owned()
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RawVisitor;

        impl<'de> Visitor<'de> for RawVisitor {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value, a list or a mapping")
            }

            fn visit_unit<E>(self) -> Result<Raw, E> {
                Ok(Raw::Null)
            }

            fn visit_none<E>(self) -> Result<Raw, E> {
                Ok(Raw::Null)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Raw, E> {
                Ok(Raw::Plain)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
                Ok(Raw::Plain)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
                Ok(Raw::Plain)
            }

            fn visit_i128<E>(self, _: i128) -> Result<Raw, E> {
                Ok(Raw::Plain)
            }

            fn visit_u128<E>(self, _: u128) -> Result<Raw, E> {
                Ok(Raw::Plain)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
                Ok(Raw::Plain)
            }

            fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
                Ok(Raw::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Raw, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(Raw::List(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Raw::Map(entries))
            }
        }

        deserializer.deserialize_any(RawVisitor)
    }
}
