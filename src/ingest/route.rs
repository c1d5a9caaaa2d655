//! Which transport to ask a camera for next, where that is left to us. No
//! clock: time is an argument.
//!
//! TCP first; a camera that refuses it (461) gets UDP within the same
//! session. Where UDP then loses packets, or brings none, TCP is asked for
//! once more: a camera may have been out of TCP slots. If it is refused again,
//! UDP it is, for an hour. Whatever else goes wrong meanwhile, such as a camera
//! that boots, is no refusal. What the operator chose is never left.

use std::time::Duration;

use tokio::time::Instant;

use super::source::Transport;
use crate::fault::{Code, Fault};

/// How long UDP with loss is put up with before TCP is asked for again.
const STAY: Duration = Duration::from_secs(3_600);

/// What has been learned of the ways to one camera.
#[derive(Debug)]
pub(super) struct Route {
    configured: Transport,
    lesson: Lesson,
}

#[derive(Debug)]
enum Lesson {
    None,
    /// UDP failed; why.
    TryTcp(String),
    /// TCP failed too, so that UDP has to do; why it was left.
    StayOnUdp(Instant, String),
}

impl Route {
    pub(super) fn new(configured: Transport) -> Self {
        Self { configured, lesson: Lesson::None }
    }

    /// What to ask for now.
    pub(super) fn next(&mut self, now: Instant) -> Transport {
        if matches!(&self.lesson, Lesson::StayOnUdp(until, _) if *until <= now) {
            self.lesson = Lesson::None;
        }
        match self.lesson {
            Lesson::None => self.configured,
            Lesson::TryTcp(_) => Transport::Tcp,
            Lesson::StayOnUdp(..) => Transport::Udp,
        }
    }

    /// Whether a session over UDP should end when it loses too much.
    pub(super) fn may_leave_udp(&self) -> bool {
        self.configured == Transport::Auto && matches!(self.lesson, Lesson::None)
    }

    /// A session over UDP ended for want of packets.
    pub(super) fn udp_failed(&mut self, why: &Fault) {
        if self.may_leave_udp() {
            self.lesson = Lesson::TryTcp(why.detail.clone());
        } else if matches!(self.lesson, Lesson::StayOnUdp(..)) {
            // Loss is put up with here, so none came at all. An hour of that
            // would be worse than asking both ways in turn.
            self.lesson = Lesson::None;
        }
    }

    /// The camera refused the way that it was asked for.
    pub(super) fn refused(&mut self, now: Instant) {
        if let Lesson::TryTcp(why) = &self.lesson {
            self.lesson = Lesson::StayOnUdp(now + STAY, why.clone());
        }
    }

    /// An attempt became live.
    pub(super) fn worked(&mut self) {
        if matches!(self.lesson, Lesson::TryTcp(_)) {
            self.lesson = Lesson::None;
        }
    }

    /// What viewers should know while a stream comes a way that loses.
    pub(super) fn remark(&self) -> Option<Fault> {
        let Lesson::StayOnUdp(_, why) = &self.lesson else { return None };
        let detail = format!("{why}; the camera refuses TCP, so it goes on over UDP");
        Some(Fault::new(Code::SourceLossy, detail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lossy() -> Fault {
        Fault::new(Code::SourceLossy, "UDP loses 5.0 % of the packets")
    }

    #[test]
    fn udp_that_loses_is_left_for_tcp_once_and_then_put_up_with_for_an_hour() {
        let now = Instant::now();
        let mut route = Route::new(Transport::Auto);
        assert_eq!(route.next(now), Transport::Auto);
        route.udp_failed(&lossy());
        assert_eq!(route.next(now), Transport::Tcp);
        assert_eq!(route.next(now), Transport::Tcp, "until it has an answer");
        route.refused(now);
        assert_eq!(route.next(now), Transport::Udp);
        assert!(!route.may_leave_udp(), "it would flap");
        route.worked();
        let remark = route.remark().unwrap();
        assert!(remark.detail.contains("loses 5.0 %") && remark.detail.contains("refuses TCP"));
        assert_eq!(route.next(now + STAY), Transport::Auto);
        assert!(route.may_leave_udp() && route.remark().is_none());
    }

    #[test]
    fn udp_that_brings_nothing_is_not_stayed_on() {
        let now = Instant::now();
        let mut route = Route::new(Transport::Auto);
        route.udp_failed(&lossy());
        route.refused(now);
        assert_eq!(route.next(now), Transport::Udp);
        // Loss is put up with here, so this is a firewall that closed.
        route.udp_failed(&Code::SourceNoMedia.into());
        assert_eq!(route.next(now), Transport::Auto);
    }

    #[test]
    fn tcp_that_works_ends_the_matter() {
        let now = Instant::now();
        let mut route = Route::new(Transport::Auto);
        route.udp_failed(&lossy());
        route.worked();
        assert_eq!(route.next(now), Transport::Auto);
    }

    #[test]
    fn what_the_operator_chose_stays() {
        for fixed in [Transport::Udp, Transport::Tcp] {
            let mut route = Route::new(fixed);
            route.udp_failed(&lossy());
            route.refused(Instant::now());
            assert!(!route.may_leave_udp());
            assert_eq!(route.next(Instant::now()), fixed);
            assert!(route.remark().is_none());
        }
    }
}
