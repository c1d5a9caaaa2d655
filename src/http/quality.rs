//! `?quality=`: which of a stream's qualities a request asks for.

use std::borrow::Cow;
use std::sync::Arc;

use url::form_urlencoded;

use crate::bus::Stream;
use crate::fault::Fault;

/// `stream`, or its substream where the query of a URL asks for that.
///
/// # Errors
///
/// A quality that there is not.
pub fn of_quality(stream: &Arc<Stream>, query: Option<&str>) -> Result<Arc<Stream>, Fault> {
    stream.of_quality(asked(query).as_deref())
}

/// Whether the query of a URL leaves the quality to what the way carries: it
/// names none, or `auto`.
pub fn adapts(query: Option<&str>) -> bool {
    asked(query).is_none_or(|word| word == "auto")
}

fn asked(query: Option<&str>) -> Option<Cow<'_, str>> {
    let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs.into_iter().find(|(key, _)| key == "quality").map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::bus::{BusMetrics, Limits, SourceState, SourceStatus};
    use crate::fault::Code;

    fn stream(name: &str, substream: Option<Arc<Stream>>) -> Arc<Stream> {
        let status = SourceStatus::new(SourceState::Idle, SystemTime::now(), "rtsp://camera/");
        let name = name.parse().unwrap();
        let (limits, metrics) = (Limits::default(), BusMetrics::unregistered());
        Stream::with_substream(name, limits, status, metrics, substream).0
    }

    #[test]
    fn a_quality_is_what_was_asked_for_or_a_fault_never_another_one() {
        let sub = stream("any", None);
        let (yard, gate) = (stream("yard", Some(Arc::clone(&sub))), stream("gate", None));
        for (query, wanted) in [
            (None, &yard),
            (Some(""), &yard),
            (Some("token=x"), &yard),
            (Some("quality=main"), &yard),
            (Some("quality=auto"), &yard),
            (Some("token=x&quality=auto"), &yard),
            (Some("token=x&quality=sub&quality=main"), &sub),
        ] {
            assert!(Arc::ptr_eq(&of_quality(&yard, query).unwrap(), wanted), "{query:?}");
        }
        for (query, wanted) in [
            (None, true),
            (Some("token=x"), true),
            (Some("a=b&quality=auto"), true),
            (Some("quality=main"), false),
            (Some("quality=sub"), false),
        ] {
            assert_eq!(adapts(query), wanted, "{query:?}");
        }
        for (stream, query, words) in [
            (&gate, "quality=sub", "gate has no substream"),
            (&yard, "quality=", "`` is no quality"),
            (&yard, "quality=Sub", "`Sub` is no quality"),
            (&yard, "quality=%3Cb%3E", "`<b>` is no quality"),
        ] {
            let fault = of_quality(stream, Some(query)).err().unwrap();
            assert_eq!(fault.code, Code::StreamUnknown, "{query}");
            assert!(fault.detail.contains(words), "{fault}");
        }
    }
}
