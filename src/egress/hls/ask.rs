//! A request for a media playlist, or for one of the objects it lists.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Response, StatusCode};

use super::answer::{Object, Wish, gone, mistake};
use super::channel::Channel;
use super::directives::Directives;
use super::playlist::{self, Name, Report};
use super::routes::Deps;
use super::snapshot::Snapshot;
use super::store::State;
use super::waiting::{begun_snapshot, first_snapshot, hold, news};
use crate::http::{Problem, Sent};
use crate::media::Quality;

/// What is asked, understood: nothing of the request itself is held while it
/// waits.
pub(super) struct Ask {
    channel: Arc<Channel>,
    quality: Quality,
    name: Name,
    directives: Result<Directives, &'static str>,
    wish: Wish,
}

impl Ask {
    /// `None` where nothing has that name.
    pub(super) fn of(
        channel: Arc<Channel>,
        quality: Quality,
        file: &str,
        query: Option<&str>,
        wish: Wish,
    ) -> Option<Self> {
        let directives = Directives::parse(query.unwrap_or_default());
        Some(Self { channel, quality, name: Name::parse(file)?, directives, wish })
    }

    pub(super) async fn answer(self, deps: &Deps) -> Result<Response<Sent>, Problem> {
        if self.name == Name::Media {
            self.channel.touch();
            return self.media(deps).await;
        }
        let Self { channel, name, wish, .. } = self;
        let snapshot = match &*channel.state() {
            State::Live(snapshot) => Arc::clone(snapshot),
            State::Starting | State::Unplayable(_) => return Ok(gone(None)),
        };
        let snapshot = match name {
            Name::Part(number, part) if (number, part) == snapshot.hinted() && !snapshot.ended => {
                // It may end up in the next segment (`Cutter::push_lead`): a hint
                // is no promise (§4.4.5.3).
                let has = move |s: &Snapshot| s.next > number || s.part(number, part).is_some();
                hold(&deps.hls, &channel, &snapshot, has).await?.unwrap_or(snapshot)
            }
            _ => snapshot,
        };
        let Some(content) = snapshot.content(name) else { return Ok(gone(Some(&snapshot))) };
        let kind = if snapshot.init.size.is_some() { "video/mp4" } else { "audio/mp4" };
        let max_age = snapshot.targets.segment * 6;
        let answer = Object { name, kind, content, max_age }.answer(&wish).await;
        // Nobody but the operator can have taken the file.
        let Ok((response, sent)) = answer else { return Ok(gone(None)) };
        channel.count_sent(&deps.sessions, sent);
        Ok(response)
    }

    /// The media playlist, waited for as the query asks.
    async fn media(self, deps: &Deps) -> Result<Response<Sent>, Problem> {
        let Self { channel, quality, directives, wish, .. } = self;
        let begins = directives.is_ok_and(|asked| asked.segment.is_none());
        let snapshot =
            if begins { begun_snapshot(&channel).await? } else { first_snapshot(&channel).await? };
        if begins && wish.chromium && !snapshot.ended {
            let snapshot = news(&deps.hls, &channel, snapshot).await;
            let text = snapshot.whole.get_or_init(|| playlist::whole(&snapshot).into());
            // Not from a cache what was to have news.
            return Ok(text.answer(&wish, Duration::ZERO));
        }
        let target = snapshot.targets.segment;
        let bad = |why| Ok(mistake(StatusCode::BAD_REQUEST, why, Some(target * 4)));
        let asked = match directives {
            // A playlist that has ended is what it is (§6.2.5.2).
            _ if snapshot.ended => Directives::default(),
            Ok(asked) => asked,
            Err(why) => return bad(why),
        };
        let snapshot = match asked.segment {
            None => snapshot,
            Some(number) if snapshot.too_far(number, asked.part) => {
                return bad("_HLS_msn or _HLS_part is too far ahead of the playlist.");
            }
            Some(number) if snapshot.reaches(number, asked.part) => snapshot,
            Some(number) => {
                let enough = move |s: &Snapshot| s.reaches(number, asked.part);
                match hold(&deps.hls, &channel, &snapshot, enough).await? {
                    Some(snapshot) => snapshot,
                    None => return Err(Problem::not_ready(channel.stream())),
                }
            }
        };
        // §B.1: blocking reloads are cached long, since their URL says what they
        // hold; plain ones shortly.
        let max_age = if asked.segment.is_some() { target * 6 } else { target / 2 };
        let other = || {
            let other = channel.alternative()?;
            let uri = match quality {
                Quality::Main => "sub/media.m3u8",
                Quality::Sub => "../media.m3u8",
            };
            match &*other.watch().borrow() {
                State::Live(snapshot) => Report::of(snapshot, uri),
                State::Starting | State::Unplayable(_) => None,
            }
        };
        let full = || playlist::media(&snapshot, 0, other()).into();
        let skips = asked.skip && !snapshot.ended;
        let skipped = if skips { playlist::skippable_for(&snapshot, asked.segment) } else { 0 };
        let text = match skipped {
            0 => snapshot.full.get_or_init(full),
            _ => snapshot.delta.get_or_init(|| playlist::media(&snapshot, skipped, other()).into()),
        };
        Ok(text.answer(&wish, max_age))
    }
}
