//! One clean timeline per stream.
