//! Addresses and names of `webrtc.advertise`. A name is looked up again now and
//! then: the address of a house changes, and a name server may be down just
//! when a viewer comes, who is told the last address known then.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

/// A name that resolves slower than this is left out, or keeps its last address.
const TIMEOUT: Duration = Duration::from_secs(1);

/// How long an answer is good for; and how long none is asked for again where
/// there was none, or every viewer would wait for [`TIMEOUT`].
const GOOD_FOR: Duration = Duration::from_secs(30);
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// All of them, in their order.
pub(super) struct Names(Vec<Entry>);

/// `203.0.113.7`, `203.0.113.7:9000`, `cam.example.org` or with a port.
struct Entry {
    text: String,
    known: Mutex<Known>,
}

/// What is known of a name.
#[derive(Default)]
struct Known {
    addresses: Vec<SocketAddr>,
    /// When it is to be looked up again.
    due: Option<Instant>,
    failed: bool,
}

impl Entry {
    fn known(&self) -> MutexGuard<'_, Known> {
        // What a panic leaves is addresses still.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// With the port, of ours if it names none.
    fn with_port(&self, port: u16) -> String {
        match self.text.rsplit_once(':') {
            Some((_, digits)) if digits.parse::<u16>().is_ok() => self.text.clone(),
            _ => format!("{}:{port}", self.text),
        }
    }

    fn note(&self, now: Instant, found: io::Result<Vec<SocketAddr>>) {
        let name = self.text.as_str();
        let mut known = self.known();
        let failed = found.is_err();
        if failed != known.failed {
            let still =
                known.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            match &found {
                Err(error) => tracing::warn!(
                    name, %error, still,
                    "webrtc.advertise has a name that cannot be resolved; viewers are told its last address, if any"
                ),
                Ok(_) => tracing::info!(name, "a name of webrtc.advertise resolves again"),
            }
        }
        known.failed = failed;
        known.due = Some(now + if failed { AGAIN_AFTER } else { GOOD_FOR });
        if let Ok(addresses) = found {
            known.addresses = addresses;
        }
    }
}

impl Names {
    pub(super) fn new(advertise: &[String]) -> Self {
        let entry = |text: &String| Entry { text: text.clone(), known: Mutex::default() };
        Self(advertise.iter().map(entry).collect())
    }

    /// What they stand for now; `port` where they name none.
    pub(super) async fn addresses(&self, now: Instant, port: u16) -> Vec<SocketAddr> {
        let look_up = async |name: String| Ok(tokio::net::lookup_host(name).await?.collect());
        self.looked_up(now, port, look_up).await
    }

    async fn looked_up(
        &self,
        now: Instant,
        port: u16,
        look_up: impl AsyncFn(String) -> io::Result<Vec<SocketAddr>>,
    ) -> Vec<SocketAddr> {
        let of = async |entry: &Entry| {
            if let Ok(ip) = entry.text.parse::<IpAddr>() {
                return vec![SocketAddr::new(ip, port)];
            }
            if entry.known().due.is_none_or(|due| due <= now) {
                let found = tokio::time::timeout(TIMEOUT, look_up(entry.with_port(port))).await;
                entry.note(now, found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())));
            }
            entry.known().addresses.clone()
        };
        join_all(self.0.iter().map(of)).await.concat()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// What a name server says, and what it was asked.
    struct Server {
        answer: RefCell<Option<&'static str>>,
        asked: RefCell<Vec<String>>,
    }

    impl Server {
        async fn tell(&self, names: &Names, now: Instant) -> Vec<String> {
            let look_up = async |name: String| {
                self.asked.borrow_mut().push(name);
                match *self.answer.borrow() {
                    Some(address) => Ok(vec![address.parse().unwrap()]),
                    None => Err(io::ErrorKind::NotFound.into()),
                }
            };
            let found = names.looked_up(now, 8189, look_up).await;
            found.iter().map(ToString::to_string).collect()
        }
    }

    #[tokio::test]
    async fn a_name_may_resolve_later_change_and_be_forgotten_by_its_server() {
        let server = Server { answer: RefCell::new(None), asked: RefCell::default() };
        let names = Names::new(&["203.0.113.7".into(), "cam.example.org".into()]);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let literal = "203.0.113.7:8189";
        assert_eq!(server.tell(&names, at(0)).await, [literal]);
        *server.answer.borrow_mut() = Some("198.51.100.1:8189");
        assert_eq!(server.tell(&names, at(1)).await, [literal], "not asked for each viewer");
        assert_eq!(server.tell(&names, at(5)).await, [literal, "198.51.100.1:8189"]);
        *server.answer.borrow_mut() = Some("198.51.100.2:8189");
        assert_eq!(server.tell(&names, at(34)).await, [literal, "198.51.100.1:8189"]);
        assert_eq!(server.tell(&names, at(35)).await, [literal, "198.51.100.2:8189"]);
        *server.answer.borrow_mut() = None;
        assert_eq!(server.tell(&names, at(65)).await, [literal, "198.51.100.2:8189"]);
        assert_eq!(*server.asked.borrow(), ["cam.example.org:8189"; 4]);
    }

    #[tokio::test(start_paused = true)]
    async fn names_that_resolve_slowly_keep_a_viewer_waiting_once() {
        let names = Names::new(&["a.example".into(), "b.example:9000".into(), "[::1]:9".into()]);
        let slow = async |name: String| match name.as_str() {
            "[::1]:9" => Ok(vec![name.parse().unwrap()]),
            _ => std::future::pending().await,
        };
        let (now, began) = (Instant::now(), tokio::time::Instant::now());
        let quick: SocketAddr = "[::1]:9".parse().unwrap();
        for _ in 0..3 {
            assert_eq!(names.looked_up(now, 8189, slow).await, [quick]);
        }
        assert_eq!(began.elapsed(), TIMEOUT, "both at once, and not again");
    }
}
