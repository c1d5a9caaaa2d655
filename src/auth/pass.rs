//! What a session holds while it plays: the right it began with, which may end
//! before the viewer leaves.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::access::Access;
use super::principal::Principal;
use crate::media::StreamName;

/// The clock that a token's end is written in may be set: it is looked at this
/// often.
const LOOK: Duration = Duration::from_secs(30);

/// Somebody's right to view a stream.
#[derive(Clone)]
pub struct Pass {
    access: Arc<Access>,
    principal: Principal,
    stream: StreamName,
}

impl Pass {
    /// What `principal` was let in with.
    pub fn new(access: Arc<Access>, principal: Principal, stream: StreamName) -> Self {
        Self { access, principal, stream }
    }

    /// Who was let in.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Returns once they may view the stream no more: a token has expired, or
    /// other rules are in force.
    ///
    /// Cancel safe.
    pub async fn over(&self) {
        let mut changes = self.access.changes();
        while self.access.may_stay(&self.principal, &self.stream) {
            let until = self.principal.grant().and_then(|grant| grant.until);
            let expires = async {
                let Some(until) = until else { return std::future::pending().await };
                let left = until.duration_since(SystemTime::now()).unwrap_or_default();
                tokio::time::sleep(left.min(LOOK)).await;
            };
            let changed = async {
                let Some(changes) = &mut changes else { return std::future::pending().await };
                if changes.changed().await.is_err() {
                    std::future::pending().await
                }
            };
            tokio::select! {
                () = expires => {}
                () = changed => {}
            }
        }
    }
}
