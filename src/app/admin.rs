//! The configuration, for the API.

use std::sync::PoisonError;

use serde_json::Value;

use super::reload::Live;
use crate::api::{Configuration, Configured};
use crate::config::{Config, StreamConfig};

impl Configuration for Live {
    fn shown(&self) -> Value {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).shown()
    }

    fn streams(&self) -> Vec<Configured> {
        let config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        config.streams.iter().filter_map(|stream| configured(&config, stream)).collect()
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
