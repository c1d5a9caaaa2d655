//! The access unit being put together: NAL units behind their lengths.

use std::sync::LazyLock;

use bytes::{BufMut, Bytes, BytesMut};
use memchr::memmem::Finder;

use super::limit::{Limit, MAX_ACCESS_UNIT_BYTES, MAX_NAL_BYTES, MAX_NALS};
use crate::ingest::spare::Spares;

/// Bytes of the length before each unit (ISO/IEC 14496-15 §5.2.3).
const LENGTH_BYTES: usize = 4;

/// First allocation: a picture of 2 Mbit/s that is no key frame. Over UDP some
/// thirty of a hundred cameras are amid one at any time, each with a buffer.
const FIRST_BYTES: usize = 16 << 10;

thread_local! {
    /// Buffers between two access units.
    static SPARES: Spares = const { Spares::new() };
}

/// A growing access unit, within its limits.
///
/// It grows in a buffer that is used again, and leaves as a copy of just its
/// size: the bus holds seconds of them, and slices of larger allocations held
/// 180 KB a camera that nobody could see.
#[derive(Debug, Default)]
pub(super) struct AccessUnit {
    buffer: BytesMut,
    /// Where the length of the unit being joined from fragments belongs.
    open: Option<usize>,
    /// Units seen, kept or not.
    nals: u32,
}

impl AccessUnit {
    /// Counts a unit of `bytes` and makes room for it.
    fn admit(&mut self, bytes: usize) -> Result<(), Limit> {
        self.nals = self.nals.saturating_add(1);
        if self.nals > MAX_NALS {
            return Err(Limit::NalCount);
        }
        self.make_room(LENGTH_BYTES + bytes)
    }

    fn make_room(&mut self, bytes: usize) -> Result<(), Limit> {
        if self.buffer.len() + bytes > MAX_ACCESS_UNIT_BYTES {
            return Err(Limit::AccessUnitBytes);
        }
        if self.buffer.capacity() == 0 && bytes > 0 {
            self.buffer = SPARES.with(Spares::take);
        }
        if self.buffer.capacity() - self.buffer.len() < bytes {
            // It doubles, so that a large frame is not copied for each packet.
            self.buffer.reserve(bytes.max(FIRST_BYTES));
        }
        Ok(())
    }

    /// Counts a unit that is not kept.
    pub(super) fn skip(&mut self, unit: &[u8]) -> Result<(), Limit> {
        if unit.len() > MAX_NAL_BYTES {
            return Err(Limit::NalBytes);
        }
        self.admit(0)
    }

    /// Appends a whole unit.
    pub(super) fn append(&mut self, unit: &[u8]) -> Result<(), Limit> {
        if unit.len() > MAX_NAL_BYTES {
            return Err(Limit::NalBytes);
        }
        self.admit(unit.len())?;
        self.buffer.put_u32(unit.len() as u32);
        self.buffer.put_slice(unit);
        Ok(())
    }

    /// Starts a unit that comes in fragments, with its restored header.
    pub(super) fn begin(&mut self, header: &[u8]) -> Result<(), Limit> {
        self.abandon();
        self.admit(header.len())?;
        self.open = Some(self.buffer.len());
        self.buffer.put_u32(0);
        self.buffer.put_slice(header);
        Ok(())
    }

    /// Appends to the started unit; `false` when none is.
    pub(super) fn extend(&mut self, fragment: &[u8]) -> Result<bool, Limit> {
        let Some(at) = self.open else {
            return Ok(false);
        };
        if self.buffer.len() - at - LENGTH_BYTES + fragment.len() > MAX_NAL_BYTES {
            return Err(Limit::NalBytes);
        }
        self.make_room(fragment.len())?;
        self.buffer.put_slice(fragment);
        Ok(true)
    }

    /// The first byte of the header of the unit that is started.
    pub(super) fn open_header(&self) -> Option<u8> {
        self.buffer.get(self.open? + LENGTH_BYTES).copied()
    }

    /// Ends the started unit, without trailing zeros, and shows it;
    /// [`AccessUnit::drop_last`] takes it out again.
    pub(super) fn end(&mut self) -> Option<(usize, &[u8])> {
        let at = self.open.take()?;
        let length = without_trailing_zeros(&self.buffer[at + LENGTH_BYTES..]).len();
        self.buffer.truncate(at + LENGTH_BYTES + length);
        self.buffer[at..at + LENGTH_BYTES].copy_from_slice(&(length as u32).to_be_bytes());
        Some((at, &self.buffer[at + LENGTH_BYTES..]))
    }

    /// Takes out the unit that [`AccessUnit::end`] found at `at`.
    pub(super) fn drop_last(&mut self, at: usize) {
        self.buffer.truncate(at);
    }

    /// Whether a unit waits for its last fragment.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Drops the unit that waits for fragments.
    pub(super) fn abandon(&mut self) {
        if let Some(at) = self.open.take() {
            self.buffer.truncate(at);
        }
    }

    /// Starts counting units anew, where no picture came of those so far.
    pub(super) fn recount(&mut self) {
        self.nals = 0;
    }

    /// All of it; the next access unit starts empty.
    pub(super) fn take(&mut self) -> Bytes {
        self.abandon();
        let whole = Bytes::copy_from_slice(&self.buffer);
        self.clear();
        whole
    }

    /// Forgets all of it.
    pub(super) fn clear(&mut self) {
        self.open = None;
        self.nals = 0;
        let buffer = std::mem::take(&mut self.buffer);
        SPARES.with(|spares| spares.give_back(buffer, FIRST_BYTES));
    }
}

/// Splits at Annex B start codes (H.264 annex B). An encapsulated unit cannot
/// contain one (§7.4.1), yet VStarcam and GW Security cameras send byte
/// streams where one unit belongs. Units may come out empty.
pub(super) fn split_at_start_codes(unit: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(unit);
    std::iter::from_fn(move || {
        let data = rest?;
        let Some(at) = find_start_code(data) else {
            rest = None;
            return Some(data);
        };
        rest = Some(&data[at + 3..]);
        // The zeros before it belong to the byte stream, not to the unit.
        Some(without_trailing_zeros(&data[..at]))
    })
}

/// The unit without trailing zeros, which none ends with (§7.4.1).
pub(super) fn without_trailing_zeros(unit: &[u8]) -> &[u8] {
    let end = unit.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1);
    &unit[..end]
}

/// Where `00 00 01` starts. Every byte of every camera is looked at here.
pub(super) fn find_start_code(data: &[u8]) -> Option<usize> {
    static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(&[0, 0, 1]));
    FINDER.find(data)
}

/// Whether an SEI message list (H.264 §7.3.2.3.1, H.265 §7.3.5; unescaped,
/// behind the NAL header) has a recovery point.
pub(super) fn has_recovery_point(mut messages: &[u8]) -> bool {
    /// The same number in H.264 (annex D.1.1) and H.265 (annex D.2.1).
    const RECOVERY_POINT: usize = 6;
    // 0x80 alone is the trailing bits.
    while messages.len() > 2 {
        let mut number = || {
            let mut value = 0;
            loop {
                let (&byte, rest) = messages.split_first()?;
                messages = rest;
                value += usize::from(byte);
                if byte != 255 {
                    return Some(value);
                }
            }
        };
        let (Some(kind), Some(size)) = (number(), number()) else {
            return false;
        };
        if kind == RECOVERY_POINT {
            return true;
        }
        messages = messages.get(size..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ingest::spare::{KEPT, KEPT_BYTES};
    use crate::media::NalUnits;

    #[test]
    fn fragments_join_into_one_unit_behind_its_length() {
        let mut unit = AccessUnit::default();
        unit.append(&[1, 2]).unwrap();
        unit.begin(&[0x65]).unwrap();
        assert!(unit.extend(&[7; 9]).unwrap());
        let (at, whole) = unit.end().unwrap();
        assert_eq!((at, whole.len()), (6, 10));
        let data = unit.take();
        let units: Vec<&[u8]> = NalUnits::new(&data).collect();
        assert_eq!(units, [&[1, 2][..], &[0x65, 7, 7, 7, 7, 7, 7, 7, 7, 7]]);
    }

    #[test]
    fn frames_take_no_more_memory_than_they_have_bytes() {
        let mut unit = AccessUnit::default();
        for bytes in [1_000, 900_000, 40_000] {
            unit.append(&vec![1; bytes]).unwrap();
            // Nobody else holds it, so this is the allocation itself.
            let frame = Vec::from(unit.take());
            assert_eq!((frame.len(), frame.capacity()), (bytes + 4, bytes + 4));
            assert_eq!(unit.buffer.capacity(), 0, "it is nobody's now");
        }
    }

    #[test]
    fn a_buffer_serves_one_camera_after_the_other_and_large_ones_go() {
        let mut cameras: [AccessUnit; 6] = Default::default();
        for (bytes, kept) in [(1_000, KEPT), (KEPT_BYTES + 1, 0)] {
            // All at once, so each with a buffer of its own.
            for camera in &mut cameras {
                camera.append(&vec![1; bytes]).unwrap();
            }
            for camera in &mut cameras {
                assert_eq!(camera.take().len(), bytes + 4);
            }
            assert_eq!(SPARES.with(Spares::kept), kept);
        }
    }

    #[test]
    fn an_endless_fragment_stops_at_4_mib() {
        let mut unit = AccessUnit::default();
        unit.begin(&[0x65]).unwrap();
        let mut sent = 0;
        let limit = loop {
            match unit.extend(&[0; 1400]) {
                Ok(_) => sent += 1400,
                Err(limit) => break limit,
            }
        };
        assert_eq!(limit, Limit::NalBytes);
        assert!(
            sent > MAX_NAL_BYTES - 1400
                && unit.buffer.capacity() <= 2 * MAX_NAL_BYTES + FIRST_BYTES
        );
    }

    #[test]
    fn many_units_stop_at_4096_and_many_bytes_at_8_mib() {
        let mut unit = AccessUnit::default();
        let first_error = |unit: &mut AccessUnit, nal: &[u8]| {
            (0..10_000).find_map(|_| unit.append(nal).err()).expect("some limit")
        };
        assert_eq!(first_error(&mut unit, &[1]), Limit::NalCount);
        unit.clear();
        assert_eq!(first_error(&mut unit, &[1; 60_000]), Limit::AccessUnitBytes);
    }

    #[test]
    fn annex_b_is_split_and_plain_units_are_left_alone() {
        let split = |data| split_at_start_codes(data).collect::<Vec<_>>();
        assert_eq!(split(&[0x67, 1, 0, 0, 0, 1, 0x68, 2]), [&[0x67, 1][..], &[0x68, 2]]);
        assert_eq!(split(&[0, 0, 0, 1, 0x67]), [&[][..], &[0x67]]);
        assert_eq!(split(&[0x65, 0, 0, 3, 1, 0]), [&[0x65, 0, 0, 3, 1, 0][..]]);
    }

    #[test]
    fn a_recovery_point_is_found_behind_other_messages() {
        let user_data = [[5, 255, 1].as_slice(), &[9; 256]].concat();
        assert!(has_recovery_point(&[&user_data[..], &[6, 1, 0xc4, 0x80]].concat()));
        assert!(!has_recovery_point(&[&user_data[..], &[1, 1, 6, 0x80]].concat()));
        assert!(!has_recovery_point(&[255; 7]));
    }

    proptest! {
        #[test]
        fn start_codes_are_found_where_a_plain_search_finds_them(
            data in proptest::collection::vec(0u8..3, 0..40),
        ) {
            let plain = data.windows(3).position(|w| w == [0, 0, 1]);
            prop_assert_eq!(find_start_code(&data), plain);
        }
    }
}
