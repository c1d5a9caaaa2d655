//! What an import has so far, in the words of `porthole.yaml`.

use std::net::SocketAddr;

use serde::{Serialize, Serializer};

/// A configuration to be written. It holds passwords, as the file that it is
/// made from does: nothing of it goes anywhere but into the result.
#[derive(Default, Serialize)]
pub(super) struct Draft {
    #[serde(skip_serializing_if = "is_default")]
    pub(super) listen: Option<SocketAddr>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) admin: Admin,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) tls: Option<Tls>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) auth: Auth,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) trusted_proxies: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) cors: Vec<String>,
    #[serde(skip_serializing_if = "is_default", serialize_with = "in_order")]
    pub(super) streams: Vec<(String, Stream)>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) webrtc: Webrtc,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) hls: Hls,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) rtsp: Rtsp,
}

#[derive(Default, PartialEq, Serialize)]
pub(super) struct Admin {
    #[serde(skip_serializing_if = "is_default")]
    pub(super) listen: Option<SocketAddr>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) scrape_from: Vec<String>,
}

#[derive(PartialEq, Serialize)]
pub(super) struct Tls {
    pub(super) cert_file: String,
    pub(super) key_file: String,
}

#[derive(Default, PartialEq, Serialize)]
pub(super) struct Auth {
    #[serde(skip_serializing_if = "is_default")]
    pub(super) users: Vec<User>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) http: Option<Callback>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) allow_from: Vec<String>,
}

#[derive(PartialEq, Serialize)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) password_hash: String,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) streams: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) admin: bool,
}

#[derive(PartialEq, Serialize)]
pub(super) struct Callback {
    pub(super) url: String,
}

#[derive(Default, PartialEq, Serialize)]
pub(super) struct Stream {
    pub(super) source: String,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) transport: Option<&'static str>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) tls: Trust,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) on_demand: bool,
}

#[derive(Default, PartialEq, Serialize)]
pub(super) struct Trust {
    #[serde(skip_serializing_if = "is_default")]
    pub(super) fingerprint: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) verify: Option<bool>,
}

#[derive(Default, PartialEq, Serialize)]
pub(super) struct Webrtc {
    #[serde(skip_serializing_if = "is_default")]
    pub(super) listen: Option<SocketAddr>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) advertise: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) ice_servers: Vec<IceServer>,
}

#[derive(Default, PartialEq, Serialize)]
pub(super) struct IceServer {
    pub(super) urls: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) username: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) credential: Option<String>,
}

#[derive(Default, PartialEq, Serialize)]
pub(super) struct Hls {
    #[serde(skip_serializing_if = "is_default")]
    pub(super) part: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) segment: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) window: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) always: bool,
}

#[derive(Default, PartialEq, Serialize)]
pub(super) struct Rtsp {
    #[serde(skip_serializing_if = "is_default")]
    pub(super) listen: Option<SocketAddr>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Streams as a mapping, each by its URL alone where that says it all.
fn in_order<S: Serializer>(streams: &[(String, Stream)], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Form<'s> {
        Short(&'s str),
        Long(&'s Stream),
    }
    serializer.collect_map(streams.iter().map(|(name, stream)| {
        let is_plain =
            is_default(&stream.transport) && is_default(&stream.tls) && !stream.on_demand;
        (name, if is_plain { Form::Short(&stream.source) } else { Form::Long(stream) })
    }))
}
