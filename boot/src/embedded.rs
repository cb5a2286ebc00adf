//! The guest that lies in the image itself: an appliance.
//!
//! The section `.guest` is the image's last, and empty as it is linked: a length of 0. `make image` puts
//! another in its place, which is a length and that many bytes of boot module.

use crate::machine::Module;
use hv_core::address::Hpa;
use hv_hw::direct_map;
use hv_hw::host_paging::IMAGE_BASE;

unsafe extern "C" {
    /// Where the link script puts the section.
    static guest_start: u8;
}

/// The module that the image carries.
///
/// # Safety
/// A boot loader has put the image into memory, nothing has written there since, and the tables in use map
/// the first 4 GiB at the direct map.
pub(crate) unsafe fn module() -> Option<Module> {
    let start = Hpa::new((&raw const guest_start).addr() as u64 - IMAGE_BASE);
    // SAFETY: the caller's promise; the section has a length at least.
    let length = unsafe { direct_map::pointer(start).cast::<u64>().read_volatile() };
    let contents = start.wrapping_add(size_of::<u64>() as u64);
    (length != 0).then(|| Module::new(contents, length))
}
