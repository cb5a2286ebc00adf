//! The budget of page-table frames for the shadow.

use crate::direct_map;
use core::ptr::NonNull;
use hv_core::address::{Hpa, PAGE_SIZE};
use hv_core::frames::{Entries, Frame, Run, Table, TableIndex, TablePool};

/// Bits of an entry's index within a group: the unit in which tables are cleared.
const GROUP_SHIFT: u32 = 4;
/// A group, in units that the compiler stores with one instruction each.
type Group = [u128; (8 << GROUP_SHIFT) / 16];

/// A fixed run of frames, handed out one by one. What is used up is used up: the shadow has to evict.
///
/// A table is handed out empty, and most have few entries when they come back. So the pool knows which
/// parts of each table were written, and clears those alone: a page fault that needs new tables would
/// otherwise spend most of its time on clearing.
pub struct FixedPool {
    /// Frames that were never handed out. They are clear.
    fresh: Run<Table>,
    cells: &'static mut [Cell],
    /// Frames that came back are in so many cells, the first ones.
    returned: usize,
    first: Hpa,
    capacity: usize,
}

/// Bookkeeping for each frame of the pool.
#[derive(Default)]
pub struct Cell {
    /// A frame that came back: one of the pool, whichever.
    returned: Option<Frame<Table>>,
    /// Of the frame with this cell's number: a bit for each group of entries that was written since it
    /// was last clear.
    written: u32,
}

impl Default for FixedPool {
    /// A pool of no frames.
    fn default() -> Self {
        Self::new(Run::default(), &mut [])
    }
}

impl FixedPool {
    /// A pool of all frames in `run`, which are cleared. `cells` has one for each of them.
    pub fn new(run: Run<Table>, cells: &'static mut [Cell]) -> Self {
        let capacity = (run.count() as usize).min(cells.len());
        if capacity != 0 {
            let bytes = capacity * PAGE_SIZE as usize;
            // SAFETY: the frames are owned, and mapped writable by the direct map.
            unsafe { direct_map::pointer(run.start()).write_bytes(0, bytes) };
        }
        Self {
            first: run.start(),
            fresh: run,
            cells,
            returned: 0,
            capacity,
        }
    }

    /// Clears what was written in a table.
    fn clear(&mut self, table: &Frame<Table>) {
        let Some(number) = self.number_at(table.address()) else {
            return;
        };
        let mut written = core::mem::take(&mut self.cells[number].written);
        let groups: NonNull<Group> = direct_map::pointer(table.address()).cast();
        while written != 0 {
            // SAFETY: a table has a group for each of the 32 bits; the frame is owned and mapped, and a
            // table that came back is one that the processor uses no more.
            unsafe { groups.add(written.trailing_zeros() as usize).write([0; _]) };
            written &= written - 1;
        }
    }
}

fn entry(table: &Frame<Table>, index: TableIndex) -> NonNull<u64> {
    // SAFETY: the index is below 512, so the entry lies in the table's own frame.
    unsafe {
        direct_map::pointer(table.address())
            .cast::<u64>()
            .add(index.raw() as usize)
    }
}

impl TablePool for FixedPool {
    type Entries<'a> = TableEntries<'a>;

    fn capacity(&self) -> usize {
        self.capacity
    }

    fn available(&self) -> usize {
        self.fresh.count() as usize + self.returned
    }

    fn take(&mut self) -> Option<Frame<Table>> {
        let Some(top) = self.returned.checked_sub(1) else {
            return self.fresh.take_first();
        };
        self.returned = top;
        let table = self.cells[top].returned.take()?;
        self.clear(&table);
        Some(table)
    }

    fn give(&mut self, table: Frame<Table>) {
        // There is a cell for every frame of the pool, and only those are `Frame<Table>`s.
        self.cells[self.returned].returned = Some(table);
        self.returned += 1;
    }

    fn number_at(&self, address: Hpa) -> Option<usize> {
        let offset = address.raw().checked_sub(self.first.raw())?;
        let number = (offset / u64::from(PAGE_SIZE)) as usize;
        (number < self.capacity).then_some(number)
    }

    fn get(&self, table: &Frame<Table>, index: TableIndex) -> u64 {
        // SAFETY: the frame is owned and mapped. Volatile: the processor sets A and D.
        unsafe { entry(table, index).read_volatile() }
    }

    fn next_entry(&self, table: &Frame<Table>, index: TableIndex) -> Option<TableIndex> {
        let number = self.number_at(table.address())?;
        let written = self.cells[number].written;
        let mut index = index.raw();
        loop {
            // Groups that were never written are empty.
            let skipped = (written >> (index >> GROUP_SHIFT)).trailing_zeros();
            if skipped != 0 {
                index = ((index >> GROUP_SHIFT) + skipped as u16) << GROUP_SHIFT;
            }
            if index >= TableIndex::COUNT {
                return None;
            }
            let end = ((index >> GROUP_SHIFT) + 1) << GROUP_SHIFT;
            for index in (index..end).map(|index| TableIndex::new(index.into())) {
                if self.get(table, index) != 0 {
                    return Some(index);
                }
            }
            if end == TableIndex::COUNT {
                return None;
            }
            index = end;
        }
    }

    #[inline(always)]
    fn entries<'a>(&'a mut self, table: &'a mut Frame<Table>) -> TableEntries<'a> {
        TableEntries {
            first: entry(table, TableIndex::new(0)),
            pool: self,
            table,
        }
    }
}

/// The entries of a table.
pub struct TableEntries<'a> {
    /// The first. The table stays borrowed, so it stays owned and mapped.
    first: NonNull<u64>,
    pool: &'a mut FixedPool,
    table: &'a mut Frame<Table>,
}

impl TableEntries<'_> {
    #[inline(always)]
    fn at(&self, index: TableIndex) -> NonNull<u64> {
        // SAFETY: the index is below 512, so the entry lies in the table's own frame.
        unsafe { self.first.add(index.raw() as usize) }
    }
}

impl Entries for TableEntries<'_> {
    #[inline(always)]
    fn get(&self, index: TableIndex) -> u64 {
        // SAFETY: the frame is owned and mapped. Volatile: the processor sets A and D.
        unsafe { self.at(index).read_volatile() }
    }

    #[inline(always)]
    fn set(&mut self, index: TableIndex, value: u64) {
        // A group with an entry in it was noted when that was written.
        if self.get(index) == 0
            && let Some(number) = self.pool.number_at(self.table.address())
        {
            self.pool.cells[number].written |= 1 << (index.raw() >> GROUP_SHIFT);
        }
        // SAFETY: as in `get`. An aligned 64-bit store: the processor sees the old entry or the new.
        unsafe { self.at(index).write_volatile(value) }
    }
}
