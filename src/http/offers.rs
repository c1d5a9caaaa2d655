//! How many WebRTC offers may be under way at once.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;

use super::{HttpMetrics, Problem};
use crate::fault::{Code, Fault};

/// Offers answered or waiting for a camera's first picture. One costs a key
/// exchange's worth of CPU and up to 3 s; viewers that are there must not feel
/// a crowd at the door.
const OFFERS: usize = 64;

/// The queue of offers.
pub(super) struct Offers {
    places: Arc<Semaphore>,
    metrics: HttpMetrics,
}

impl Offers {
    /// An empty queue, whose refusals are counted in `metrics`.
    pub(super) fn new(metrics: HttpMetrics) -> Self {
        Self { places: Arc::new(Semaphore::new(OFFERS)), metrics }
    }
}

/// An offer that finds the queue full is to come back in a moment
/// (503 with `Retry-After`).
pub(super) async fn queue_offers<F: Future<Output = Response>>(
    offers: &Offers,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let is_offer =
        request.method() == Method::POST && matches!(route, Some("/{stream}/whep" | "/api/webrtc"));
    if !is_offer {
        return next(request).await;
    }
    let Ok(_place) = offers.places.try_acquire() else {
        offers.metrics.rejected("offers");
        let detail = format!("{OFFERS} offers are being answered");
        return Problem::from(Fault::new(Code::ViewerLimit, detail)).into_response();
    };
    next(request).await
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::extract::State;
    use axum::http::StatusCode;
    use axum::middleware::{Next, from_fn_with_state};
    use axum::routing::{get, post};
    use futures_util::future::join_all;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_offer_beyond_the_queue_is_told_when_to_come_back() {
        let metrics = HttpMetrics::register(&prometheus::Registry::new()).unwrap();
        let slow = || tokio::time::sleep(std::time::Duration::from_secs(1));
        let offers = Arc::new(Offers::new(metrics));
        let router = Router::new()
            .route("/{stream}/whep", post(slow))
            .route("/{stream}/index.m3u8", get(slow))
            .layer(from_fn_with_state(
                offers,
                async |State(offers): State<Arc<Offers>>, request, next: Next| {
                    queue_offers(&offers, request, |request| next.run(request)).await
                },
            ));
        let ask = |method: &str, path: &str| {
            let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
            let router = router.clone();
            async move { router.oneshot(request).await.unwrap() }
        };
        let crowd = join_all((0..OFFERS + 3).map(|_| ask("POST", "/yard/whep"))).await;
        let refused: Vec<_> =
            crowd.iter().filter(|r| r.status() == StatusCode::SERVICE_UNAVAILABLE).collect();
        assert_eq!(refused.len(), 3);
        assert!(refused.iter().all(|response| response.headers().contains_key("retry-after")));
        // The places are free again, and no other route needs one.
        assert_eq!(ask("POST", "/yard/whep").await.status(), StatusCode::OK);
        let others = join_all((0..OFFERS + 3).map(|_| ask("GET", "/yard/index.m3u8"))).await;
        assert!(others.iter().all(|response| response.status() == StatusCode::OK));
    }
}
