//! What the guest announces about its tables.

use super::slot::{Mirror, Slot, TableId};
use super::{Place, Progress, Shadow, VISIT_OF_A_ROOT};
use crate::address::{Gfn, Gpa, Gva};
use crate::frames::{TableIndex, TablePool};
use crate::kill::Kill;
use crate::memory::GuestMemory;
use crate::paging::{Counterpart, Format, Mapping, bits};
use hv_abi::lguest::RESERVE_MEM;

/// Bits of a leaf entry that the processor sets, or that mean nothing to it: two entries that differ
/// in no others are the same translation.
const INSIGNIFICANT: u64 = bits::A | bits::D | 0xe00;

/// SET_PMD from a guest whose format has no tables between the top and the leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoMiddleTables;

impl<T: TablePool, S: AsRef<[Slot]> + AsMut<[Slot]>, F: Format> Shadow<T, S, F> {
    /// SET_PTE: the leaf entry for `gva` became `entry`, as far as the format's entries are wide, in
    /// `root` or, for kernel addresses, in all roots. An unknown root is none of our business.
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
        let entry = F::ENTRY.truncate(entry);
        let place = Place::of(gva);
        let quarter = TableIndex::new(place.quarter);
        let is_kernel = gva >= self.kernel_address;
        if !is_kernel && !self.is_known(root) {
            return Ok(());
        }
        let in_use = entry & bits::P != 0 && entry & (bits::A | bits::D) != 0;
        if in_use && entry & self.refused_leaf_flags != 0 {
            return Err(Kill::BadPageTableEntry(entry));
        }
        let mapping = match in_use {
            true => {
                let frame = F::LEAF.check(entry, memory.device_limit())?;
                // Device memory is never mapped (lguest-abi 7.2, step 6).
                (frame < memory.frames()).then_some(Mapping::of(frame, entry))
            }
            false => None,
        };
        if !is_kernel {
            let root = self.cached_root(root);
            let directory = root.and_then(|root| self.tables.child(root, quarter));
            if let Some(directory) = directory {
                self.set_leaf(memory, directory, gva, mapping);
            }
        } else if self.is_shared(place.quarter) {
            // One directory serves all roots.
            if let Some(directory) = self.shared_directory(place.quarter) {
                self.set_leaf(memory, directory, gva, mapping);
            }
        } else {
            self.for_all_roots(|shadow, root| {
                if let Some(directory) = shadow.tables.child(root, quarter) {
                    shadow.set_leaf(memory, directory, gva, mapping);
                }
            });
        }
        Ok(())
    }

    /// Replaces one leaf of the shadow, where a directory has it.
    fn set_leaf(
        &mut self,
        memory: &impl GuestMemory,
        directory: TableId,
        gva: Gva,
        mapping: Option<Mapping>,
    ) {
        let place = Place::of(gva);
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
        let in_memory = F::ENTRY
            .read(memory, F::entry(table.start(), &F::LEAF, gva))
            .ok()?;
        if (in_memory ^ mapping.leaf) & !INSIGNIFICANT != 0 || in_memory & bits::A == 0 {
            return None;
        }
        // Clean in memory is clean: the next write has to be seen.
        let agreed = Mapping::of(mapping.frame, in_memory & mapping.leaf);
        Some(agreed.shadow(memory.host_frame(mapping.frame)?))
    }

    /// SET_PGD: top-level entry `index` of `root` changed, and with it everything under it. Asked again, it
    /// begins anew: where it was done already nothing is left to do.
    ///
    /// # Errors
    /// When there is no such entry.
    pub fn set_pgd(&mut self, root: Gpa, index: u32) -> Result<Progress, Kill> {
        let entries = F::TOP.entries;
        if index >= entries {
            return Err(Kill::BadPgdIndex { index, entries });
        }
        let start = Gva::new(index.wrapping_shl(F::TOP.shift));
        if start < self.kernel_address {
            if let Some(root) = self.cached_root(root) {
                self.drop_top_entry(root, start);
            }
            return Ok(Progress::Done);
        }
        let mut next = self.roots.newest();
        while let Some(root) = next {
            if self.is_tired() {
                return Ok(Progress::Unfinished);
            }
            self.drop_top_entry(root, start);
            self.tables.add_effort(VISIT_OF_A_ROOT);
            next = self.tables.table(root).and_then(|table| table.older);
        }
        Ok(Progress::Done)
    }

    /// Clears what a top-level entry corresponds to: the one for the addresses from `start`.
    fn drop_top_entry(&mut self, root: TableId, start: Gva) {
        let place = Place::of(start);
        match F::COUNTERPART {
            Counterpart::Directory => {
                self.unlink_quarter(root, place.quarter);
                // What the directory holds may have changed with it.
                if let Some(shared) = self.shared.get_mut(place.quarter as usize) {
                    *shared = None;
                }
            }
            Counterpart::DirectoryEntries(count) => {
                let Some(directory) = self.tables.child(root, TableIndex::new(place.quarter))
                else {
                    return;
                };
                let first = u32::from(place.directory.raw());
                for part in 0..count {
                    let index = TableIndex::new(first.wrapping_add(part));
                    if self.tables.unlink(directory, index) {
                        self.invalidation.add_all();
                    }
                }
            }
        }
    }

    /// SET_PMD: an entry of the page directory at `table` changed. Everything under it is dropped,
    /// whichever roots use it, and the stack is pinned again.
    ///
    /// # Errors
    /// Inner: the guest's format has no page directories below the top. Outer: the stack is no longer
    /// mapped.
    pub fn set_pmd(
        &mut self,
        memory: &impl GuestMemory,
        table: Gpa,
    ) -> Result<Result<(), NoMiddleTables>, Kill> {
        if F::MIDDLE.is_empty() {
            return Ok(Err(NoMiddleTables));
        }
        let directory = self
            .tables
            .find(Mirror::GuestDirectory(Gfn::containing(table)));
        if directory.is_some_and(|directory| self.tables.unlink_all(directory)) {
            self.invalidation.add_all();
            self.pin_stack(memory)?;
        }
        Ok(Ok(()))
    }
}
