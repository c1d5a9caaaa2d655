//! Defaults < file < environment < flags.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::document::{Key, Node, Value, parse};
use super::fault::{ConfigFaults, Origin};
use super::{Config, schema};

/// What a variable that sets a key begins with.
const PREFIX: &str = "PORTHOLE__";

/// Ends of the variables whose value may be a list.
const LISTS: [&str; 8] = [
    "__ADVERTISE",
    "__ICE_SERVERS",
    "__CORS",
    "__TRUSTED_PROXIES",
    "__HOSTS",
    "__ALLOW_FROM",
    "__SCRAPE_FROM",
    "__SOURCE_NETWORKS",
];

/// The sources of a configuration. The environment is an argument, so that
/// tests need not touch the process's own.
#[derive(Clone, Default)]
pub struct Layers {
    /// The file to read; none for a start without one.
    pub file: Option<PathBuf>,
    /// Environment variables: `PORTHOLE__…` set keys, any may be named as
    /// `${VAR}`.
    pub environment: BTreeMap<String, String>,
    /// URLs on the command line: `camera-1`, `camera-2`, …
    pub urls: Vec<String>,
}

/// The file read when none is named: `./porthole.yaml`, then
/// `/etc/porthole/porthole.yaml`.
pub fn default_file() -> Option<PathBuf> {
    ["porthole.yaml", "/etc/porthole/porthole.yaml"]
        .into_iter()
        .map(PathBuf::from)
        .find(|file| file.exists())
}

impl Layers {
    /// Reads and checks all layers.
    ///
    /// # Errors
    ///
    /// Every fault there is, each with its place.
    pub fn load(&self) -> Result<Config, ConfigFaults> {
        let root = match &self.file {
            None => Node { origin: Origin::Flag("defaults".into()), value: Value::Map(Vec::new()) },
            Some(file) => read(file)?,
        };
        schema::config(self.upon(root), &self.environment)
    }

    /// What the file says, and what comes upon it.
    pub(super) fn upon(&self, mut root: Node) -> Node {
        for (name, value) in &self.environment {
            if let Some(path) = name.strip_prefix(PREFIX) {
                set(&mut root, &keys(path), variable(name, value));
            }
        }
        for (i, url) in self.urls.iter().enumerate() {
            let origin = Origin::Flag(format!("argument {}", i + 1).into());
            let path = ["streams".to_owned(), format!("camera-{}", i + 1)];
            set(&mut root, &path, Node::scalar(origin, url));
        }
        root
    }
}

fn read(file: &Path) -> Result<Node, ConfigFaults> {
    let shared = Arc::new(file.to_owned());
    let text = std::fs::read_to_string(file).map_err(|error| {
        ConfigFaults::one(None, format!("cannot read {}: {error}", file.display()))
    })?;
    parse(&shared, &text)
}

/// `WEBRTC__LISTEN` is `webrtc.listen`; in a stream's name `_` stands for `-`,
/// which variables cannot hold.
fn keys(path: &str) -> Vec<String> {
    let mut keys: Vec<String> = path.split("__").map(str::to_ascii_lowercase).collect();
    if keys.first().is_some_and(|first| first == "streams")
        && let Some(name) = keys.get_mut(1)
    {
        *name = name.replace('_', "-");
    }
    keys
}

/// A variable's value: YAML, so that lists can be written (`[a, b]`).
fn variable(name: &str, value: &str) -> Node {
    let origin = Origin::Variable(name.into());
    // Secrets may begin with anything; the keys that take lists are known.
    let list = LISTS.iter().any(|key| name.ends_with(key)) && value.trim_start().starts_with('[');
    let parsed = list.then(|| parse(&Arc::new(PathBuf::from(name)), value).ok()).flatten();
    parsed.unwrap_or_else(|| Node::scalar(origin, value))
}

/// Puts `node` at the path of `keys`, over whatever is there.
fn set(root: &mut Node, keys: &[String], node: Node) {
    let Some((first, rest)) = keys.split_first() else {
        *root = node;
        return;
    };
    // A scalar in the way is replaced: the later layer wins.
    if !matches!(root.value, Value::Map(_)) {
        root.value = Value::Map(Vec::new());
    }
    let Value::Map(entries) = &mut root.value else { return };
    if let Some((_, below)) = entries.iter_mut().find(|(key, _)| key.text == *first) {
        return set(below, rest, node);
    }
    let origin = node.origin.clone();
    let mut below = Node { origin: origin.clone(), value: Value::Map(Vec::new()) };
    set(&mut below, rest, node);
    entries.push((Key { origin, text: first.clone() }, below));
}
