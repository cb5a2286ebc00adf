//! A guest that keeps no rule: it reaches what its tables said once, and nothing else.

use crate::{ACCESSES, Machine, RAM_BASE, Seen, Tables};
use hv_core::address::{Gpa, Gva};
use hv_core::fast_paths::FastPaths;
use hv_core::paging::{Access, AccessKind, Privilege, bits};
use std::collections::{HashMap, HashSet};

/// First kernel addresses: inside a quarter, and at the start of one.
pub const KERNELS: [u32; 2] = [0xd000_0000, 0x8000_0000];
/// Frames are tables, roots and data at once.
const FRAMES: u64 = 8;

/// One thing that the guest does. Numbers choose among what is worth trying, whatever they are.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "each names what it chooses")]
pub enum Step {
    /// Changes memory in silence.
    Write { frame: u8, index: u8, entry: u16 },
    /// Announces a leaf.
    SetPte { root: u8, address: u16, entry: u16 },
    /// Announces a top-level entry.
    SetPgd { root: u8, index: u8 },
    /// No announcement of two-level guests.
    SetPmd { frame: u8 },
    /// Makes a root the current one.
    Load { root: u8 },
    /// FLUSH_TLB(0). What is not the kernel's is compared with the tables.
    FlushUser,
    /// FLUSH_TLB(1). Everything is.
    FlushAll,
    /// Makes an access.
    Access { address: u16, access: u8 },
}

/// A root for each of the first 16 numbers, and again: in all frames, and two in one if they fit.
fn root<G: Tables>(by: u8) -> u64 {
    let (frame, place) = (u64::from(by) % FRAMES, u64::from(by) / FRAMES % 2);
    (frame << 12) | ((place * G::ROOT_BYTES) & 0xfff)
}

/// An address that goes through some of the format's indices at each level.
fn address<G: Tables>(mut by: u16) -> u32 {
    let level = |(shift, entries): &(u32, u32)| {
        let choices = G::INDICES.iter().filter(|index| **index < *entries);
        let count = choices.clone().count() as u16;
        let index = choices.clone().nth(usize::from(by % count)).unwrap();
        by /= count;
        index << shift
    };
    G::SHAPE.iter().map(level).sum()
}

/// Mostly entries that work at some level, some absent, a few past the end of RAM or with flags that
/// kill.
fn entry<G: Tables>(index: u32, by: u16) -> u64 {
    let frame = u64::from(by >> 8) % FRAMES;
    let no_execute = if by & 0x8000 != 0 && G::WIDTH == 8 {
        bits::NX
    } else {
        0
    };
    match u64::from(by & 0xff) {
        0 => FRAMES << 12 | 7,
        1 => frame << 12 | 0x87,
        2..32 => 0,
        // Where roots have their entries, those of roots.
        flags if index < 8 && by & 0x4000 == 0 => frame << 12 | flags & G::TOP_FLAGS & 0x66 | 1,
        flags => frame << 12 | flags & 0x66 | 1 | no_execute,
    }
}

/// Every value that an entry had since everything was last dropped.
#[derive(Default)]
struct History(HashMap<u64, HashSet<u64>>);

/// What the guest has, and how much is compared.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// First kernel address.
    pub kernel: u32,
    /// Shadow tables.
    pub tables: usize,
    /// Roots that the shadow remembers.
    pub roots: usize,
    /// Addresses that are compared with the tables after a flush, spread over all choices at all levels.
    pub compared: u16,
    /// What the shadow may do in one exit; see [`Machine::limit_exits`].
    pub effort: u32,
    /// The shorter ways that it takes.
    pub paths: FastPaths,
}

/// The guest.
pub struct Guest<G: Tables> {
    machine: Machine<G>,
    shape: Shape,
    current: u64,
    history: History,
}

impl<G: Tables> Guest<G> {
    /// A guest with empty memory.
    pub fn new(shape: Shape) -> Self {
        let mut machine = Machine::new(FRAMES as usize, shape.tables, shape.roots);
        machine.shadow.set_kernel_address(Gva::new(shape.kernel));
        machine.limit_exits(shape.effort);
        machine.shadow.choose_fast_paths(shape.paths);
        machine.load(0);
        Self {
            machine,
            shape,
            current: 0,
            history: History::default(),
        }
    }

    /// Ends the guest and starts the next, with the same memory.
    ///
    /// # Panics
    /// When not every frame is back.
    pub fn replace(&mut self) {
        let next = Self::new(self.shape);
        let old = std::mem::replace(self, next);
        self.machine.ram = old.machine.finish();
    }

    /// Audits the live tables.
    ///
    /// # Panics
    /// When the audit finds something.
    pub fn audit(&self) {
        self.machine.audit();
    }

    /// Ends the guest.
    ///
    /// # Panics
    /// When not every frame is back.
    pub fn finish(self) {
        self.machine.finish();
    }

    /// The present values that the entry at `at` has had.
    fn past(&self, at: u64) -> impl Iterator<Item = u64> + '_ {
        let past = self.history.0.get(&at).into_iter().flatten().copied();
        past.chain([self.machine.tables().at(at)])
            .filter(|entry| entry & 1 != 0)
    }

    /// Whether some root's top-level entry and some entry of each level below, each at some time since
    /// everything was last dropped, allowed this: what a processor with paging-structure caches may use
    /// as well.
    fn was_allowed(&self, gva: u32, host: u64, access: Access) -> bool {
        (0..2 * FRAMES as u8)
            .map(root::<G>)
            .any(|root| self.leads_to(root, G::SHAPE, gva, host, access))
    }

    fn leads_to(
        &self,
        table: u64,
        levels: &[(u32, u32)],
        gva: u32,
        host: u64,
        access: Access,
    ) -> bool {
        let Some(((shift, entries), below)) = levels.split_first() else {
            return RAM_BASE + table == host;
        };
        // The entries of a pointer table have no rights.
        let has_rights = *entries > 4;
        self.past(table + u64::from(gva >> shift & (entries - 1)) * G::WIDTH)
            .filter(|entry| !has_rights || grants(*entry, access))
            .map(|entry| entry & 0x7fff_ffff_ffff_f000)
            .any(|next| next < FRAMES << 12 && self.leads_to(next, below, gva, host, access))
    }

    /// Returns whether the guest lives.
    ///
    /// # Panics
    /// When the guest sees what it must not.
    pub fn step(&mut self, step: Step) -> bool {
        match step {
            Step::Write {
                frame,
                index: at,
                entry: value,
            } => {
                let frame = u64::from(frame) % FRAMES;
                let index = G::INDICES[usize::from(at) % G::INDICES.len()];
                let at = (frame << 12) + u64::from(index) * G::WIDTH;
                let old = self.machine.tables().at(at);
                self.history.0.entry(at).or_default().insert(old);
                self.machine.tables().set_at(at, entry::<G>(index, value));
            }
            Step::SetPte {
                root: by,
                address: at,
                entry: value,
            } => {
                /// By a call of its own, or from the queue.
                const QUEUED: u8 = 0x80;
                let (root, gva) = (named_root::<G>(by & !QUEUED), address::<G>(at));
                let entry = entry::<G>(511, value);
                let told = match by & QUEUED {
                    0 => self.machine.set_pte(root, gva, entry),
                    _ => (self.machine.set_queued_ptes(&[(root, gva, entry)])).map(|_| ()),
                };
                return told.is_ok();
            }
            Step::SetPgd { root: by, index } => {
                let index = u32::from(index) % G::INDICES.len() as u32;
                let index = G::INDICES[index as usize] % G::SHAPE[0].1;
                self.machine.set_pgd(named_root::<G>(by), index);
            }
            Step::SetPmd { frame } => {
                let table = Gpa::new((u64::from(frame) % (FRAMES + 1)) << 12);
                let told = self.machine.shadow.set_pmd(&self.machine.ram, table);
                assert_eq!(told.map(|told| told.is_ok()), Ok(G::SHAPE.len() > 2));
            }
            Step::Load { root: by } => {
                self.current = root::<G>(by);
                self.machine.load(self.current);
            }
            Step::FlushUser => {
                self.machine.flush_user();
                let kernel = self.shape.kernel;
                self.compare(|gva| gva < kernel);
            }
            Step::FlushAll => {
                self.machine.shadow.flush_all(&self.machine.ram).unwrap();
                self.history = History::default();
                self.compare(|_| true);
                assert_eq!(self.machine.audit(), 0);
            }
            Step::Access {
                address: at,
                access,
            } => {
                let gva = address::<G>(at);
                let access = ACCESSES[usize::from(access) % ACCESSES.len()];
                return match self.machine.access(gva, access) {
                    Seen::Frame(host) => {
                        assert!(
                            self.was_allowed(gva, host, access),
                            "{access:?} at {gva:#x}"
                        );
                        true
                    }
                    Seen::Fault(_) => true,
                    Seen::Killed(_) => false,
                };
            }
        }
        true
    }

    /// After a flush the guest sees what its tables say now, where the flush reaches (LG-115, LG-117).
    fn compare(&mut self, covered: impl Fn(u32) -> bool) {
        let addresses =
            (0..self.shape.compared).map(|number| address::<G>(number.wrapping_mul(0x9e5)));
        for gva in addresses.filter(|gva| covered(*gva)) {
            for access in ACCESSES {
                let truth = self.machine.truth(self.current, gva, access);
                // The access may set A and D in an entry that is a root's at the same time, where no
                // such flags may be.
                let leaf = self.machine.tables().leaf_at(self.current, gva);
                let before = leaf.map(|at| (at, self.machine.tables().at(at)));
                let seen = self.machine.access(gva, access);
                // If that spoils the way to the leaf itself, a repair that takes two exits does not find it again.
                let spoilt = self.machine.truth(self.current, gva, access).is_err();
                if let Some((at, entry)) = before {
                    self.machine.tables().set_at(at, entry);
                }
                match seen {
                    Seen::Killed(_) => assert!(truth.is_err() || spoilt),
                    Seen::Frame(frame) => {
                        assert_eq!(Ok(frame), truth, "{access:?} at {gva:#x}");
                    }
                    Seen::Fault(error) => {
                        assert_eq!(Err(error), truth, "{access:?} at {gva:#x}");
                    }
                }
            }
        }
    }
}

/// A root that an announcement names: one that there may be, or none.
fn named_root<G: Tables>(by: u8) -> u64 {
    if by == 0 { FRAMES << 12 } else { root::<G>(by) }
}

/// Whether an entry grants what an access needs.
fn grants(entry: u64, access: Access) -> bool {
    let kind = match access.kind {
        AccessKind::Read => true,
        AccessKind::Write => entry & bits::RW != 0,
        AccessKind::Execute => entry & bits::NX == 0,
    };
    kind && (access.privilege == Privilege::Supervisor || entry & bits::US != 0)
}
