//! Notices a track that stops. No clock: time is an argument.
//!
//! The lead track (the picture, or the sound of a stream without one) must go
//! on, or the session ends. Sound beside a picture may pause: cameras that are
//! muted send none, others announce a microphone they do not have. It ends
//! the session once in a while, and only where it had been there.

use std::time::Duration;

use tokio::time::Instant;

use crate::fault::{Code, Fault};
use crate::media::MediaKind;

/// A track that has stopped for this long is redialled.
pub(super) const SILENCE_LIMIT: Duration = Duration::from_secs(10);
/// Over UDP, no first packet for this long is a firewall's doing: a camera
/// that was told PLAY sends at once.
const FIREWALL_LIMIT: Duration = Duration::from_secs(5);
/// How long packets may arrive without a picture that can be decoded. Key
/// frames every 30 s are the longest that cameras offer.
const KEYFRAME_LIMIT: Duration = Duration::from_secs(35);
/// Rarest key frames we serve: a viewer starts at one, and who comes between
/// two would see nothing. A new session makes every camera send one.
const KEYFRAME_INTERVAL_LIMIT: Duration = Duration::from_secs(90);
/// Sound that stops costs its picture a new session this often at the most.
pub(super) const SOUND_REDIAL_EVERY: Duration = Duration::from_secs(600);

/// What a watchdog says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bark {
    /// The session is of no use any more.
    Stopped(Fault),
    /// Its picture goes on, but the sound has stopped: to be tried again.
    SoundStopped(Fault),
    /// There is no sound; a remark.
    Silent(Fault),
    /// There is sound again.
    HeardAgain,
}

/// One session's tracks, the lead first.
pub(super) struct Watchdog {
    tracks: Vec<Watched>,
    /// Whether media travel over UDP.
    udp: bool,
    /// Before this, sound that stops does not end the session.
    sound_redial_from: Option<Instant>,
}

struct Watched {
    kind: MediaKind,
    last_packet: Instant,
    last_unit: Instant,
    /// When the newest key frame arrived; before the first, the beginning.
    last_key: Instant,
    flowed: bool,
    /// It has been called silent.
    silent: bool,
}

impl Watchdog {
    /// For a session that begins now. `sound_redial_from` is when sound that
    /// stops may end it; `None` for at once.
    pub(super) fn new(
        kinds: impl IntoIterator<Item = MediaKind>,
        udp: bool,
        sound_redial_from: Option<Instant>,
        now: Instant,
    ) -> Self {
        let watched = |kind| Watched {
            kind,
            last_packet: now,
            last_unit: now,
            last_key: now,
            flowed: false,
            silent: false,
        };
        Self { tracks: kinds.into_iter().map(watched).collect(), udp, sound_redial_from }
    }

    /// A packet of a track arrived.
    pub(super) fn packet(&mut self, track: usize, now: Instant) -> Option<Bark> {
        let watched = self.tracks.get_mut(track)?;
        (watched.last_packet, watched.flowed) = (now, true);
        std::mem::take(&mut watched.silent).then_some(Bark::HeardAgain)
    }

    /// A whole frame of a track arrived; `key` if a decoder can start at it.
    pub(super) fn unit(&mut self, track: usize, key: bool, now: Instant) {
        if let Some(watched) = self.tracks.get_mut(track) {
            watched.last_unit = now;
            if key {
                watched.last_key = now;
            }
        }
    }

    /// When to ask [`Self::check`] again, if no packet comes before.
    pub(super) fn due(&self) -> Option<Instant> {
        let due = self.tracks.iter().enumerate().filter(|(_, watched)| !watched.silent);
        due.map(|(i, watched)| {
            let silence = watched.last_packet + self.silence_limit();
            if i > 0 {
                return silence;
            }
            silence
                .min(watched.last_unit + KEYFRAME_LIMIT)
                .min(watched.last_key + KEYFRAME_INTERVAL_LIMIT)
        })
        .min()
    }

    /// What is wrong by now. Each silence of sound is told once.
    pub(super) fn check(&mut self, now: Instant) -> Option<Bark> {
        let (limit, firewalled) = (self.silence_limit(), self.is_firewalled());
        let (lead, beside) = self.tracks.split_first_mut()?;
        let since = |then: Instant| now.saturating_duration_since(then);
        let seconds = limit.as_secs();
        if since(lead.last_packet) >= limit {
            let what = if lead.kind == MediaKind::Video { "picture" } else { "sound" };
            let detail = if firewalled {
                format!("no UDP packet came within {seconds} s: a firewall or NAT drops them")
            } else {
                format!("no {what} for {seconds} s")
            };
            return Some(Bark::Stopped(Fault::new(Code::SourceNoMedia, detail)));
        }
        if since(lead.last_unit) >= KEYFRAME_LIMIT
            || since(lead.last_key) >= KEYFRAME_INTERVAL_LIMIT
        {
            let detail = format!("none for {} s", since(lead.last_key).as_secs());
            return Some(Bark::Stopped(Fault::new(Code::SourceNoKeyframe, detail)));
        }
        for watched in beside.iter_mut() {
            if watched.silent || since(watched.last_packet) < limit {
                continue;
            }
            watched.silent = true;
            if watched.flowed && self.sound_redial_from.is_none_or(|from| from <= now) {
                let detail = format!("no sound for {seconds} s, beside a picture that goes on");
                return Some(Bark::SoundStopped(Fault::new(Code::SourceNoMedia, detail)));
            }
            let detail =
                format!("no sound for {seconds} s; is the microphone muted or switched off?");
            return Some(Bark::Silent(Fault::new(Code::AudioDropped, detail)));
        }
        None
    }

    /// Whether not one packet has come over UDP.
    pub(super) fn is_firewalled(&self) -> bool {
        self.udp && self.tracks.iter().all(|watched| !watched.flowed)
    }

    fn silence_limit(&self) -> Duration {
        if self.is_firewalled() { FIREWALL_LIMIT } else { SILENCE_LIMIT }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [MediaKind; 2] = [MediaKind::Video, MediaKind::Audio];

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// Feeds `tracks` every second of `span`, and says what the watchdog said.
    fn fed(
        watchdog: &mut Watchdog,
        tracks: &[usize],
        from: Instant,
        span: std::ops::Range<u64>,
    ) -> Vec<(u64, Bark)> {
        let mut barks = Vec::new();
        for second in span {
            let now = from + seconds(second);
            for &track in tracks {
                barks.extend(watchdog.packet(track, now).map(|bark| (second, bark)));
                watchdog.unit(track, second % 2 == 0, now);
            }
            if watchdog.due().is_some_and(|due| due <= now) {
                barks.extend(watchdog.check(now).map(|bark| (second, bark)));
            }
        }
        barks
    }

    fn code(bark: &Bark) -> Option<Code> {
        match bark {
            Bark::Stopped(fault) | Bark::SoundStopped(fault) | Bark::Silent(fault) => {
                Some(fault.code)
            }
            Bark::HeardAgain => None,
        }
    }

    #[test]
    fn a_picture_that_stops_ends_the_session_though_sound_goes_on() {
        let now = Instant::now();
        let mut watchdog = Watchdog::new(BOTH, false, None, now);
        assert_eq!(fed(&mut watchdog, &[0, 1], now, 0..60), []);
        let barks = fed(&mut watchdog, &[1], now, 60..70);
        let [(69, Bark::Stopped(fault))] = &barks[..] else { panic!("{barks:?}") };
        assert_eq!(
            fault.to_string(),
            Fault::new(Code::SourceNoMedia, "no picture for 10 s").to_string()
        );
    }

    #[test]
    fn sound_that_never_came_is_a_remark_and_costs_no_picture() {
        let now = Instant::now();
        let mut watchdog = Watchdog::new(BOTH, false, None, now);
        let barks = fed(&mut watchdog, &[0], now, 0..10_000);
        let [(10, Bark::Silent(fault))] = &barks[..] else { panic!("{barks:?}") };
        assert_eq!(fault.code, Code::AudioDropped);
        assert!(fault.detail.contains("no sound for 10 s"), "{fault}");
        // And back.
        let barks = fed(&mut watchdog, &[0, 1], now, 10_000..10_100);
        assert_eq!(barks, [(10_000, Bark::HeardAgain)]);
    }

    #[test]
    fn sound_that_stops_is_tried_again_but_not_at_once_again() {
        let now = Instant::now();
        let mut watchdog = Watchdog::new(BOTH, false, None, now);
        fed(&mut watchdog, &[0, 1], now, 0..60);
        let barks = fed(&mut watchdog, &[0], now, 60..70);
        assert!(matches!(barks[..], [(69, Bark::SoundStopped(_))]), "{barks:?}");

        let again = Some(now + seconds(60) + SOUND_REDIAL_EVERY);
        let mut watchdog = Watchdog::new(BOTH, false, again, now);
        fed(&mut watchdog, &[0, 1], now, 0..60);
        let barks = fed(&mut watchdog, &[0], now, 60..600);
        assert!(matches!(barks[..], [(69, Bark::Silent(_))]), "{barks:?}");
    }

    #[test]
    fn a_stream_of_sound_alone_must_not_stop() {
        let now = Instant::now();
        let mut watchdog = Watchdog::new([MediaKind::Audio], false, None, now);
        let barks = fed(&mut watchdog, &[], now, 0..11);
        let [(10, Bark::Stopped(fault))] = &barks[..] else { panic!("{barks:?}") };
        assert_eq!(fault.detail, "no sound for 10 s");
    }

    #[test]
    fn over_udp_the_first_packet_is_waited_for_shortly_and_a_firewall_named() {
        let now = Instant::now();
        let mut watchdog = Watchdog::new(BOTH, true, None, now);
        let barks = fed(&mut watchdog, &[], now, 0..6);
        let [(5, Bark::Stopped(fault))] = &barks[..] else { panic!("{barks:?}") };
        assert!(fault.code == Code::SourceNoMedia && fault.detail.contains("firewall"), "{fault}");
        // Once something came, it is no firewall.
        let mut watchdog = Watchdog::new(BOTH, true, None, now);
        fed(&mut watchdog, &[0], now, 0..1);
        let barks = fed(&mut watchdog, &[], now, 1..11);
        assert_eq!(
            barks.iter().filter_map(|(_, bark)| code(bark)).next(),
            Some(Code::SourceNoMedia)
        );
        assert!(matches!(&barks[0].1, Bark::Stopped(f) if f.detail == "no picture for 10 s"));
    }

    #[test]
    fn packets_without_a_picture_and_pictures_without_a_key_frame_end_it() {
        let now = Instant::now();
        let mut watchdog = Watchdog::new(BOTH, false, None, now);
        for second in 0..=34 {
            watchdog.packet(0, now + seconds(second));
            watchdog.packet(1, now + seconds(second));
            assert_eq!(watchdog.check(now + seconds(second)), None);
        }
        watchdog.packet(0, now + seconds(35));
        let bark = watchdog.check(now + seconds(35)).unwrap();
        assert_eq!(code(&bark), Some(Code::SourceNoKeyframe));

        let mut watchdog = Watchdog::new([MediaKind::Video], false, None, now);
        watchdog.unit(0, true, now);
        let barks: Vec<_> = (1..=90)
            .filter_map(|second| {
                let now = now + seconds(second);
                watchdog.packet(0, now);
                watchdog.unit(0, false, now);
                watchdog.check(now).map(|bark| (second, code(&bark)))
            })
            .collect();
        assert_eq!(barks, [(90, Some(Code::SourceNoKeyframe))]);
    }
}
