//! The page tables that guests of generations G1 to early G4 start on (2.6): in guest RAM, right below the
//! initrd. From the top down there are the root, the leaf tables in the order of the memory that they map, and
//! with three levels one page directory. The guest reads and copies them, so they are its own memory
//! like any other.

use crate::address::{Gpa, PAGE_SIZE};
use crate::memory::{BadAddress, GuestMemory};
use crate::paging::Paging;
use hv_abi::lguest::{BootTables, Entry};

/// P, RW and US: what every entry has.
const FLAGS: u32 = 7;
/// P: what a top-level entry of three levels has.
const POINTER_FLAGS: u32 = 1;
/// Entries of a pointer table.
const POINTERS: u32 = 4;
/// Leaf tables that are written at a time, some 3300 instructions each: a guest whose generation is found out
/// at its first call waits for them in exits of that length.
const LEAVES_AT_A_TIME: u32 = 8;

/// Numbers of a paging format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Shape {
    /// Entries of a table.
    entries: u32,
    /// Bytes that a leaf table maps.
    leaf_span: u64,
}

/// 1024 entries of 32 bits: a page directory is the root.
const TWO_LEVEL: Shape = Shape {
    entries: 1024,
    leaf_span: 4 << 20,
};
/// 512 entries of 64 bits. There is one page directory, which maps 1 GiB.
const PAE: Shape = Shape {
    entries: 512,
    leaf_span: 2 << 20,
};

/// Where a guest's kernel can have its RAM. Top-level entries stand for 4 MiB; the last one was the host's.
pub fn is_page_offset(address: u32) -> bool {
    (0x4000_0000..=0xff80_0000).contains(&address)
        && u64::from(address).is_multiple_of(TWO_LEVEL.leaf_span)
}

/// The same, for people.
pub const PAGE_OFFSET_RULE: &str = "multiple of 0x400000 from 0x40000000 to 0xff800000";

/// Boot tables for one guest: where they go, what they map, and how much of them is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    shape: Shape,
    /// First byte past them: a page boundary.
    end: u32,
    /// Leaf tables.
    leaves: u32,
    /// Leaf tables that are written.
    written: u32,
    /// Frames of RAM.
    frames: u32,
    /// Where the guest's kernel has its RAM.
    page_offset: u32,
}

/// How far tables are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Written {
    /// The guest starts without any.
    NotNeeded,
    /// Some of them: there is more to do.
    Part,
    /// All of them; their root.
    All(Gpa),
}

impl Plan {
    /// Tables for `ram` bytes below `end`. `page_offset` is one that [`is_page_offset`]; kernels with three levels
    /// have it at a multiple of 1 GiB. They have three levels only if the user says so: before the guest runs,
    /// nothing else tells.
    pub fn new(ram: u64, end: u32, page_offset: u32, paging: Paging) -> Self {
        let frames = ram.checked_div(PAGE_SIZE.into()).unwrap_or_default() as u32;
        let (shape, most) = match paging {
            Paging::Pae => (PAE, u64::from(PAE.entries)),
            Paging::TwoLevel | Paging::Auto => (TWO_LEVEL, u64::MAX),
        };
        Self {
            shape,
            end,
            leaves: ram.div_ceil(shape.leaf_span).min(most) as u32,
            written: 0,
            frames,
            page_offset,
        }
    }

    /// Bytes of the tables.
    pub fn size(&self) -> u32 {
        let upper = if self.has_directory() { 2 } else { 1 };
        self.leaves.wrapping_add(upper).wrapping_mul(PAGE_SIZE)
    }

    /// Address of the top-level table.
    pub fn root(&self) -> Gpa {
        Gpa::from(self.end.wrapping_sub(PAGE_SIZE))
    }

    /// Writes all tables that `entry` calls for and returns their root; `None` when it calls for none.
    ///
    /// # Errors
    /// When they do not lie in RAM.
    pub fn write(
        &mut self,
        memory: &impl GuestMemory,
        entry: Entry,
    ) -> Result<Option<Gpa>, BadAddress> {
        loop {
            match self.write_on(memory, entry)? {
                Written::NotNeeded => return Ok(None),
                Written::Part => {}
                Written::All(root) => return Ok(Some(root)),
            }
        }
    }

    /// Writes the next of the tables that `entry` calls for, as many as one exit should.
    ///
    /// # Errors
    /// When they do not lie in RAM.
    pub fn write_on(
        &mut self,
        memory: &impl GuestMemory,
        entry: Entry,
    ) -> Result<Written, BadAddress> {
        let (identity, high) = match entry {
            Entry::Linear => return Ok(Written::NotNeeded),
            Entry::Marker => (Mapped::No, Mapped::Yes),
            Entry::Physical(BootTables::Identity) => (Mapped::Yes, Mapped::No),
            Entry::Physical(BootTables::IdentityAndPageOffset) => (Mapped::Yes, Mapped::Yes),
        };
        let last = self.leaves.min(self.written.wrapping_add(LEAVES_AT_A_TIME));
        for leaf in self.written..last {
            self.write_leaf(memory, leaf)?;
        }
        self.written = last;
        if last != self.leaves {
            return Ok(Written::Part);
        }
        if self.has_directory() {
            self.write_pointers(memory, identity, high)?;
        } else {
            self.write_leaf_pointers(memory, identity, high)?;
        }
        Ok(Written::All(self.root()))
    }

    /// Writes leaf table `index`.
    fn write_leaf(&self, memory: &impl GuestMemory, index: u32) -> Result<(), BadAddress> {
        let first = index.wrapping_mul(self.shape.entries);
        let entries = (first..self.frames).map(|frame| frame << 12 | FLAGS);
        self.write_table(memory, self.leaf(index), entries)
    }

    /// The root of two levels names the leaf tables.
    fn write_leaf_pointers(
        &self,
        memory: &impl GuestMemory,
        identity: Mapped,
        high: Mapped,
    ) -> Result<(), BadAddress> {
        let first = self.page_offset >> 22;
        let entry = |slot: u32| {
            // What RAM has above PAGE_OFFSET has no place but there. Above it there may be less room than
            // RAM: then its end is not mapped.
            let leaf = match (identity, high) {
                (_, Mapped::Yes) if slot >= first => slot.wrapping_sub(first),
                (Mapped::Yes, _) => slot,
                (Mapped::No, _) => return 0,
            };
            if leaf < self.leaves {
                self.leaf(leaf).raw() as u32 | FLAGS
            } else {
                0
            }
        };
        let entries = (0..self.shape.entries).map(entry);
        self.write_table(memory, self.root(), entries)
    }

    /// The root of three levels names one page directory, which names the leaf tables.
    fn write_pointers(
        &self,
        memory: &impl GuestMemory,
        identity: Mapped,
        high: Mapped,
    ) -> Result<(), BadAddress> {
        let directory = self.leaf(0).raw() as u32;
        let directory = Gpa::from(directory.wrapping_sub(PAGE_SIZE));
        let entries = (0..self.leaves).map(|leaf| self.leaf(leaf).raw() as u32 | FLAGS);
        self.write_table(memory, directory, entries)?;
        let first = self.page_offset >> 30;
        let entry = |slot| {
            let mapped =
                slot == 0 && identity == Mapped::Yes || slot == first && high == Mapped::Yes;
            if mapped {
                directory.raw() as u32 | POINTER_FLAGS
            } else {
                0
            }
        };
        self.write_table(memory, self.root(), (0..POINTERS).map(entry))
    }

    /// Writes the page at `at` in one piece: these entries, and zeros behind them.
    fn write_table(
        &self,
        memory: &impl GuestMemory,
        at: Gpa,
        entries: impl Iterator<Item = u32>,
    ) -> Result<(), BadAddress> {
        let mut table = [0; PAGE_SIZE as usize];
        if self.shape == PAE {
            let (wide, _) = table.as_chunks_mut();
            for (to, entry) in wide.iter_mut().zip(entries) {
                *to = u64::from(entry).to_le_bytes();
            }
        } else {
            let (narrow, _) = table.as_chunks_mut();
            for (to, entry) in narrow.iter_mut().zip(entries) {
                *to = entry.to_le_bytes();
            }
        }
        memory.write(at, &table)
    }

    /// Whether there is a level between root and leaf tables.
    fn has_directory(&self) -> bool {
        self.shape == PAE
    }

    /// Address of leaf table `index`.
    fn leaf(&self, index: u32) -> Gpa {
        let below = self.leaves.wrapping_sub(index).wrapping_mul(PAGE_SIZE);
        Gpa::from((self.root().raw() as u32).wrapping_sub(below))
    }
}

/// Whether RAM is to be found at some place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mapped {
    No,
    Yes,
}
