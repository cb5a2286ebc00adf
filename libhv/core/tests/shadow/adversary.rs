//! Random guests that keep no rule: they reach what their tables said once, and nothing else.

use super::{G, Guest as Machine, INDICES, ROOT_BYTES, TOP_FLAGS};
use crate::machine::{ACCESSES, RAM_BASE, Seen, Tables};
use hv_core::address::{Gpa, Gva};
use hv_core::memory::GuestMemory;
use hv_core::paging::{Access, AccessKind, Privilege, bits};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};

/// First kernel addresses: inside a quarter, and at the start of one.
const KERNELS: [u32; 2] = [0xd000_0000, 0x8000_0000];
/// Frames are tables, roots and data at once.
const FRAMES: u64 = 8;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Changes memory in silence.
    Write {
        frame: u8,
        index: u8,
        entry: u16,
    },
    SetPte {
        root: u8,
        address: u16,
        entry: u16,
    },
    SetPgd {
        root: u8,
        index: u8,
    },
    /// No announcement of two-level guests.
    SetPmd {
        frame: u8,
    },
    Load {
        root: u8,
    },
    FlushUser,
    FlushAll,
    Access {
        address: u16,
        access: u8,
    },
}

fn steps() -> impl Strategy<Value = Step> {
    let byte = any::<u8>;
    prop_oneof![
        8 => (byte(), byte(), any::<u16>()).prop_map(
            |(frame, index, entry)| Step::Write { frame, index, entry }),
        2 => (byte(), any::<u16>(), any::<u16>()).prop_map(
            |(root, address, entry)| Step::SetPte { root, address, entry }),
        1 => (byte(), byte()).prop_map(|(root, index)| Step::SetPgd { root, index }),
        1 => byte().prop_map(|frame| Step::SetPmd { frame }),
        1 => byte().prop_map(|root| Step::Load { root }),
        1 => Just(Step::FlushUser),
        1 => Just(Step::FlushAll),
        16 => (any::<u16>(), byte()).prop_map(
            |(address, access)| Step::Access { address, access }),
    ]
}

/// A root for each of the first 16 numbers, and again: in all frames, and two in one if they fit.
fn root(by: u8) -> u64 {
    let (frame, place) = (u64::from(by) % FRAMES, u64::from(by) / FRAMES % 2);
    (frame << 12) | ((place * ROOT_BYTES) & 0xfff)
}

/// An address that goes through some of `INDICES` at each level.
fn address(mut by: u16) -> u32 {
    let level = |(shift, entries): &(u32, u32)| {
        let choices = INDICES.iter().filter(|index| **index < *entries);
        let count = choices.clone().count() as u16;
        let index = choices.clone().nth(usize::from(by % count)).unwrap();
        by /= count;
        index << shift
    };
    G::SHAPE.iter().map(level).sum()
}

/// Mostly entries that work at some level, some absent, a few past the end of RAM or with flags that
/// kill.
fn entry(index: u32, by: u16) -> u64 {
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
        flags if index < 8 && by & 0x4000 == 0 => frame << 12 | flags & TOP_FLAGS & 0x66 | 1,
        flags => frame << 12 | flags & 0x66 | 1 | no_execute,
    }
}

/// Every value that an entry had since everything was last dropped.
#[derive(Default)]
struct History(HashMap<u64, HashSet<u64>>);

struct Guest {
    machine: Machine,
    kernel: u32,
    current: u64,
    history: History,
}

impl Guest {
    fn new(kernel: u32, tables: usize, roots: usize) -> Self {
        let mut machine = Machine::new(FRAMES as usize, tables, roots);
        machine.shadow.set_kernel_address(Gva::new(kernel));
        machine.load(0);
        Self {
            machine,
            kernel,
            current: 0,
            history: History::default(),
        }
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
            .map(root)
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
    fn step(&mut self, step: Step) -> bool {
        match step {
            Step::Write {
                frame,
                index: at,
                entry: value,
            } => {
                let frame = u64::from(frame) % FRAMES;
                let index = INDICES[usize::from(at) % INDICES.len()];
                let at = (frame << 12) + u64::from(index) * G::WIDTH;
                let old = self.machine.tables().at(at);
                self.history.0.entry(at).or_default().insert(old);
                self.machine.tables().set_at(at, entry(index, value));
            }
            Step::SetPte {
                root: by,
                address: at,
                entry: value,
            } => {
                let gva = address(at);
                return self
                    .machine
                    .set_pte(named_root(by), gva, entry(511, value))
                    .is_ok();
            }
            Step::SetPgd { root: by, index } => {
                let index = u32::from(index) % INDICES.len() as u32;
                let index = INDICES[index as usize] % G::SHAPE[0].1;
                self.machine.set_pgd(named_root(by), index);
            }
            Step::SetPmd { frame } => {
                let table = Gpa::new((u64::from(frame) % (FRAMES + 1)) << 12);
                let told = self.machine.shadow.set_pmd(&self.machine.ram, table);
                assert_eq!(told.map(|told| told.is_ok()), Ok(G::SHAPE.len() > 2));
            }
            Step::Load { root: by } => {
                self.current = root(by);
                self.machine.load(self.current);
            }
            Step::FlushUser => {
                self.machine.flush_user();
                let kernel = self.kernel;
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
                let gva = address(at);
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
        // Spread over all choices at all levels.
        let addresses = (0..64).map(|number: u16| address(number.wrapping_mul(0x9e5)));
        for gva in addresses.filter(|gva| covered(*gva)) {
            for access in ACCESSES {
                let truth = self.machine.truth(self.current, gva, access);
                // The access may set A and D in an entry that is a root's at the same time, where no
                // such flags may be.
                let leaf = self.machine.tables().leaf_at(self.current, gva);
                let before = leaf.map(|at| (at, self.machine.tables().at(at)));
                let seen = self.machine.access(gva, access);
                if let Some((at, entry)) = before {
                    self.machine.tables().set_at(at, entry);
                }
                match seen {
                    Seen::Killed(_) => assert!(truth.is_err()),
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
fn named_root(by: u8) -> u64 {
    if by == 0 { FRAMES << 12 } else { root(by) }
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

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(400),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// 400 runs of 1,000 steps; a guest that is killed is replaced by the next, with the same memory.
    #[test]
    fn a17_a18_a22_a39_a_guest_that_keeps_no_rule_reaches_its_own_past_and_nothing_else(
        steps in vec(steps(), 1_000),
        tables in prop_oneof![Just(8_usize), Just(11), Just(100)],
        roots in 1..5_usize,
        kernel in 0..2_usize,
        effort in prop_oneof![Just(50_u32), Just(300), Just(u32::MAX)],
    ) {
        let kernel = KERNELS[kernel];
        let mut guest = Guest::new(kernel, tables, roots);
        guest.machine.limit_exits(effort);
        for (count, step) in steps.into_iter().enumerate() {
            if !guest.step(step) {
                let mut next = Guest::new(kernel, tables, roots);
                next.machine.limit_exits(effort);
                let old = std::mem::replace(&mut guest, next);
                for at in (0..FRAMES << 12).step_by(8) {
                    let at = Gpa::new(at);
                    let word = old.machine.ram.read_u64(at).unwrap().to_le_bytes();
                    guest.machine.ram.write(at, &word).unwrap();
                }
                old.machine.finish();
            }
            if count % 50 == 0 {
                guest.machine.audit();
            }
        }
        guest.machine.finish();
    }
}
