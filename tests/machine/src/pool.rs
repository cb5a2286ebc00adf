//! Frames for shadow tables.

use hv_core::address::Hpa;
use hv_core::frames::{Entries, Frame, FrameAllocator, Run, Table, TableIndex, TablePool};
use hv_core::paging::bits;
use std::cell::RefCell;
use std::rc::Rc;

const POOL_BASE: u64 = 0x8000_0000;

pub(crate) type PoolEntries = Rc<RefCell<Vec<[u64; 512]>>>;

/// Table frames whose entries the processor model reads as well.
#[derive(Default)]
pub struct Pool {
    pub(crate) entries: PoolEntries,
    fresh: Run<Table>,
    returned: Vec<Frame<Table>>,
    capacity: usize,
}

impl Pool {
    /// A pool of `capacity` frames.
    ///
    /// # Panics
    /// Never, for sizes that fit below the guest's RAM.
    pub fn new(capacity: usize) -> Self {
        let mut frames = FrameAllocator::new();
        let end = POOL_BASE + ((capacity as u64) << 12);
        frames.add(Hpa::new(POOL_BASE)..Hpa::new(end)).unwrap();
        let fresh = frames.take(capacity as u64, 1).unwrap().into_state();
        let entries = Rc::new(RefCell::new(vec![[0; 512]; capacity]));
        Self {
            entries,
            fresh,
            returned: Vec::new(),
            capacity,
        }
    }
}

pub(crate) fn number(address: Hpa) -> usize {
    ((address.raw() - POOL_BASE) >> 12) as usize
}

/// The entries of one table.
pub struct TableEntries<'a> {
    entries: &'a RefCell<Vec<[u64; 512]>>,
    number: usize,
}

impl Entries for TableEntries<'_> {
    fn get(&self, index: TableIndex) -> u64 {
        self.entries.borrow()[self.number][usize::from(index.raw())]
    }

    fn set(&mut self, index: TableIndex, entry: u64) {
        self.entries.borrow_mut()[self.number][usize::from(index.raw())] = entry;
    }
}

impl TablePool for Pool {
    type Entries<'a> = TableEntries<'a>;

    fn capacity(&self) -> usize {
        self.capacity
    }

    fn available(&self) -> usize {
        self.returned.len() + self.fresh.count() as usize
    }

    fn take(&mut self) -> Option<Frame<Table>> {
        let table = self.returned.pop().or_else(|| self.fresh.take_first())?;
        self.entries.borrow_mut()[number(table.address())] = [0; 512];
        Some(table)
    }

    fn give(&mut self, table: Frame<Table>) {
        // A freed table that the processor still uses must not go unnoticed: its entries name nothing.
        self.entries.borrow_mut()[number(table.address())] = [bits::P | bits::FRAME; 512];
        self.returned.push(table);
    }

    fn number_at(&self, address: Hpa) -> Option<usize> {
        let offset = address.raw().checked_sub(POOL_BASE)?;
        Some((offset >> 12) as usize).filter(|number| *number < self.capacity)
    }

    fn get(&self, table: &Frame<Table>, index: TableIndex) -> u64 {
        self.entries.borrow()[number(table.address())][usize::from(index.raw())]
    }

    fn entries<'a>(&'a mut self, table: &'a mut Frame<Table>) -> TableEntries<'a> {
        TableEntries {
            entries: &self.entries,
            number: number(table.address()),
        }
    }
}
