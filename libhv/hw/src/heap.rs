//! The only heap: for the tables of the instruction decoder, which are built once, at the start.
//!
//! Memory is handed out in order and never comes back, so there is nothing that a guest could fill or
//! fragment: the host takes what it needs before the guest runs, and nothing afterwards.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Twice what the decoder of iced-x86 1.22 takes without VEX, EVEX, XOP and 3DNow! (104,654 bytes in
/// 2,059 pieces, counted on the developer's machine).
const SIZE: usize = 208 << 10;

#[repr(C, align(16))]
struct Arena {
    bytes: UnsafeCell<[u8; SIZE]>,
    /// Bytes handed out, from the start.
    used: AtomicUsize,
}

// SAFETY: the bytes are reached only through pointers to pieces that `alloc` hands out once each.
unsafe impl Sync for Arena {}

#[cfg_attr(not(test), global_allocator)]
static ARENA: Arena = Arena {
    bytes: UnsafeCell::new([0; SIZE]),
    used: AtomicUsize::new(0),
};

// SAFETY: pieces lie inside the arena, are aligned as asked for, and no byte is in two of them: each
// successful exchange moves `used` past the piece that it hands out.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = self.bytes.get().cast::<u8>();
        let mut start = 0;
        let taken = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                let address = (base as usize).checked_add(used)?;
                start = address.checked_next_multiple_of(layout.align())? - base as usize;
                let end = start.checked_add(layout.size())?;
                (end <= SIZE).then_some(end)
            });
        match taken {
            // SAFETY: `start` is inside the arena.
            Ok(_) => unsafe { base.add(start) },
            Err(_) => ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, _piece: *mut u8, _layout: Layout) {}
}

/// Bytes handed out.
pub fn used() -> usize {
    ARENA.used.load(Ordering::Relaxed)
}
