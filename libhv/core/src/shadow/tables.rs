//! All shadow tables: found by what they mirror, freed when nothing names them any more.

use super::places::Places;
use super::slot::{Mirror, ShadowTable, Slot, TableId};
use crate::address::{Gpa, Hpa};
use crate::frames::{Entries, TableIndex, TablePool};
use crate::paging::{bits, table_entry};

/// Slots looked at, each time that a table is created, for tables that were freed all at once. More than one,
/// so that frames come back faster than they are needed.
const SWEPT_AT_ONCE: usize = 64;
/// What a table costs when it is freed or created, and all of them when they are freed at once, in entries
/// looked at.
const FREEING: u32 = 16;
const CREATING: u32 = 64;
const FREEING_ALL: u32 = 64;

/// The tables of one guest. `S` holds one slot for each frame of the pool.
#[derive(Debug)]
pub(super) struct Tables<T, S> {
    pool: T,
    slots: S,
    in_use: usize,
    /// Times that all tables were freed at once. Tables and buckets of an earlier age do not exist any more.
    age: u64,
    /// Tables of earlier ages that still have their frames.
    left_over: usize,
    /// Slots below this have none.
    swept: usize,
    /// Entries looked at so far; wraps.
    effort: u32,
    /// Where tables were found, for as long as they must still be there.
    pub(super) places: Places,
}

/// A table whose entries are being changed.
pub(super) struct OpenTable<'a, T: TablePool + 'a> {
    entries: T::Entries<'a>,
    live: &'a mut u32,
}

impl<T: TablePool> OpenTable<'_, T> {
    #[inline(always)]
    pub(super) fn get(&self, index: TableIndex) -> u64 {
        self.entries.get(index)
    }

    /// Replaces `old`.
    #[inline(always)]
    pub(super) fn set(&mut self, index: TableIndex, entry: u64, old: u64) {
        self.entries.set(index, entry);
        let present = |entry: u64| (entry & bits::P) as u32;
        *self.live = (self.live)
            .wrapping_add(present(entry))
            .wrapping_sub(present(old));
    }
}

impl<T: TablePool, S: AsRef<[Slot]> + AsMut<[Slot]>> Tables<T, S> {
    pub(super) fn new(pool: T, mut slots: S) -> Self {
        slots.as_mut().fill_with(Slot::default);
        Self {
            pool,
            slots,
            in_use: 0,
            age: 0,
            left_over: 0,
            swept: usize::MAX,
            effort: 0,
            places: Places::default(),
        }
    }

    /// A measure of the time that creating and freeing tables has taken: entries looked at, which wraps.
    pub(super) fn effort(&self) -> u32 {
        self.effort
    }

    pub(super) fn add_effort(&mut self, entries: u32) {
        self.effort = self.effort.wrapping_add(entries);
    }

    pub(super) fn in_use(&self) -> usize {
        self.in_use
    }

    pub(super) fn capacity(&self) -> usize {
        self.pool.capacity().min(self.slots.as_ref().len())
    }

    /// Tables that can still be created.
    pub(super) fn available(&self) -> usize {
        self.pool.available().wrapping_add(self.left_over)
    }

    pub(super) fn table(&self, id: TableId) -> Option<&ShadowTable> {
        self.slots.as_ref().get(id.number())?.table.as_ref()
    }

    pub(super) fn table_mut(&mut self, id: TableId) -> Option<&mut ShadowTable> {
        self.slots.as_mut().get_mut(id.number())?.table.as_mut()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = TableId> + '_ {
        let slots = self.slots.as_ref().iter().enumerate();
        let exists = |slot: &Slot| {
            slot.table
                .as_ref()
                .is_some_and(|table| table.age == self.age)
        };
        slots
            .filter(move |(_, slot)| exists(slot))
            .filter_map(|(number, _)| TableId::new(number))
    }

    pub(super) fn address(&self, id: TableId) -> Option<Hpa> {
        Some(self.table(id)?.frame.address())
    }

    /// The table that mirrors `mirror`.
    #[inline(never)]
    pub(super) fn find(&self, mirror: Mirror) -> Option<TableId> {
        self.seek(mirror)
    }

    /// The same for a root, of which there may be a thousand, and one is sought at every switch of tasks.
    pub(super) fn find_root(&self, root: Gpa) -> Option<TableId> {
        self.seek(Mirror::Root(root))
    }

    /// Where the kind of mirror is known, little is left of this.
    #[inline(always)]
    fn seek(&self, mirror: Mirror) -> Option<TableId> {
        let mut next = self.first_in(self.bucket(mirror));
        while let Some(id) = next {
            let table = self.table(id)?;
            if table.mirror == mirror {
                return Some(id);
            }
            next = table.next;
        }
        None
    }

    /// The first table of a bucket.
    fn first_in(&self, bucket: usize) -> Option<TableId> {
        let slot = self.slots.as_ref().get(bucket)?;
        slot.bucket.filter(|_| slot.bucket_age == self.age)
    }

    /// A new, empty table for `mirror`; nothing names it yet. `None` when the budget is used up.
    pub(super) fn create(&mut self, mirror: Mirror) -> Option<TableId> {
        let bucket = self.bucket(mirror);
        self.sweep();
        let frame = self.pool.take()?;
        let id = self
            .pool
            .number_at(frame.address())
            .and_then(TableId::new)?;
        let next = self.first_in(bucket);
        let head = self.slots.as_mut().get_mut(bucket)?;
        (head.bucket, head.bucket_age) = (Some(id), self.age);
        let age = self.age;
        let slot = self.slots.as_mut().get_mut(id.number())?;
        slot.table = Some(ShadowTable {
            frame,
            mirror,
            age,
            references: 0,
            live: 0,
            next,
            newer: None,
            older: None,
        });
        self.in_use = self.in_use.wrapping_add(1);
        self.places.forget();
        self.add_effort(CREATING);
        Some(id)
    }

    pub(super) fn entry(&self, id: TableId, index: TableIndex) -> u64 {
        self.table(id)
            .map_or(0, |table| self.pool.get(&table.frame, index))
    }

    /// Whether a table has no present entry.
    pub(super) fn is_empty(&self, id: TableId) -> bool {
        self.table(id).is_some_and(|table| table.live == 0)
    }

    /// Replaces an entry of a table. Returns the old one.
    pub(super) fn set_entry(&mut self, id: TableId, index: TableIndex, entry: u64) -> u64 {
        let Some(mut table) = self.open(id) else {
            return 0;
        };
        let old = table.get(index);
        if old != entry {
            table.set(index, entry, old);
        }
        old
    }

    /// A table whose entries are to be changed.
    #[inline(always)]
    pub(super) fn open(&mut self, id: TableId) -> Option<OpenTable<'_, T>> {
        let slot = self.slots.as_mut().get_mut(id.number())?;
        let table = slot.table.as_mut()?;
        Some(OpenTable {
            entries: self.pool.entries(&mut table.frame),
            live: &mut table.live,
        })
    }

    /// The table that an entry of a table names.
    pub(super) fn child(&self, id: TableId, index: TableIndex) -> Option<TableId> {
        self.named_by(self.entry(id, index))
    }

    fn named_by(&self, entry: u64) -> Option<TableId> {
        let present = entry & bits::P != 0;
        present
            .then(|| self.pool.number_at(Hpa::new(entry & bits::FRAME)))
            .flatten()
            .and_then(TableId::new)
    }

    /// Clears all entries of a leaf table.
    pub(super) fn empty_leaf(&mut self, id: TableId) {
        let mut next = Some(TableIndex::new(0));
        while self.table(id).is_some_and(|table| table.live != 0)
            && let Some(index) = self.next_entry(id, next)
        {
            self.set_entry(id, index, 0);
            next = index.next();
        }
    }

    /// Makes an entry name `child`, with these rights. Returns the old entry; what it named is
    /// released.
    pub(super) fn link(
        &mut self,
        id: TableId,
        index: TableIndex,
        child: TableId,
        rights: u64,
    ) -> u64 {
        let Some(table) = self.table_mut(child) else {
            return 0;
        };
        table.references = table.references.wrapping_add(1);
        let entry = table_entry(table.frame.address(), rights);
        self.places.forget();
        let old = self.set_entry(id, index, entry);
        if let Some(was) = self.named_by(old) {
            self.release(was);
        }
        old
    }

    /// Clears an entry that names a table, which is released. Returns whether there was one.
    pub(super) fn unlink(&mut self, id: TableId, index: TableIndex) -> bool {
        self.places.forget();
        let old = self.set_entry(id, index, 0);
        if let Some(was) = self.named_by(old) {
            self.release(was);
        }
        old != 0
    }

    pub(super) fn hold(&mut self, id: TableId) {
        if let Some(table) = self.table_mut(id) {
            table.references = table.references.wrapping_add(1);
        }
    }

    /// Drops one reference to a table; with the last one it goes, and with it what it names. Levels
    /// only go down, so this nests three deep at most.
    pub(super) fn release(&mut self, id: TableId) {
        let Some(table) = self.table_mut(id) else {
            return;
        };
        table.references = table.references.saturating_sub(1);
        if table.references != 0 {
            return;
        }
        if !table.mirror.is_leaf() {
            self.release_children(id);
        }
        self.free(id);
    }

    /// Releases all that a table names which is about to go: its own entries no longer matter.
    fn release_children(&mut self, id: TableId) {
        let mut left = self.table(id).map_or(0, |table| table.live);
        let mut next = Some(TableIndex::new(0));
        while left != 0
            && let Some(index) = self.next_entry(id, next)
        {
            self.add_effort(index.distance(next));
            if let Some(child) = self.child(id, index) {
                left = left.wrapping_sub(1);
                self.release(child);
            }
            next = index.next();
        }
    }

    /// The first entry of a table from `index` on that is not zero.
    #[inline(always)]
    fn next_entry(&self, id: TableId, index: Option<TableIndex>) -> Option<TableIndex> {
        let (frame, index) = (&self.table(id)?.frame, index?);
        // In a full table it is this one, without a search.
        match self.pool.get(frame, index) {
            0 => self.pool.next_entry(frame, index),
            _ => Some(index),
        }
    }

    /// Clears the entries of a table that names tables, up to but not including `end`.
    pub(super) fn unlink_up_to(&mut self, id: TableId, end: TableIndex) {
        let mut next = Some(TableIndex::new(0));
        while let Some(index) = self.next_entry(id, next)
            && index < end
        {
            self.unlink(id, index);
            next = index.next();
        }
    }

    /// Clears all entries of a table that names tables. Returns whether there was one.
    pub(super) fn unlink_all(&mut self, id: TableId) -> bool {
        let mut changed = false;
        let mut next = Some(TableIndex::new(0));
        while self.table(id).is_some_and(|table| table.live != 0)
            && let Some(index) = self.next_entry(id, next)
        {
            self.add_effort(index.distance(next));
            changed |= self.unlink(id, index);
            next = index.next();
        }
        changed
    }

    fn free(&mut self, id: TableId) {
        let Some(table) = self
            .slots
            .as_mut()
            .get_mut(id.number())
            .and_then(|slot| slot.table.take())
        else {
            return;
        };
        self.places.forget();
        self.forget(id, table.mirror, table.next);
        self.pool.give(table.frame);
        self.in_use = self.in_use.wrapping_sub(1);
        self.add_effort(FREEING);
    }

    /// Takes a table out of its bucket.
    fn forget(&mut self, id: TableId, mirror: Mirror, next: Option<TableId>) {
        let bucket = self.bucket(mirror);
        let Some(head) = self.slots.as_mut().get_mut(bucket) else {
            return;
        };
        if head.bucket == Some(id) {
            head.bucket = next;
            return;
        }
        let mut at = head.bucket;
        while let Some(table) = at.and_then(|id| self.table_mut(id)) {
            if table.next == Some(id) {
                table.next = next;
                return;
            }
            at = table.next;
        }
    }

    /// Frees every table, in the same time however many there are: their frames come back little by little,
    /// as tables are created ([`Tables::sweep`]).
    pub(super) fn free_all(&mut self) {
        self.age = self.age.wrapping_add(1);
        self.places.forget();
        self.left_over = self.left_over.wrapping_add(self.in_use);
        self.in_use = 0;
        self.swept = 0;
        self.add_effort(FREEING_ALL);
    }

    /// Gives back frames of tables that were freed all at once: some, and at least one if the pool has no other.
    fn sweep(&mut self) {
        while self.left_over != 0 {
            let age = self.age;
            let slots = self.slots.as_mut().iter_mut().skip(self.swept);
            for slot in slots.take(SWEPT_AT_ONCE) {
                if let Some(table) = slot.table.take_if(|table| table.age != age) {
                    self.pool.give(table.frame);
                    self.left_over = self.left_over.wrapping_sub(1);
                }
            }
            self.swept = self.swept.saturating_add(SWEPT_AT_ONCE);
            if self.pool.available() != 0 {
                break;
            }
        }
    }

    /// Frees every table and gives the pool back.
    pub(super) fn into_pool(mut self) -> T {
        for slot in self.slots.as_mut() {
            if let Some(table) = slot.table.take() {
                self.pool.give(table.frame);
            }
        }
        self.pool
    }

    #[cfg(test)]
    pub(super) fn slots(&self) -> &[Slot] {
        self.slots.as_ref()
    }

    #[inline(always)]
    fn bucket(&self, mirror: Mirror) -> usize {
        let buckets = (self.slots.as_ref().len() as u64).max(1);
        mirror.hash().checked_rem(buckets).unwrap_or(0) as usize
    }
}
