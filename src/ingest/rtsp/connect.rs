//! The way to a camera: name, addresses, TCP, TLS for `rtsps://`, and HTTP
//! around RTSP where that is asked for.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::{tls, tunnel};
use crate::fault::{Code, Fault};
use crate::ingest::reach::Reach;
use crate::ingest::source::{Source, Transport};

/// Longest wait for one address, before the next, or this one again. A SYN that
/// meets nobody is sent again by the system after 1, 3 and 7 s: whoever waits
/// for the third finds a camera that is back only 4 s later. A new connection
/// sends one at once.
const ADDRESS_LIMIT: Duration = Duration::from_millis(1_250);
/// Most addresses of a name that are tried.
const MAX_ADDRESSES: usize = 4;

/// Most names that are looked up at once. The system's resolver blocks a thread
/// for each, for half a minute where no name server answers, and cannot be
/// interrupted; the program has 512 such threads for everything.
const MAX_LOOKUPS: usize = 64;

static LOOKUPS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(MAX_LOOKUPS)));

/// A stream of bytes to and from a camera.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// An open connection.
pub(super) struct Connection {
    pub(super) stream: Box<dyn Duplex>,
    /// Ours, as the camera's network sees it.
    pub(super) local: SocketAddr,
    /// The camera's.
    pub(super) peer: SocketAddr,
}

/// Connects before the deadline.
///
/// # Errors
///
/// `source.dns`, `source.refused`, `source.timeout` or `source.tls`, with the
/// address that failed.
pub(super) async fn connect(source: &Source, deadline: Instant) -> Result<Connection, Fault> {
    connect_by(tokio::net::lookup_host::<(String, u16)>, source, deadline).await
}

/// As [`connect`]; `resolve` asks for a name's addresses.
async fn connect_by<R, F, A>(
    resolve: R,
    source: &Source,
    deadline: Instant,
) -> Result<Connection, Fault>
where
    R: FnOnce((String, u16)) -> F,
    F: Future<Output = io::Result<A>> + Send + 'static,
    A: Iterator<Item = SocketAddr>,
{
    let addresses = addresses(resolve, source, deadline).await?;
    // What is looked at is what is connected to: between the two no name is
    // asked for again.
    let addresses = within(&source.reach, addresses)?;
    let (stream, local, peer) = open(&addresses, source, deadline).await?;
    if source.transport != Transport::Http {
        return Ok(Connection { stream, local, peer });
    }
    let late = |_| Fault::new(Code::SourceTimeout, "no answer to the HTTP request");
    let tunnel =
        timeout_at(deadline, tunnel::dig(stream, peer, source, deadline)).await.map_err(late)??;
    Ok(Connection { stream: Box::new(tunnel), local, peer })
}

/// Where the camera may be.
async fn addresses<R, F, A>(
    resolve: R,
    source: &Source,
    deadline: Instant,
) -> Result<Vec<SocketAddr>, Fault>
where
    R: FnOnce((String, u16)) -> F,
    F: Future<Output = io::Result<A>> + Send + 'static,
    A: Iterator<Item = SocketAddr>,
{
    if let Some(address) = source.address() {
        return Ok(vec![SocketAddr::new(address, source.port())]);
    }
    let host = source.url().host_str().unwrap_or_default();
    let found = resolve((host.to_owned(), source.port()));
    let look = async move { Ok(found.await?.take(MAX_ADDRESSES).collect()) };
    in_turn(Arc::clone(&LOOKUPS), look, deadline).await
}

/// Looks up a name when it is its turn. Who waits gives up at the deadline; the
/// turn ends when the system is done, which may be long after.
async fn in_turn(
    lookups: Arc<Semaphore>,
    look: impl Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    deadline: Instant,
) -> Result<Vec<SocketAddr>, Fault> {
    let late = |detail: &'static str| move |_| Fault::new(Code::SourceDns, detail);
    let turn = timeout_at(deadline, lookups.acquire_owned()).await;
    let turn = turn.map_err(late("many other names are being looked up; no server answers"))?;
    let looking = tokio::spawn(async move {
        let found = look.await;
        drop(turn);
        found
    });
    let found = timeout_at(deadline, looking).await;
    let found = found.map_err(late("the name server does not answer"))?;
    let fault = |error: io::Error| Fault::new(Code::SourceDns, error.to_string());
    found.map_err(io::Error::from).flatten().map_err(fault)
}

/// Those of the addresses that a source may have.
fn within(reach: &Reach, addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Fault> {
    let (allowed, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| reach.allows(address.ip()));
    match other.first() {
        Some(first) if allowed.is_empty() => {
            Err(Fault::new(Code::SourceForbidden, first.ip().to_string()))
        }
        _ => Ok(allowed),
    }
}

/// A connection to one of the addresses, in TLS if the source is; and its ends,
/// ours and the camera's.
pub(super) async fn open(
    addresses: &[SocketAddr],
    source: &Source,
    deadline: Instant,
) -> Result<(Box<dyn Duplex>, SocketAddr, SocketAddr), Fault> {
    let stream = tcp(addresses, deadline).await?;
    // Requests are small and waited for.
    let ends = stream.set_nodelay(true);
    let ends = ends.and_then(|()| Ok((stream.local_addr()?, stream.peer_addr()?)));
    let (local, peer) = ends.map_err(|error| fault(&error, &source.to_string()))?;
    if !source.is_tls() {
        return Ok((Box::new(stream), local, peer));
    }
    let late = |_| Fault::new(Code::SourceTimeout, "no answer to the TLS handshake");
    let stream = timeout_at(deadline, tls::secure(stream, source)).await.map_err(late)??;
    Ok((Box::new(stream), local, peer))
}

/// The first of the addresses that answers, which are tried in turn, those that
/// are silent again and again; the fault of the last that did not.
async fn tcp(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, Fault> {
    let mut last = Fault::new(Code::SourceDns, "the name has no address");
    loop {
        let mut is_silent = false;
        for address in addresses {
            let until = deadline.min(Instant::now() + ADDRESS_LIMIT);
            let connected = timeout_at(until, TcpStream::connect(address)).await;
            is_silent |= connected.is_err();
            let late = |_| Err(io::Error::new(ErrorKind::TimedOut, "it does not answer"));
            match connected.unwrap_or_else(late) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = fault(&error, &address.to_string()),
            }
        }
        if !is_silent || Instant::now() >= deadline {
            return Err(last);
        }
    }
}

/// What an error of the system means.
pub(super) fn fault(error: &io::Error, peer: &str) -> Fault {
    let code = match error.kind() {
        ErrorKind::ConnectionRefused => Code::SourceRefused,
        ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
            Code::SourceTimeout
        }
        // EHOSTDOWN, which has no kind of its own.
        _ if error.raw_os_error() == Some(112) => Code::SourceTimeout,
        _ => Code::SourceProtocol,
    };
    Fault::new(code, format!("{peer}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_next_address_is_tried_and_the_last_fault_is_told() {
        let soon = Instant::now() + Duration::from_secs(5);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let closed = {
            let bound = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            bound.local_addr().unwrap()
        };
        let stream = tcp(&[closed, open], soon).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);
        let refused = tcp(&[closed], soon).await.unwrap_err();
        assert_eq!(refused.code, Code::SourceRefused);
        assert!(refused.detail.contains(&closed.to_string()), "{refused}");
        assert_eq!(tcp(&[], soon).await.unwrap_err().code, Code::SourceDns);
    }

    /// Our ports from which a first packet to that port is still unanswered.
    fn asking(port: u16) -> Vec<String> {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let fields = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let to = format!("0100007F:{port:04X}");
        // 2 is SYN_SENT.
        let ours = fields.filter(|field| field[2] == to && field[3] == "02");
        ours.map(|field| field[1].to_owned()).collect()
    }

    #[tokio::test]
    async fn who_is_silent_is_asked_anew_from_another_port() {
        let deaf = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let deaf = deaf.unwrap();
        deaf.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        deaf.listen(0).unwrap();
        let addresses = [deaf.local_addr().unwrap().as_socket().unwrap()];
        let brief = Duration::from_millis(100);
        // Nobody accepts: once its queue is full, the system drops what comes.
        let connect = || std::net::TcpStream::connect_timeout(&addresses[0], brief);
        let _queued: Vec<_> = std::iter::from_fn(|| connect().ok()).take(5).collect();

        let connecting = tcp(&addresses, Instant::now() + 2 * ADDRESS_LIMIT);
        let mut asked = std::collections::BTreeSet::new();
        let watching = async {
            loop {
                asked.extend(asking(addresses[0].port()));
                tokio::time::sleep(brief).await;
            }
        };
        let ended = tokio::select! { ended = connecting => ended, () = watching => panic!() };
        assert_eq!(ended.unwrap_err().code, Code::SourceTimeout);
        assert!(asked.len() >= 2, "{asked:?}");
    }

    #[tokio::test]
    async fn names_are_looked_up_a_few_at_a_time_and_who_gives_up_frees_no_turn() {
        let lookups = Arc::new(Semaphore::new(1));
        let (answer, answered) = tokio::sync::oneshot::channel();
        let slow = async move { answered.await.map_err(io::Error::other) };
        let soon = || Instant::now() + Duration::from_millis(50);
        let late = in_turn(Arc::clone(&lookups), slow, soon()).await.unwrap_err();
        assert!(late.code == Code::SourceDns && late.detail.contains("does not answer"), "{late}");
        // That one still blocks a thread.
        let quick = || async { Ok(vec![SocketAddr::from(([10, 0, 0, 5], 554))]) };
        let waited = in_turn(Arc::clone(&lookups), quick(), soon()).await.unwrap_err();
        assert!(waited.code == Code::SourceDns && waited.detail.contains("many"), "{waited}");
        answer.send(Vec::new()).unwrap();
        let in_time = Instant::now() + Duration::from_secs(5);
        assert_eq!(in_turn(lookups, quick(), in_time).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn an_address_is_not_looked_up() {
        let all = LOOKUPS.acquire_many(MAX_LOOKUPS as u32).await.unwrap();
        for (url, address) in
            [("rtsp://127.0.0.1/", "127.0.0.1:554"), ("rtsps://[::1]/", "[::1]:322")]
        {
            let resolve = tokio::net::lookup_host::<(String, u16)>;
            let found = addresses(resolve, &url.parse().unwrap(), Instant::now()).await.unwrap();
            assert_eq!(found, [address.parse::<SocketAddr>().unwrap()]);
        }
        drop(all);
    }

    #[tokio::test]
    async fn a_name_that_changes_what_it_means_leads_nowhere_else() {
        // Two cameras' places on one port; the second is out of bounds.
        let inside = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = inside.local_addr().unwrap().port();
        let outside = tokio::net::TcpListener::bind(("127.0.0.2", port)).await.unwrap();
        let mut source: Source = format!("rtsp://cam.example:{port}/live").parse().unwrap();
        source.reach = Reach::Only("127.0.0.1".parse().unwrap());
        let connect = async |answer: &'static [&'static str]| {
            let resolve = |(name, port): (String, u16)| async move {
                assert_eq!(name, "cam.example");
                Ok(answer.iter().map(move |ip| SocketAddr::new(ip.parse().unwrap(), port)))
            };
            let soon = Instant::now() + Duration::from_secs(5);
            connect_by(resolve, &source, soon).await.map(|connection| connection.peer.ip())
        };
        let first = "127.0.0.1".parse::<std::net::IpAddr>().unwrap();
        assert_eq!(connect(&["127.0.0.1"]).await.unwrap(), first);
        for rebound in [&["127.0.0.2"][..], &["::ffff:127.0.0.2"], &["127.0.0.2", "::1"]] {
            let fault = connect(rebound).await.err().unwrap();
            assert_eq!(fault.code, Code::SourceForbidden, "{fault}");
            assert!(fault.detail.contains("127.0.0.2"), "{fault}");
        }
        // One that is allowed among others that are not is the one.
        assert_eq!(connect(&["127.0.0.2", "::1", "127.0.0.1"]).await.unwrap(), first);
        let knocked = tokio::time::timeout(Duration::from_millis(100), outside.accept()).await;
        assert!(knocked.is_err(), "somebody was asked who is out of bounds");
    }

    #[test]
    fn errors_of_the_system_become_catalogue_codes() {
        for (number, code) in [
            (111, Code::SourceRefused),
            (101, Code::SourceTimeout),
            (110, Code::SourceTimeout),
            (112, Code::SourceTimeout),
            (113, Code::SourceTimeout),
            (104, Code::SourceProtocol),
        ] {
            let fault = fault(&io::Error::from_raw_os_error(number), "10.0.0.5:554");
            assert_eq!(fault.code, code, "{fault}");
            assert!(fault.detail.starts_with("10.0.0.5:554: "), "{fault}");
        }
    }
}
