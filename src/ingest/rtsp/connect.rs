//! The way to a camera: name, addresses, TCP, and TLS for `rtsps://`.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::tls;
use crate::fault::{Code, Fault};
use crate::ingest::source::Source;

/// Longest wait for one of several addresses; a lost SYN is sent again after 1 s.
const ADDRESS_LIMIT: Duration = Duration::from_secs(2);
/// Most addresses of a name that are tried.
const MAX_ADDRESSES: usize = 4;

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
    let host = source.url().host_str().unwrap_or_default().trim_matches(['[', ']']);
    let found = timeout_at(deadline, tokio::net::lookup_host((host, source.port()))).await;
    let found = found
        .map_err(|_| Fault::new(Code::SourceDns, "the name server does not answer"))?
        .map_err(|error| Fault::new(Code::SourceDns, error.to_string()))?;
    let addresses: Vec<SocketAddr> = found.take(MAX_ADDRESSES).collect();
    let stream = tcp(&addresses, deadline).await?;
    // Requests are small and waited for.
    let ends = stream.set_nodelay(true);
    let ends = ends.and_then(|()| Ok((stream.local_addr()?, stream.peer_addr()?)));
    let (local, peer) = ends.map_err(|error| fault(&error, host))?;
    let stream: Box<dyn Duplex> = if source.is_tls() {
        let late = |_| Fault::new(Code::SourceTimeout, "no answer to the TLS handshake");
        Box::new(timeout_at(deadline, tls::secure(stream, source)).await.map_err(late)??)
    } else {
        Box::new(stream)
    };
    Ok(Connection { stream, local, peer })
}

/// The first of the addresses that answers; the fault of the last that did not.
async fn tcp(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, Fault> {
    let mut last = Fault::new(Code::SourceDns, "the name has no address");
    for (nth, address) in addresses.iter().enumerate() {
        // The last one has all the time that is left.
        let is_last = nth + 1 == addresses.len();
        let until = if is_last { deadline } else { deadline.min(Instant::now() + ADDRESS_LIMIT) };
        let late = |_| Err(io::Error::new(ErrorKind::TimedOut, "it does not answer"));
        match timeout_at(until, TcpStream::connect(address)).await.unwrap_or_else(late) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = fault(&error, &address.to_string()),
        }
    }
    Err(last)
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
