//! Low-latency HLS.
