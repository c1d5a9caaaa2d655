//! Memory asked for before it is needed. What a picture needs of a viewer has
//! left the processor's cache since the picture before: to wait for each line
//! of it in turn takes as long as to seal a packet or two.

/// Bytes that come into the cache together.
const LINE: usize = 64;

/// Asks for all of `it`, and does not wait.
pub(super) fn fetch<T>(it: &T) {
    lines(std::ptr::from_ref(it).cast(), size_of::<T>());
}

/// Asks for what lies behind `it`, where one of the same will be written.
pub(super) fn fetch_behind<T>(it: &T) {
    lines(std::ptr::from_ref(it).wrapping_add(1).cast(), size_of::<T>());
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "a hint to the processor, which the language has no word for")]
fn lines(start: *const i8, bytes: usize) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    let end = start.wrapping_add(bytes);
    let mut line = start;
    while line < end {
        // SAFETY: nothing is read; of an address that is nobody's, nothing comes.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line) };
        line = line.wrapping_add(LINE);
    }
}

/// There is no such hint on other processors yet, but in assembly.
#[cfg(not(target_arch = "x86_64"))]
fn lines(_: *const i8, _: usize) {}
