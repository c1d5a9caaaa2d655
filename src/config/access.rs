//! `auth`: who may see what.

use std::net::SocketAddr;

use url::Url;

use super::listeners::networks;
use super::reader::{Item, Section};
use crate::auth::{CallbackConfig, EmbedKey, Grant, JwtConfig, PasswordHash, Pattern, Rules, User};

/// Ways to choose, for those who have not.
const CHOICES: &str = "`auth: { users: [{ name, password_hash, streams }] }`, `allow_from` for \
     networks, `jwt` or `http` for a server that decides";

/// The rules; `None` lets in everybody who can reach us, which beyond this
/// machine must have been said.
pub(super) fn rules(
    section: &mut Section<'_>,
    listeners: [(&str, Option<SocketAddr>); 3],
) -> Option<Rules> {
    let Some(item) = section.take("auth") else {
        let open = |address: &SocketAddr| !address.ip().is_loopback();
        for (key, address) in listeners {
            let Some(address) = address.filter(open) else { continue };
            section.fault(format!(
                "`{key}: {address}` lets other machines in: choose who may watch with `auth` \
                 ({CHOICES}), or write `auth: none` to let everybody"
            ));
        }
        return None;
    };
    if !item.is_map() {
        if let Some(text) = item.text()
            && text != "none"
        {
            item.fault(format!("`auth` is a mapping ({CHOICES}), or the word `none`"));
        }
        return None;
    }
    let mut auth = item.section();
    let mut rules = Rules::default();
    for item in auth.take("users").map(Item::list).unwrap_or_default() {
        let Some(user) = user(item.section()) else { continue };
        if rules.users.iter().any(|other| other.name == user.name) {
            auth.fault(format!("there are two users named {}", user.name));
        }
        rules.users.push(user);
    }
    rules.jwt = auth.take("jwt").and_then(|item| jwt(item.section()));
    rules.http = auth.take("http").and_then(|item| {
        let mut section = item.section();
        let url = required(&mut section, "url").and_then(|item| web(&item));
        section.finish();
        url.map(|url| CallbackConfig { url })
    });
    rules.allow_from = networks(&mut auth, "allow_from");
    rules.embed_key = auth.take("embed_key_file").and_then(|item| embed_key(&item));
    let chosen = !rules.users.is_empty()
        || rules.jwt.is_some()
        || rules.http.is_some()
        || !rules.allow_from.is_empty()
        || rules.embed_key.is_some();
    if !chosen {
        auth.fault(format!("nobody could watch: choose who may ({CHOICES})"));
    }
    auth.finish();
    Some(rules)
}

fn user(mut section: Section<'_>) -> Option<User> {
    let name = required(&mut section, "name").and_then(|item| {
        let name = item.text()?;
        // Basic login ends a name with a colon (RFC 7617 §2).
        let ok = !name.is_empty() && !name.contains(':');
        if !ok {
            item.fault("a name has at least one character, and no colon");
        }
        ok.then_some(name)
    });
    let hash =
        required(&mut section, "password_hash").and_then(|item| item.checked::<PasswordHash>());
    let listed = section.take("streams").map(Item::list).unwrap_or_default();
    let streams = listed.iter().filter_map(Item::checked::<Pattern>).collect();
    let admin = section.take("admin").and_then(|item| item.parsed("true or false"));
    section.finish();
    let grant = Grant { streams, admin: admin.unwrap_or(false), ..Grant::default() };
    Some(User { name: name?, hash: hash?, grant })
}

fn jwt(mut section: Section<'_>) -> Option<JwtConfig> {
    let jwks_url = required(&mut section, "jwks_url").and_then(|item| web(&item));
    let issuer = required(&mut section, "issuer").and_then(|item| item.text());
    let audience = required(&mut section, "audience").and_then(|item| item.text());
    section.finish();
    Some(JwtConfig { jwks_url: jwks_url?, issuer: issuer?, audience: audience? })
}

pub(super) fn required<'r>(section: &mut Section<'r>, key: &'static str) -> Option<Item<'r>> {
    let item = section.take(key);
    if item.is_none() {
        section.fault(format!("`{key}` is missing"));
    }
    item
}

pub(super) fn web(item: &Item<'_>) -> Option<Url> {
    // Not quoted: it may hold a password.
    let url = item.text()?.parse::<Url>().ok();
    let url = url.filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
    if url.is_none() {
        item.fault("this is not an http:// or https:// URL");
    }
    url
}

fn embed_key(item: &Item<'_>) -> Option<EmbedKey> {
    let (path, content) = item.file()?;
    EmbedKey::new(&content).map_err(|error| item.fault(format!("{path}: {error}"))).ok()
}
