//! The page tables that guests of generations G1 to early G4 start on (2.6): two levels, in guest RAM,
//! right below the initrd. The guest reads and copies them, so they are its own memory like any other.

use crate::address::{Gpa, PAGE_SIZE};
use crate::memory::{BadAddress, GuestMemory};
use hv_abi::lguest::{BootTables, Entry};

/// P, RW and US: what every entry has.
const FLAGS: u32 = 7;
/// Entries of a table, and bytes of an entry.
const ENTRIES: u32 = 1024;
const ENTRY_SIZE: u32 = 4;
/// Bytes that a top-level entry stands for.
const TOP_SPAN: u64 = 4 << 20;

/// Where a guest's kernel can have its RAM. Top-level entries stand for 4 MiB; the last one was the host's.
pub fn is_page_offset(address: u32) -> bool {
    (0x4000_0000..=0xff80_0000).contains(&address) && u64::from(address).is_multiple_of(TOP_SPAN)
}

/// The same, for people.
pub const PAGE_OFFSET_RULE: &str = "multiple of 0x400000 from 0x40000000 to 0xff800000";

/// Boot tables for one guest: where they go and what they map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
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
    /// Tables for `ram` bytes below `end`. `page_offset` is one that [`is_page_offset`].
    pub fn new(ram: u64, end: u32, page_offset: u32) -> Self {
        let frames = ram.checked_div(PAGE_SIZE.into()).unwrap_or_default() as u32;
        Self {
            end,
            leaves: ram.div_ceil(TOP_SPAN) as u32,
            frames,
            page_offset,
        }
    }

    /// Bytes of the tables.
    pub fn size(&self) -> u32 {
        self.leaves.wrapping_add(1).wrapping_mul(PAGE_SIZE)
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
            Entry::Marker => (0, self.leaves),
            Entry::Physical(BootTables::Identity) => (self.leaves, 0),
            // What RAM has above PAGE_OFFSET has no place but there.
            Entry::Physical(BootTables::IdentityAndPageOffset) => {
                (self.leaves.min(self.top_index()), self.leaves)
            }
        };
        let leaves = self.root().raw() as u32;
        let leaves = leaves.wrapping_sub(self.leaves.wrapping_mul(PAGE_SIZE));
        let clear = [0; PAGE_SIZE as usize];
        memory.write(self.root(), &clear)?;
        for frame in 0..self.leaves.wrapping_mul(ENTRIES) {
            let mapped = frame < self.frames;
            let entry = if mapped { frame << 12 | FLAGS } else { 0 };
            put(memory, leaves, frame, entry)?;
        }
        // Below PAGE_OFFSET there may be less room than RAM: then its end is not mapped.
        let high = high.min(ENTRIES.saturating_sub(self.top_index()));
        let slots = (0..identity).map(|leaf| (leaf, leaf));
        let high = (0..high).map(|leaf| (self.top_index().wrapping_add(leaf), leaf));
        for (slot, leaf) in slots.chain(high) {
            let table = leaves.wrapping_add(leaf.wrapping_mul(PAGE_SIZE));
            put(memory, self.root().raw() as u32, slot, table | FLAGS)?;
        }
        Ok(Some(self.root()))
    }

    /// Index of the top-level entry of PAGE_OFFSET.
    fn top_index(&self) -> u32 {
        self.page_offset >> 22
    }
}

fn put(memory: &impl GuestMemory, table: u32, index: u32, entry: u32) -> Result<(), BadAddress> {
    let at = table.wrapping_add(index.wrapping_mul(ENTRY_SIZE));
    memory.write_u32(Gpa::from(at), entry)
}
