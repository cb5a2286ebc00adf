//! What each paging format looks like in memory.

use crate::{Machine, Ram};
use hv_core::address::Gpa;
use hv_core::paging::{Format, Pae, Presence, TwoLevel};
use std::marker::PhantomData;

/// A format, as these tests know it: written down by hand, so that a mistake in the format's own data
/// shows.
pub trait Tables: Format + Sized {
    /// Bytes of an entry.
    const WIDTH: u64;
    /// For each level from the top: the lowest address bit that chooses an entry, and how many entries a
    /// table has.
    const SHAPE: &'static [(u32, u32)];
    /// Bits of the error code that the guest gets to see.
    const ERRORS: u32;
    /// Bytes of a root.
    const ROOT_BYTES: u64;
    /// Indices at every edge of a table, a quarter and the kernel's start.
    const INDICES: &'static [u32];
    /// Any flags that may stand in an entry of a root.
    const TOP_FLAGS: u64;

    /// Gives a root page directories, if the format has such, one for each quarter.
    fn build(tables: &Entries<Self>, root: u64, directories: [u64; 4]);
    /// Announces that the entry at `at`, which names a leaf table, changed.
    fn announce(machine: &mut Machine<Self>, at: u64);
    /// Announces that the first `own` page directories of `root` changed.
    fn announce_top(machine: &mut Machine<Self>, root: u64, own: u32);
}

/// Bytes of address space that one leaf table covers.
pub const fn slot_size<G: Tables>() -> u32 {
    1 << G::SHAPE[G::SHAPE.len() - 2].0
}

/// A guest's view of its RAM: entries of its format.
pub struct Entries<'a, G> {
    pub(crate) ram: &'a Ram,
    pub(crate) format: PhantomData<G>,
}

impl<G: Tables> Entries<'_, G> {
    /// Entry `index` of the table in frame `table`.
    pub fn get(&self, table: u64, index: u32) -> u64 {
        self.at((table << 12) + u64::from(index) * G::WIDTH)
    }

    /// Replaces entry `index` of the table in frame `table`.
    pub fn set(&self, table: u64, index: u32, entry: u64) {
        self.set_at((table << 12) + u64::from(index) * G::WIDTH, entry);
    }

    /// The entry at a guest-physical address.
    pub fn at(&self, at: u64) -> u64 {
        let words = &self.ram.words[(at / 4) as usize..];
        match G::WIDTH {
            4 => u64::from(words[0].get()),
            _ => u64::from(words[1].get()) << 32 | u64::from(words[0].get()),
        }
    }

    /// Replaces the entry at a guest-physical address.
    pub fn set_at(&self, at: u64, entry: u64) {
        let words = &self.ram.words[(at / 4) as usize..];
        words[0].set(entry as u32);
        if G::WIDTH == 8 {
            words[1].set((entry >> 32) as u32);
        }
    }

    /// Where `root` names the leaf table for `gva`, if it gets that far.
    pub fn slot_at(&self, root: u64, gva: u32) -> Option<u64> {
        let (mut table, mut at) = (root, root);
        let upper = &G::SHAPE[..G::SHAPE.len() - 1];
        for (level, (shift, entries)) in upper.iter().enumerate() {
            at = table + u64::from(gva >> shift & (entries - 1)) * G::WIDTH;
            let entry = self.at(at);
            if level + 1 < upper.len() && entry & 1 == 0 {
                return None;
            }
            table = entry & 0xffff_f000;
        }
        Some(at)
    }

    /// The entry that names the leaf table for `gva`; 0 if there is no place for one.
    pub fn slot(&self, root: u64, gva: u32) -> u64 {
        self.slot_at(root, gva).map_or(0, |at| self.at(at))
    }

    /// Names a leaf table for `gva`.
    ///
    /// # Panics
    /// When no page directory has a place for one.
    pub fn set_slot(&self, root: u64, gva: u32, entry: u64) {
        let at = self.slot_at(root, gva).expect("there is a page directory");
        self.set_at(at, entry);
    }

    /// The number of the leaf entry for `gva`.
    pub fn leaf_index(gva: u32) -> u32 {
        let (shift, entries) = G::SHAPE[G::SHAPE.len() - 1];
        gva >> shift & (entries - 1)
    }

    /// Where the leaf entry for `gva` is, if all entries above it are present, be they such that this ABI
    /// has or not.
    pub fn leaf_at(&self, root: u64, gva: u32) -> Option<u64> {
        let (mut table, mut at) = (root, root);
        for (level, (shift, entries)) in G::SHAPE.iter().enumerate() {
            if level > 0 && self.at(at) & 1 == 0 || table >= self.ram.bytes() {
                return None;
            }
            at = table + u64::from(gva >> shift & (entries - 1)) * G::WIDTH;
            table = self.at(at) & 0x7fff_ffff_ffff_f000;
        }
        Some(at)
    }

    /// Whether entries are present at all levels: rights are looked at before the leaf is checked
    /// (lguest-abi 7.2, steps 5 and 7).
    pub(crate) fn presence(&self, root: u64, gva: u32) -> Presence {
        match self.leaf_at(root, gva) {
            Some(at) if self.at(at) & 1 != 0 => Presence::Present,
            _ => Presence::Absent,
        }
    }
}

impl Tables for TwoLevel {
    const WIDTH: u64 = 4;
    const SHAPE: &'static [(u32, u32)] = &[(22, 1024), (12, 1024)];
    const ERRORS: u32 = 7;
    const ROOT_BYTES: u64 = 4096;
    const INDICES: &'static [u32] = &[0, 1, 255, 511, 512, 768, 832, 1023];
    const TOP_FLAGS: u64 = 0x67;

    fn build(_: &Entries<Self>, _: u64, _: [u64; 4]) {}

    fn announce(machine: &mut Machine<Self>, at: u64) {
        machine.set_pgd(at & !0xfff, (at as u32 & 0xfff) / 4);
    }

    fn announce_top(_: &mut Machine<Self>, _: u64, _: u32) {}
}

impl Tables for Pae {
    const WIDTH: u64 = 8;
    const SHAPE: &'static [(u32, u32)] = &[(30, 4), (21, 512), (12, 512)];
    const ERRORS: u32 = 0x17;
    const ROOT_BYTES: u64 = 32;
    // Three roots at either end of a frame, too.
    const INDICES: &'static [u32] = &[0, 1, 2, 3, 4, 7, 255, 256, 508, 511];
    const TOP_FLAGS: u64 = 1;

    fn build(tables: &Entries<Self>, root: u64, directories: [u64; 4]) {
        for (at, directory) in (root..).step_by(8).zip(directories) {
            tables.set_at(at, directory << 12 | 1);
        }
    }

    fn announce(machine: &mut Machine<Self>, at: u64) {
        set_pmd(machine, at >> 12);
    }

    fn announce_top(machine: &mut Machine<Self>, root: u64, own: u32) {
        (0..own).for_each(|index| machine.set_pgd(root, index));
    }
}

/// SET_PMD for the page directory in a frame.
///
/// # Panics
/// When the shadow refuses it.
pub fn set_pmd(machine: &mut Machine<Pae>, frame: u64) {
    let told = machine.shadow.set_pmd(&machine.ram, Gpa::new(frame << 12));
    assert_eq!(told, Ok(Ok(())));
}
