//! Where a camera is and how to ask it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use url::Url;

use super::depacketize::AfterLoss;
use super::reach::Reach;
use super::rtsp::Trust;
use crate::secret::Secret;

/// How RTP travels from the camera.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// TCP, unless the camera insists on UDP.
    #[default]
    Auto,
    /// Interleaved in the RTSP connection (RFC 2326 §10.12).
    Tcp,
    /// Its own UDP ports.
    Udp,
    /// Interleaved in the RTSP connection, and that in HTTP: for cameras behind
    /// what lets nothing but HTTP through. Never tried unasked.
    Http,
}

impl Transport {
    /// The word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Http => "http",
        }
    }
}

impl FromStr for Transport {
    type Err = BadSource;

    fn from_str(s: &str) -> Result<Self, BadSource> {
        match s {
            "auto" => Ok(Self::Auto),
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "http" => Ok(Self::Http),
            _ => Err(BadSource("transport is auto, tcp, udp or http")),
        }
    }
}

impl AfterLoss {
    /// The word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Show => "show",
        }
    }
}

impl FromStr for AfterLoss {
    type Err = BadSource;

    fn from_str(s: &str) -> Result<Self, BadSource> {
        match s {
            "hold" => Ok(Self::Hold),
            "show" => Ok(Self::Show),
            _ => Err(BadSource("after_loss is hold or show")),
        }
    }
}

/// Login at the camera.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// User name.
    pub username: String,
    /// Its password; may be empty.
    pub password: Secret,
}

/// A camera, as this room's configuration.
#[derive(Clone, PartialEq, Eq)]
pub struct Source {
    /// Without user and password.
    url: Url,
    /// None for a camera that asks nobody.
    pub login: Option<Login>,
    /// The URL's login, percent-decoded, and as it was typed: who types a
    /// password with a `%` in it may mean either.
    typed: Option<(Login, Login)>,
    /// Whose certificate is believed, with `rtsps://`.
    pub tls: Trust,
    /// How RTP travels.
    pub transport: Transport,
    /// What becomes of pictures that depend on lost ones.
    pub after_loss: AfterLoss,
    /// Connect with the first viewer, leave 10 s after the last.
    pub on_demand: bool,
    /// Where it may lead.
    pub reach: Reach,
}

/// Not a source we can pull; the words say why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadSource(&'static str);

impl Source {
    /// The URL to ask for, without user and password.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Whether the connection is encrypted.
    pub fn is_tls(&self) -> bool {
        matches!(self.url.scheme(), "rtsps" | "https")
    }

    /// The address that the URL names, if it may not lead there.
    pub fn astray(&self) -> Option<IpAddr> {
        self.address().filter(|address| !self.reach.allows(*address))
    }

    /// The address that the URL names instead of a host.
    pub(super) fn address(&self) -> Option<IpAddr> {
        let host = self.url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        host.parse().ok()
    }

    /// The port to connect to. One that is not named is that of RTSP, or of
    /// HTTP where RTSP travels in it or the URL is of HTTP.
    pub(super) fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(match (self.transport, self.is_tls()) {
            (Transport::Http, false) => 80,
            (Transport::Http, true) => 443,
            (_, false) => 554,
            (_, true) => 322,
        })
    }

    /// The login to try if the first is refused: the URL's, as typed.
    pub(super) fn spare_login(&self) -> Option<&Login> {
        let (decoded, typed) = self.typed.as_ref()?;
        (self.login.as_ref() == Some(decoded)).then_some(typed)
    }

    /// What tells one camera URL from another: host, port, path and query,
    /// whoever logs in. May hold a password, so it is for comparing alone.
    pub fn place(&self) -> String {
        let Self { url, .. } = self;
        let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
        let path = if url.path().is_empty() { "/" } else { url.path() };
        let port = self.port();
        format!("{host}:{port}{path}?{}", url.query().unwrap_or_default())
    }

    /// This source as a second one of the same camera: asked for as `main` is,
    /// and only while somebody watches. It logs in as `main` does, unless its
    /// URL carries a login, or leads to another host or out of TLS: a password
    /// goes only where it was written for.
    #[must_use]
    pub fn beside(self, main: &Self) -> Self {
        let (login, typed) = match self.login {
            None if self.may_have_password_of(main) => (main.login.clone(), main.typed.clone()),
            login => (login, self.typed),
        };
        Self { url: self.url, login, typed, on_demand: true, ..main.clone() }
    }

    /// Whether a password that was written for `other` may go here: not to
    /// another host, nor out of TLS.
    pub fn may_have_password_of(&self, other: &Self) -> bool {
        // As text: an address is a name to a URL that is not of HTTP.
        let [own, others] = [self, other].map(|source| source.url.host_str().unwrap_or_default());
        own.eq_ignore_ascii_case(others) && self.is_tls() >= other.is_tls()
    }
}

impl FromStr for Source {
    type Err = BadSource;

    /// An `rtsp://` or `rtsps://` URL; user and password in it are taken out
    /// and percent-decoded.
    fn from_str(s: &str) -> Result<Self, BadSource> {
        Self::read(s, ["rtsp", "rtsps"], "a source is an rtsp:// or rtsps:// URL")
    }
}

impl Source {
    /// A URL of one of these schemes, without and with TLS; `wrong` says so
    /// where it is of none of them.
    pub(super) fn read(
        s: &str,
        schemes: [&str; 2],
        wrong: &'static str,
    ) -> Result<Self, BadSource> {
        let mut url = Url::parse(s.trim()).map_err(|_| bad_url(s))?;
        if !schemes.contains(&url.scheme()) {
            return Err(BadSource(wrong));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(BadSource("the URL names no host"));
        }
        let decoded = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        let username = decoded(url.username());
        let password = url.password().map(decoded);
        let login = (!username.is_empty() || password.is_some())
            .then(|| Login { username, password: Secret::new(password.unwrap_or_default()) });
        let typed = login.clone().zip(as_typed(s)).filter(|(decoded, typed)| decoded != typed);
        let cleared = url.set_username("").and_then(|()| url.set_password(None));
        cleared.map_err(|()| BadSource("the URL names no host"))?;
        url.set_fragment(None);
        Ok(Self {
            url,
            login,
            typed,
            tls: Trust::System,
            transport: Transport::Auto,
            after_loss: AfterLoss::Hold,
            on_demand: false,
            reach: Reach::Anywhere,
        })
    }
}

/// User and password of a URL, character by character.
fn as_typed(url: &str) -> Option<Login> {
    let (_, rest) = url.trim().split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (login, _host) = authority.rsplit_once('@')?;
    let (username, password) = login.split_once(':').unwrap_or((login, ""));
    Some(Login { username: username.to_owned(), password: Secret::new(password) })
}

/// Why it is no URL, without any of it: it may hold a password.
fn bad_url(url: &str) -> BadSource {
    let login = url.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@'));
    BadSource(if login.is_some_and(|(login, _)| login.contains(['#', '/', '?'])) {
        "this is not a URL; in a password write # as %23, / as %2F and ? as %3F"
    } else {
        "this is not a URL"
    })
}

impl fmt::Display for Source {
    /// The URL with password and query masked: cameras also take passwords as
    /// query parameters (Dahua, Reolink).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.url.scheme())?;
        if let Some(login) = &self.login {
            let name = percent_encoding::utf8_percent_encode(
                &login.username,
                percent_encoding::NON_ALPHANUMERIC,
            );
            write!(f, "{name}:***@")?;
        }
        f.write_str(self.url.host_str().unwrap_or_default())?;
        if let Some(port) = self.url.port() {
            write!(f, ":{port}")?;
        }
        for segment in self.url.path_segments().into_iter().flatten() {
            write!(f, "/{}", if holds_login(segment) { "***" } else { segment })?;
        }
        f.write_str(if self.url.query().is_some() { "?***" } else { "" })
    }
}

/// Whether part of a path may hold a password, as in the Xiongmai cameras'
/// `/user=admin_password=tlJwpbo6_channel=1_stream=0.sdp`.
pub(super) fn holds_login(segment: &str) -> bool {
    let segment = segment.to_ascii_lowercase();
    ["pass", "pwd", "pw=", "user", "token", "auth"].iter().any(|word| segment.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_never_shows_its_password() {
        let source: Source = "rtsp://ann:s3c%40ret@cam.local/live?password=s3c".parse().unwrap();
        let login = source.login.as_ref().unwrap();
        assert_eq!((login.username.as_str(), login.password.expose()), ("ann", "s3c@ret"));
        assert_eq!(source.to_string(), "rtsp://ann:***@cam.local/live?***");
        assert_eq!(source.url().as_str(), "rtsp://cam.local/live?password=s3c");
    }

    #[test]
    fn a_login_in_the_path_is_masked_too() {
        let url = "rtsp://10.0.0.7:554/live/user=admin_password=tlJwpbo6_channel=1_stream=0.sdp?x";
        let source: Source = url.parse().unwrap();
        assert_eq!(source.to_string(), "rtsp://10.0.0.7:554/live/***?***");
        let plain: Source = "rtsp://10.0.0.7/Streaming/Channels/101".parse().unwrap();
        assert_eq!(plain.to_string(), "rtsp://10.0.0.7/Streaming/Channels/101");
    }

    #[test]
    fn the_same_camera_url_is_known_whoever_logs_in_and_however_it_is_written() {
        let place = |url: &str| url.parse::<Source>().unwrap().place();
        let one = place("rtsp://cam.local/live?channel=1");
        assert_eq!(place("rtsp://ann:pw@CAM.local:554/live?channel=1#x"), one);
        for other in [
            "rtsp://cam.local/live?channel=2",
            "rtsp://cam.local/Live?channel=1",
            "rtsp://cam.local:8554/live?channel=1",
            "rtsp://cam2.local/live?channel=1",
        ] {
            assert_ne!(place(other), one, "{other}");
        }
        assert_eq!(place("rtsp://a"), place("rtsp://a/"));
    }

    #[test]
    fn a_second_source_is_asked_for_as_the_first_is() {
        let mut main: Source = "rtsp://ann:pw@cam/main".parse().unwrap();
        main.transport = Transport::Udp;
        let beside = |url: &str| url.parse::<Source>().unwrap().beside(&main);
        let sub = beside("rtsp://cam/sub");
        assert!(sub.login == main.login && sub.on_demand && sub.transport == Transport::Udp);
        assert_eq!(sub.url().as_str(), "rtsp://cam/sub");
        assert_eq!(beside("rtsp://bob@cam/sub").login.unwrap().username, "bob");
    }

    #[test]
    fn a_login_is_not_taken_to_another_host_or_out_of_tls() {
        let login = |main: &str, sub: &str| {
            let sub = sub.parse::<Source>().unwrap().beside(&main.parse().unwrap());
            // The login, and what the camera is told if that one is refused.
            let password = |login: Option<&Login>| login.map(|l| l.password.expose().to_owned());
            (password(sub.login.as_ref()), password(sub.spare_login()))
        };
        let both = (Some("p%q".to_owned()), Some("p%25q".to_owned()));
        assert_eq!(login("rtsp://a:p%25q@cam/main", "rtsp://cam:8554/sub"), both);
        assert_eq!(login("rtsp://a:p%25q@cam/main", "rtsps://cam/sub"), both);
        let own = (Some("own".to_owned()), None);
        assert_eq!(login("rtsp://a:p%25q@cam/main", "rtsp://b:own@cam/sub"), own);
        assert_eq!(login("rtsp://a:p%25q@cam/main", "rtsp://other/sub"), (None, None));
        assert_eq!(login("rtsps://a:p%25q@cam/main", "rtsp://cam/sub"), (None, None));
    }

    #[test]
    fn only_rtsp_urls_with_a_host_are_sources() {
        for bad in ["http://a/", "exec:ls", "rtsp://", "file:///etc/passwd", "rtsps://", "x"] {
            assert!(bad.parse::<Source>().is_err(), "{bad}");
        }
        assert!("rtsp://[::1]:8554/x".parse::<Source>().is_ok());
        let port = |url: &str| url.parse::<Source>().unwrap().port();
        assert_eq!(
            (port("rtsp://a/"), port("rtsps://a/"), port("rtsps://a:7441/")),
            (554, 322, 7441)
        );
        assert_eq!("rtsps://u:p@a/".parse::<Source>().unwrap().to_string(), "rtsps://u:***@a/");
    }

    #[test]
    fn a_password_as_typed_is_kept_where_it_differs() {
        let spare = |url: &str| {
            let source: Source = url.parse().unwrap();
            let spare = source.spare_login()?;
            Some((spare.username.clone(), spare.password.expose().to_owned()))
        };
        let ann = |password: &str| Some(("ann".to_owned(), password.to_owned()));
        assert_eq!(spare("rtsp://ann:p%40ss@cam/x"), ann("p%40ss"));
        assert_eq!(spare("rtsp://ann:100%@cam/x"), None);
        // A bare `@` is part of the password either way.
        assert_eq!(spare("rtsp://ann:p@ss@cam/x@y"), None);
        assert_eq!(spare("rtsp://ann:p@s%73@cam/x"), ann("p@s%73"));
        let mut configured: Source = "rtsp://ann:p%40ss@cam/x".parse().unwrap();
        configured.login = Some(Login { username: "ann".into(), password: Secret::new("#1@%") });
        assert!(configured.spare_login().is_none(), "only the configured one is tried");
    }

    #[test]
    fn a_password_that_breaks_the_url_is_explained_and_not_shown() {
        let error = "rtsp://ann:pa#ss@cam/x".parse::<Source>().err().unwrap().to_string();
        assert!(error.contains("%23") && !error.contains("pa#"), "{error}");
    }
}
