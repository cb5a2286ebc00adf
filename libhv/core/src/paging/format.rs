//! Guests' paging formats: data behind one trait.
//!
//! A format says where the entries for an address lie and which entries it accepts. What a right, an
//! accessed or a dirty bit means is the same in all of them, and is said once, in
//! [`propagate`](super::propagate()).

use super::{bits, error};
use crate::address::{Gfn, Gpa, Gva};
use crate::kill::Kill;
use crate::memory::{BadAddress, GuestMemory};

/// A guest's paging format.
pub trait Format {
    /// How wide entries are.
    const ENTRY: EntryWidth;
    /// Alignment of a root in bytes, a power of two. The bits below are flags of the guest's CR3.
    const ROOT_ALIGNMENT: u64;
    /// The level that a root is a table of.
    const TOP: Level;
    /// Levels between the top and the leaves, from the top down. The table of the last of them is a
    /// page directory, as the processor's own are: 512 entries for one gigabyte.
    const MIDDLE: &'static [Level];
    /// The level whose entries name pages.
    const LEAF: Level;
    /// What a top-level entry is to the processor.
    const COUNTERPART: Counterpart;
    /// Bits of a page fault's error code that a guest with this format knows.
    const ERROR: u32;

    /// Where the root is that the guest loads with this value.
    fn root(value: Gpa) -> Gpa {
        Gpa::new(value.raw() & !Self::ROOT_ALIGNMENT.wrapping_sub(1))
    }

    /// Where a level's entry for `gva` is in `table`.
    fn entry(table: Gpa, level: &Level, gva: Gva) -> Gpa {
        let index = u64::from(level.index(gva));
        table.wrapping_add(index.wrapping_mul(Self::ENTRY.bytes()))
    }

    /// Which of the processor's leaf tables `gva` is in, of those that mirror one leaf table of the
    /// guest's: the processor's have 512 entries each.
    fn leaf_part(gva: Gva) -> u32 {
        Self::LEAF.index(gva) >> 9
    }
}

/// One level of a format.
#[derive(Debug)]
pub struct Level {
    /// Lowest bit of an address that chooses the entry.
    pub shift: u32,
    /// Entries of a table, a power of two.
    pub entries: u32,
    /// Bits that a present entry must not have.
    pub refused: u64,
    /// Those of RW, US and NX that decide about rights here; the others grant everything.
    pub rights: u64,
    /// Why the guest ends that has another entry.
    pub kill: fn(u64) -> Kill,
}

impl Level {
    /// The number of the entry for `gva`.
    pub const fn index(&self, gva: Gva) -> u32 {
        gva.raw().wrapping_shr(self.shift) & self.entries.wrapping_sub(1)
    }

    /// The frame that a present entry names, whatever it is.
    pub const fn frame(entry: u64) -> Gfn {
        Gfn::new((entry & !bits::NX) >> 12)
    }

    /// The frame that a present entry names; `ram` is the first that is not RAM. Every bit between
    /// the flags and NX counts as part of the frame's number, so those that a processor would call
    /// reserved name no RAM.
    ///
    /// # Errors
    /// When this level has no such entry or its frame is not RAM.
    #[inline]
    pub fn check(&self, entry: u64, ram: Gfn) -> Result<Gfn, BadEntry> {
        let frame = Self::frame(entry);
        if entry & self.refused != 0 || frame >= ram {
            let kill = self.kill;
            return Err(BadEntry { kill, entry });
        }
        Ok(frame)
    }
}

/// A present entry that ends the guest: its format has no such, or its frame is not RAM. Small, unlike
/// the [`Kill`] that it becomes, because every table walk may return one.
#[derive(Clone, Copy, Debug)]
pub struct BadEntry {
    kill: fn(u64) -> Kill,
    entry: u64,
}

impl BadEntry {
    /// A leaf entry that is bad for a reason of its own, not the format's.
    pub(crate) const fn leaf(entry: u64) -> Self {
        Self {
            kill: Kill::BadPageTableEntry,
            entry,
        }
    }
}

impl From<BadEntry> for Kill {
    fn from(bad: BadEntry) -> Self {
        (bad.kill)(bad.entry)
    }
}

/// What a top-level entry of the guest's corresponds to in the processor's tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counterpart {
    /// A whole page directory: the guest has page directories of its own.
    Directory,
    /// So many neighbouring entries of a page directory.
    DirectoryEntries(u32),
}

/// Width of a format's entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryWidth {
    /// 32 bits.
    Four,
    /// 64 bits.
    Eight,
}

impl EntryWidth {
    /// Bytes of an entry.
    pub const fn bytes(self) -> u64 {
        match self {
            EntryWidth::Four => 4,
            EntryWidth::Eight => 8,
        }
    }

    /// As much of `value` as an entry holds.
    pub const fn truncate(self, value: u64) -> u64 {
        match self {
            EntryWidth::Four => value & 0xffff_ffff,
            EntryWidth::Eight => value,
        }
    }

    /// Reads the entry at `at`, in one access.
    ///
    /// # Errors
    /// When it is not in RAM.
    #[inline]
    pub fn read(self, memory: &impl GuestMemory, at: Gpa) -> Result<u64, BadAddress> {
        match self {
            EntryWidth::Four => memory.read_u32(at).map(u64::from),
            EntryWidth::Eight => memory.read_u64(at),
        }
    }

    /// Replaces the entry at `at` if it still is `current`.
    ///
    /// # Errors
    /// When it is not in RAM.
    #[inline]
    pub fn compare_exchange(
        self,
        memory: &impl GuestMemory,
        at: Gpa,
        current: u64,
        new: u64,
    ) -> Result<bool, BadAddress> {
        match self {
            EntryWidth::Four => memory.compare_exchange_u32(at, current as u32, new as u32),
            EntryWidth::Eight => memory.compare_exchange_u64(at, current, new),
        }
    }
}

const FLAGS: u64 = 0xfff;
/// Flags of entries that name tables: P, RW, US, A, D (lguest-abi 7.2). Everything else has no
/// meaning there, and a large page would need a format of its own.
const TABLE_FLAGS: u64 = 0x67;
/// A leaf's PAT bit is refused: whoever sets it may mean a large page.
const LEAF_REFUSED: u64 = bits::PS;

/// 32-bit paging without large pages: 1024 top-level entries of 1024 leaf entries.
#[derive(Clone, Copy, Debug)]
pub struct TwoLevel;

impl Format for TwoLevel {
    const ENTRY: EntryWidth = EntryWidth::Four;
    const ROOT_ALIGNMENT: u64 = 4096;
    const TOP: Level = Level {
        shift: 22,
        entries: 1024,
        refused: FLAGS & !TABLE_FLAGS,
        rights: bits::RIGHTS,
        kill: Kill::BadPageDirectoryEntry,
    };
    const MIDDLE: &'static [Level] = &[];
    const LEAF: Level = Level {
        shift: 12,
        entries: 1024,
        refused: LEAF_REFUSED,
        rights: bits::RIGHTS,
        kill: Kill::BadPageTableEntry,
    };
    const COUNTERPART: Counterpart = Counterpart::DirectoryEntries(2);
    const ERROR: u32 = error::PRESENT | error::WRITE | error::USER;
}

/// PAE paging without large pages: 4 top-level entries in 32 bytes, then two levels of 512 entries
/// (Intel SDM volume 3, 4.4; lguest-abi 7.9).
#[derive(Clone, Copy, Debug)]
pub struct Pae;

impl Format for Pae {
    const ENTRY: EntryWidth = EntryWidth::Eight;
    const ROOT_ALIGNMENT: u64 = 32;
    const TOP: Level = Level {
        shift: 30,
        entries: 4,
        // P alone: the processor has no rights at this level (LG-092).
        refused: FLAGS & !bits::P | bits::NX,
        rights: 0,
        kill: Kill::BadPageDirectoryEntry,
    };
    const MIDDLE: &'static [Level] = &[Level {
        shift: 21,
        entries: 512,
        // No guest of this ABI sets NX but in leaves (LG-093).
        refused: FLAGS & !TABLE_FLAGS | bits::NX,
        rights: bits::RIGHTS,
        kill: Kill::BadPageMiddleDirectoryEntry,
    }];
    const LEAF: Level = Level {
        shift: 12,
        entries: 512,
        refused: LEAF_REFUSED,
        rights: bits::RIGHTS | bits::NX,
        kill: Kill::BadPageTableEntry,
    };
    const COUNTERPART: Counterpart = Counterpart::Directory;
    const ERROR: u32 = error::PRESENT | error::WRITE | error::USER | error::FETCH;
}
