//! The configuration, for the API: read from what is in force, changed in the
//! file and then in force, by the way of every other change.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use axum::http::StatusCode;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;

use super::reload::Live;
use crate::api::{Change, Changed, Configuration, Configured, What};
use crate::config::{self, Config, NotChanged, StreamConfig};
use crate::fault::{Code, Fault};
use crate::http::Problem;
use crate::media::StreamName;

impl Configuration for Live {
    fn shown(&self) -> Value {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).shown()
    }

    fn streams(&self) -> Vec<Configured> {
        let config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        config.streams.iter().filter_map(|stream| configured(&config, stream)).collect()
    }

    fn change(
        self: Arc<Self>,
        name: StreamName,
        change: Change,
    ) -> BoxFuture<'static, Result<Changed, Problem>> {
        // A task: who hangs up must not leave a file that is not in force.
        let task = tokio::spawn(self.changed(name, change));
        let failed = |_| failed("changing the configuration failed inside the gateway");
        task.map(move |done| done.map_err(failed).flatten()).boxed()
    }
}

impl Live {
    async fn changed(
        self: Arc<Self>,
        name: StreamName,
        wanted: Change,
    ) -> Result<Changed, Problem> {
        let _turn = self.turn.lock().await;
        let layers = self.layers.get().cloned();
        let layers =
            layers.ok_or_else(|| problem(NotChanged::ReadOnly("it is starting".into())))?;
        let stream = name.clone();
        // Files may be far away.
        let done = tokio::task::spawn_blocking(move || {
            let Change { what, expected } = wanted;
            let change = match what {
                What::Add(body) => config::Change::Add(body),
                What::Replace(body) => config::Change::Replace(body),
                What::Merge(body) => config::Change::Merge(body),
                What::Remove => config::Change::Remove,
            };
            layers.change(&stream, &change, &*expected)
        });
        let done = done.await.map_err(|_| failed("reading the configuration failed"))?;
        let (config, existed) = done.map_err(problem)?;
        let stream = config.streams.iter().find(|stream| stream.name == name);
        let stream = stream.and_then(|stream| configured(&config, stream));
        self.apply(config);
        self.by_api.store(true, Ordering::Release);
        Ok(Changed { stream, existed })
    }
}

fn configured(config: &Config, stream: &StreamConfig) -> Option<Configured> {
    let entry = config.entries.get(&stream.name)?;
    Some(Configured {
        name: stream.name.clone(),
        shown: stream.shown(),
        origin: entry.origin(),
        digest: entry.digest,
    })
}

fn problem(why: NotChanged) -> Problem {
    let fault = |code, detail: String| Problem::from(Fault::new(code, detail));
    match why {
        NotChanged::Unknown => Code::StreamUnknown.into(),
        NotChanged::Exists => Code::StreamExists.into(),
        NotChanged::Outdated => {
            Problem::from(Code::ConfigChanged).with_status(StatusCode::PRECONDITION_FAILED)
        }
        NotChanged::Busy => {
            fault(Code::ConfigChanged, "somebody else keeps writing the file".into())
        }
        NotChanged::ReadOnly(why) => fault(Code::ConfigReadOnly, why),
        NotChanged::Invalid(faults) => Problem::from(Code::ConfigInvalid).with_faults(faults),
        NotChanged::Failed(why) => failed(&why),
    }
}

/// A full disk, or a fault of ours.
fn failed(why: &str) -> Problem {
    let fault = Fault::new(Code::ConfigReadOnly, why);
    Problem::from(fault).with_status(StatusCode::INTERNAL_SERVER_ERROR)
}
