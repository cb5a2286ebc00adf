//! A check of the live tables against everything that has to hold of them.

use super::slot::{Mirror, ShadowTable, Slot, TableId};
use super::{Current, Place, QUARTERS, Shadow};
use crate::address::Hpa;
use crate::frames::{TableIndex, TablePool};
use crate::memory::GuestMemory;
use crate::paging::{Format, bits, walker};
use core::fmt;

/// What was looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AuditReport {
    /// Translations in the tables.
    pub translations: u64,
    /// Those reachable from the current root that allow more than its tables do by now. The guest
    /// changed them and has yet to say so; they are no danger to the host.
    pub stale: u64,
}

/// What does not hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuditFailure {
    /// An entry has a bit that no entry of ours has.
    StrayBits {
        /// The entry.
        entry: u64,
    },
    /// An entry is not present and not zero.
    AbsentNotZero {
        /// The entry.
        entry: u64,
    },
    /// A leaf names a frame that is not the guest's RAM.
    ForeignFrame {
        /// The entry.
        entry: u64,
    },
    /// An upper entry names no table of the level below.
    BrokenLink {
        /// The entry.
        entry: u64,
    },
    /// A table's count of present entries is wrong.
    WrongCount {
        /// The table's address.
        table: Hpa,
    },
    /// The tables' references do not add up to the entries that name them.
    WrongReferences {
        /// All tables' references.
        references: u64,
        /// Entries that name a table.
        named: u64,
    },
    /// A table that no entry names and no root is: it would never be freed.
    Unreferenced {
        /// The table's address.
        table: Hpa,
    },
    /// Tables in use and those left in the pool are not what the pool was given.
    LostFrames {
        /// Tables in use.
        in_use: usize,
        /// Tables that can be taken.
        available: usize,
    },
    /// Two roots name different directories where all roots are the same.
    Divided {
        /// The gigabyte, 0 to 3.
        quarter: u32,
    },
    /// A table cannot be found by what it mirrors.
    Unindexed {
        /// The table's address.
        table: Hpa,
    },
}

impl fmt::Display for AuditFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AuditFailure::StrayBits { entry } => write!(f, "stray bits in entry {entry:#x}"),
            AuditFailure::AbsentNotZero { entry } => write!(f, "absent entry {entry:#x}"),
            AuditFailure::ForeignFrame { entry } => write!(f, "entry {entry:#x} outside guest RAM"),
            AuditFailure::BrokenLink { entry } => write!(f, "entry {entry:#x} names no table"),
            AuditFailure::WrongCount { table } => write!(f, "wrong count of table {table}"),
            AuditFailure::WrongReferences { references, named } => {
                write!(
                    f,
                    "{references} references for {named} entries that name tables"
                )
            }
            AuditFailure::Unreferenced { table } => write!(f, "nothing names table {table}"),
            AuditFailure::LostFrames { in_use, available } => {
                write!(f, "{in_use} tables in use and {available} left are not all")
            }
            AuditFailure::Divided { quarter } => {
                write!(f, "the roots differ in the kernel's gigabyte {quarter}")
            }
            AuditFailure::Unindexed { table } => write!(f, "table {table} is not in the index"),
        }
    }
}

impl core::error::Error for AuditFailure {}

fn indices() -> impl Iterator<Item = TableIndex> {
    (0..u32::from(TableIndex::COUNT)).map(TableIndex::new)
}

impl<T: TablePool, S: AsRef<[Slot]> + AsMut<[Slot]>, F: Format> Shadow<T, S, F> {
    /// Checks every table: links, counts, index, and that no leaf names anything but guest RAM; and
    /// counts what the reference walker would not allow.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn audit(&self, memory: &impl GuestMemory) -> Result<AuditReport, AuditFailure> {
        let mut report = AuditReport::default();
        // Every reference is a present upper entry, or a root's for being remembered.
        let mut references = 0_u64;
        let mut named = self.roots.count() as u64;
        for id in self.tables.ids() {
            let Some(table) = self.tables.table(id) else {
                continue;
            };
            let live = self.audit_table(memory, id, table)?;
            let sum = if table.mirror.is_leaf() {
                &mut report.translations
            } else {
                &mut named
            };
            *sum = sum.wrapping_add(live);
            references = references.wrapping_add(u64::from(table.references));
        }
        if references != named {
            return Err(AuditFailure::WrongReferences { references, named });
        }
        self.audit_frames()?;
        self.audit_shared()?;
        report.stale = self.stale(memory);
        Ok(report)
    }

    fn audit_table(
        &self,
        memory: &impl GuestMemory,
        id: TableId,
        table: &ShadowTable,
    ) -> Result<u64, AuditFailure> {
        let address = table.frame.address();
        if self.tables.find(table.mirror) != Some(id) {
            return Err(AuditFailure::Unindexed { table: address });
        }
        let mut live = 0_u32;
        for index in indices() {
            let entry = self.tables.entry(id, index);
            if entry & bits::P == 0 {
                if entry != 0 {
                    return Err(AuditFailure::AbsentNotZero { entry });
                }
                continue;
            }
            live = live.wrapping_add(1);
            let mut stray = entry & !bits::FRAME & !bits::SHADOW;
            if table.mirror.is_leaf() {
                // NX, if the guest's leaves have it.
                stray &= !F::LEAF.rights;
            }
            if stray != 0 {
                return Err(AuditFailure::StrayBits { entry });
            }
            if table.mirror.is_leaf() {
                self.audit_leaf(memory, entry)?;
            } else {
                self.audit_link(table.mirror, id, index, entry)?;
            }
        }
        if table.references == 0 {
            return Err(AuditFailure::Unreferenced { table: address });
        }
        if live != table.live {
            return Err(AuditFailure::WrongCount { table: address });
        }
        Ok(u64::from(live))
    }

    /// No frame of the pool is lost.
    fn audit_frames(&self) -> Result<(), AuditFailure> {
        let (in_use, available) = (self.tables.in_use(), self.tables.available());
        if in_use.wrapping_add(available) == self.tables.capacity() {
            Ok(())
        } else {
            Err(AuditFailure::LostFrames { in_use, available })
        }
    }

    fn audit_leaf(&self, memory: &impl GuestMemory, entry: u64) -> Result<(), AuditFailure> {
        let frame = entry & bits::FRAME;
        let Some(first) = memory.host_frame(crate::address::Gfn::new(0)) else {
            return Err(AuditFailure::ForeignFrame { entry });
        };
        // Guest RAM may be any frames: ask for the one that this would be, and compare.
        let number = frame.wrapping_sub(first.raw()) >> 12;
        match memory.host_frame(crate::address::Gfn::new(number)) {
            Some(host) if host.raw() == frame => Ok(()),
            _ => Err(AuditFailure::ForeignFrame { entry }),
        }
    }

    fn audit_link(
        &self,
        mirror: Mirror,
        id: TableId,
        index: TableIndex,
        entry: u64,
    ) -> Result<(), AuditFailure> {
        let child = self
            .tables
            .child(id, index)
            .and_then(|child| self.tables.table(child));
        let below = child.is_some_and(|child| {
            !child.mirror.is_root() && child.mirror.is_leaf() != mirror.is_root()
        });
        if below {
            Ok(())
        } else {
            Err(AuditFailure::BrokenLink { entry })
        }
    }

    /// SET_PTE for a kernel address changes one directory, so no root may have another.
    fn audit_shared(&self) -> Result<(), AuditFailure> {
        let shared = (0..QUARTERS).filter(|quarter| self.is_shared(*quarter));
        for quarter in shared {
            let agreed = self.shared_directory(quarter);
            let mut next = self.roots.newest();
            while let Some(root) = next {
                let named = self.tables.child(root, TableIndex::new(quarter));
                if named.is_some() && named != agreed {
                    return Err(AuditFailure::Divided { quarter });
                }
                next = self.tables.table(root).and_then(|table| table.older);
            }
        }
        Ok(())
    }

    /// Translations reachable from the current root that its tables do not allow.
    fn stale(&self, memory: &impl GuestMemory) -> u64 {
        let (Some(root), Current::Root(guest_root)) = (self.current_table, self.current) else {
            return 0;
        };
        let mut stale = 0_u64;
        for quarter in 0..QUARTERS {
            let Some(directory) = self.tables.child(root, TableIndex::new(quarter)) else {
                continue;
            };
            for middle in indices() {
                let table = Place {
                    quarter,
                    directory: middle,
                    leaf: TableIndex::new(0),
                };
                let upper = self.tables.entry(directory, middle);
                let Some(leaf) = self.tables.child(directory, middle) else {
                    continue;
                };
                for index in indices() {
                    let entry = self.tables.entry(leaf, index);
                    if entry & bits::P != 0 {
                        let gva = Place {
                            leaf: index,
                            ..table
                        }
                        .gva();
                        let truth = walker::walk::<F>(memory, guest_root, gva);
                        let holds = truth.is_some_and(|truth| {
                            let host = memory.host_frame(truth.frame).map(Hpa::raw);
                            let rights = entry & upper;
                            host == Some(entry & bits::FRAME)
                                && (truth.writable || rights & bits::RW == 0)
                                && (truth.user || rights & bits::US == 0)
                                && (truth.executable || entry & bits::NX != 0)
                        });
                        stale = stale.wrapping_add(u64::from(!holds));
                    }
                }
            }
        }
        stale
    }
}
