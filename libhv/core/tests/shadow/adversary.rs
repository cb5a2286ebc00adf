//! Random guests that keep no rule: they reach what their tables said once, and nothing else.

use crate::machine::{ACCESSES, Machine, RAM_BASE, Seen};
use hv_core::address::Gva;
use hv_core::paging::bits;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};

const KERNEL: u32 = 0xd000_0000;
const FRAMES: u64 = 8;
/// Indices at every edge of a table, a quarter and the kernel's start. Frames are tables, roots and
/// data at once.
const INDICES: [u32; 8] = [0, 1, 255, 511, 512, 768, 832, 1023];

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
        top: u8,
        leaf: u8,
        entry: u16,
    },
    SetPgd {
        root: u8,
        index: u8,
    },
    Load {
        root: u8,
    },
    FlushUser,
    FlushAll,
    Access {
        top: u8,
        leaf: u8,
        access: u8,
    },
}

fn steps() -> impl Strategy<Value = Step> {
    let byte = any::<u8>;
    prop_oneof![
        8 => (byte(), byte(), any::<u16>()).prop_map(
            |(frame, index, entry)| Step::Write { frame, index, entry }),
        2 => (byte(), byte(), byte(), any::<u16>()).prop_map(
            |(root, top, leaf, entry)| Step::SetPte { root, top, leaf, entry }),
        1 => (byte(), byte()).prop_map(|(root, index)| Step::SetPgd { root, index }),
        1 => byte().prop_map(|root| Step::Load { root }),
        1 => Just(Step::FlushUser),
        1 => Just(Step::FlushAll),
        16 => (byte(), byte(), byte()).prop_map(
            |(top, leaf, access)| Step::Access { top, leaf, access }),
    ]
}

fn index(by: u8) -> u32 {
    INDICES[usize::from(by) % INDICES.len()]
}

/// Mostly entries that work, some absent, a few past the end of RAM or with flags that kill.
fn entry(by: u16) -> u32 {
    let frame = u32::from(by >> 8) % FRAMES as u32;
    match by & 0xff {
        0 => (FRAMES as u32) << 12 | 7,
        1 => frame << 12 | 0x87,
        2..32 => 0,
        flags => frame << 12 | u32::from(flags) & 0x66 | 1,
    }
}

/// Every value that a word had since everything was last dropped.
#[derive(Default)]
struct History(HashMap<(u64, u32), HashSet<u32>>);

struct Guest {
    machine: Machine,
    current: u64,
    history: History,
}

impl Guest {
    fn new(tables: usize, roots: usize) -> Self {
        let mut machine = Machine::new(FRAMES as usize, tables, roots);
        machine.shadow.set_kernel_address(Gva::new(KERNEL));
        machine.load(0);
        Self {
            machine,
            current: 0,
            history: History::default(),
        }
    }

    fn past(&self, frame: u64, index: u32) -> impl Iterator<Item = u32> + '_ {
        let past = self
            .history
            .0
            .get(&(frame, index))
            .into_iter()
            .flatten()
            .copied();
        past.chain([self.machine.ram.entry(frame, index)])
            .filter(|entry| entry & 1 != 0)
    }

    /// Whether some root's top-level entry and some leaf entry, each at some time since everything was
    /// last dropped, allowed this: what a processor with paging-structure caches may use as well.
    fn was_allowed(&self, gva: u32, host: u64, wanted: u64) -> bool {
        (0..FRAMES)
            .flat_map(|root| self.past(root, gva >> 22))
            .any(|top| {
                u64::from(top >> 12) < FRAMES
                    && self
                        .past(u64::from(top >> 12), gva >> 12 & 1023)
                        .any(|leaf| {
                            RAM_BASE + u64::from(leaf & !0xfff) == host
                                && u64::from(top & leaf) & wanted == wanted
                        })
            })
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
                let old = self.machine.ram.entry(frame, index(at));
                self.history
                    .0
                    .entry((frame, index(at)))
                    .or_default()
                    .insert(old);
                self.machine.ram.set_entry(frame, index(at), entry(value));
            }
            Step::SetPte {
                root,
                top,
                leaf,
                entry: value,
            } => {
                let gva = index(top) << 22 | index(leaf) << 12;
                let root = u64::from(root) % (FRAMES + 1);
                return self.machine.set_pte(root, gva, entry(value)).is_ok();
            }
            Step::SetPgd { root, index: at } => {
                self.machine
                    .set_pgd(u64::from(root) % (FRAMES + 1), index(at));
            }
            Step::Load { root } => {
                self.current = u64::from(root) % FRAMES;
                self.machine.load(self.current);
            }
            Step::FlushUser => {
                self.machine.shadow.flush_user();
                self.compare(|top| top < KERNEL >> 22);
            }
            Step::FlushAll => {
                self.machine.shadow.flush_all(&self.machine.ram).unwrap();
                self.history = History::default();
                self.compare(|_| true);
                assert_eq!(self.machine.audit(), 0);
            }
            Step::Access { top, leaf, access } => {
                let gva = index(top) << 22 | index(leaf) << 12;
                let access = ACCESSES[usize::from(access) % ACCESSES.len()];
                return match self.machine.access(gva, access) {
                    Seen::Frame(host) => {
                        let wanted = u64::from(access.error(hv_core::paging::Presence::Absent));
                        let wanted = wanted & (bits::RW | bits::US);
                        assert!(
                            self.was_allowed(gva, host, wanted),
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
        for top in INDICES.into_iter().filter(|top| covered(*top)) {
            for leaf in INDICES {
                let gva = top << 22 | leaf << 12;
                for access in ACCESSES {
                    // The access may set A and D in an entry that is a table's at the same time.
                    let truth = self.machine.truth(self.current, gva, access);
                    match self.machine.access(gva, access) {
                        Seen::Killed(_) => assert!(truth.is_err()),
                        Seen::Frame(frame) => {
                            assert_eq!(Ok(frame), truth, "{access:?} at {gva:#x}")
                        }
                        Seen::Fault(error) => {
                            assert_eq!(Err(error), truth, "{access:?} at {gva:#x}")
                        }
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(600),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// 600 runs of 1,000 steps; a guest that is killed is replaced by the next, with the same memory.
    #[test]
    fn a_guest_that_keeps_no_rule_reaches_its_own_past_and_nothing_else(
        steps in vec(steps(), 1_000),
        tables in prop_oneof![Just(8_usize), Just(11), Just(100)],
        roots in 1..5_usize,
    ) {
        let mut guest = Guest::new(tables, roots);
        for (count, step) in steps.into_iter().enumerate() {
            if !guest.step(step) {
                let next = Guest::new(tables, roots);
                let old = std::mem::replace(&mut guest, next);
                for frame in 0..FRAMES {
                    (0..1024).for_each(|at| {
                        guest.machine.ram.set_entry(frame, at, old.machine.ram.entry(frame, at));
                    });
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
