//! Camera side.
