//! Page frames as owned values.
//!
//! A [`Frame`] or a [`Run`] of them is neither `Copy` nor `Clone`; its state is a type. What it may be
//! used for is decided by the compiler: only [`FrameAllocator`] makes them, whoever holds one owns the
//! memory, and giving it back consumes it.
//!
//! Giving a run back twice does not compile:
//! ```compile_fail,E0382
//! # use hv_core::frames::*;
//! fn twice(frames: &mut FrameAllocator, run: Run<Host>) {
//!     let _ = frames.free(run);
//!     let _ = frames.free(run);
//! }
//! ```
//! nor does reading a table's address after it went back to its pool:
//! ```compile_fail,E0382
//! # use hv_core::{address::Hpa, frames::*};
//! fn late(pool: &mut impl TablePool, table: Frame<Table>) -> Hpa {
//!     pool.give(table);
//!     table.address()
//! }
//! ```
//! nor taking guest RAM for a page table:
//! ```compile_fail,E0308
//! # use hv_core::frames::*;
//! fn confuse(pool: &mut impl TablePool, ram: Frame<GuestRam>) {
//!     pool.give(ram);
//! }
//! ```

mod allocator;

pub use allocator::{FrameAllocator, OutOfFrames, Statistics, TooManyRanges};

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
    /// Host-physical address of its first byte.
    pub fn address(&self) -> Hpa {
        self.number.start()
    }
}

impl Frame<Free> {
    /// Decides what the frame is for.
    pub fn into_state<S>(self) -> Frame<S> {
        Frame {
            number: self.number,
            state: PhantomData,
        }
    }
}

/// Consecutive frames, owned together.
#[derive(Debug, PartialEq, Eq)]
pub struct Run<S> {
    first: Hfn,
    count: u64,
    state: PhantomData<S>,
}

impl<S> Run<S> {
    const fn of(first: Hfn, count: u64) -> Self {
        Self {
            first,
            count,
            state: PhantomData,
        }
    }

    /// Frames in the run.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Host-physical address of its first byte.
    pub fn start(&self) -> Hpa {
        self.first.start()
    }

    /// Takes the first frame off the run; `None` when none is left.
    pub fn take_first(&mut self) -> Option<Frame<S>> {
        let left = self.count.checked_sub(1)?;
        let frame = Frame {
            number: self.first,
            state: PhantomData,
        };
        self.first = self.first.wrapping_add(1);
        self.count = left;
        Some(frame)
    }
}

impl<S> Default for Run<S> {
    /// A run of no frames.
    fn default() -> Self {
        Self::of(Hfn::new(0), 0)
    }
}

impl Run<Free> {
    /// Decides what the frames are for.
    pub fn into_state<S>(self) -> Run<S> {
        Run::of(self.first, self.count)
    }
}

impl<S> From<Frame<S>> for Run<S> {
    fn from(frame: Frame<S>) -> Self {
        Run::of(frame.number, 1)
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

    /// The one after; none after the last.
    pub const fn next(self) -> Option<Self> {
        match self.0.wrapping_add(1) {
            Self::COUNT => None,
            next => Some(Self(next)),
        }
    }

    /// How many entries there are from `first` to this one, both counted.
    pub fn distance(self, first: Option<Self>) -> u32 {
        let first = first.map_or(0, Self::raw);
        u32::from(self.0.wrapping_sub(first)).wrapping_add(1)
    }

    /// The bare number, 0 to 511.
    pub const fn raw(self) -> u16 {
        self.0
    }
}

/// The entries of one table, to be changed.
pub trait Entries {
    /// Reads an entry.
    fn get(&self, index: TableIndex) -> u64;
    /// Writes an entry.
    fn set(&mut self, index: TableIndex, entry: u64);
}

/// Page-table frames of a fixed budget, and the only way to read or write their entries.
pub trait TablePool {
    /// See [`TablePool::entries`].
    type Entries<'a>: Entries
    where
        Self: 'a;
    /// Frames that the pool was given in all.
    fn capacity(&self) -> usize;
    /// Tables that can be taken now.
    fn available(&self) -> usize;
    /// Takes a table with all 512 entries zero; `None` when the budget is used up.
    fn take(&mut self) -> Option<Frame<Table>>;
    /// Gives a table back. Its contents no longer matter.
    fn give(&mut self, table: Frame<Table>);
    /// Number of the pool's frame at an address, 0 to `capacity` - 1; `None` for any other address.
    fn number_at(&self, address: Hpa) -> Option<usize>;
    /// Reads an entry.
    fn get(&self, table: &Frame<Table>, index: TableIndex) -> u64;
    /// The first entry from `index` on that is not zero.
    fn next_entry(&self, table: &Frame<Table>, index: TableIndex) -> Option<TableIndex> {
        let mut next = Some(index);
        while let Some(index) = next {
            if self.get(table, index) != 0 {
                return next;
            }
            next = index.next();
        }
        None
    }
    /// The entries of a table, to be changed.
    fn entries<'a>(&'a mut self, table: &'a mut Frame<Table>) -> Self::Entries<'a>;
}
