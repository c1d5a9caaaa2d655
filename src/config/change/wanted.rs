//! What a body of JSON makes of a stream's entry: the tree that the file is to
//! say, and faults that the configuration's own reader would not see.

use serde_json::Value as Json;

use super::{FROM_API, Faults};
use crate::config::document::{Key, Node, Value};
use crate::config::edit::{self, find};
use crate::config::fault::Origin;
use crate::config::view::MASK;

/// The keys that say where a stream comes from.
const URLS: [&str; 3] = ["source", "substream", "snapshot_url"];

/// The entry that `body` asks for, instead of or upon the `present` one.
pub(super) fn entry(
    body: &serde_json::Map<String, Json>,
    present: Option<&Node>,
    merges: bool,
    faults: &mut Faults,
) -> Node {
    let mut present_keys = match present.map(|node| &node.value) {
        Some(Value::Map(entries)) => entries.clone(),
        Some(Value::Scalar(_)) => {
            present.map(|node| (key("source"), node.clone())).into_iter().collect()
        }
        _ => Vec::new(),
    };
    let is_true = |node: &Node| matches!(&node.value, Value::Scalar(text) if text == "true");
    let was_from_api = find(&present_keys, FROM_API).is_some_and(is_true);
    let before = present_keys.clone();
    if !merges {
        present_keys.clear();
    }
    for (name, json) in body {
        check(name, json, merges, faults);
        merge(&mut present_keys, name, json, merges);
    }
    let leads_as_before =
        URLS.into_iter().all(|name| match (find(&before, name), find(&present_keys, name)) {
            (_, None) => true,
            (Some(old), Some(new)) => edit::same(&old.value, &new.value),
            (None, Some(_)) => false,
        });
    present_keys.retain(|(key, _)| key.text != FROM_API);
    if was_from_api || !leads_as_before {
        present_keys.push((key(FROM_API), by_api(Value::Scalar("true".into()))));
    }
    // As short as it was.
    match (present.map(|node| &node.value), present_keys.as_slice()) {
        (Some(Value::Scalar(_)), [(only, source)]) if only.text == "source" => source.clone(),
        _ => by_api(Value::Map(present_keys)),
    }
}

/// RFC 7396: null takes away, a mapping goes into a mapping.
fn merge(entries: &mut Vec<(Key, Node)>, name: &str, json: &Json, merges: bool) {
    let at = entries.iter().position(|(key, _)| key.text == name);
    let old = at.map(|at| std::mem::replace(&mut entries[at].1.value, Value::Null));
    let new = match (json, old) {
        (Json::Null, _) if merges => {
            entries.retain(|(key, _)| key.text != name);
            return;
        }
        (Json::Object(body), Some(Value::Map(mut inner))) if merges => {
            body.iter().for_each(|(name, json)| merge(&mut inner, name, json, merges));
            Value::Map(inner)
        }
        (json, _) => value(json, merges),
    };
    match at {
        Some(at) => entries[at].1 = by_api(new),
        None => entries.push((key(name), by_api(new))),
    }
}

fn value(json: &Json, merges: bool) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(yes) => Value::Scalar(yes.to_string()),
        Json::Number(number) => Value::Scalar(number.to_string()),
        // To the file `$` begins a variable.
        Json::String(text) => Value::Scalar(text.replace('$', "$$")),
        Json::Array(items) => {
            Value::List(items.iter().map(|item| by_api(value(item, merges))).collect())
        }
        Json::Object(body) => {
            let mut inner = Vec::new();
            body.iter().for_each(|(name, json)| merge(&mut inner, name, json, merges));
            Value::Map(inner)
        }
    }
}

/// What the configuration's own reader would let pass, or could not know.
fn check(name: &str, json: &Json, merges: bool, faults: &mut Faults) {
    let mut fault = |why: &str| faults.push((name.to_owned(), why.to_owned()));
    if json.is_null() && merges {
        return;
    }
    match name {
        FROM_API => fault("this key is the gateway's own"),
        "password_file" | "tls.ca_file" => {
            fault("a file of the gateway's machine is named in its configuration file alone");
        }
        "on_demand" | "tls.verify" if !json.is_boolean() => fault("true or false"),
        "source" | "substream" | "username" | "password" | "transport" | "after_loss"
        | "snapshot_url" | "snapshot" | "tls.fingerprint"
            if !json.is_string() =>
        {
            fault("a text is expected here");
        }
        "snapshot" if !["on", "off"].iter().any(|word| json == word) => fault("on or off"),
        "tls" => match json.as_object() {
            Some(below) => {
                below
                    .iter()
                    .for_each(|(key, json)| check(&format!("tls.{key}"), json, merges, faults));
            }
            None => fault("a mapping is expected here"),
        },
        _ if json.as_str().is_some_and(|text| text.contains(MASK)) => {
            fault("`***` stands where a secret is not shown; give the secret, or PATCH without it");
        }
        _ => {}
    }
}

pub(super) fn key(text: &str) -> Key {
    Key { origin: api(), text: text.to_owned() }
}

/// As though it stood in the file already: its text is read as a file's is.
fn api() -> Origin {
    Origin::File { file: std::path::PathBuf::from("api").into(), line: 1, column: 1 }
}

pub(super) fn by_api(value: Value) -> Node {
    Node { origin: api(), value }
}
