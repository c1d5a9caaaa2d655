//! An allocator that counts what it takes.
#![allow(unsafe_code, reason = "an allocator that counts is one nevertheless")]

use std::alloc::{GlobalAlloc, Layout, System};

/// The system's allocator, which tells how many bytes it takes and how many it is given back.
/// What it is told by must not allocate.
pub(crate) struct Counting(pub(crate) fn(taken: usize, given_back: usize));

// SAFETY: passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        (self.0)(layout.size(), 0);
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        (self.0)(layout.size(), 0);
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        (self.0)(size, layout.size());
        // SAFETY: the caller's promises are the same.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        (self.0)(0, layout.size());
        // SAFETY: the caller's promises are the same.
        unsafe { System.dealloc(memory, layout) }
    }
}
