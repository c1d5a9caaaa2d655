//! WebRTC sessions end with the right they began with. The other outputs' see
//! to it themselves; of these there are too many for a timer each.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::auth::Access;
use crate::egress::whep::Whep;

/// How long one may go on beyond its end.
const EVERY: Duration = Duration::from_secs(1);

pub(super) async fn keep(whep: Arc<Whep>, access: Arc<Access>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
        whep.expel(|principal, stream| access.may_stay(principal, stream)).await;
    }
}
