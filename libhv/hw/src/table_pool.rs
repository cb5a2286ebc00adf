//! The budget of page-table frames for the shadow.

use crate::direct_map;
use core::ptr::NonNull;
use hv_core::address::{Hpa, PAGE_SIZE};
use hv_core::frames::{Frame, Run, Table, TableIndex, TablePool};

/// A fixed run of frames, handed out one by one. What is used up is used up: the shadow has to evict.
pub struct FixedPool {
    /// Frames that were never handed out.
    fresh: Run<Table>,
    /// Frames that came back, in the first `returned` cells.
    stack: &'static mut [Option<Frame<Table>>],
    returned: usize,
    first: Hpa,
    capacity: usize,
}

impl Default for FixedPool {
    /// A pool of no frames.
    fn default() -> Self {
        Self::new(Run::default(), &mut [])
    }
}

impl FixedPool {
    /// A pool of all frames in `run`. `stack` has a cell for each of them.
    pub fn new(run: Run<Table>, stack: &'static mut [Option<Frame<Table>>]) -> Self {
        let capacity = (run.count() as usize).min(stack.len());
        Self {
            first: run.start(),
            fresh: run,
            stack,
            returned: 0,
            capacity,
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
    fn capacity(&self) -> usize {
        self.capacity
    }

    fn take(&mut self) -> Option<Frame<Table>> {
        let table = match self.returned.checked_sub(1) {
            Some(top) => {
                self.returned = top;
                self.stack[top].take()?
            }
            None => self.fresh.take_first()?,
        };
        // SAFETY: the frame is owned, and mapped writable by the direct map.
        unsafe { direct_map::pointer(table.address()).write_bytes(0, PAGE_SIZE as usize) };
        Some(table)
    }

    fn give(&mut self, table: Frame<Table>) {
        // There is a cell for every frame of the pool, and only those are `Frame<Table>`s.
        self.stack[self.returned] = Some(table);
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

    fn set(&mut self, table: &mut Frame<Table>, index: TableIndex, value: u64) {
        // SAFETY: as in `get`. An aligned 64-bit store: the processor sees the old entry or the new.
        unsafe { entry(table, index).write_volatile(value) }
    }
}
