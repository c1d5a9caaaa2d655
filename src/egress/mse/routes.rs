//! `GET /{stream}/mse`, a WebSocket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{ConnectInfo, Path, RawQuery, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};

use super::Mse;
use super::session::{MOST_MESSAGE_BYTES, Session};
use crate::auth::Pass;
use crate::bus::{Registry, SourceState, Stream};
use crate::fault::Code;
use crate::http::{self, Problem};

/// What the route needs.
#[derive(Clone)]
pub struct Deps {
    /// The streams there are.
    pub registry: Arc<Registry>,
    /// The streams as MSE.
    pub mse: Arc<Mse>,
}

/// `/{stream}/mse`. What is known to fail is told by a problem document before
/// the socket is opened; a plain GET gets the same, or 426. A viewer stays no
/// longer than the [`Pass`] among its request's extensions.
pub fn routes(deps: Deps) -> Router {
    Router::new().route("/{stream}/mse", get(watch)).with_state(deps)
}

async fn watch(
    State(deps): State<Deps>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    pass: Option<Extension<Pass>>,
    remote: Option<Extension<ConnectInfo<SocketAddr>>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let asked = Instant::now();
    let sessions = deps.mse.sessions.clone();
    let admitted = admit(&deps, &name, query.as_deref());
    let stream = admitted.inspect_err(|problem| sessions.setup(problem.code().as_str()))?;
    // A page that was refused asks plainly, to be told why.
    let slot = Arc::clone(&deps.mse.slots).try_acquire_owned().map_err(|_| {
        sessions.setup(Code::ViewerLimit.as_str());
        Problem::from(Code::ViewerLimit)
    })?;
    let Ok(upgrade) = upgrade else { return Ok(not_a_socket()) };
    let pass = pass.map(|Extension(pass)| pass);
    let remote = remote.map(|Extension(ConnectInfo(remote))| remote);
    let session = Session::new(&deps.mse, stream, asked, pass, remote);
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
fn admit(deps: &Deps, name: &str, query: Option<&str>) -> Result<Arc<Stream>, Problem> {
    let stream = deps.registry.get(name).ok_or(Code::StreamUnknown)?;
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
