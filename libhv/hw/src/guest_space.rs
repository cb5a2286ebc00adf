//! The top of the page tables that the guest runs on.

use crate::direct_map;
use core::ptr::NonNull;
use hv_core::address::Hpa;
use hv_core::frames::{Frame, Host};

/// Entry of the PML4 under which the guest's 4 GiB lie, all of them; what an overlong access of the
/// processor reaches beyond is never mapped.
const GUEST_SLOT: usize = 0;
/// Present, writable, user, accessed: the shadow tables below decide.
const OPEN: u64 = 0x27;

/// The PML4 of the guest: the host's upper half, as far as it may be seen, and in slot 0 the shadow
/// of whichever root the guest has loaded.
pub struct GuestSpace {
    pml4: Frame<Host>,
    root: Option<Hpa>,
}

impl GuestSpace {
    /// A guest space whose upper half is a copy of `host`'s: PML4 entries 256 to 511.
    pub fn new(pml4: Frame<Host>, host: Hpa) -> Self {
        let ours: NonNull<u64> = direct_map::pointer(pml4.address()).cast();
        let hosts: NonNull<u64> = direct_map::pointer(host).cast();
        // SAFETY: both are page tables in the direct map; the first is owned and not in use yet.
        unsafe {
            ours.write_bytes(0, 256);
            ours.add(256).copy_from_nonoverlapping(hosts.add(256), 256);
        }
        Self { pml4, root: None }
    }

    /// Host-physical address of the PML4.
    pub fn address(&self) -> Hpa {
        self.pml4.address()
    }

    /// The shadow that is in place.
    pub fn shown(&self) -> Option<Hpa> {
        self.root
    }

    /// Puts the shadow of a root in place. The processor still knows translations of the one before.
    pub fn show(&mut self, root: Option<Hpa>) {
        self.root = root;
        let entry = root.map_or(0, |root| root.raw() | OPEN);
        let table: NonNull<u64> = direct_map::pointer(self.pml4.address()).cast();
        // SAFETY: the table is owned; only the processor reads it beside us.
        unsafe { table.add(GUEST_SLOT).write_volatile(entry) };
    }
}
