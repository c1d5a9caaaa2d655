//! MediaMTX's configuration (mediamtx.yml, v1).

use std::time::Duration;

use super::draft::{Callback, IceServer, Stream, Tls, Trust};
use super::go2rtc::{NO_LOGIN, NO_PLACE, can_log_in, ice_url};
use super::{Import, Listener, access, add, is_on, leave, texts};
use crate::config::document::Key;
use crate::config::listeners::is_place;
use crate::config::reader::{Item, Section};
use crate::http::Origin;
use crate::ingest::Fingerprint;
use crate::networks::Networks;

const NOTHING_LIKE_IT: &str = "Porthole has nothing like it";
const NO_PROCESS: &str = "Porthole starts no process";
const NO_PUBLISHER: &str = "Porthole pulls cameras; nothing is published to it";

/// Whether this is MediaMTX's: its listeners all end so.
pub(super) fn is_it(root: &Section<'_>) -> bool {
    root.has_key(|key| ["paths", "pathDefaults"].contains(&key) || key.ends_with("Address"))
}

pub(super) fn carry(mut root: Section<'_>, import: &mut Import) {
    access::carry(&mut root, import);
    pages(&mut root, import);
    if root.take("metrics").is_some_and(|item| is_on(&item))
        && let Some(item) = root.take("metricsAddress")
    {
        import.admin = Listener::of(&item);
    }
    if root.take("rtsp").is_none_or(|item| is_on(&item))
        && let Some(item) = root.take("rtspAddress")
    {
        import.rtsp = Listener::of(&item);
    }
    webrtc(&mut root, import);
    hls(&mut root, import);

    let mut defaults = root.take("pathDefaults").map(Item::section);
    let ours = defaults.as_mut().map(Path::of).unwrap_or_default();
    if let Some(rest) = defaults.map(Section::rest) {
        leave(rest, why);
    }
    for (key, item) in root.take("paths").map(Item::entries).unwrap_or_default() {
        path(&key, item, &ours, import);
    }
    leave(root.rest(), why);
}

/// Why there is no key of ours for this one.
fn why(key: &str) -> &'static str {
    match key {
        key if key.starts_with("runOn") => NO_PROCESS,
        key if key.starts_with("log") || key == "sysLogPrefix" => {
            "the log follows RUST_LOG and --log-format"
        }
        key if key.starts_with("record") || key.starts_with("playback") => {
            "Porthole records nothing; `hls.window` says how far back a viewer can go"
        }
        key if key.ends_with("AllowOrigin") => "write it as a list: …AllowOrigins",
        "source" | "overridePublisher" | "fallback" => NO_PUBLISHER,
        "rtspAddress" => "`rtsp` is off",
        "metricsAddress" => "`metrics` is off; Porthole has its own at `admin.listen`",
        "hlsAddress" | "webrtcAddress" => "pages, WHEP and HLS share one listener, `listen`",
        _ => NOTHING_LIKE_IT,
    }
}

/// The one listener for what MediaMTX has two for: WebRTC's is the page that
/// people open.
fn pages(root: &mut Section<'_>, import: &mut Import) {
    let mut has = |key| {
        let Some(item) = root.take(key) else { return true };
        if !is_on(&item) {
            item.fault("not carried over: no output is switched off by itself; see `auth`");
        }
        is_on(&item)
    };
    let (whep, hls) = (has("webrtc"), has("hls"));
    let [address, encryption, cert, key] = if whep && root.has_key(|key| key == "webrtcAddress") {
        ["webrtcAddress", "webrtcEncryption", "webrtcServerCert", "webrtcServerKey"]
    } else if hls {
        ["hlsAddress", "hlsEncryption", "hlsServerCert", "hlsServerKey"]
    } else {
        return;
    };
    import.pages = root.take(address).and_then(|item| Listener::of(&item));
    if root.take(encryption).is_some_and(|item| is_on(&item)) {
        let mut file = |key| root.take(key).and_then(|item| item.written().map(doubled));
        import.draft.tls =
            file(cert).zip(file(key)).map(|(cert_file, key_file)| Tls { cert_file, key_file });
    }
}

fn webrtc(root: &mut Section<'_>, import: &mut Import) {
    for key in ["webrtcAllowOrigins", "hlsAllowOrigins"] {
        let origins = texts::<Origin>(root, key);
        add(&mut import.draft.cors, origins);
    }
    for key in ["webrtcTrustedProxies", "hlsTrustedProxies"] {
        let proxies = texts::<Networks>(root, key);
        add(&mut import.draft.trusted_proxies, proxies);
    }
    let webrtc = &mut import.draft.webrtc;
    if let Some(item) = root.take("webrtcLocalUDPAddress") {
        webrtc.listen = Listener::of(&item).map(|listener| listener.address);
    }
    if let Some(item) = root.take("webrtcLocalTCPAddress")
        && item.written().is_some_and(|text| !text.is_empty())
        && Listener::of(&item).map(|listener| listener.address) != webrtc.listen
    {
        item.fault("not carried over: one port, `webrtc.listen`, takes both UDP and TCP");
    }
    for item in root.take("webrtcAdditionalHosts").map(Item::list).unwrap_or_default() {
        match item.written().filter(|text| is_place(text)) {
            Some(text) => add(&mut webrtc.advertise, vec![doubled(text)]),
            None => item.fault(NO_PLACE),
        }
    }
    for item in root.take("webrtcICEServers2").map(Item::list).unwrap_or_default() {
        let mut server = item.section();
        let url = server.take("url").and_then(|item| ice_url(&item));
        let mut text = |key| {
            let text = server.take(key).and_then(|item| item.written().map(doubled));
            text.filter(|text| !text.is_empty())
        };
        let (username, credential) = (text("username"), text("password"));
        let made = url.map(|url| IceServer { urls: vec![url], username, credential });
        // Its word for logins that are made of a secret, each for a while.
        let secret = |server: &IceServer| server.username.as_deref() == Some("AUTH_SECRET");
        match made {
            Some(made) if secret(&made) => server.fault(
                "not carried over: viewers are given the name and the password as they are \
                 written, none made of a secret",
            ),
            Some(made) if !can_log_in(&made) => server.fault(NO_LOGIN),
            made => webrtc.ice_servers.extend(made),
        }
        leave(server.rest(), |_| NOTHING_LIKE_IT);
    }
}

fn hls(root: &mut Section<'_>, import: &mut Import) {
    let hls = &mut import.draft.hls;
    let second = Duration::from_secs(1);
    let mut read = |key, least, most| {
        let item = root.take(key)?;
        let read = item.duration(least, most);
        read.map(|duration| (item.written().unwrap_or_default().to_owned(), duration))
    };
    hls.part = read("hlsPartDuration", second / 10, second * 5).map(|(text, _)| text);
    let segment = read("hlsSegmentDuration", second, second * 30);
    if let Some(item) = root.take("hlsAlwaysRemux") {
        hls.always = is_on(&item);
    }
    if let Some(item) = root.take("hlsSegmentCount") {
        let length = segment.as_ref().map_or(second, |(_, duration)| *duration);
        let window = item
            .written()
            .and_then(|count| count.parse().ok())
            .map(|count: u32| length.checked_mul(count).unwrap_or(Duration::MAX).as_secs());
        match window {
            Some(seconds @ 10..=3600) => hls.window = Some(format!("{seconds}s")),
            _ => item.fault("not carried over: `hls.window` is between 10 seconds and an hour"),
        }
    }
    hls.segment = segment.map(|(text, _)| text);
}

/// What a path says of its camera; a path's own word counts before
/// `pathDefaults`.
#[derive(Default)]
struct Path {
    transport: Option<&'static str>,
    on_demand: Option<bool>,
    fingerprint: Option<String>,
}

impl Path {
    fn of(section: &mut Section<'_>) -> Self {
        let mut path = Self::default();
        // The second is what the first was called before v1.
        for key in ["rtspTransport", "sourceProtocol"] {
            let Some(item) = section.take(key) else { continue };
            match item.written() {
                Some("automatic") => path.transport = Some("auto"),
                Some("tcp") => path.transport = Some("tcp"),
                Some("udp") => path.transport = Some("udp"),
                _ => item.fault("not carried over: a camera is reached by TCP or UDP"),
            }
        }
        path.on_demand = section.take("sourceOnDemand").map(|item| is_on(&item));
        if let Some(item) = section.take("sourceFingerprint")
            && item.written().is_some_and(|text| !text.is_empty())
        {
            let text = format!("sha256:{}", item.written().unwrap_or_default());
            match text.parse::<Fingerprint>() {
                Ok(_) => path.fingerprint = Some(text),
                Err(error) => item.fault(format!("not carried over: {error}")),
            }
        }
        path
    }
}

fn path(key: &Key, item: Item<'_>, defaults: &Path, import: &mut Import) {
    let reader = item.reader();
    let at = item.path.clone();
    let refuse = |why: &str| reader.fault(&key.origin, &at, format!("not carried over: {why}"));
    if key.text.starts_with('~') || ["all", "all_others"].contains(&key.text.as_str()) {
        return refuse("a stream has one name and one camera");
    }
    let mut section = item.section();
    let Path { transport, on_demand, fingerprint } = Path::of(&mut section);
    let Some(source) = section.take("source") else {
        return refuse(NO_PUBLISHER);
    };
    leave(section.rest(), why);
    match carried(source.written().unwrap_or_default()) {
        Err(why) => source.fault(format!("not carried over: {why}")),
        Ok(mut stream) => {
            let is_tls = stream.source.starts_with("rtsps:");
            let asked = transport.or(defaults.transport).filter(|asked| *asked != "auto");
            // The media of an rtsps:// camera go the way of its commands.
            let asked = asked.filter(|asked| !(is_tls && *asked == "udp"));
            stream.transport = stream.transport.or(asked);
            stream.on_demand = on_demand.or(defaults.on_demand).unwrap_or(false);
            let pinned = fingerprint.or_else(|| defaults.fingerprint.clone());
            stream.tls = Trust { fingerprint: pinned.filter(|_| is_tls), ..Trust::default() };
            import.streams.add(key, &source, stream);
        }
    }
}

/// What a source means to us.
fn carried(url: &str) -> Result<Stream, &'static str> {
    let (scheme, rest) = url.split_once("://").unwrap_or((url, ""));
    let (scheme, transport) = match scheme {
        "rtsp" | "rtsps" => (scheme, None),
        "rtsp+http" => ("rtsp", Some("http")),
        "rtsps+http" => ("rtsps", Some("http")),
        "rtsp+ws" | "rtsps+ws" => return Err("Porthole speaks no RTSP over WebSocket"),
        "publisher" => return Err(NO_PUBLISHER),
        _ => return Err("Porthole pulls rtsp:// and rtsps:// cameras"),
    };
    let source = format!("{scheme}://{}", doubled(rest));
    Ok(Stream { source, transport, ..Stream::default() })
}

/// `$` would name a variable, which MediaMTX has none of.
fn doubled(text: &str) -> String {
    text.replace('$', "$$")
}

/// The callback's URL; else a note.
pub(super) fn callback(item: &Item<'_>) -> Option<Callback> {
    let text = item.written().filter(|text| !text.is_empty())?;
    let is_web = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme));
    if !is_web {
        item.fault("not carried over: this is not an http:// or https:// URL");
    }
    is_web.then(|| Callback { url: doubled(text) })
}
