//! The roots that are remembered, in the order of their last use.

use super::slot::{Mirror, Slot, TableId};
use super::tables::Tables;
use super::{Current, QUARTERS, Shadow};
use crate::address::{Gfn, Gpa};
use crate::frames::{TableIndex, TablePool};
use crate::kill::Kill;
use crate::memory::{Access, BadAddress, GuestMemory};
use crate::paging::{Format, bits};

/// Roots of which the first two drop everything (R5).
const BOOT_ROOTS: u32 = 2;

/// A doubly linked list through the roots' own tables, so that every step takes the same time however
/// many there are.
#[derive(Debug)]
pub(super) struct Roots {
    limit: usize,
    count: usize,
    newest: Option<TableId>,
    oldest: Option<TableId>,
}

impl Roots {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            count: 0,
            newest: None,
            oldest: None,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn newest(&self) -> Option<TableId> {
        self.newest
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.limit);
    }

    fn push<T: TablePool, S: AsRef<[Slot]> + AsMut<[Slot]>>(
        &mut self,
        tables: &mut Tables<T, S>,
        id: TableId,
    ) {
        if let Some(table) = tables.table_mut(id) {
            table.older = self.newest;
            table.newer = None;
        }
        match self.newest.and_then(|newest| tables.table_mut(newest)) {
            Some(newest) => newest.newer = Some(id),
            None => self.oldest = Some(id),
        }
        self.newest = Some(id);
        self.count = self.count.wrapping_add(1);
    }

    /// Makes a root that is there the newest. In one go, because it is done at every switch of tasks.
    fn renew<T: TablePool, S: AsRef<[Slot]> + AsMut<[Slot]>>(
        &mut self,
        tables: &mut Tables<T, S>,
        id: TableId,
    ) {
        let before = self.newest.replace(id);
        let Some(table) = tables.table_mut(id).filter(|_| before != Some(id)) else {
            return;
        };
        let newer = table.newer.take();
        let older = core::mem::replace(&mut table.older, before);
        // There is a newer one: this one was not the newest.
        if let Some(newer) = newer.and_then(|newer| tables.table_mut(newer)) {
            newer.older = older;
        }
        match older.and_then(|older| tables.table_mut(older)) {
            Some(older) => older.newer = newer,
            None => self.oldest = newer,
        }
        if let Some(before) = before.and_then(|before| tables.table_mut(before)) {
            before.newer = Some(id);
        }
    }

    fn remove<T: TablePool, S: AsRef<[Slot]> + AsMut<[Slot]>>(
        &mut self,
        tables: &mut Tables<T, S>,
        id: TableId,
    ) {
        let Some((newer, older)) = tables.table(id).map(|table| (table.newer, table.older)) else {
            return;
        };
        match newer.and_then(|newer| tables.table_mut(newer)) {
            Some(newer) => newer.older = older,
            None => self.newest = older,
        }
        match older.and_then(|older| tables.table_mut(older)) {
            Some(older) => older.newer = newer,
            None => self.oldest = newer,
        }
        self.count = self.count.saturating_sub(1);
    }
}

impl<T: TablePool, S: AsRef<[Slot]> + AsMut<[Slot]>, F: Format> Shadow<T, S, F> {
    /// NEW_PGTABLE: `root` is current from now on.
    ///
    /// # Errors
    /// When it is not RAM, or does not map the pinned stack.
    pub fn new_pgtable(&mut self, memory: &impl GuestMemory, root: Gpa) -> Result<(), Kill> {
        let table = F::root(root);
        if Gfn::containing(table) >= memory.frames() {
            return Err(BadAddress {
                at: root,
                length: F::ENTRY.bytes() as usize,
                access: Access::Read,
            }
            .into());
        }
        let root = Current::Root(table);
        if root == self.current && self.current_table.is_some() {
            return Ok(());
        }
        if self.boot_roots < BOOT_ROOTS && root != self.current {
            self.boot_roots = self.boot_roots.wrapping_add(1);
            self.drop_all();
        }
        let before = self.current_table;
        self.current = root;
        // Whether a root is known depends on which is the current one.
        self.tables.places.forget_announced();
        self.run_on(self.tables.find_root(table));
        if core::mem::take(&mut self.ended)
            && let Some(before) = before
            && !self.has_own_part(before)
        {
            self.forget_root(before);
        }
        match self.current_table {
            Some(id) => {
                self.roots.renew(&mut self.tables, id);
                Ok(())
            }
            None => self.pin_stack(memory),
        }
    }

    /// The current root's shadow, made if need be. `None` when the budget is used up.
    pub(super) fn current_root(&mut self) -> Option<TableId> {
        if let Some(id) = self.current_table {
            return Some(id);
        }
        let mirror = match self.current {
            Current::Linear => Mirror::LinearRoot,
            Current::Root(root) => Mirror::Root(root),
        };
        while self.roots.count() >= self.roots.limit {
            self.evict_root()?;
        }
        let id = self.create(mirror)?;
        self.tables.hold(id);
        self.roots.push(&mut self.tables, id);
        self.run_on(Some(id));
        // What all roots share is there from the start: a new address space faults on nothing of it.
        for quarter in 0..QUARTERS {
            if let Some(shared) = self.shared_directory(quarter) {
                self.tables
                    .link(id, TableIndex::new(quarter), shared, bits::RIGHTS);
            }
        }
        Some(id)
    }

    /// A new table, for which the least recently used root goes if there is no frame left. `None` when there
    /// is nothing more to drop, or this exit has dropped enough.
    pub(super) fn create(&mut self, mirror: Mirror) -> Option<TableId> {
        match self.tables.create(mirror) {
            Some(id) => Some(id),
            None => {
                self.evict_root()?;
                self.tables.create(mirror)
            }
        }
    }

    /// Drops the least recently used root, unless it is the current one: then there is none to drop. A part of
    /// it at a time, if it is too large for one exit.
    fn evict_root(&mut self) -> Option<()> {
        let id = self.evictable_root()?;
        // The processor remembers upper levels.
        self.invalidation.add_all();
        for quarter in (0..QUARTERS).map(TableIndex::new) {
            if self.is_tired() {
                return None;
            }
            self.tables.unlink(id, quarter);
        }
        self.forget_root(id);
        self.statistics.evicted = self.statistics.evicted.wrapping_add(1);
        Some(())
    }

    fn forget_root(&mut self, id: TableId) {
        // Kernel tables may lose their last user, and the processor remembers upper levels.
        self.invalidation.add_all();
        self.roots.remove(&mut self.tables, id);
        self.tables.release(id);
    }

    /// SET_PGD took a table from a root. An address space that ends loses all of them so (R3), and with the last its root
    /// can go: a guest that once had many processes would have their roots remembered for ever. The current root goes
    /// when the next one is loaded, if it has nothing of its own then either.
    pub(super) fn forget_if_ended(&mut self, root: TableId) {
        if self.has_own_part(root) {
            return;
        }
        if self.current_table == Some(root) {
            self.ended = true;
        } else {
            self.forget_root(root);
        }
    }

    /// Whether a root has anything but what all roots share.
    fn has_own_part(&self, root: TableId) -> bool {
        (0..QUARTERS).any(|quarter| {
            let named = self.tables.child(root, TableIndex::new(quarter));
            named.is_some() && !self.is_shared(quarter)
        })
    }

    /// The root that goes next.
    pub(super) fn evictable_root(&self) -> Option<TableId> {
        self.roots
            .oldest
            .filter(|id| Some(*id) != self.current_table)
    }

    /// The shadow of a root that is remembered.
    pub(super) fn cached_root(&self, root: Gpa) -> Option<TableId> {
        let root = F::root(root);
        if self.current == Current::Root(root) {
            return self.current_table;
        }
        self.tables.find_root(root)
    }
}
