use std::io;
use std::sync::Mutex;
use std::time::SystemTime;

use super::super::engine::{PANIC, Plan};
use super::super::link::Via;
use super::super::offer::Offer;
use super::super::{Config, Metrics, Whep};
use super::*;
use crate::auth::Principal;
use crate::bus::{BusMetrics, Limits, SourceState, SourceStatus, Stream};
use crate::media::MediaKind;

/// As little as the engine takes.
pub(in super::super) fn offer() -> (Offer, Plan) {
    let text = format!(
        "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 8\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=recvonly\r\n\
         a=rtcp-mux\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdef01234567\r\n\
         a=fingerprint:sha-256 {}AA\r\na=setup:actpass\r\na=rtpmap:8 PCMA/8000\r\n",
        "AA:".repeat(31)
    );
    let offer = Offer::read(&text).unwrap();
    assert!(offer.wants(MediaKind::Audio));
    let codec = crate::media::Codec::G711 { law: crate::media::G711Law::A, channels: 1 };
    let audio = offer.audio(&codec, 8_000).cloned();
    (offer, Plan { audio, ..Plan::default() })
}

pub(in super::super) async fn whep() -> Arc<Whep> {
    let config = Config { listen: ([127, 0, 0, 1], 0).into(), ..Config::default() };
    Whep::bind(config, Metrics::unregistered()).await.unwrap()
}

/// What the log says of `act`.
pub(in super::super) fn logged(act: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Log {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(text)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let writer = log.clone();
    let listener = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
    tracing::subscriber::with_default(listener.finish(), act);
    String::from_utf8(std::mem::take(&mut *log.0.lock().unwrap())).unwrap()
}

#[tokio::test]
async fn a_panic_in_the_engine_ends_that_viewer_only() {
    let whep = whep().await;
    let status = SourceStatus::new(SourceState::Live, SystemTime::now(), "rtsp://camera");
    let metrics = BusMetrics::unregistered();
    let (stream, _publisher) =
        Stream::new("yard".parse().unwrap(), Limits::default(), status, metrics);
    let mut tasks = Vec::new();
    for _ in 0..2 {
        let (offer, plan) = offer();
        let codecs = [None, Some("PCMA")];
        let anybody = Principal::Anonymous;
        let begun = whep.begin(&stream, anybody.clone(), &offer, &plan, codecs, None).await;
        let id = begun.unwrap().id.to_string();
        tasks.push(whep.session(&id, "yard", &anybody).unwrap());
    }
    let (viewer, session) = &tasks[0];
    let from = "127.0.0.1:9".parse().unwrap();
    let datagram = Command::Datagram {
        viewer: *viewer,
        from,
        via: Via::Udp(None),
        at: Instant::now(),
        data: PANIC.into(),
    };
    whep.tasks.tell(session.task, datagram).await;

    // The other one is still heard.
    let (other, session) = &tasks[1];
    let (heard, hears) = (Instant::now(), |left| whep.sessions() == left);
    while !hears(1) && heard.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!((whep.sessions(), whep.shared.metrics.panics.get()), (1, 1));
    whep.tasks.tell(session.task, Command::Leave(*other, "left")).await;
    while !hears(0) && heard.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(whep.sessions(), 0);
}
