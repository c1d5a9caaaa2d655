//! What stands before every route of a listener.
//!
//! One layer, since axum copies all that stands behind a layer for each
//! request: as five of them these took longer than what they do.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;

use super::cors::cross_origin;
use super::gate::{Gate, guard};
use super::metrics::count_requests;
use super::offers::{Offers, queue_offers};
use super::serve::whole_body;
use super::shortcut::{Shortcut, Site};

/// A listener's front.
pub struct Front {
    pub(super) gate: Gate,
    offers: Offers,
    /// Whether pages of other origins may be let in.
    pub(super) crosses: bool,
}

impl Front {
    /// For those who watch.
    pub fn of_viewers(gate: Gate) -> Self {
        Self { offers: Offers::new(gate.metrics.clone()), gate, crosses: true }
    }

    /// For those who administrate.
    pub fn of_admins(gate: Gate) -> Self {
        Self { crosses: false, ..Self::of_viewers(gate) }
    }

    /// Puts it before all routes that `router` has, and before its fallback.
    pub fn before(self, router: Router) -> Site {
        self.before_both(router, ())
    }

    /// The same, with a way around the router for some of its routes.
    pub fn before_both<S: Shortcut>(self, router: Router, shortcut: S) -> Site<S> {
        let front = Arc::new(self);
        let router = router.layer(from_fn_with_state(Arc::clone(&front), pass));
        Site::new(router, front, shortcut)
    }
}

async fn pass(State(front): State<Arc<Front>>, request: Request, next: Next) -> Response {
    let Front { gate, offers, crosses } = &*front;
    let queue = |request| queue_offers(offers, request, |request| next.run(request));
    let enter = |request| guard(gate, request, queue);
    let cross = |request| async move {
        if *crosses {
            cross_origin(&gate.policy, request, enter).await
        } else {
            enter(request).await
        }
    };
    count_requests(&gate.metrics, request, |request| whole_body(request, cross)).await
}
