//! MediaMTX's users and what they may do.

use super::draft::User;
use super::mediamtx::callback;
use super::{Import, add, leave, texts};
use crate::auth::{PasswordHash, Pattern};
use crate::config::reader::{Item, Section};
use crate::networks::Networks;

const NOTHING_LIKE_IT: &str = "Porthole has nothing like it";

/// Carries over whatever says who may watch.
pub(super) fn carry(root: &mut Section<'_>, import: &mut Import) {
    let method = root.take("authMethod");
    let users = root.take("authInternalUsers");
    let address = root.take("authHTTPAddress");
    match method.as_ref().and_then(Item::written) {
        Some("http") => {
            import.draft.auth.http = address.and_then(|item| callback(&item));
            unused(users);
        }
        Some("jwt") => {
            if let Some(item) = method {
                item.fault(
                    "not carried over: Porthole wants the claim `porthole`, an issuer and an \
                     audience; see `auth.jwt`",
                );
            }
            unused(users);
            unused(address);
        }
        _ => {
            unused(address.filter(|item| item.written().is_some_and(|text| !text.is_empty())));
            for item in users.map(Item::list).unwrap_or_default() {
                user(item, import);
            }
        }
    }
}

fn unused(item: Option<Item<'_>>) {
    if let Some(item) = item {
        item.fault("not carried over: `authMethod` chooses another way");
    }
}

/// What somebody may do, in our words.
#[derive(Default)]
struct Rights {
    streams: Vec<String>,
    everything: bool,
    admin: bool,
    metrics: bool,
}

fn user(item: Item<'_>, import: &mut Import) {
    let mut section = item.section();
    let Some(name) = section.take("user") else {
        return section.fault("not carried over: `user` is missing");
    };
    let password = section.take("pass");
    let ips = texts::<Networks>(&mut section, "ips");
    let mut rights = Rights::default();
    for item in section.take("permissions").map(Item::list).unwrap_or_default() {
        permission(item.section(), &mut rights);
    }
    leave(section.rest(), |_| NOTHING_LIKE_IT);
    if name.written() == Some("any") {
        return anybody(&name, ips, &rights, import);
    }
    if !ips.is_empty() {
        name.fault("its `ips` are not carried over: a user may log in from anywhere");
    }
    let (name_text, before) = (name.written().unwrap_or_default(), import.draft.auth.users.len());
    if name_text.starts_with("sha256:") || name_text.starts_with("argon2:") {
        return name.fault("not carried over: a hashed name; write it in clear in `auth.users`");
    }
    if rights.streams.is_empty() && !rights.everything && !rights.admin {
        return name.fault("not carried over: it may watch nothing");
    }
    match password {
        None => name.fault("not carried over: there is no password"),
        Some(password) => match password.written().unwrap_or_default().split_once(':') {
            Some(("argon2", hash)) => hashed(name_text, hash, &password, import),
            Some(("sha256", _)) => password.fault(
                "not carried over: a SHA-256 is guessed too fast; `porthole password` makes an \
                 argon2 hash",
            ),
            _ => import.user(name_text, &password, false),
        },
    }
    if let Some(user) = import.draft.auth.users.get_mut(before) {
        user.admin = rights.admin;
        // An administrator sees everything, and `*` is everything already.
        user.streams = match rights.everything || rights.admin {
            true => vec!["*".to_owned()],
            false => rights.streams,
        };
    }
}

fn hashed(name: &str, hash: &str, item: &Item<'_>, import: &mut Import) {
    match hash.parse::<PasswordHash>() {
        Ok(_) if !import.has_user(name) && !name.contains([':', '$']) => {
            import.draft.auth.users.push(User {
                name: name.to_owned(),
                password_hash: hash.to_owned(),
                streams: Vec::new(),
                admin: false,
            });
        }
        Ok(_) => item.fault("not carried over: its user needs a name of its own"),
        Err(error) => item.fault(format!("not carried over: {error}")),
    }
}

/// What people without a login may do, and from where.
fn anybody(name: &Item<'_>, ips: Vec<String>, rights: &Rights, import: &mut Import) {
    if rights.admin {
        name.fault("its `api` is not carried over: administrators log in");
    }
    if !rights.streams.is_empty() {
        name.fault("not carried over: a network sees every stream or none; see `auth.allow_from`");
    }
    if ips.is_empty() {
        if rights.everything || rights.metrics {
            name.fault("not carried over: `auth: none` would let everybody in; choose");
        }
        return;
    }
    if rights.metrics {
        add(&mut import.draft.admin.scrape_from, ips.clone());
    }
    if rights.everything {
        add(&mut import.draft.auth.allow_from, ips);
    }
}

fn permission(mut section: Section<'_>, rights: &mut Rights) {
    let Some(action) = section.take("action") else { return };
    let path = section.take("path");
    let path = path.as_ref().filter(|item| item.written().is_some_and(|text| !text.is_empty()));
    leave(section.rest(), |_| NOTHING_LIKE_IT);
    match (action.written(), path) {
        (Some("read"), None) => rights.everything = true,
        (Some("read"), Some(path)) => match path.written().map(str::parse::<Pattern>) {
            Some(Ok(pattern)) => rights.streams.push(pattern.as_str().to_owned()),
            _ => path.fault("not carried over: streams are named by a-z, 0-9, `-` and `*`"),
        },
        (Some("api"), _) => rights.admin = true,
        (Some("metrics"), _) => rights.metrics = true,
        _ => action.fault("not carried over: Porthole has no such right"),
    }
}
