//! Where the firmware says that configuration space is: ACPI's MCFG table, by way of the `acpi` crate.

use super::Ecam;
use crate::direct_map;
use acpi::mcfg::Mcfg;
use acpi::{AcpiHandler, AcpiTables, PhysicalMapping};
use core::ptr::NonNull;
use hv_core::address::Hpa;

/// How boot loaders say where ACPI's tables are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Root {
    /// The address of the root pointer structure (RSDP).
    Pointer(Hpa),
    /// The table that the root pointer names.
    Table {
        /// ACPI's revision: 0 for an RSDT, with 32-bit pointers, else an XSDT.
        revision: u8,
        /// Its address.
        at: Hpa,
    },
}

/// End of what the boot's page tables map.
const REACH: usize = 1 << 32;

/// What tables beyond our reach read as. No table has that signature.
static NOTHING: [u64; 16] = [0; 16];

#[derive(Clone)]
struct BootTables;

impl AcpiHandler for BootTables {
    unsafe fn map_physical_region<T>(&self, start: usize, size: usize) -> PhysicalMapping<Self, T> {
        let reachable = start.checked_add(size).is_some_and(|end| end <= REACH);
        let first: NonNull<u8> = if reachable {
            direct_map::pointer(Hpa::new(start as u64))
        } else {
            // `acpi` reads a header first, and goes on only if that has the right signature.
            assert!(
                size <= size_of_val(&NOTHING),
                "an ACPI table ends beyond 4 GiB"
            );
            NonNull::from(&NOTHING).cast()
        };
        // SAFETY: mapped for as long as the boot's page tables are in use, which `ecam`'s caller
        // promises; or static.
        unsafe { PhysicalMapping::new(start, first.cast(), size, size, self.clone()) }
    }

    fn unmap_physical_region<T>(_region: &PhysicalMapping<Self, T>) {}
}

/// The memory window of segment 0, the only one that a PC's devices need; `None` when the firmware
/// names none, or its tables are damaged.
///
/// # Safety
/// The boot's page tables are in use, which map the first 4 GiB. `root` is what the boot loader left,
/// and nothing has overwritten the firmware's tables.
pub unsafe fn ecam(root: Root) -> Option<Ecam> {
    // SAFETY: the caller's promise.
    let tables = unsafe {
        match root {
            Root::Pointer(at) => AcpiTables::from_rsdp(BootTables, at.raw() as usize),
            Root::Table { revision, at } => {
                AcpiTables::from_rsdt(BootTables, revision, at.raw() as usize)
            }
        }
    };
    let mcfg = tables.ok()?.find_table::<Mcfg>().ok()?;
    if mcfg.region_length() < size_of::<Mcfg>() {
        return None;
    }
    let entry = mcfg
        .entries()
        .iter()
        .find(|entry| { entry.pci_segment_group } == 0)?;
    Some(Ecam {
        base: Hpa::new(entry.base_address),
        buses: entry.bus_number_start..=entry.bus_number_end,
    })
}
