//! Arrays and values whose size or number is known only when the host starts, in frames that are never
//! given back.

use crate::direct_map;
use hv_core::address::PAGE_SIZE;
use hv_core::frames::{Host, Run};

/// Frames that `count` elements of `T` take.
pub const fn frames_for<T>(count: usize) -> u64 {
    ((count * size_of::<T>()) as u64).div_ceil(PAGE_SIZE as u64)
}

/// Fills the run with elements, as many as fit but no more than `count`, and keeps it for good.
pub fn array<T>(run: Run<Host>, count: usize, mut element: impl FnMut() -> T) -> &'static mut [T] {
    const { assert!(align_of::<T>() <= PAGE_SIZE as usize) };
    let fits = (run.count() * u64::from(PAGE_SIZE)) as usize / size_of::<T>().max(1);
    let count = count.min(fits);
    let first = direct_map::pointer(run.start()).cast::<T>();
    for index in 0..count {
        // SAFETY: inside the run, which is ours, page-aligned and mapped writable.
        unsafe { first.add(index).write(element()) };
    }
    // SAFETY: all elements have just been written; the run is consumed, so nobody else ever gets it.
    unsafe { core::slice::from_raw_parts_mut(first.as_ptr(), count) }
}

/// Puts `value` into the run and keeps it for good.
pub fn place<T>(run: Run<Host>, value: T) -> &'static mut T {
    const { assert!(align_of::<T>() <= PAGE_SIZE as usize) };
    assert!((run.count() * u64::from(PAGE_SIZE)) as usize >= size_of::<T>());
    let mut place = direct_map::pointer(run.start()).cast::<T>();
    // SAFETY: the run is large enough and ours, page-aligned and mapped writable; it is consumed, so
    // nobody else ever gets it.
    unsafe {
        place.write(value);
        place.as_mut()
    }
}
