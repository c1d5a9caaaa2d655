//! The configuration in force, as it may be shown: under the keys of
//! `porthole.yaml`, defaults filled in, and nothing of it secret.

use std::time::Duration;

use serde_json::{Map, Value, json};
use url::Url;

use super::change::FROM_API;
use super::{Config, StreamConfig};
use crate::auth::{Pattern, Rules, User};
use crate::egress::whep::IceServer;
use crate::http::{Origin, TlsFiles};
use crate::ingest::{Reach, Source, Trust};
use crate::networks::Networks;

/// What stands where a secret is.
pub(super) const MASK: &str = "***";

impl Config {
    /// All of it. Keys that are not set and have no default are left out.
    pub fn shown(&self) -> Value {
        let Self { caps, policy, webrtc, hls, .. } = self;
        let streams = self.streams.iter().map(|one| (one.name.to_string(), one.shown()));
        let origins = |origins: &[Origin]| {
            origins.iter().map(|origin| Value::from(origin.as_str())).collect::<Vec<_>>()
        };
        let mut shown = json!({
            "listen": self.listen.to_string(),
            "admin": {
                "listen": self.admin_listen.to_string(),
                "scrape_from": policy.scrape_from.texts(),
                "source_networks": self.source_networks.as_ref().map(Networks::texts),
            },
            "limits": {
                "connections": caps.connections,
                "connections_per_address": caps.per_address,
                "viewers": self.viewers,
            },
            "drain": text(self.drain),
            "trusted_proxies": policy.proxies.texts(),
            "hosts": policy.hosts,
            "cors": origins(&policy.cors),
            "embed": { "frame_ancestors": origins(&self.embed.frame_ancestors) },
            "streams": streams.collect::<Map<_, _>>(),
            "webrtc": {
                "listen": webrtc.listen.to_string(),
                "advertise": webrtc.advertise,
                "ice_servers": webrtc.ice_servers.iter().map(ice_server).collect::<Vec<_>>(),
            },
            "hls": {
                "part": text(hls.part),
                "segment": text(hls.segment),
                "window": text(hls.window()),
                "always": hls.always,
                "dir": hls.dir,
            },
            "rtsp": { "listen": self.rtsp.listen.map(|address| address.to_string()) },
            "auth": self.access.as_ref().map_or_else(|| "none".into(), rules),
        });
        if let Some(TlsFiles { cert_file, key_file }) = &self.tls {
            shown["tls"] = json!({ "cert_file": cert_file, "key_file": key_file });
        }
        if let Some(endpoint) = &self.traces {
            shown["traces"] = json!({ "endpoint": url(endpoint) });
        }
        shown
    }
}

impl StreamConfig {
    /// The keys of one stream. A login stands in the source's URL, wherever it
    /// was written.
    pub fn shown(&self) -> Value {
        let Source { transport, after_loss, on_demand, tls, reach, .. } = &self.source;
        let mut shown = json!({
            "source": self.source.to_string(),
            "transport": transport.as_str(),
            "after_loss": after_loss.as_str(),
            "on_demand": on_demand,
            "snapshot": if self.snapshot.decode { "on" } else { "off" },
        });
        if let Some(substream) = &self.substream {
            shown["substream"] = substream.to_string().into();
        }
        if let Some(still) = &self.snapshot.still {
            shown["snapshot_url"] = still.to_string().into();
        }
        if *reach != Reach::Anywhere {
            shown[FROM_API] = true.into();
        }
        match tls {
            Trust::System => {}
            // What is believed was in the file, wherever that was.
            Trust::Authorities(_) => shown["tls"] = json!({ "ca_file": MASK }),
            Trust::Pinned(print) => shown["tls"] = json!({ "fingerprint": print.to_string() }),
            Trust::Anybody => shown["tls"] = json!({ "verify": false }),
        }
        shown
    }
}

fn rules(rules: &Rules) -> Value {
    let Rules { users, jwt, http, allow_from, embed_key } = rules;
    let mut shown = json!({
        "users": users.iter().map(user).collect::<Vec<_>>(),
        "allow_from": allow_from.texts(),
    });
    if let Some(jwt) = jwt {
        shown["jwt"] = json!({
            "jwks_url": url(&jwt.jwks_url), "issuer": jwt.issuer, "audience": jwt.audience,
        });
    }
    if let Some(http) = http {
        shown["http"] = json!({ "url": url(&http.url) });
    }
    if embed_key.is_some() {
        shown["embed_key_file"] = MASK.into();
    }
    shown
}

fn user(User { name, hash: _, grant }: &User) -> Value {
    let streams: Vec<_> = grant.streams.iter().map(Pattern::as_str).collect();
    json!({ "name": name, "password_hash": MASK, "streams": streams, "admin": grant.admin })
}

fn ice_server(IceServer { urls, username, credential }: &IceServer) -> Value {
    let mut shown = json!({ "urls": urls });
    if let Some(username) = username {
        shown["username"] = username.as_str().into();
    }
    if credential.is_some() {
        shown["credential"] = MASK.into();
    }
    shown
}

/// A URL of another server, without its login and query.
fn url(url: &Url) -> String {
    let mut url = url.clone();
    if url.password().is_some() {
        // Both fail for URLs without a host alone, which are none of ours.
        let _ = url.set_password(Some(MASK));
    } else if !url.username().is_empty() {
        let _ = url.set_username(MASK);
    }
    if url.query().is_some() {
        url.set_query(Some(MASK));
    }
    url.into()
}

/// As it would be written.
fn text(duration: Duration) -> String {
    let ms = duration.as_millis();
    if ms.is_multiple_of(1_000) { format!("{}s", ms / 1_000) } else { format!("{ms}ms") }
}
