//! What the guest announces about the tables above its leaf tables: SET_PGD and SET_PMD.

use super::slot::{Mirror, Slot, TableId};
use super::{Place, Shadow, SharedQuarter};
use crate::address::{Gfn, Gpa, Gva};
use crate::frames::{TableIndex, TablePool};
use crate::kill::Kill;
use crate::memory::GuestMemory;
use crate::paging::{Counterpart, Format};

/// SET_PMD from a guest whose format has no tables between the top and the leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoMiddleTables;

impl<T: TablePool, S: AsRef<[Slot]> + AsMut<[Slot]>, F: Format> Shadow<T, S, F> {
    /// SET_PGD: top-level entry `index` of `root` changed, and with it everything under it; for kernel addresses,
    /// that of every root.
    ///
    /// # Errors
    /// When there is no such entry, or the stack is no longer mapped.
    pub fn set_pgd(
        &mut self,
        memory: &impl GuestMemory,
        root: Gpa,
        index: u32,
    ) -> Result<(), Kill> {
        let entries = F::TOP.entries;
        if index >= entries {
            return Err(Kill::BadPgdIndex { index, entries });
        }
        let start = Gva::new(index.wrapping_shl(F::TOP.shift));
        if start < self.kernel_address {
            if let Some(root) = self.cached_root(root) {
                self.drop_top_entry(root, start);
            }
            return Ok(());
        }
        let quarter = Place::of(start).quarter;
        if !self.is_shared(quarter) {
            // Each root has a directory of its own there, with other entries beside. There are too many to visit,
            // and no guest does this but while it boots.
            return self.flush_all(memory);
        }
        if let Some(directory) = self.shared_directory(quarter) {
            match F::COUNTERPART {
                Counterpart::Directory => {
                    self.empty_directory(directory);
                }
                Counterpart::DirectoryEntries(count) => {
                    self.drop_directory_entries(directory, start, count);
                }
            }
        }
        Ok(())
    }

    /// Clears what a top-level entry of one root corresponds to: the one for the addresses from `start`.
    fn drop_top_entry(&mut self, root: TableId, start: Gva) {
        let quarter = Place::of(start).quarter;
        match F::COUNTERPART {
            Counterpart::Directory => {
                self.unlink_quarter(root, quarter);
                self.forget_if_ended(root);
            }
            Counterpart::DirectoryEntries(count) => {
                let Some(directory) = self.tables.child(root, TableIndex::new(quarter)) else {
                    return;
                };
                self.drop_directory_entries(directory, start, count);
                if self.tables.is_empty(directory) {
                    self.unlink_quarter(root, quarter);
                    self.forget_if_ended(root);
                }
            }
        }
    }

    fn drop_directory_entries(&mut self, directory: TableId, start: Gva, count: u32) {
        let first = u32::from(Place::of(start).directory.raw());
        for part in 0..count {
            let index = TableIndex::new(first.wrapping_add(part));
            if self.tables.unlink(directory, index) {
                self.invalidation.add_all();
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
        let table = Gfn::containing(table);
        let own = self.tables.find(Mirror::GuestDirectory(table));
        let mut changed = own.is_some_and(|own| self.empty_directory(own));
        for (quarter, shared) in (0..).zip(self.shared) {
            if shared == SharedQuarter::EntriesOf(table)
                && let Some(shared) = self.shared_directory(quarter)
            {
                if changed && self.is_tired() {
                    // It hangs in several places, each of which takes as long.
                    return self.flush_all(memory).map(Ok);
                }
                changed |= self.empty_directory(shared);
            }
        }
        if changed {
            self.pin_stack(memory)?;
        }
        Ok(Ok(()))
    }
}
