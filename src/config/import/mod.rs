//! Another gateway's configuration in our words.
//!
//! Here: what go2rtc's and MediaMTX's keys mean to us. Not here: the command,
//! which is `cli`'s.
//!
//! Promise: a key that is not carried over is named, with the reason and
//! without its value, which may be a secret. The result is a valid
//! configuration, and what the other program showed to everybody is shown to
//! this machine alone until `auth` says who may watch.

mod access;
mod draft;
mod go2rtc;
mod mediamtx;
mod streams;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use self::draft::{Auth, Draft, User};
use self::streams::Streams;
use super::document::{Key, parse};
use super::fault::{ConfigFault, ConfigFaults, Origin};
use super::listeners::parse_address;
use super::reader::{Item, Reader, Section};
use crate::auth::PasswordHash;
use crate::secret::Secret;

/// The outcome of [`import`].
pub struct Imported {
    /// A `porthole.yaml`.
    pub yaml: String,
    /// Every key that is not in it as it was, and why.
    pub notes: Vec<ConfigFault>,
}

/// Carries over `text`, the content of `file`.
///
/// # Errors
///
/// It is no YAML, or of neither go2rtc nor MediaMTX.
pub fn import(file: &Path, text: &str) -> Result<Imported, ConfigFaults> {
    let root = parse(&Arc::new(file.to_owned()), text)?;
    let environment = BTreeMap::new();
    let (faults, files) = (RefCell::default(), RefCell::default());
    let reader = Reader { environment: &environment, faults, files };
    let mut import = Import::default();
    let origin = root.origin.clone();
    let section = reader.item(String::new(), root).section();
    let program = if mediamtx::is_it(&section) {
        mediamtx::carry(section, &mut import);
        "MediaMTX"
    } else if go2rtc::is_it(&section) {
        go2rtc::carry(section, &mut import);
        "go2rtc"
    } else {
        let message = "this is neither go2rtc's configuration (`streams`, `api`, …) nor \
                       MediaMTX's (`paths`, `…Address`)";
        return Err(ConfigFaults::one(Some(origin), message));
    };
    let draft = import.finish(&reader);
    // Folded, a hash is nothing that one can copy.
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    let written = serde_saphyr::to_string_with_options(&draft, options)
        .map_err(|error| ConfigFaults::one(None, format!("cannot write it: {error}")))?;
    // An empty mapping is what a draft without anything is written as.
    let body = if written.trim() == "{}" { "" } else { written.as_str() };
    let yaml = format!("# Made of {program}'s configuration by `porthole import`.\n{body}");
    let mut notes = reader.faults.into_inner();
    notes.sort_by_key(|note| match &note.origin {
        Some(Origin::File { line, column, .. }) => (*line, *column),
        _ => (u64::MAX, 0),
    });
    Ok(Imported { yaml, notes })
}

/// A listener that the other configuration asks for.
struct Listener {
    address: SocketAddr,
    origin: Origin,
    key: String,
}

impl Listener {
    /// The address in this item; a note if it is none.
    fn of(item: &Item<'_>) -> Option<Self> {
        let address = item.written().and_then(parse_address);
        if address.is_none() {
            item.fault("not carried over: this is not an address and port");
        }
        Some(Self { address: address?, origin: item.node.origin.clone(), key: item.path.clone() })
    }
}

/// What is carried over so far.
#[derive(Default)]
struct Import {
    draft: Draft,
    streams: Streams,
    pages: Option<Listener>,
    admin: Option<Listener>,
    rtsp: Option<Listener>,
}

impl Import {
    /// The draft, with its listeners as open as its `auth` allows.
    fn finish(self, reader: &Reader<'_>) -> Draft {
        let Self { mut draft, streams, pages, admin, rtsp } = self;
        draft.streams = streams.list;
        let guarded = draft.auth != Auth::default();
        let opened = |listener: Option<Listener>| {
            let Listener { mut address, origin, key } = listener?;
            if !guarded && !address.ip().is_loopback() {
                let message = "nobody has to log in there: Porthole listens on this machine alone \
                               until `auth` says who may watch";
                reader.fault(&origin, &key, message);
                address.set_ip(Ipv4Addr::LOCALHOST.into());
            }
            Some(address)
        };
        draft.listen = opened(pages);
        draft.admin.listen = opened(admin);
        draft.rtsp.listen = opened(rtsp);
        draft
    }

    /// A user with a password in clear, hashed.
    fn user(&mut self, name: &str, password: &Item<'_>, admin: bool) {
        if name.is_empty() || name.contains([':', '$']) || self.has_user(name) {
            return password.fault("not carried over: its user needs a name of its own");
        }
        let Some(text) = password.written().filter(|text| !text.is_empty()) else {
            return password.fault("not carried over: there is no password");
        };
        if text.contains("${") {
            return password
                .fault("not carried over: a variable cannot be hashed; see `porthole password`");
        }
        match PasswordHash::of(&Secret::new(text)) {
            Ok(hash) => self.draft.auth.users.push(User {
                name: name.to_owned(),
                password_hash: hash,
                streams: vec!["*".to_owned()],
                admin,
            }),
            Err(error) => password.fault(format!("not carried over: {error}")),
        }
    }

    fn has_user(&self, name: &str) -> bool {
        self.draft.auth.users.iter().any(|user| user.name == name)
    }
}

/// Names what nobody has asked for, each with the reason that `why` gives.
fn leave(rest: Vec<(Key, Item<'_>)>, why: impl Fn(&str) -> &'static str) {
    for (key, item) in rest {
        let reader = item.reader();
        reader.fault(&key.origin, &item.path, format!("not carried over: {}", why(&key.text)));
    }
}

/// Whether a flag is set, as YAML 1.1 and 1.2 write it.
fn is_on(item: &Item<'_>) -> bool {
    item.written().is_some_and(|text| ["true", "yes", "on"].contains(&text))
}

/// A list's items as they are written, each checked as a `T` first.
fn texts<T: std::str::FromStr<Err: std::fmt::Display>>(
    section: &mut Section<'_>,
    key: &'static str,
) -> Vec<String> {
    let items = section.take(key).map(Item::list).unwrap_or_default();
    let checked = |item: Item<'_>| {
        let text = item.written()?.to_owned();
        item.checked::<T>().map(|_| text)
    };
    items.into_iter().filter_map(checked).collect()
}

/// Puts each of `more` at the end, once.
fn add(list: &mut Vec<String>, more: Vec<String>) {
    for text in more {
        if !list.contains(&text) {
            list.push(text);
        }
    }
}

#[cfg(test)]
mod tests;
