//! RTP as it is written (RFC 3550): headers, sender reports, source
//! descriptions (`packet`), and frames as payloads (`payload`), cut once for
//! all who are sent the same.
//!
//! Here: formats. Not here: I/O, clocks, sequence numbers, keys, and reading
//! what others have written, which each room leaves to the library it speaks
//! the rest of its protocol with.

mod packet;
mod payload;

pub use packet::{HEADER_BYTES, Header, SenderReport, write_name};
pub use payload::{Payload, carries, cut, samples};
