//! `GET /{stream}/mse`, a WebSocket.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};

use super::Mse;
use super::session::{MOST_MESSAGE_BYTES, Session};
use crate::auth::{Access, Action, Principal};
use crate::bus::{Registry, SourceState, Stream};
use crate::fault::{Code, Fault};
use crate::http::{self, Origin, Problem};

/// What the route needs.
#[derive(Clone)]
pub struct Deps {
    /// The streams there are.
    pub registry: Arc<Registry>,
    /// Who may see them.
    pub access: Arc<Access>,
    /// Origins whose pages may open a socket, beside our own.
    pub origins: Arc<[Origin]>,
    /// The streams as MSE.
    pub mse: Arc<Mse>,
}

/// `/{stream}/mse`. What is known to fail is told by a problem document before
/// the socket is opened; a plain GET gets the same, or 426.
///
/// A request's [`Principal`] is taken from its extensions; without one it is
/// anonymous.
pub fn routes(deps: Deps) -> Router {
    Router::new().route("/{stream}/mse", get(watch)).with_state(deps)
}

async fn watch(
    State(deps): State<Deps>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    caller: Option<Extension<Principal>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let asked = Instant::now();
    let principal = caller.map_or(Principal::Anonymous, |Extension(principal)| principal);
    let sessions = deps.mse.sessions.clone();
    let admitted = admit(&deps, &name, query.as_deref(), &principal, &headers);
    let stream = admitted.inspect_err(|problem| sessions.setup(problem.code().as_str()))?;
    let Ok(upgrade) = upgrade else { return Ok(not_a_socket()) };
    let slot = Arc::clone(&deps.mse.slots).try_acquire_owned().map_err(|_| {
        sessions.setup(Code::ViewerLimit.as_str());
        Problem::from(Code::ViewerLimit)
    })?;
    let session = Session::new(&deps.mse, stream, asked);
    Ok(upgrade
        .max_message_size(MOST_MESSAGE_BYTES)
        .max_frame_size(MOST_MESSAGE_BYTES)
        // What is sent goes to the system at once: nothing waits in between.
        .write_buffer_size(0)
        .on_upgrade(async move |socket| {
            let _slot = slot;
            session.run(socket).await;
        }))
}

/// The stream a viewer may have.
fn admit(
    deps: &Deps,
    name: &str,
    query: Option<&str>,
    principal: &Principal,
    headers: &HeaderMap,
) -> Result<Arc<Stream>, Problem> {
    if !http::may_open_socket(&deps.origins, headers) {
        let detail = "pages of that origin are not listed in `cors`";
        return Err(Fault::new(Code::ViewerForbidden, detail).into());
    }
    let stream = deps.registry.get(name).ok_or(Code::StreamUnknown)?;
    deps.access.authorize(principal, Action::View, stream.name())?;
    let stream = http::of_quality(&stream, query)?;
    // Nobody waits for a failure that is known.
    if stream.status().state == SourceState::Down {
        return Err(Problem::not_ready(&stream));
    }
    Ok(stream)
}

fn not_a_socket() -> Response {
    let status = StatusCode::UPGRADE_REQUIRED;
    let mut response = http::request_problem(status, "this is a WebSocket");
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    response
}
