//! Page tables, as the guest writes them and as the processor reads them.

mod detect;
mod format;
mod propagate;
pub mod walker;

pub use detect::{Detected, Paging, detect};
pub use format::{BadEntry, Counterpart, EntryWidth, Format, Level, Pae, TwoLevel};
pub use propagate::{Mapping, Path, Refused, Translation, propagate, table_entry};

/// Bits of a page-table entry that guest formats and the processor's own share (Intel SDM volume 3,
/// tables 4-5, 4-6, 4-8 to 4-11 and 4-20).
pub mod bits {
    /// Present.
    pub const P: u64 = 1 << 0;
    /// Writable.
    pub const RW: u64 = 1 << 1;
    /// Accessible to ring 3.
    pub const US: u64 = 1 << 2;
    /// Accessed.
    pub const A: u64 = 1 << 5;
    /// Dirty.
    pub const D: u64 = 1 << 6;
    /// In a middle entry: a large page. In a leaf: PAT.
    pub const PS: u64 = 1 << 7;
    /// No instructions may be fetched. Entries of four bytes have no such bit.
    pub const NX: u64 = 1 << 63;
    /// The frame in an entry of the processor's own format.
    pub const FRAME: u64 = 0x000f_ffff_ffff_f000;

    /// The rights of entries at every level. One that has them all leaves the decision to the other levels.
    pub const RIGHTS: u64 = RW | US;
    /// Either says that the entry is in use.
    pub const USED: u64 = A | D;
    /// What a page has that may be written by the kernel.
    pub const WRITABLE: u64 = P | RW;
    /// What a page has that belongs to the kernel, where there are no tables to say so.
    pub const KERNEL_PAGE: u64 = WRITABLE | USED;
    /// All that the processor's entries ever have beside a frame and NX: see [`Mapping::shadow`](super::Mapping::shadow).
    pub const SHADOW: u64 = P | RIGHTS | USED;
    /// What the processor sets in a leaf entry, or ignores: two entries that differ in nothing else are the same
    /// translation.
    pub const INSIGNIFICANT: u64 = USED | 0xe00;
}

/// Bits of a page fault's error code (Intel SDM volume 3, 4.7).
pub mod error {
    /// The translation exists; its rights refused the access.
    pub const PRESENT: u32 = 1 << 0;
    /// The access was a write.
    pub const WRITE: u32 = 1 << 1;
    /// The access came from ring 3.
    pub const USER: u32 = 1 << 2;
    /// A reserved bit was set.
    pub const RESERVED: u32 = 1 << 3;
    /// The access was an instruction fetch. Said only where entries have an NX bit.
    pub const FETCH: u32 = 1 << 4;
}

/// An access that a translation is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// What is done.
    pub kind: AccessKind,
    /// By whom.
    pub privilege: Privilege,
}

/// What an access does. Two-level tables know no difference between reading and executing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessKind {
    /// Reads data.
    Read,
    /// Writes data.
    Write,
    /// Fetches an instruction.
    Execute,
}

/// Who makes an access. Ring 1, the guest's kernel, is supervisor to paging.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Privilege {
    /// Rings 0 to 2.
    Supervisor,
    /// Ring 3.
    User,
}

impl Access {
    /// The access that a page fault's error code describes.
    pub const fn from_error(code: u32) -> Self {
        Self {
            kind: if code & error::WRITE != 0 {
                AccessKind::Write
            } else if code & error::FETCH != 0 {
                AccessKind::Execute
            } else {
                AccessKind::Read
            },
            privilege: if code & error::USER != 0 {
                Privilege::User
            } else {
                Privilege::Supervisor
            },
        }
    }

    /// The error code of this access, refused by a translation that is or is not there, where entries
    /// have an NX bit.
    pub const fn error(self, presence: Presence) -> u32 {
        let present = match presence {
            Presence::Present => error::PRESENT,
            Presence::Absent => 0,
        };
        let kind = match self.kind {
            AccessKind::Read => 0,
            AccessKind::Write => error::WRITE,
            AccessKind::Execute => error::FETCH,
        };
        let user = match self.privilege {
            Privilege::User => error::USER,
            Privilege::Supervisor => 0,
        };
        present | kind | user
    }
}

/// Whether the guest's own tables have a translation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    /// They do.
    Present,
    /// They do not.
    Absent,
}
