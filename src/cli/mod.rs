//! Commands.

pub mod demo_camera;
