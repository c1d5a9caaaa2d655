//! One stream added, replaced, changed or removed, in the file and in force.
//!
//! What comes this way is not as trusted as the file: it names no variable and
//! no file of this machine, a password that it does not know does not go to a
//! place that it chose, and where it leads is looked at when it is connected to
//! ([`FROM_API`]).

mod wanted;

use std::net::IpAddr;

use serde_json::Value as Json;

use self::wanted::{by_api, entry, key};
use super::document::{Node, Value, parse};
use super::edit::{self, find};
use super::entry::Entry;
use super::fault::{ConfigFault, ConfigFaults};
use super::store::{NotStored, Stored};
use super::{Config, Layers, StreamConfig, schema};
use crate::ingest::{Source, Still};
use crate::media::StreamName;

/// Marks a stream with a URL that came by the API: its addresses are bound to
/// `admin.source_networks`, after a restart too.
pub(super) const FROM_API: &str = "from_api";

/// So often may somebody else write the file while we do.
const TRIES: usize = 3;

/// What is to become of a stream.
#[derive(Clone, Debug)]
pub enum Change {
    /// It is new.
    Add(serde_json::Map<String, Json>),
    /// It is as this says, whether it was there or not.
    Replace(serde_json::Map<String, Json>),
    /// It is as it was, but for this (RFC 7396).
    Merge(serde_json::Map<String, Json>),
    /// It is no more.
    Remove,
}

/// Why nothing was changed.
#[derive(Debug)]
pub enum NotChanged {
    /// There is no such stream.
    Unknown,
    /// There is one already.
    Exists,
    /// The caller has not seen it as it is now.
    Outdated,
    /// The file cannot be written; why, and the way out.
    ReadOnly(String),
    /// Somebody else keeps changing the file.
    Busy,
    /// Not valid: each fault's key, and what is wrong.
    Invalid(Vec<(String, String)>),
    /// The machine's fault.
    Failed(String),
}

impl From<NotStored> for NotChanged {
    fn from(error: NotStored) -> Self {
        match error {
            NotStored::ReadOnly(why) => Self::ReadOnly(why),
            NotStored::Changed => Self::Busy,
            NotStored::Failed(error) => {
                Self::Failed(format!("the file cannot be written: {error}"))
            }
        }
    }
}

impl Layers {
    /// Changes the file, so that `name` is as wanted; the configuration from
    /// then on, and whether the stream was there before. `expected` is asked
    /// with the digest of its present [`Entry`].
    ///
    /// # Errors
    ///
    /// The file is as it was then.
    pub fn change(
        &self,
        name: &StreamName,
        change: &Change,
        expected: &dyn Fn(Option<u64>) -> bool,
    ) -> Result<(Config, bool), NotChanged> {
        let mut last = NotChanged::Busy;
        for _ in 0..TRIES {
            match self.change_once(name, change, expected) {
                Err(busy @ NotChanged::Busy) => last = busy,
                done => return done,
            }
        }
        Err(last)
    }

    fn change_once(
        &self,
        name: &StreamName,
        change: &Change,
        expected: &dyn Fn(Option<u64>) -> bool,
    ) -> Result<(Config, bool), NotChanged> {
        let Some(path) = &self.file else {
            let why = "this gateway runs without a configuration file: write the streams into a \
                       porthole.yaml, and start with --config";
            return Err(NotChanged::ReadOnly(why.into()));
        };
        let stored = Stored::read(path)?;
        let invalid = |faults: &ConfigFaults| invalid(faults, name);
        let root = parse(&path.clone().into(), &stored.text).map_err(|f| invalid(&f))?;
        let before = self.upon(root.clone());
        let present = stream(&before, name);
        if let Some(origin) = present.map(Entry::of).and_then(|entry| entry.beyond_file) {
            let why =
                format!("{name} is set by {origin}, which has the last word: change it there");
            return Err(NotChanged::ReadOnly(why));
        }
        match (change, present) {
            (Change::Add(_), Some(_)) => return Err(NotChanged::Exists),
            (Change::Merge(_) | Change::Remove, None) => return Err(NotChanged::Unknown),
            _ => {}
        }
        if !expected(present.map(|node| Entry::of(node).digest)) {
            return Err(NotChanged::Outdated);
        }
        let existed = present.is_some();
        let mut faults = Vec::new();
        let wanted = match change {
            Change::Add(body) | Change::Replace(body) => {
                Some(entry(body, present, false, &mut faults))
            }
            Change::Merge(body) => Some(entry(body, present, true, &mut faults)),
            Change::Remove => None,
        };
        let mut after = root.clone();
        put(&mut after, name, wanted);

        let config = schema::config(self.upon(after.clone()), &self.environment);
        if let Err(found) = &config {
            let told = faults.clone();
            let is_new = |key: &str| told.iter().all(|(known, _)| known != key);
            faults.extend(shown(found, name).into_iter().filter(|(key, _)| is_new(key)));
        }
        if let (Ok(config), Change::Merge(body)) = (&config, change) {
            let old = schema::config(before, &self.environment).ok();
            faults.extend(misled(old.as_ref(), config, name, body));
        }
        if let Ok(config) = &config {
            faults.extend(astray(config, name));
        }
        let Ok(config) = config else { return Err(NotChanged::Invalid(faults)) };
        if !faults.is_empty() {
            return Err(NotChanged::Invalid(faults));
        }
        let text = edit::edit(&stored.text, &root, &after);
        let text = text.map_err(|why| {
            NotChanged::ReadOnly(format!("{}: {why}: change it by hand", path.display()))
        })?;
        if text != stored.text {
            stored.replace(&text)?;
        }
        Ok((config, existed))
    }
}

fn stream<'n>(root: &'n Node, name: &StreamName) -> Option<&'n Node> {
    let Value::Map(sections) = &root.value else { return None };
    let Value::Map(streams) = &find(sections, "streams")?.value else { return None };
    find(streams, name.as_str())
}

/// `root` with `wanted` as the stream; its place among the others stays.
fn put(root: &mut Node, name: &StreamName, wanted: Option<Node>) {
    let streams = below(root, "streams");
    let Value::Map(entries) = &mut streams.value else { return };
    let known = entries.iter().position(|(key, _)| key.text == name.as_str());
    match (known, wanted) {
        (Some(at), Some(node)) => entries[at].1 = node,
        (None, Some(node)) => entries.push((key(name.as_str()), node)),
        (Some(at), None) => drop(entries.remove(at)),
        (None, None) => {}
    }
}

/// The mapping at `name`, which there is from then on.
fn below<'n>(node: &'n mut Node, name: &str) -> &'n mut Node {
    if !matches!(node.value, Value::Map(_)) {
        node.value = Value::Map(Vec::new());
    }
    let Value::Map(entries) = &mut node.value else { unreachable!("it is one now") };
    let at = entries.iter().position(|(key, _)| key.text == name).unwrap_or_else(|| {
        entries.push((key(name), by_api(Value::Map(Vec::new()))));
        entries.len() - 1
    });
    let found = &mut entries[at].1;
    if !matches!(found.value, Value::Map(_)) {
        found.value = Value::Map(Vec::new());
    }
    found
}

type Faults = Vec<(String, String)>;

/// URLs of addresses that sources from the API may not have. Names are looked up
/// when they are connected to, each time.
fn astray(config: &Config, name: &StreamName) -> Faults {
    let Some(stream) = config.streams.iter().find(|stream| stream.name == *name) else {
        return Vec::new();
    };
    let astray = [
        ("source", stream.source.astray()),
        ("substream", stream.substream.as_ref().and_then(Source::astray)),
        ("snapshot_url", stream.snapshot.still.as_ref().and_then(Still::astray)),
    ];
    let fault = |(key, address): (&str, Option<IpAddr>)| {
        let why = "is not among the addresses that streams from the API may lead to: name it in \
                   `admin.source_networks`, or write the stream into the file by hand";
        Some((key.to_owned(), format!("{} {why}", address?)))
    };
    astray.into_iter().filter_map(fault).collect()
}

/// A password that the caller did not give goes nowhere that they chose.
fn misled(
    old: Option<&Config>,
    new: &Config,
    name: &StreamName,
    body: &serde_json::Map<String, Json>,
) -> Option<(String, String)> {
    let find = |config: &'_ Config| -> Option<Source> {
        let found = |stream: &&StreamConfig| stream.name == *name;
        config.streams.iter().find(found).map(|stream| stream.source.clone())
    };
    let given = body.get("source")?.as_str()?.parse::<Source>().ok()?;
    if body.contains_key("password") || given.login.is_some() {
        return None;
    }
    let (old, new) = (find(old?)?, find(new)?);
    let login = new.login.as_ref().filter(|login| !login.password.expose().is_empty())?;
    let kept = old.login.as_ref().is_some_and(|before| before.password == login.password);
    let why = "the password was written for another host, or for TLS; give one, or null";
    (kept && !new.may_have_password_of(&old)).then(|| ("password".to_owned(), why.to_owned()))
}

fn invalid(faults: &ConfigFaults, name: &StreamName) -> NotChanged {
    NotChanged::Invalid(shown(faults, name))
}

/// Faults of the stream by its own keys, those of the rest with their places.
fn shown(faults: &ConfigFaults, name: &StreamName) -> Faults {
    let own = format!("streams.{name}");
    let shown = |fault: &ConfigFault| match fault.key.strip_prefix(&own) {
        Some("") => ("source".to_owned(), fault.message.clone()),
        Some(key) if key.starts_with('.') => (key[1..].to_owned(), fault.message.clone()),
        _ => (String::new(), format!("the file has another fault: {fault}")),
    };
    faults.iter().map(shown).collect()
}
