//! Which keys there are and what they mean: the one place that knows both the
//! words of `porthole.yaml` and the rooms they configure.

use std::cell::RefCell;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use super::access;
use super::change::FROM_API;
use super::document::Node;
use super::fault::{ConfigFaults, Origin};
use super::listeners::{self, address, socket_address};
use super::reader::{Item, Reader, Section};
use super::{Config, SnapshotConfig, StreamConfig, entry};
use crate::egress::whep::IceServer;
use crate::http;
use crate::ingest::{Authorities, Login, Reach, Source, Still, Transport, Trust};
use crate::media::StreamName;
use crate::networks::Networks;
use crate::secret::Secret;

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Reads the whole tree.
pub(super) fn config(
    root: Node,
    environment: &BTreeMap<String, String>,
) -> Result<Config, ConfigFaults> {
    let reader = Reader { environment, faults: RefCell::default(), files: RefCell::default() };
    let mut config = Config::default();
    {
        let mut section = reader.item(String::new(), root).section();
        address(&mut section, "listen", &mut config.listen);
        let listen = config.listen;
        if let Some(item) = section.take("admin") {
            let mut admin = item.section();
            address(&mut admin, "listen", &mut config.admin_listen);
            config.policy.scrape_from = listeners::networks(&mut admin, "scrape_from");
            config.source_networks = admin
                .take("source_networks")
                .filter(|i| !i.is_null())
                .map(|item| item.list().iter().filter_map(Item::checked::<Networks>).collect());
            admin.finish();
        }
        listeners::limits(&mut section, &mut config);
        let decode = section.take("snapshot").and_then(|item| on_or_off(&item)).unwrap_or(true);
        let drain =
            section.take("drain").and_then(|item| item.duration(Duration::ZERO, SECOND * 600));
        config.drain = drain.unwrap_or(config.drain);
        if let Some(item) = section.take("traces") {
            let mut traces = item.section();
            config.traces =
                access::required(&mut traces, "endpoint").and_then(|item| access::web(&item));
            traces.finish();
        }
        if let Some(item) = section.take("streams") {
            let reach = config.source_networks.clone().map_or(Reach::Cameras, Reach::Only);
            (config.streams, config.entries) = streams(item, decode, &reach);
        }
        if let Some(item) = section.take("webrtc") {
            webrtc(item.section(), &mut config);
        }
        if let Some(item) = section.take("hls") {
            hls(item.section(), &mut config);
        }
        if let Some(item) = section.take("rtsp") {
            let mut rtsp = item.section();
            if let Some(item) = rtsp.take("listen")
                && !item.is_null()
            {
                config.rtsp.listen = socket_address(&item);
            }
            rtsp.finish();
        }
        let listeners = [
            ("listen", Some(listen)),
            ("admin.listen", Some(config.admin_listen)),
            ("rtsp.listen", config.rtsp.listen),
        ];
        config.access = access::rules(&mut section, listeners);
        if let Some(item) = section.take("embed") {
            let mut embed = item.section();
            for item in embed.take("frame_ancestors").map(Item::list).unwrap_or_default() {
                config.embed.frame_ancestors.extend(item.checked::<http::Origin>());
            }
            embed.finish();
        }
        section.finish();
    }
    config.files = reader.files.into_inner();
    let mut faults = reader.faults.into_inner();
    if faults.is_empty() {
        return Ok(config);
    }
    faults.sort_by_key(|fault| match &fault.origin {
        Some(Origin::File { line, column, .. }) => (*line, *column),
        _ => (u64::MAX, 0),
    });
    Err(ConfigFaults(faults))
}

/// The streams; `decode` is what `snapshot` says for all, `reach` holds for those
/// that came by the API.
fn streams(
    item: Item<'_>,
    decode: bool,
    reach: &Reach,
) -> (Vec<StreamConfig>, BTreeMap<StreamName, entry::Entry>) {
    let (mut streams, mut written, mut places) = (Vec::new(), BTreeMap::new(), Places::default());
    for (key, item) in item.entries() {
        let name = match key.text.parse::<StreamName>() {
            Ok(name) => Some(name),
            Err(error) => {
                item.reader().fault(&key.origin, "streams", error.to_string());
                None
            }
        };
        written.extend(name.clone().map(|name| (name, entry::Entry::of(&item.node))));
        // Read even under a bad name, so that its other faults show as well.
        let sources = if item.is_map() {
            long_form(item.section(), &mut places, decode, reach)
        } else {
            let snapshot = SnapshotConfig { still: None, decode };
            places.source(&item).map(|source| (source, None, snapshot))
        };
        streams.extend(name.zip(sources).map(|(name, (source, substream, snapshot))| {
            StreamConfig { name, source, substream, snapshot }
        }));
    }
    (streams, written)
}

/// Where each camera URL was written first.
#[derive(Default)]
struct Places(HashMap<String, (String, Origin)>);

impl Places {
    /// The item as a source that is named nowhere else: a camera allows two to
    /// four connections, and one is enough for any number of viewers.
    fn source(&mut self, item: &Item<'_>) -> Option<Source> {
        let source = item.checked::<Source>()?;
        match self.0.entry(source.place()) {
            Entry::Vacant(entry) => {
                entry.insert((item.path.clone(), item.node.origin.clone()));
            }
            Entry::Occupied(entry) => {
                let (path, origin) = entry.get();
                item.fault(format!(
                    "this camera URL is `{path}` already ({origin}): name it once, and use that \
                     name wherever it is watched; one connection serves every viewer"
                ));
            }
        }
        Some(source)
    }
}

/// A stream's source, substream and pictures.
fn long_form(
    mut section: Section<'_>,
    places: &mut Places,
    decode: bool,
    reach: &Reach,
) -> Option<(Source, Option<Source>, SnapshotConfig)> {
    let source = section.take("source");
    if source.is_none() {
        section.fault("`source` is missing: the camera's rtsp:// or rtsps:// URL");
    }
    let mut source = source.and_then(|item| places.source(&item));
    let substream = section.take("substream").and_then(|item| places.source(&item));
    let username = section.take("username").and_then(|item| item.text());
    let password = password(&mut section);
    let transport = section.take("transport").and_then(|item| {
        let transport = item.checked();
        let is_tls = [&source, &substream].into_iter().flatten().any(Source::is_tls);
        if transport == Some(Transport::Udp) && is_tls {
            item.fault(
                "the media of an rtsps:// camera would travel over UDP unencrypted; leave \
                 `transport` out",
            );
        }
        transport
    });
    let after_loss = section.take("after_loss").and_then(|item| item.checked());
    let on_demand = section.take("on_demand").and_then(|item| item.parsed("true or false"));
    let still = section.take("snapshot_url").and_then(|item| item.checked::<Still>());
    let decode = section.take("snapshot").and_then(|item| on_or_off(&item)).unwrap_or(decode);
    let from_api = section.take(FROM_API).and_then(|item| item.parsed("true or false"));
    let tls = section.take("tls").and_then(|item| {
        let needless = source.as_ref().is_some_and(|source| !source.is_tls());
        if needless && !still.as_ref().is_some_and(Still::is_tls) {
            item.fault("`tls` is for an rtsps:// source");
        }
        trust(item)
    });
    section.finish();

    if let Some(source) = &mut source {
        if username.is_some() || password.is_some() {
            let old = source.login.take();
            let (name, secret) = match old {
                Some(Login { username, password }) => (username, password),
                None => (String::new(), Secret::new("")),
            };
            source.login = Some(Login {
                username: username.unwrap_or(name),
                password: password.unwrap_or(secret),
            });
        }
        source.tls = tls.unwrap_or_default();
        source.transport = transport.unwrap_or_default();
        source.after_loss = after_loss.unwrap_or_default();
        source.on_demand = on_demand.unwrap_or(false);
        if from_api == Some(true) {
            source.reach = reach.clone();
        }
    }
    let source = source?;
    let substream = substream.map(|substream| substream.beside(&source));
    let still = still.map(|still| still.beside(&source));
    Some((source, substream, SnapshotConfig { still, decode }))
}

fn on_or_off(item: &Item<'_>) -> Option<bool> {
    match item.text()?.as_str() {
        "on" | "true" => Some(true),
        "off" | "false" => Some(false),
        other => {
            item.fault(format!("`{other}` is not on or off"));
            None
        }
    }
}

/// Whose certificate an `rtsps://` camera may show.
fn trust(item: Item<'_>) -> Option<Trust> {
    let mut section = item.section();
    let ca_file = section.take("ca_file").map(|item| {
        let (path, pem) = item.file()?;
        let authorities = Authorities::from_pem(&pem);
        let authorities = authorities.map_err(|error| item.fault(format!("{path}: {error}")));
        authorities.ok().map(Trust::Authorities)
    });
    let fingerprint = section.take("fingerprint").map(|item| item.checked().map(Trust::Pinned));
    let verify = section.take("verify").map(|item| {
        let verify: bool = item.parsed("true or false")?;
        Some(if verify { Trust::System } else { Trust::Anybody })
    });
    let mut given = [ca_file, fingerprint, verify].into_iter().flatten();
    let trust = given.next();
    if given.next().is_some() {
        section.fault("give one of `ca_file`, `fingerprint` and `verify`");
    }
    section.finish();
    trust.flatten()
}

/// `password` or `password_file`.
fn password(section: &mut Section<'_>) -> Option<Secret> {
    let direct = section.take("password");
    let file = section.take("password_file");
    if let (Some(_), Some(file)) = (&direct, &file) {
        file.fault("give either `password` or `password_file`");
    }
    if let Some(item) = direct {
        return item.text().map(Secret::new);
    }
    let file = file?;
    let (path, content) = file.file()?;
    let Ok(text) = String::from_utf8(content) else {
        file.fault(format!("{path} is not UTF-8"));
        return None;
    };
    // Editors end files with a newline that is no part of the secret.
    Some(Secret::new(text.trim_end_matches(['\r', '\n'])))
}

fn webrtc(mut section: Section<'_>, config: &mut Config) {
    address(&mut section, "listen", &mut config.webrtc.listen);
    for item in section.take("advertise").map(Item::list).unwrap_or_default() {
        config.webrtc.advertise.extend(advertised(item));
    }
    for item in section.take("ice_servers").map(Item::list).unwrap_or_default() {
        config.webrtc.ice_servers.extend(ice_server(item));
    }
    section.finish();
}

/// An address or a name, each with or without a port.
fn advertised(item: Item<'_>) -> Option<String> {
    let text = item.text()?;
    let ok = listeners::is_place(&text);
    if !ok {
        item.fault(format!("`{text}` is no address or name, with or without a port"));
    }
    ok.then_some(text)
}

/// `stun:host`, or a mapping as browsers take it in `RTCIceServer`.
fn ice_server(item: Item<'_>) -> Option<IceServer> {
    let url = |item: &Item<'_>| {
        let text = item.text()?;
        let known = listeners::is_ice_url(&text);
        if !known {
            item.fault(format!("`{text}` is not a stun: or turn: URL"));
        }
        known.then_some(text)
    };
    let no_login = "browsers refuse a TURN server without `username` and `credential`";
    if !item.is_map() {
        let urls = vec![url(&item)?];
        if listeners::lack_login(&urls, false) {
            item.fault(no_login);
        }
        return Some(IceServer { urls, ..IceServer::default() });
    }
    let mut section = item.section();
    let urls = section.take("urls").map(Item::list).unwrap_or_default();
    if urls.is_empty() {
        section.fault("`urls` is missing");
    }
    let server = IceServer {
        urls: urls.iter().filter_map(url).collect(),
        username: section.take("username").and_then(|item| item.text()),
        credential: section.take("credential").and_then(|item| item.text()),
    };
    let has_login = server.username.is_some() && server.credential.is_some();
    if listeners::lack_login(&server.urls, has_login) {
        section.fault(no_login);
    }
    section.finish();
    Some(server)
}

fn hls(mut section: Section<'_>, config: &mut Config) {
    let hour = SECOND * 3_600;
    let mut read = |key, least, most| section.take(key)?.duration(least, most);
    let (part, segment) = (config.hls.part, config.hls.segment);
    config.hls.part = read("part", MILLISECOND * 100, SECOND * 5).unwrap_or(part);
    config.hls.segment = read("segment", SECOND, SECOND * 30).unwrap_or(segment);
    config.hls.window = read("window", SECOND * 10, hour);
    if let Some(always) = section.take("always").and_then(|item| item.parsed("true or false")) {
        config.hls.always = always;
    }
    config.hls.dir = section.take("dir").filter(|item| !item.is_null()).and_then(|item| {
        let dir = PathBuf::from(item.text()?);
        if !dir.is_dir() {
            item.fault(format!("there is no directory {}", dir.display()));
        }
        Some(dir)
    });
    section.finish();
}
