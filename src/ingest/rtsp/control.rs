//! Which URL a request about a track or the whole session names.
//!
//! RFC 2326 §C.1.1 asks for RFC 1808 joining, which drops the last part of
//! the base. No camera means that: all of them expect what LIVE555 and ffmpeg
//! do, which is to append.

use url::Url;

/// Longest base that is heeded; cameras' have a hundred bytes or two. Each
/// track, and each entry of RTP-Info, gets a copy of it.
const MAX_BASE: usize = 2 << 10;

/// What control attributes are relative to, on the host we are connected to.
#[derive(Clone, Debug)]
pub struct Base(Url);

impl Base {
    /// From the URL that was asked for and the headers of the answer, in the
    /// order of RFC 2326 §C.1.1.
    pub fn new(asked: &Url, content_base: Option<&str>, content_location: Option<&str>) -> Self {
        let here = Self(asked.clone());
        let given = [content_base, content_location].into_iter().flatten();
        let given = given.map(str::trim).find(|url| (1..=MAX_BASE).contains(&url.len()));
        Self(given.and_then(|url| here.absolute(url)).unwrap_or_else(|| here.0.clone()))
    }

    /// The URL that an `a=control` value, or an `url` of RTP-Info, means.
    pub fn join(&self, control: &str) -> Url {
        let control = control.trim().trim_matches('"');
        if control.is_empty() || control == "*" {
            return self.0.clone();
        }
        if has_scheme(control) {
            return self.absolute(control).unwrap_or_else(|| self.0.clone());
        }
        let base = self.0.as_str();
        // A query of its own follows directly; a track's name after one slash,
        // also where the base ends in a query (GW Security, Dahua).
        let joined = if control.starts_with('?') {
            format!("{base}{control}")
        } else {
            format!("{}/{}", base.trim_end_matches('/'), control.trim_start_matches('/'))
        };
        Url::parse(&joined).unwrap_or_else(|_| self.0.clone())
    }

    /// A URL as the camera gives it, on the host we are connected to: behind
    /// NAT it names its own address, and a redirect off the host is refused.
    fn absolute(&self, given: &str) -> Option<Url> {
        // Anjvision leaves the scheme out: `192.168.1.10:554/stream0/`.
        let path = given.split_once("://").map_or(given, |(_, rest)| rest);
        let path = if path.starts_with('/') {
            path
        } else {
            path.find(['/', '?']).map_or("", |start| &path[start..])
        };
        // The port belongs to the host, the login to us alone.
        let scheme = self.0.scheme();
        let host = self.0.host_str()?;
        let port = self.0.port().map(|port| format!(":{port}")).unwrap_or_default();
        let mut url = Url::parse(&format!("{scheme}://{host}{port}{path}")).ok()?;
        url.set_fragment(None);
        Some(url)
    }
}

fn has_scheme(url: &str) -> bool {
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    scheme.eq_ignore_ascii_case("rtsp") || scheme.eq_ignore_ascii_case("rtsps")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(asked: &str, content_base: &str) -> Base {
        Base::new(&Url::parse(asked).unwrap(), Some(content_base), None)
    }

    #[test]
    fn controls_mean_what_each_camera_means() {
        #[rustfmt::skip]
        let table = [
            // Camera, URL asked for, Content-Base, control, what it expects.
            ("Reolink", "rtsp://cam/h264Preview_01_main", "rtsp://cam/h264Preview_01_main/",
                "trackID=1", "rtsp://cam/h264Preview_01_main/trackID=1"),
            ("base without a slash", "rtsp://cam/live", "rtsp://cam/live", "track1", "rtsp://cam/live/track1"),
            ("slash on both sides", "rtsp://cam/live", "rtsp://cam/live/", "/track1", "rtsp://cam/live/track1"),
            ("Dahua", "rtsp://cam/cam/realmonitor?channel=1&subtype=0", "rtsp://cam/cam/realmonitor?channel=1&subtype=0/",
                "trackID=0", "rtsp://cam/cam/realmonitor?channel=1&subtype=0/trackID=0"),
            ("GW Security", "rtsp://cam:5050/H264?channel=1", "rtsp://cam:5050/H264?channel=1",
                "video", "rtsp://cam:5050/H264?channel=1/video"),
            ("Hikvision", "rtsp://cam:554/Streaming/Channels/101", "rtsp://cam:554/Streaming/Channels/101/",
                "rtsp://cam:554/Streaming/Channels/101/trackID=1?transportmode=unicast",
                "rtsp://cam:554/Streaming/Channels/101/trackID=1?transportmode=unicast"),
            ("Anjvision", "rtsp://cam/stream0", "192.168.1.10:554/stream0/", "trackID=1", "rtsp://cam/stream0/trackID=1"),
            ("path for a base", "rtsp://cam:8554/a", "/a/b/", "t", "rtsp://cam:8554/a/b/t"),
            ("empty Content-Base", "rtsp://cam/a", " ", "t", "rtsp://cam/a/t"),
            ("host alone for a base", "rtsp://cam/a", "rtsp://10.0.0.9", "t", "rtsp://cam/t"),
            ("behind NAT", "rtsp://gate.example:8554/x", "rtsp://192.168.1.9/x/", "t", "rtsp://gate.example:8554/x/t"),
            ("control behind NAT", "rtsp://gate.example:8554/x", "", "rtsp://192.168.1.9:554/x/t?a=b", "rtsp://gate.example:8554/x/t?a=b"),
            ("redirect off the host", "rtsp://cam/x", "rtsp://evil.example/y/", "RTSP://evil.example/t", "rtsp://cam/t"),
            ("a query for a control", "rtsp://cam/x", "", "?ctype=video", "rtsp://cam/x?ctype=video"),
            ("plain RTSP named over TLS", "rtsps://cam/x", "rtsp://cam/x/", "t", "rtsps://cam/x/t"),
            ("the whole session", "rtsp://cam/x", "rtsp://cam/x/", "*", "rtsp://cam/x/"),
            ("IPv6", "rtsp://[fe80::1]:554/x", "rtsp://[fe80::1]:554/x/", "t", "rtsp://[fe80::1]:554/x/t"),
        ];
        for (camera, asked, content_base, control, expected) in table {
            assert_eq!(base(asked, content_base).join(control).as_str(), expected, "{camera}");
        }
    }

    #[test]
    fn content_location_stands_in_for_a_missing_base() {
        let asked = Url::parse("rtsp://cam/x").unwrap();
        let base = Base::new(&asked, None, Some("rtsp://cam/y/"));
        assert_eq!(base.join("t").as_str(), "rtsp://cam/y/t");
        assert_eq!(Base::new(&asked, None, None).join("t").as_str(), "rtsp://cam/x/t");
    }

    #[test]
    fn no_control_leaves_the_host_or_takes_a_login_along() {
        let base = base("rtsp://cam/x", "");
        for control in [
            "rtsp://u:p@evil/",
            "rtsp://",
            "rtsp://:x",
            "//evil/t",
            "\\\\evil",
            "rtsp://a@b@c/d",
            "%zz",
        ] {
            let url = base.join(control);
            assert_eq!((url.host_str(), url.username()), (Some("cam"), ""), "{control}: {url}");
        }
    }
}
