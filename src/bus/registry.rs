//! The streams there are, by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Stream;
use crate::media::StreamName;

/// All streams. Looking one up takes no lock; adding and removing are rare.
#[derive(Default)]
pub struct Registry(ArcSwap<BTreeMap<StreamName, Arc<Stream>>>);

impl Registry {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// The stream of that name.
    pub fn get(&self, name: &str) -> Option<Arc<Stream>> {
        let name: StreamName = name.parse().ok()?;
        self.0.load().get(&name).cloned()
    }

    /// Every stream, in order of name.
    pub fn list(&self) -> Vec<Arc<Stream>> {
        self.0.load().values().cloned().collect()
    }

    /// Adds a stream; one of the same name gives way.
    pub fn insert(&self, stream: Arc<Stream>) {
        self.0.rcu(|streams| {
            let mut streams = BTreeMap::clone(streams);
            streams.insert(stream.name().clone(), Arc::clone(&stream));
            streams
        });
    }

    /// Removes the stream of that name.
    pub fn remove(&self, name: &StreamName) {
        self.0.rcu(|streams| {
            let mut streams = BTreeMap::clone(streams);
            streams.remove(name);
            streams
        });
    }
}
