//! Values as YAML: a line each where there are lines, else in braces.

use crate::config::document::{Key, Node, Value};

/// `value` in one piece, as it stands anywhere.
pub(super) fn inline(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Scalar(text) => scalar(text),
        Value::List(items) => {
            let items: Vec<_> = items.iter().map(|item| inline(&item.value)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(entries) if entries.is_empty() => "{}".to_owned(),
        Value::Map(entries) => {
            let entry = |(key, below): &(_, Node)| pair(key, &below.value);
            let entries: Vec<_> = entries.iter().map(entry).collect();
            format!("{{ {} }}", entries.join(", "))
        }
    }
}

/// `key: value`, as it stands in braces.
pub(super) fn pair(key: &Key, value: &Value) -> String {
    format!("{}: {}", scalar(&key.text), inline(value))
}

/// Lines of a mapping's entries, each ended by `newline`.
pub(super) fn lines(entries: &[(Key, Node)], indent: &str, newline: &str) -> String {
    let mut text = String::new();
    for (key, below) in entries {
        let name = scalar(&key.text);
        match &below.value {
            Value::Map(inner) if !inner.is_empty() => {
                let inner = lines(inner, &format!("{indent}  "), newline);
                text.push_str(&format!("{indent}{name}:{newline}{inner}"));
            }
            value => text.push_str(&format!("{indent}{name}: {}{newline}", inline(value))),
        }
    }
    text
}

/// Plain where no reader can take it for anything else, in quotes otherwise.
pub(super) fn scalar(text: &str) -> String {
    let first = |c: char| c.is_ascii_alphabetic() || c == '/';
    let rest = |c: char| c.is_ascii_alphanumeric() || "/_.:@?&=%+~-".contains(c);
    let is_word =
        ["null", "y", "n", "yes", "no"].iter().any(|word| text.eq_ignore_ascii_case(word));
    let is_plain = text.starts_with(first) && text.chars().all(rest) && !text.ends_with(':');
    if is_plain && !is_word {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            // What YAML 1.2 §5.1 does not count as printable, or as a line's end.
            '\u{0}'..='\u{1f}'
            | '\u{7f}'..='\u{a0}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffe}'..='\u{ffff}' => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
