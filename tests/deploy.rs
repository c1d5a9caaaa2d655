//! `deploy/porthole.yaml` names every key with the value it has anyway, and
//! `deploy/faults.md` every fault.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

mod table_support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use porthole::config::{Config, ConfigFaults, Layers};
use porthole::fault::Code;
use porthole::http::Problem;
use serde_json::Value;
use table_support::Document;

/// A key that nothing is likely to be called.
const NO_KEY: &str = "zzzzzzzzzzzzzzzz";

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn load(file: &Path) -> Result<Config, ConfigFaults> {
    Layers { file: Some(file.to_owned()), ..Layers::default() }.load()
}

/// What is wrong with this configuration.
fn faults(yaml: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), yaml).unwrap();
    load(file.path()).err().map(|faults| faults.to_string()).unwrap_or_default()
}

/// `deploy/porthole.yaml`, with its examples made part of it if asked.
fn manual(with_examples: bool) -> String {
    let text = fs::read_to_string(in_repository("deploy/porthole.yaml")).unwrap();
    let line = |line: &str| match line.strip_prefix('#') {
        Some(example) if with_examples && !example.is_empty() => {
            // "# " begins prose, and "#  " an example that is indented.
            let prose = example.starts_with(' ') && !example.starts_with("  ");
            if prose { String::new() } else { example.to_owned() }
        }
        _ => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Every key below `path`, as the program itself lists them when it is given
/// one that it does not know. `*` is a stream's name, `[]` a list.
fn known_keys(path: &[&str], found: &mut BTreeSet<String>) {
    let Some(keys) = listed(path) else { return };
    for key in keys {
        let written = [path, &[key.as_str()]].concat();
        found.insert(written.join("."));
        // A list first: where one is expected, a single mapping will do, too.
        for below in [&["[]"][..], &["*"], &[]] {
            let before = found.len();
            known_keys(&[&written[..], below].concat(), found);
            if found.len() > before {
                break;
            }
        }
    }
}

/// The keys of the mapping at `path`, if a mapping is what is expected there.
fn listed(path: &[&str]) -> Option<Vec<String>> {
    let faults = faults(&nested(&[path, &[NO_KEY]].concat(), "1"));
    let at = path.join(".").replace(".[]", "[0]").replace('*', "x");
    let prefix = format!("{at}.{NO_KEY}: unknown key; known here: ");
    let listed = faults.lines().find_map(|line| line.split_once(prefix.trim_start_matches('.')))?.1;
    Some(listed.split(", ").map(str::to_owned).collect())
}

/// `{a: {b: value}}` for the path `a.b`.
fn nested(path: &[&str], value: &str) -> String {
    path.iter().rev().fold(value.to_owned(), |inner, key| match *key {
        "[]" => format!("[{inner}]"),
        "*" => format!("{{x: {inner}}}"),
        key => format!("{{{key}: {inner}}}"),
    })
}

/// Every key that a document has, spelt as [`known_keys`] does.
fn written_keys(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                let key = if path == "streams" { "*" } else { key };
                let path = format!("{path}.{key}").trim_start_matches('.').to_owned();
                if key != "*" {
                    found.insert(path.clone());
                }
                written_keys(value, &path, found);
            }
        }
        Value::Array(items) => {
            items.iter().for_each(|item| written_keys(item, &format!("{path}.[]"), found));
        }
        _ => {}
    }
}

#[test]
fn the_file_as_it_stands_is_the_defaults() {
    let file = load(&in_repository("deploy/porthole.yaml")).unwrap_or_else(|f| panic!("{f}"));
    let default = Config::default();
    let mut compared = BTreeSet::from(["streams", "entries", "access", "files"]);
    macro_rules! compare {
        ($($field:ident),*) => {$(
            let values = (format!("{:?}", file.$field), format!("{:?}", default.$field));
            let what = concat!("`", stringify!($field), "` of deploy/porthole.yaml and by default");
            assert_eq!(values.0, values.1, "{what}");
            compared.insert(stringify!($field));
        )*};
    }
    compare!(listen, admin_listen, source_networks, tls, caps, viewers, drain, traces, policy);
    compare!(webrtc, hls, rtsp, embed);
    assert!(file.streams.is_empty());

    // A setting that comes later must not go unseen.
    let source = fs::read_to_string(in_repository("src/config/mod.rs")).unwrap();
    let body = source.split("pub struct Config {").nth(1).unwrap().split("\n}").next().unwrap();
    let fields = body.lines().filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(':'));
    let fields: BTreeSet<&str> = fields.map(|(name, _)| name).collect();
    assert!(fields.contains("listen"), "{fields:?}");
    let unseen: Vec<_> = fields.difference(&compared).collect();
    assert!(unseen.is_empty(), "compare these in tests/deploy.rs, too: {unseen:?}");
}

#[test]
fn the_file_names_every_key_and_no_other() {
    let mut known = BTreeSet::new();
    known_keys(&[], &mut known);
    for key in ["hls.part", "webrtc.ice_servers.[].urls", "streams.*.tls.fingerprint"] {
        assert!(known.contains(key), "the program does not list {key}: {known:?}");
    }
    let document: Value = serde_saphyr::from_str(&manual(true).replace("  ice_servers: []\n", ""))
        .unwrap_or_else(|error| panic!("deploy/porthole.yaml with its examples: {error}"));
    let mut written = BTreeSet::new();
    written_keys(&document, "", &mut written);
    let missing: Vec<_> = known.difference(&written).collect();
    assert!(missing.is_empty(), "deploy/porthole.yaml does not name {missing:?}");
    let unknown: Vec<_> = written.difference(&known).collect();
    assert!(unknown.is_empty(), "deploy/porthole.yaml names {unknown:?}, which no key is");
}

/// Every key that a JSON Schema has, spelt as [`known_keys`] does.
fn schema_keys(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    let below = |key: &str| format!("{path}.{key}").trim_start_matches('.').to_owned();
    for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
        found.insert(below(key));
        schema_keys(schema, &below(key), found);
    }
    for one in schema["anyOf"].as_array().into_iter().flatten() {
        schema_keys(one, path, found);
    }
    if schema["items"].is_object() {
        schema_keys(&schema["items"], &below("[]"), found);
    }
    if schema["additionalProperties"].is_object() {
        schema_keys(&schema["additionalProperties"], &below("*"), found);
    }
}

#[test]
fn the_schema_names_every_key_and_no_other_with_the_default_it_has() {
    let schema: Value = serde_json::from_str(porthole::config::SCHEMA).unwrap();
    let (mut known, mut named) = (BTreeSet::new(), BTreeSet::new());
    known_keys(&[], &mut known);
    schema_keys(&schema, "", &mut named);
    // One of a list may stand for the list, so these are found without it, too.
    for list in ["auth.users.", "webrtc.ice_servers."] {
        named.retain(|key| key.strip_prefix(list).is_none_or(|rest| rest.starts_with("[]")));
    }
    let missing: Vec<_> = known.difference(&named).collect();
    let unknown: Vec<_> = named.difference(&known).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing {missing:?}, unknown {unknown:?}");

    let manual: Value = serde_saphyr::from_str(&manual(false)).unwrap();
    for (key, value) in manual.as_object().unwrap() {
        let defaults = |schema: &Value, value: &Value, key: &str| {
            if let Some(default) = schema.get("default") {
                let same = default == value || (key == "snapshot" && *default == "on");
                assert!(same, "{key}: {default} in the schema, {value} in deploy/porthole.yaml");
            }
        };
        let schema = &schema["properties"][key];
        defaults(schema, value, key);
        for (inner, value) in value.as_object().into_iter().flatten() {
            defaults(&schema["properties"][inner], value, &format!("{key}.{inner}"));
        }
    }
}

/// Where it says that these are all keys there are.
#[test]
fn the_readme_names_every_key() {
    let readme = fs::read_to_string(in_repository("README.md")).unwrap();
    let yaml = readme.split("These are\nall keys there are").nth(1).expect("it says so");
    let yaml = yaml.split("```").nth(1).unwrap().strip_prefix("yaml\n").unwrap();
    let named: BTreeSet<&str> = yaml.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect();
    let mut known = BTreeSet::new();
    known_keys(&[], &mut known);
    let last = |key: &String| key.rsplit('.').next().unwrap().to_owned();
    let missing: Vec<_> = known.iter().filter(|key| !named.contains(last(key).as_str())).collect();
    assert!(missing.is_empty(), "README.md does not name {missing:?}");
}

#[test]
fn deploy_faults_md_names_every_code_with_its_words_and_no_other() {
    let row = |code: Code| {
        let (status, sentence, hint) = (Problem::status(code), code.sentence(), code.hint());
        format!("| `{}` | {} | {sentence} | {hint} |\n", code.as_str(), status.as_u16())
    };
    let rows: String = Code::ALL.into_iter().map(row).collect();
    Document::open("deploy/faults.md").assert_rows(&rows);
}

#[test]
fn keys_without_a_default_are_examples() {
    let mut active = BTreeSet::new();
    written_keys(&serde_saphyr::from_str(&manual(false)).unwrap(), "", &mut active);
    for key in ["listen", "admin.listen", "hls.part", "webrtc.listen", "rtsp.listen"] {
        assert!(active.contains(key), "{key} is not active: {active:?}");
    }
}
