//! The budget of page-table frames for the shadow.

use crate::direct_map;
use core::arch::x86_64::{__m128i, _mm_setzero_si128};
use core::ptr::NonNull;
use hv_core::address::{Hpa, PAGE_SIZE};
use hv_core::frames::{Frame, Run, Table, TableIndex, TablePool};

/// Entries of a table that are cleared together: an eighth of it.
const PORTION: usize = TableIndex::COUNT as usize / 8;
/// Stores that clear a portion.
const PORTION_STORES: usize = PORTION * size_of::<u64>() / size_of::<__m128i>();

/// A fixed run of frames, handed out one by one. What is used up is used up: the shadow has to evict.
///
/// Tables are handed out empty. A page fault waits for that, so only what was written since is
/// cleared: most tables hold a few neighbouring entries.
pub struct FixedPool {
    /// Frames that were never handed out.
    fresh: Run<Table>,
    /// Frames that came back, in the first `returned` cells.
    stack: &'static mut [Option<Frame<Table>>],
    returned: usize,
    /// For each frame a bit a portion: set when it may hold anything but zeros.
    written: &'static mut [u8],
    first: Hpa,
    capacity: usize,
}

impl FixedPool {
    /// A pool of all frames in `run`, cleared. `stack` and `written` have a cell for each of them.
    pub fn new(
        run: Run<Table>,
        stack: &'static mut [Option<Frame<Table>>],
        written: &'static mut [u8],
    ) -> Self {
        let capacity = (run.count() as usize).min(stack.len()).min(written.len());
        // SAFETY: the run is owned, and mapped writable by the direct map.
        unsafe {
            direct_map::pointer(run.start())
                .write_bytes(0, run.count() as usize * PAGE_SIZE as usize)
        };
        written.fill(0);
        Self {
            first: run.start(),
            fresh: run,
            stack,
            returned: 0,
            written,
            capacity,
        }
    }

    fn number(&self, table: &Frame<Table>) -> usize {
        ((table.address().raw() - self.first.raw()) / u64::from(PAGE_SIZE)) as usize
    }

    fn clear(&mut self, table: &Frame<Table>) {
        let number = self.number(table);
        let written = core::mem::take(&mut self.written[number]);
        for portion in (0..8).filter(|portion| written & 1 << portion != 0) {
            let start = direct_map::pointer(table.address()).cast::<__m128i>();
            for store in portion * PORTION_STORES..(portion + 1) * PORTION_STORES {
                // SAFETY: in the table's own frame, which is owned and mapped. Volatile, because
                // the compiler would make the loop a `memset`, which takes an instruction a word.
                unsafe { start.add(store).write_volatile(_mm_setzero_si128()) };
            }
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
        self.clear(&table);
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
        let number = self.number(table);
        self.written[number] |= 1 << (usize::from(index.raw()) / PORTION);
        // SAFETY: as in `get`. An aligned 64-bit store: the processor sees the old entry or the new.
        unsafe { entry(table, index).write_volatile(value) }
    }
}
