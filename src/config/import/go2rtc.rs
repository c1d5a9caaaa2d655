//! go2rtc's configuration (go2rtc.yaml, v1.9).

use super::draft::{IceServer, Stream, Trust};
use super::{Import, Listener, add, leave, texts};
use crate::config::document::Key;
use crate::config::listeners::{is_ice_url, is_place, lack_login, parse_address};
use crate::config::reader::{Item, Section};
use crate::http::Origin;

const NOTHING_LIKE_IT: &str = "Porthole has nothing like it";
const NO_ENCODER: &str = "Porthole shows what a camera sends, and does not re-encode";

/// Whether this is go2rtc's.
pub(super) fn is_it(root: &Section<'_>) -> bool {
    root.has_key(|key| ["streams", "api", "rtsp", "webrtc"].contains(&key))
}

pub(super) fn carry(mut root: Section<'_>, import: &mut Import) {
    if let Some(item) = root.take("api") {
        api(item.section(), import);
    }
    if let Some(item) = root.take("rtsp") {
        rtsp(item.section(), import);
    }
    if let Some(item) = root.take("webrtc") {
        webrtc(item.section(), import);
    }
    for (key, item) in root.take("streams").map(Item::entries).unwrap_or_default() {
        stream(&key, item, import);
    }
    // Cameras are connected before somebody watches, unless told otherwise.
    root.take("preload");
    leave(root.rest(), |key| match key {
        "log" => "the log follows RUST_LOG and --log-format",
        "ffmpeg" => NO_ENCODER,
        "exec" | "echo" | "expr" => "Porthole starts no process",
        "publish" => "Porthole sends to viewers only",
        _ => NOTHING_LIKE_IT,
    });
}

fn api(mut api: Section<'_>, import: &mut Import) {
    if let Some(item) = api.take("listen") {
        import.pages = Listener::of(&item);
    }
    login(&mut api, true, import);
    let origins = texts::<Origin>(&mut api, "origin");
    add(&mut import.draft.cors, origins);
    leave(api.rest(), |key| match key {
        "base_path" => "every link is relative; a proxy says its prefix in X-Forwarded-Prefix",
        "local_auth" => "this machine has to log in, too",
        key if key.starts_with("tls_") => {
            "`tls: { cert_file, key_file }` makes `listen` an HTTPS listener"
        }
        _ => NOTHING_LIKE_IT,
    });
}

fn rtsp(mut rtsp: Section<'_>, import: &mut Import) {
    if let Some(item) = rtsp.take("listen")
        && item.written() != Some("")
    {
        import.rtsp = Listener::of(&item);
    }
    login(&mut rtsp, false, import);
    leave(rtsp.rest(), |_| NOTHING_LIKE_IT);
}

fn login(section: &mut Section<'_>, admin: bool, import: &mut Import) {
    let (username, password) = (section.take("username"), section.take("password"));
    let name = username.as_ref().and_then(Item::written).unwrap_or_default();
    match (&username, &password) {
        // The same person, by another door.
        (Some(item), Some(_)) if import.has_user(name) => {
            item.fault("not carried over: this user is there already, with the first password");
        }
        (_, Some(password)) => import.user(name, password, admin),
        (Some(item), None) => item.fault("not carried over: there is no password"),
        (None, None) => {}
    }
}

fn webrtc(mut webrtc: Section<'_>, import: &mut Import) {
    if let Some(item) = webrtc.take("listen") {
        let text = item.written().unwrap_or_default();
        let (address, kind) = text.split_once('/').unwrap_or((text, ""));
        import.draft.webrtc.listen = parse_address(address);
        match (import.draft.webrtc.listen, kind) {
            (None, _) => item.fault("not carried over: this is not an address and port"),
            (Some(_), "") => {}
            (Some(_), _) => item.fault("the port takes both UDP and TCP"),
        }
    }
    for item in webrtc.take("candidates").map(Item::list).unwrap_or_default() {
        match item.written() {
            None => item.fault(NO_PLACE),
            Some(text) if text.starts_with("stun:") => item.fault(
                "not carried over: Porthole asks no server for its own address; write it in \
                 `webrtc.advertise`",
            ),
            // What a variable stands for is known where it is read.
            Some(text) if text.contains("${") || is_place(text) => {
                add(&mut import.draft.webrtc.advertise, vec![escaped(text)]);
            }
            Some(_) => item.fault(NO_PLACE),
        }
    }
    for item in webrtc.take("ice_servers").map(Item::list).unwrap_or_default() {
        let mut server = item.section();
        let urls = server.take("urls").map(Item::list).unwrap_or_default();
        let text = |item: Item<'_>| item.written().map(escaped);
        let server_of_ours = IceServer {
            urls: urls.into_iter().filter_map(|url| ice_url(&url)).collect(),
            username: server.take("username").and_then(text),
            credential: server.take("credential").and_then(text),
        };
        let usable = can_log_in(&server_of_ours);
        if !usable {
            server.fault(NO_LOGIN);
        }
        leave(server.rest(), |_| NOTHING_LIKE_IT);
        if usable && !server_of_ours.urls.is_empty() {
            import.draft.webrtc.ice_servers.push(server_of_ours);
        }
    }
    leave(webrtc.rest(), |_| NOTHING_LIKE_IT);
}

pub(super) const NO_PLACE: &str = "not carried over: this is no address or name";
pub(super) const NO_LOGIN: &str =
    "not carried over: browsers refuse a TURN server without a name and a password";

/// Whether browsers take the server.
pub(super) fn can_log_in(server: &IceServer) -> bool {
    let has_login = server.username.is_some() && server.credential.is_some();
    !lack_login(&server.urls, has_login)
}

/// A STUN or TURN server's URL; else a note.
pub(super) fn ice_url(item: &Item<'_>) -> Option<String> {
    let url = item.written().filter(|url| is_ice_url(url));
    if url.is_none() {
        item.fault("not carried over: this is not a stun: or turn: URL");
    }
    url.map(str::to_owned)
}

/// The first of a stream's sources that is an RTSP camera.
fn stream(key: &Key, item: Item<'_>, import: &mut Import) {
    let mut have = false;
    for source in item.list() {
        match carried(&source) {
            Err(why) => source.fault(format!("not carried over: {why}")),
            Ok(_) if have => source.fault(
                "not carried over: a stream has one source; the same scene in fewer pixels is its \
                 `substream`",
            ),
            Ok(stream) => {
                have = true;
                import.streams.add(key, &source, stream);
            }
        }
    }
}

/// What a source means to us.
fn carried(item: &Item<'_>) -> Result<Stream, &'static str> {
    let text = item.written().ok_or("this is not a URL")?;
    let (inner, by_ffmpeg) = match text.strip_prefix("ffmpeg:") {
        Some(inner) => (inner, true),
        None => (text, false),
    };
    let mut pieces = inner.split('#');
    let url = pieces.next().unwrap_or_default();
    let mut stream = Stream { source: escaped(url), ..Stream::default() };
    match url.split_once(':').map_or("", |(scheme, _)| scheme) {
        "rtsp" | "rtsps" => {}
        // Whatever it is, the fault that it raises will say.
        scheme if scheme.starts_with("${") => {}
        "rtspx" => {
            stream.source = stream.source.replacen("rtspx", "rtsps", 1);
            stream.tls = Trust { verify: Some(false), ..Trust::default() };
        }
        _ if by_ffmpeg => return Err(NO_ENCODER),
        "exec" | "echo" | "expr" => return Err("Porthole starts no process"),
        _ => return Err("Porthole pulls rtsp:// and rtsps:// cameras"),
    }
    let mut notes = Vec::new();
    for piece in pieces {
        match piece.split_once('=').unwrap_or((piece, "")) {
            // As it is anyway.
            ("backchannel", "0") | ("video" | "audio", "copy") => {}
            ("transport", "tcp") => stream.transport = Some("tcp"),
            ("transport", "udp") => stream.transport = Some("udp"),
            ("transport", _) => return Err("Porthole speaks no RTSP over WebSocket"),
            ("video" | "audio", _) if by_ffmpeg => notes.push(NO_ENCODER),
            _ => notes.push("what stands behind # is not carried over"),
        }
    }
    notes.dedup();
    for note in notes {
        item.fault(note);
    }
    Ok(stream)
}

/// `$` means something here that it does not there, but for `${VAR}`.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for (i, c) in text.char_indices() {
        out.push(c);
        if c == '$' && !text[i + 1..].starts_with('{') {
            out.push('$');
        }
    }
    out
}
