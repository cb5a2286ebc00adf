//! All of the machine's RAM, at one fixed offset.

use core::ptr::NonNull;
use hv_core::address::Hpa;

/// Where physical address 0 is mapped: PML4 slot 256.
pub const BASE: u64 = 0xffff_8000_0000_0000;
/// Bytes that the map can cover: PML4 slots 256 to 259.
pub const SIZE: u64 = 4 << 39;

/// A pointer to physical memory. It is mapped only where the memory map has RAM, or where a device was
/// mapped; making the pointer is safe, using it is for whoever owns the frame.
pub fn pointer(address: Hpa) -> NonNull<u8> {
    // RAM has no address with a bit of BASE's; of one that has, the pointer is in the upper half all the same.
    let linear = BASE | address.raw();
    // BASE is not 0.
    NonNull::new(core::ptr::with_exposed_provenance_mut(linear as usize))
        .unwrap_or(NonNull::dangling())
}
