//! The reference walker: what the guest's own tables say, with no thought for speed.
//!
//! It shares nothing with [`propagate`](super::propagate) but the format, so that the two can be held
//! against each other.

use super::{Format, bits};
use crate::address::{Gfn, Gva};
use crate::memory::GuestMemory;

/// A translation, with the rights of all levels combined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Translation {
    /// The guest frame.
    pub frame: Gfn,
    /// RW and US, where every level grants them.
    pub rights: u64,
}

/// Translates `gva` by the tables of `root`; `None` when any entry is absent, malformed or not RAM.
pub fn walk<F: Format>(memory: &impl GuestMemory, root: Gfn, gva: Gva) -> Option<Translation> {
    let ram = memory.frames();
    let top = memory
        .read_u32(F::top_entry(root, F::top_index(gva)))
        .ok()?;
    let top = u64::from(top);
    if top & bits::P == 0 {
        return None;
    }
    let table = F::check_top(top, ram).ok()?;
    let leaf = u64::from(memory.read_u32(F::leaf_entry(table, gva)).ok()?);
    if leaf & bits::P == 0 {
        return None;
    }
    let frame = F::check_leaf(leaf, ram).ok()?;
    Some(Translation {
        frame,
        rights: top & leaf & (bits::RW | bits::US),
    })
}
