//! The certificate is read anew when its files change, and on SIGHUP: whoever
//! renews it need not restart us.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::watch::Watch;
use crate::http::{Tls, TlsFiles};

pub(super) async fn keep_fresh(tls: Arc<Tls>, files: TlsFiles, stop: CancellationToken) {
    let mut watch = Watch::new(vec![files.cert_file.clone(), files.key_file.clone()]).await;
    loop {
        tokio::select! {
            () = watch.changed() => {}
            () = stop.cancelled() => return,
        }
        match tls.reload(&files) {
            Ok(()) => info!("the certificate was read anew"),
            Err(error) => error!(%error, "the old certificate stays in force"),
        }
    }
}
