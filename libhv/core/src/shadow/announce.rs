//! What the guest announces about its tables.

use super::slot::{Mirror, Slot, TableId};
use super::{Place, Shadow};
use crate::address::{Gpa, Gva};
use crate::frames::{TableIndex, TablePool};
use crate::kill::Kill;
use crate::memory::GuestMemory;
use crate::paging::{Format, Mapping, bits};
use hv_abi::lguest::RESERVE_MEM;

/// Bits of a leaf entry that the processor sets, or that mean nothing to it: two entries that differ
/// in no others are the same translation.
const INSIGNIFICANT: u64 = bits::A | bits::D | 0xe00;

impl<T: TablePool, S: AsRef<[Slot]> + AsMut<[Slot]>, F: Format> Shadow<T, S, F> {
    /// SET_PTE: the leaf entry for `gva` became `entry`, in `root` or, for kernel addresses, in all
    /// roots. An unknown root is none of our business.
    ///
    /// # Errors
    /// When the address is reserved, or an entry that is present and in use names neither RAM nor device
    /// memory.
    pub fn set_pte(
        &mut self,
        memory: &impl GuestMemory,
        root: Gpa,
        gva: Gva,
        entry: u64,
    ) -> Result<(), Kill> {
        if gva.raw() >= 0_u32.wrapping_sub(RESERVE_MEM) {
            return Err(Kill::PteInReservedWindow(gva));
        }
        let is_kernel = gva >= self.kernel_address;
        if !is_kernel && !self.is_known(root) {
            return Ok(());
        }
        let in_use = entry & bits::P != 0 && entry & (bits::A | bits::D) != 0;
        let mapping = match in_use {
            true => {
                let frame = F::check_leaf(entry, memory.device_limit())?;
                // Device memory is never mapped (lguest-abi 7.2, step 6).
                (frame < memory.frames()).then_some(Mapping::of(frame, entry))
            }
            false => None,
        };
        if !is_kernel {
            let root = self.cached_root(root);
            self.set_leaf(memory, root, gva, mapping);
        } else if self.is_shared(Place::of(gva).quarter) {
            // One directory serves all roots.
            self.set_leaf(memory, self.current_table, gva, mapping);
        } else {
            self.for_all_roots(|shadow, root| shadow.set_leaf(memory, Some(root), gva, mapping));
        }
        Ok(())
    }

    /// Replaces one leaf of the shadow, where it has one.
    fn set_leaf(
        &mut self,
        memory: &impl GuestMemory,
        root: Option<TableId>,
        gva: Gva,
        mapping: Option<Mapping>,
    ) {
        let place = Place::of(gva);
        let Some(directory) = self.directory_of(root, place.quarter) else {
            return;
        };
        let Some(leaf) = self.tables.child(directory, place.directory) else {
            return;
        };
        let entry = mapping
            .and_then(|mapping| self.believed(memory, leaf, gva, mapping))
            .unwrap_or(0);
        let old = self.tables.set_entry(leaf, place.leaf, entry);
        if old != 0 && old != entry {
            self.invalidation.add_page(gva);
        }
    }

    /// The processor's entry for an announced mapping, if guest memory agrees with it (R9): then it
    /// spares a fault. If not, a later announcement is on its way, or the guest lies; the next access
    /// will read the truth.
    fn believed(
        &self,
        memory: &impl GuestMemory,
        leaf: TableId,
        gva: Gva,
        mapping: Mapping,
    ) -> Option<u64> {
        let Mirror::Leaf { table, .. } = self.tables.table(leaf)?.mirror else {
            return None;
        };
        let in_memory = u64::from(memory.read_u32(F::leaf_entry(table, gva)).ok()?);
        if (in_memory ^ mapping.leaf) & !INSIGNIFICANT != 0 || in_memory & bits::A == 0 {
            return None;
        }
        // Clean in memory is clean: the next write has to be seen.
        let agreed = Mapping::of(
            mapping.frame,
            in_memory & mapping.leaf | in_memory & bits::A,
        );
        Some(agreed.shadow(memory.host_frame(mapping.frame)?))
    }

    /// SET_PGD: top-level entry `index` of `root` changed, and with it everything under it.
    ///
    /// # Errors
    /// When there is no such entry.
    pub fn set_pgd(&mut self, root: Gpa, index: u32) -> Result<(), Kill> {
        if index >= F::TOP_ENTRIES {
            return Err(Kill::BadPgdIndex(index));
        }
        let quarter = index.checked_div(F::TOP_ENTRIES_PER_DIRECTORY).unwrap_or(0);
        if self.is_shared(quarter) {
            self.drop_slot(self.current_table, quarter, index);
        } else if F::top_start(index) >= self.kernel_address {
            self.for_all_roots(|shadow, root| shadow.drop_slot(Some(root), quarter, index));
        } else {
            self.drop_slot(self.cached_root(root), quarter, index);
        }
        Ok(())
    }

    fn drop_slot(&mut self, root: Option<TableId>, quarter: u32, index: u32) {
        if let Some(directory) = self.directory_of(root, quarter)
            && self.unlink_slot(directory, index)
        {
            self.invalidation.add_all();
        }
    }

    /// The directory of a quarter: the one of all roots, if there is such, else the one of `root`.
    fn directory_of(&self, root: Option<TableId>, quarter: u32) -> Option<TableId> {
        let named = root.and_then(|root| self.tables.child(root, TableIndex::new(quarter)));
        match named {
            None if self.is_shared(quarter) => {
                self.tables.find(Mirror::KernelDirectory { quarter })
            }
            named => named,
        }
    }

    /// Applies a change to every root that is remembered; their number is the cache's limit at most.
    fn for_all_roots(&mut self, mut change: impl FnMut(&mut Self, TableId)) {
        let mut next = self.roots.newest();
        while let Some(root) = next {
            change(self, root);
            next = self.tables.table(root).and_then(|table| table.older);
        }
    }
}
