//! From the guest's entries to the processor's: one pure function.

use super::{Access, AccessKind, Format, Presence, Privilege, bits};
use crate::address::{Gfn, Gpa, Gva, Hpa};
use crate::kill::Kill;

/// What the guest's entries come to for one access.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The access is allowed.
    Mapped(Mapping),
    /// The access is allowed, and its frame is a device's. Nothing is mapped there, and the guest's
    /// entry gets no accessed bit: a guest does not look for it there.
    Device(Gfn),
    /// The guest gets a page fault with this error code.
    Fault(u32),
    /// The guest's entries are none that this ABI has.
    Kill(Kill),
}

/// A translation that allows the access it was made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// The guest frame.
    pub frame: Gfn,
    /// The guest's leaf entry with the accessed and dirty bits that this access sets.
    pub leaf: u64,
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
        let user = self.leaf & bits::US;
        let writable = if self.leaf & bits::D != 0 {
            self.leaf & bits::RW
        } else {
            0
        };
        // Accessed and dirty are set already: the processor never has to write this entry.
        host.raw() & bits::FRAME | bits::P | user | writable | bits::A | bits::D
    }

    /// The guest-physical address of `gva`'s byte.
    pub fn address(&self, gva: Gva) -> Gpa {
        self.frame
            .start()
            .wrapping_add(u64::from(gva.page_offset()))
    }
}

/// Decides an access by the guest's top-level and leaf entry, as a processor with CR0.WP set would.
///
/// `leaf` is asked for the leaf entry of the table at a frame; it is not called when the top-level
/// entry already decides. `ram`: the first frame that is not RAM; `device_limit`: the first that is not
/// a device's either.
pub fn propagate<F: Format>(
    top: u64,
    leaf: impl FnOnce(Gfn) -> Result<u64, Kill>,
    access: Access,
    ram: Gfn,
    device_limit: Gfn,
) -> Outcome {
    decide::<F>(top, leaf, access, ram, device_limit).unwrap_or_else(Outcome::Kill)
}

fn decide<F: Format>(
    top: u64,
    leaf: impl FnOnce(Gfn) -> Result<u64, Kill>,
    access: Access,
    ram: Gfn,
    device_limit: Gfn,
) -> Result<Outcome, Kill> {
    let absent = Outcome::Fault(access.error(Presence::Absent));
    let refused = Outcome::Fault(access.error(Presence::Present));
    if top & bits::P == 0 {
        return Ok(absent);
    }
    let leaf = leaf(F::check_top(top, ram)?)?;
    if leaf & bits::P == 0 {
        return Ok(absent);
    }
    // A right exists only if every level grants it.
    let rights = top & leaf;
    if access.kind == AccessKind::Write && rights & bits::RW == 0 {
        return Ok(refused);
    }
    if access.privilege == Privilege::User && rights & bits::US == 0 {
        return Ok(refused);
    }
    let frame = F::check_leaf(leaf, device_limit)?;
    if frame >= ram {
        return Ok(Outcome::Device(frame));
    }
    let dirty = if access.kind == AccessKind::Write {
        bits::D
    } else {
        0
    };
    Ok(Outcome::Mapped(Mapping::of(frame, leaf | bits::A | dirty)))
}
