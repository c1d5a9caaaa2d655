//! Camera side.

pub mod depacketize;
