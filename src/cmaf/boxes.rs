//! Boxes as bytes (ISO/IEC 14496-12 §4.2): our own framing for containers,
//! `mp4`'s writers for the leaves it gets right.

use mp4::WriteBox;

/// Four characters that say what a box is.
pub(super) type FourCc = [u8; 4];

/// Writes a box of `kind` around what `content` writes.
pub(super) fn container(out: &mut Vec<u8>, kind: &FourCc, content: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(kind);
    content(out);
    let size = u32::try_from(out.len() - start).expect("frames are capped far below 4 GiB");
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
}

/// Writes the header of a box whose content, so many bytes, follows.
pub(super) fn put_header(out: &mut Vec<u8>, kind: &FourCc, content: usize) {
    put_u32(out, u32::try_from(content + 8).expect("frames are capped far below 4 GiB"));
    out.extend_from_slice(kind);
}

/// Writes a full box (§4.2.2): version and 24 bits of flags before the content.
pub(super) fn full(
    out: &mut Vec<u8>,
    kind: &FourCc,
    version: u8,
    flags: u32,
    content: impl FnOnce(&mut Vec<u8>),
) {
    container(out, kind, |out| {
        put_u32(out, u32::from(version) << 24 | flags & 0x00ff_ffff);
        content(out);
    });
}

/// Writes a box that `mp4` knows how to write.
pub(super) fn leaf<B>(out: &mut Vec<u8>, leaf: &B)
where
    B: for<'w> WriteBox<&'w mut Vec<u8>>,
{
    leaf.write_box(out).expect("a Vec takes all, and we build consistent boxes only");
}

pub(super) fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(super) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// A parameter set behind its 16-bit length, as `avcC` and `hvcC` hold them.
pub(super) fn put_set(out: &mut Vec<u8>, set: &[u8]) {
    // A set travels in one SDP line or RTP packet, so it is far shorter.
    let set = &set[..set.len().min(usize::from(u16::MAX))];
    put_u16(out, set.len() as u16);
    out.extend_from_slice(set);
}
