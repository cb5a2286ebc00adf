//! Guests' paging formats: types behind one trait.

use super::bits;
use crate::address::{Gfn, Gpa, Gva};
use crate::kill::Kill;

/// A guest's paging format, as far as its shadow has to know it.
///
/// A format says where the entries for an address lie and which entries it accepts; rights, accessed
/// and dirty bits mean the same in all of them.
pub trait Format {
    /// Top-level entries that share one of the processor's page directories (1 GiB).
    const TOP_ENTRIES_PER_DIRECTORY: u32;
    /// Entries of the processor's page directory that a top-level entry covers.
    const DIRECTORY_ENTRIES_PER_TOP: u32;
    /// Top-level entries.
    const TOP_ENTRIES: u32;

    /// Frame of a root, from the value that the guest loads.
    fn root_frame(root: Gpa) -> Gfn;
    /// Index of the top-level entry for `gva`.
    fn top_index(gva: Gva) -> u32;
    /// First address that a top-level entry translates.
    fn top_start(index: u32) -> Gva;
    /// Where the top-level entry is.
    fn top_entry(root: Gfn, index: u32) -> Gpa;
    /// Where the leaf entry for `gva` is, in the table that its top-level entry names.
    fn leaf_entry(table: Gfn, gva: Gva) -> Gpa;
    /// The table that a present top-level entry names.
    ///
    /// # Errors
    /// When the format has no such entry or its table is not RAM.
    fn check_top(entry: u64, ram: Gfn) -> Result<Gfn, Kill>;
    /// The frame that a present leaf entry names.
    ///
    /// # Errors
    /// When the format has no such entry or its frame is not RAM.
    fn check_leaf(entry: u64, ram: Gfn) -> Result<Gfn, Kill>;
}

/// 32-bit paging without large pages: 1024 top-level entries of 1024 leaf entries.
#[derive(Clone, Copy, Debug)]
pub struct TwoLevel;

/// Top-level flags that lguest guests may use: P, RW, US, A, D (lguest-abi 7.2). Everything else has
/// no meaning there, and a large page would need a format of its own.
const TOP_FLAGS: u64 = 0x67;
const FLAGS: u64 = 0xfff;
/// A leaf's PAT bit is refused: whoever sets it may mean a large page.
const LEAF_REFUSED: u64 = bits::PS;

impl Format for TwoLevel {
    const TOP_ENTRIES_PER_DIRECTORY: u32 = 256;
    const DIRECTORY_ENTRIES_PER_TOP: u32 = 2;
    const TOP_ENTRIES: u32 = 1024;

    fn root_frame(root: Gpa) -> Gfn {
        Gfn::containing(root)
    }

    fn top_index(gva: Gva) -> u32 {
        gva.raw() >> 22
    }

    fn top_start(index: u32) -> Gva {
        Gva::new(index << 22)
    }

    fn top_entry(root: Gfn, index: u32) -> Gpa {
        root.start().wrapping_add(u64::from(index & 1023) << 2)
    }

    fn leaf_entry(table: Gfn, gva: Gva) -> Gpa {
        table
            .start()
            .wrapping_add(u64::from(gva.raw() >> 12 & 1023) << 2)
    }

    fn check_top(entry: u64, ram: Gfn) -> Result<Gfn, Kill> {
        let table = Gfn::new(entry >> 12);
        if entry & FLAGS & !TOP_FLAGS != 0 || table >= ram {
            return Err(Kill::BadPageDirectoryEntry(entry));
        }
        Ok(table)
    }

    fn check_leaf(entry: u64, ram: Gfn) -> Result<Gfn, Kill> {
        let frame = Gfn::new(entry >> 12);
        if entry & LEAF_REFUSED != 0 || frame >= ram {
            return Err(Kill::BadPageTableEntry(entry));
        }
        Ok(frame)
    }
}
