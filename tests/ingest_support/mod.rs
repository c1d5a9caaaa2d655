//! What breaks cameras, and what must hold all the same.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "every test that takes part of it compiles all of it"
)]

mod hostile;
mod line;
mod mime;
mod relay;
mod scripted;
mod tls;
mod tunnel;
mod weather;

pub use hostile::{Attack, Hostile, Plot};
pub use line::{MOUNT, Neighbour, Pictures, count, follow, kill_and_return, seen_again};
pub use mime::{Count, Manner, Mime};
pub use relay::{Fault, Relay};
pub use scripted::{Ask, Reply, SDP, Scripted, answer, ok, packet};
pub use tls::{Front, certificate};
pub use tunnel::TunnelMouth;
pub use weather::{Fate, Weather, WeatherRelay};
