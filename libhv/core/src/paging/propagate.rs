//! From the guest's entries to the processor's: one pure function.

use super::{Access, AccessKind, BadEntry, Format, Level, Presence, Privilege, bits};
use crate::address::{Gfn, Gpa, Gva, Hpa};
use crate::memory::BadAddress;

/// What the guest's entries come to for an access that they allow.
#[derive(Clone, Copy, Debug)]
pub struct Translation {
    /// The translation itself.
    pub mapping: Mapping,
    /// Where it was found.
    pub path: Path,
}

/// Why there is no translation for an access.
#[derive(Clone, Copy, Debug)]
pub enum Refused {
    /// The guest gets a page fault with this error code.
    Fault(u32),
    /// The access is allowed, and its frame is a device's. Nothing is mapped there, and the guest's
    /// entry gets no accessed bit: a guest does not look for it there.
    Device(Gfn),
    /// The guest's entries are none that this ABI has.
    Bad(BadEntry),
    /// A table is not where it could be read.
    Unreadable(BadAddress),
}

impl From<BadEntry> for Refused {
    fn from(bad: BadEntry) -> Self {
        Refused::Bad(bad)
    }
}

impl From<BadAddress> for Refused {
    fn from(bad: BadAddress) -> Self {
        Refused::Unreadable(bad)
    }
}

/// A translation that allows the access it was made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// The guest frame.
    pub frame: Gfn,
    /// The guest's leaf entry with the accessed and dirty bits that this access sets.
    pub leaf: u64,
}

/// The tables that a translation was found in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Path {
    /// The guest's page directory, where its format has such.
    pub directory: Option<Gfn>,
    /// RW and US, as far as all levels above the leaf grant them.
    pub rights: u64,
    /// The leaf table.
    pub table: Gfn,
    /// Where the leaf entry is.
    pub at: Gpa,
    /// The leaf entry as it was found.
    pub entry: u64,
}

impl Mapping {
    /// The mapping of a leaf entry that was checked already.
    pub const fn of(frame: Gfn, leaf: u64) -> Self {
        Self { frame, leaf }
    }

    /// The processor's leaf entry: the guest's own rights, but writable only once the page is dirty,
    /// so that the first write comes to us and sets the guest's dirty bit. The rights of upper levels
    /// stay in the upper levels, where the processor combines them.
    ///
    /// Nothing else of the guest's passes: G would outlive the flushes that the guest asks for, PCD,
    /// PWT and PAT would let it choose memory types for the host's RAM, and the available bits mean
    /// nothing to the processor.
    pub const fn shadow(&self, host: Hpa) -> u64 {
        let rights = self.leaf & (bits::US | bits::NX);
        let writable = if self.leaf & bits::D != 0 {
            self.leaf & bits::RW
        } else {
            0
        };
        // Accessed and dirty are set already: the processor never has to write this entry.
        host.raw() & bits::FRAME | bits::P | rights | writable | bits::USED
    }

    /// The guest-physical address of `gva`'s byte.
    pub fn address(&self, gva: Gva) -> Gpa {
        self.frame
            .start()
            .wrapping_add(u64::from(gva.page_offset()))
    }
}

/// The processor's entry that names a table of the shadow's.
pub const fn table_entry(table: Hpa, rights: u64) -> u64 {
    // Accessed already, as in leaves.
    table.raw() | rights | bits::P | bits::A
}

/// Decides an access to `gva` by the tables of `root`, as a processor with CR0.WP and, where the
/// format has the bit, EFER.NXE set would.
///
/// `read` is asked for the entry at an address, once for each level, and not below an entry that
/// already decides. `ram`: the first frame that is not RAM; `device_limit`: the first that is not a
/// device's either.
///
/// # Errors
/// When the access is not one to RAM that the guest's entries allow.
#[inline(always)]
pub fn propagate<F: Format>(
    root: Gpa,
    gva: Gva,
    mut read: impl FnMut(Gpa) -> Result<u64, BadAddress>,
    access: Access,
    ram: Gfn,
    device_limit: Gfn,
) -> Result<Translation, Refused> {
    let fault = |presence| Err(Refused::Fault(access.error(presence) & F::ERROR));

    let top = read(F::entry(root, &F::TOP, gva))?;
    if top & bits::P == 0 {
        return fault(Presence::Absent);
    }
    let mut table = F::TOP.check(top, ram)?;
    let mut granted = grants(top, &F::TOP);
    let mut directory = None;
    for level in F::MIDDLE {
        directory = Some(table);
        let entry = read(F::entry(table.start(), level, gva))?;
        if entry & bits::P == 0 {
            return fault(Presence::Absent);
        }
        table = level.check(entry, ram)?;
        granted &= grants(entry, level);
    }
    let at = F::entry(table.start(), &F::LEAF, gva);
    let entry = read(at)?;
    if entry & bits::P == 0 {
        return fault(Presence::Absent);
    }
    // A right exists only if every level grants it.
    let needed = needs(access);
    if granted & grants(entry, &F::LEAF) & needed != needed {
        return fault(Presence::Present);
    }
    let frame = F::LEAF.check(entry, device_limit)?;
    if frame >= ram {
        return Err(Refused::Device(frame));
    }
    let dirty = if access.kind == AccessKind::Write {
        bits::D
    } else {
        0
    };
    Ok(Translation {
        mapping: Mapping::of(frame, entry | bits::A | dirty),
        path: Path {
            directory,
            rights: granted & bits::RIGHTS,
            table,
            at,
            entry,
        },
    })
}

/// What RW, US and NX of an entry grant, with NX turned round so that every bit grants something.
const fn grants(entry: u64, level: &Level) -> u64 {
    entry ^ bits::NX | !level.rights
}

/// The bit that has to be granted at every level.
const fn needs(access: Access) -> u64 {
    let kind = match access.kind {
        AccessKind::Read => 0,
        AccessKind::Write => bits::RW,
        AccessKind::Execute => bits::NX,
    };
    let privilege = match access.privilege {
        Privilege::Supervisor => 0,
        Privilege::User => bits::US,
    };
    kind | privilege
}
