//! Page frames as owned values.
//!
//! A [`Frame`] is neither `Copy` nor `Clone`; its state is a type. What a frame may be used for is
//! decided by the compiler.

use crate::address::{Hfn, Hpa};
use core::marker::PhantomData;

/// State: belongs to nobody.
#[derive(Debug)]
pub enum Free {}
/// State: a shadow page table.
#[derive(Debug)]
pub enum Table {}
/// State: guest RAM.
#[derive(Debug)]
pub enum GuestRam {}
/// State: the host's own.
#[derive(Debug)]
pub enum Host {}

/// One page frame of the machine, owned.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<S> {
    number: Hfn,
    state: PhantomData<S>,
}

impl<S> Frame<S> {
    /// The frame's number.
    pub fn number(&self) -> Hfn {
        self.number
    }

    /// Host-physical address of its first byte.
    pub fn address(&self) -> Hpa {
        self.number.start()
    }
}

/// Index of one of the 512 entries of a hardware page table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TableIndex(u16);

impl TableIndex {
    /// Entries in a table.
    pub const COUNT: u16 = 512;

    /// Entry `index` modulo 512.
    pub const fn new(index: u32) -> Self {
        Self((index & 511) as u16)
    }

    /// The bare number, 0 to 511.
    pub const fn raw(self) -> u16 {
        self.0
    }
}

/// Page-table frames of a fixed budget, and the only way to read or write their entries.
pub trait TablePool {
    /// Frames that the pool was given in all.
    fn capacity(&self) -> usize;
    /// Takes a table with all 512 entries zero; `None` when the budget is used up.
    fn take(&mut self) -> Option<Frame<Table>>;
    /// Gives a table back. Its contents no longer matter.
    fn give(&mut self, table: Frame<Table>);
    /// Reads an entry.
    fn get(&self, table: &Frame<Table>, index: TableIndex) -> u64;
    /// Writes an entry.
    fn set(&mut self, table: &mut Frame<Table>, index: TableIndex, entry: u64);
}
