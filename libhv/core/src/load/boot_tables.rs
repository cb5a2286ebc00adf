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

/// Numbers of a paging format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Shape {
    /// Bytes of an entry.
    entry_size: u32,
    /// Entries of a table.
    entries: u32,
    /// Bytes that a leaf table maps.
    leaf_span: u64,
}

/// 1024 entries of 32 bits: a page directory is the root.
const TWO_LEVEL: Shape = Shape {
    entry_size: 4,
    entries: 1024,
    leaf_span: 4 << 20,
};
/// 512 entries of 64 bits. There is one page directory, which maps 1 GiB.
const PAE: Shape = Shape {
    entry_size: 8,
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

/// Boot tables for one guest: where they go and what they map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    shape: Shape,
    /// First byte past them: a page boundary.
    end: u32,
    /// Leaf tables.
    leaves: u32,
    /// Frames of RAM.
    frames: u32,
    /// Where the guest's kernel has its RAM.
    page_offset: u32,
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

    /// Writes the tables that `entry` calls for and returns their root; `None` when it calls for none.
    ///
    /// # Errors
    /// When they do not lie in RAM.
    pub fn write(
        &self,
        memory: &impl GuestMemory,
        entry: Entry,
    ) -> Result<Option<Gpa>, BadAddress> {
        let (identity, high) = match entry {
            Entry::Linear => return Ok(None),
            Entry::Marker => (Mapped::No, Mapped::Yes),
            Entry::Physical(BootTables::Identity) => (Mapped::Yes, Mapped::No),
            Entry::Physical(BootTables::IdentityAndPageOffset) => (Mapped::Yes, Mapped::Yes),
        };
        let clear = [0; PAGE_SIZE as usize];
        memory.write(self.root(), &clear)?;
        for leaf in 0..self.leaves {
            self.write_leaf(memory, leaf)?;
        }
        if self.has_directory() {
            self.write_pointers(memory, identity, high)?;
        } else {
            self.write_leaf_pointers(memory, identity, high)?;
        }
        Ok(Some(self.root()))
    }

    /// Writes leaf table `index` in one piece: a guest may wait for all of them in its first call.
    fn write_leaf(&self, memory: &impl GuestMemory, index: u32) -> Result<(), BadAddress> {
        let mut table = [0; PAGE_SIZE as usize];
        let first = index.wrapping_mul(self.shape.entries);
        let entries = (first..self.frames).map(|frame| frame << 12 | FLAGS);
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
        memory.write(self.leaf(index), &table)
    }

    /// The root of two levels names the leaf tables.
    fn write_leaf_pointers(
        &self,
        memory: &impl GuestMemory,
        identity: Mapped,
        high: Mapped,
    ) -> Result<(), BadAddress> {
        let first = self.page_offset >> 22;
        // What RAM has above PAGE_OFFSET has no place but there. Above it there may be less room than
        // RAM: then its end is not mapped.
        let low = match (identity, high) {
            (Mapped::No, _) => 0,
            (Mapped::Yes, Mapped::No) => self.leaves,
            (Mapped::Yes, Mapped::Yes) => self.leaves.min(first),
        };
        let above = match high {
            Mapped::No => 0,
            Mapped::Yes => self.leaves.min(self.shape.entries.saturating_sub(first)),
        };
        let low = (0..low).map(|leaf| (leaf, leaf));
        let above = (0..above).map(|leaf| (first.wrapping_add(leaf), leaf));
        for (slot, leaf) in low.chain(above) {
            self.put(
                memory,
                self.root(),
                slot,
                self.leaf(leaf).raw() as u32 | FLAGS,
            )?;
        }
        Ok(())
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
        let clear = [0; PAGE_SIZE as usize];
        memory.write(directory, &clear)?;
        for leaf in 0..self.leaves {
            self.put(
                memory,
                directory,
                leaf,
                self.leaf(leaf).raw() as u32 | FLAGS,
            )?;
        }
        let pointer = directory.raw() as u32 | POINTER_FLAGS;
        let first = self.page_offset >> 30;
        for slot in 0..POINTERS {
            if slot == 0 && identity == Mapped::Yes || slot == first && high == Mapped::Yes {
                self.put(memory, self.root(), slot, pointer)?;
            }
        }
        Ok(())
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

    /// Writes the low word of an entry, and of a wide one zero above it.
    fn put(
        &self,
        memory: &impl GuestMemory,
        table: Gpa,
        index: u32,
        entry: u32,
    ) -> Result<(), BadAddress> {
        let at = (table.raw() as u32).wrapping_add(index.wrapping_mul(self.shape.entry_size));
        memory.write_u32(Gpa::from(at), entry)?;
        if self.shape == PAE {
            memory.write_u32(Gpa::from(at.wrapping_add(4)), 0)?;
        }
        Ok(())
    }
}

/// Whether RAM is to be found at some place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mapped {
    No,
    Yes,
}
