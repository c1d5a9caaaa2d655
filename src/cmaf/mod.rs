//! CMAF: fragmented MP4.
