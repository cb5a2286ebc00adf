//! The reference walker: what the guest's own tables say, with no thought for speed.
//!
//! It shares nothing with [`propagate`](super::propagate()) but the formats' data, so that the two can
//! be held against each other.

use super::{Format, Level, bits};
use crate::address::{Gfn, Gpa, Gva};
use crate::memory::GuestMemory;

/// A translation, with the rights of all levels combined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Translation {
    /// The guest frame.
    pub frame: Gfn,
    /// Every level allows writes.
    pub writable: bool,
    /// Every level allows ring 3.
    pub user: bool,
    /// No level forbids fetching instructions.
    pub executable: bool,
}

/// Translates `gva` by the tables of `root`; `None` when any entry is absent, malformed or not RAM.
pub fn walk<F: Format>(memory: &impl GuestMemory, root: Gpa, gva: Gva) -> Option<Translation> {
    let levels = [&F::TOP].into_iter().chain(F::MIDDLE).chain([&F::LEAF]);
    let mut found = Translation {
        frame: Gfn::containing(root),
        writable: true,
        user: true,
        executable: true,
    };
    let mut table = root;
    for level in levels {
        let entry = F::ENTRY.read(memory, F::entry(table, level, gva)).ok()?;
        if entry & bits::P == 0 {
            return None;
        }
        found.frame = level.check(entry, memory.frames()).ok()?;
        found.writable &= !withholds(level, bits::RW, entry);
        found.user &= !withholds(level, bits::US, entry);
        found.executable &= !(level.rights & bits::NX != 0 && entry & bits::NX != 0);
        table = found.frame.start();
    }
    Some(found)
}

/// Whether a level decides about a right and an entry does not grant it.
const fn withholds(level: &Level, right: u64, entry: u64) -> bool {
    level.rights & right != 0 && entry & right == 0
}
