//! Where we listen, and for whom: addresses, TLS, caps, proxies, names.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::Config;
use super::reader::{Item, Section};
use crate::http::{Caps, Origin, TlsFiles};
use crate::networks::Networks;

/// Reads `tls`, `limits`, and what concerns proxies and pages of others.
pub(super) fn limits(section: &mut Section<'_>, config: &mut Config) {
    config.tls = section.take("tls").and_then(tls);
    config.policy.proxies = networks(section, "trusted_proxies");
    for item in section.take("hosts").map(Item::list).unwrap_or_default() {
        config.policy.hosts.extend(item.text());
    }
    for item in section.take("cors").map(Item::list).unwrap_or_default() {
        config.policy.cors.extend(item.checked::<Origin>());
    }
    let Config { caps, viewers, .. } = config;
    caps.crowds = Networks::loopback().and(&config.policy.proxies);
    if let Some(item) = section.take("limits") {
        let mut limits = item.section();
        let mut read = |key, cap: &mut usize| {
            let Some(item) = limits.take(key) else { return };
            match item.parsed("a number") {
                Some(0) => item.fault("at least 1"),
                Some(number) => *cap = number,
                None => {}
            }
        };
        let Caps { connections, per_address, .. } = caps;
        read("connections", connections);
        read("connections_per_address", per_address);
        read("viewers", viewers);
        limits.finish();
    }
}

fn tls(item: Item<'_>) -> Option<TlsFiles> {
    let mut section = item.section();
    let mut file = |key| {
        let item = section.take(key);
        if item.is_none() {
            section.fault(format!("`{key}` is missing: a PEM file"));
        }
        item?.text().map(PathBuf::from)
    };
    let (cert_file, key_file) = (file("cert_file"), file("key_file"));
    let files =
        cert_file.zip(key_file).map(|(cert_file, key_file)| TlsFiles { cert_file, key_file });
    if let Some(files) = &files
        && let Err(error) = crate::http::Tls::load(files)
    {
        section.fault(error.to_string());
    }
    section.finish();
    files
}

/// A list of networks.
pub(super) fn networks(section: &mut Section<'_>, key: &'static str) -> Networks {
    let items = section.take(key).map(Item::list).unwrap_or_default();
    items.into_iter().filter_map(|item| item.checked::<Networks>()).collect()
}

pub(super) fn address(section: &mut Section<'_>, key: &'static str, value: &mut SocketAddr) {
    if let Some(read) = section.take(key).and_then(|item| socket_address(&item)) {
        *value = read;
    }
}

/// `127.0.0.1:8080`, `[::1]:8080`; `:8080` is every address, `localhost:8080`
/// the loopback one.
pub(super) fn socket_address(item: &Item<'_>) -> Option<SocketAddr> {
    let text = item.text()?;
    let address = parse_address(&text);
    if address.is_none() {
        item.fault(format!("`{text}` is not an address and port such as 127.0.0.1:8080"));
    }
    address
}

/// What [`socket_address`] takes, as text.
pub(super) fn parse_address(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let any: IpAddr = [0, 0, 0, 0].into();
    let loopback: IpAddr = [127, 0, 0, 1].into();
    if let Some((host, port)) = text.rsplit_once(':')
        && let Ok(port) = port.parse::<u16>()
    {
        match host {
            "" => return Some((any, port).into()),
            "localhost" => return Some((loopback, port).into()),
            _ => {}
        }
    }
    None
}

/// Whether it is a STUN or TURN server's URL (RFC 7064, RFC 7065).
pub(super) fn is_ice_url(text: &str) -> bool {
    ["stun:", "stuns:", "turn:", "turns:"].iter().any(|scheme| text.starts_with(scheme))
}

/// Whether browsers refuse servers of these URLs, since TURN is among them and
/// wants a login.
pub(super) fn lack_login(urls: &[String], has_login: bool) -> bool {
    !has_login && urls.iter().any(|url| url.starts_with("turn"))
}

/// Whether it is an address or a name, each with or without a port, under which
/// viewers may reach us.
pub(super) fn is_place(text: &str) -> bool {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, "1"));
    let is_name = |host: &str| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        !host.is_empty() && host.bytes().all(known)
    };
    let named = is_name(host) && port.parse::<u16>().is_ok_and(|port| port > 0);
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    named || bare.parse::<IpAddr>().is_ok() || text.parse::<SocketAddr>().is_ok()
}
