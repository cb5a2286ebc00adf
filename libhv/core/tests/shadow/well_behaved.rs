//! Random guests that keep rules R1 to R9: their memory is always exactly what they made it.

use crate::machine::{ACCESSES, Machine, Seen};
use hv_core::address::Gva;
use hv_core::paging::{AccessKind, bits};
use proptest::collection::vec;
use proptest::prelude::*;

/// First kernel address, and its top-level index. The second one makes a quarter straddle it.
const KERNELS: [u32; 2] = [0xc000_0000, 0xd000_0000];
const USER_SLOTS: [u32; 4] = [0, 1, 256, 700];
const KERNEL_SLOTS: [u32; 2] = [832, 1021];
const LEAVES: [u32; 4] = [0, 511, 512, 1023];
/// Frames: roots, a user leaf table for each root and slot, kernel leaf tables, then data.
const ROOTS: u64 = 4;
const USER_TABLES: u64 = ROOTS;
const KERNEL_TABLES: u64 = USER_TABLES + ROOTS * USER_SLOTS.len() as u64;
const DATA: u64 = KERNEL_TABLES + KERNEL_SLOTS.len() as u64;
const DATA_FRAMES: u64 = 5;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Present from absent, in silence; else announced, by value or as 0.
    SetUserLeaf {
        root: u8,
        slot: u8,
        leaf: u8,
        entry: u8,
        forget: bool,
    },
    SetKernelLeaf {
        named: u8,
        slot: u8,
        leaf: u8,
        entry: u8,
        forget: bool,
    },
    /// Clears the slot, announces it, and makes the table ordinary memory.
    FreeUserTable {
        root: u8,
        slot: u8,
    },
    /// Hangs an empty table in: in silence.
    AddUserTable {
        root: u8,
        slot: u8,
        rights: u8,
    },
    /// Ends an address space; its root becomes ordinary memory, then a new root.
    EndRoot {
        root: u8,
    },
    /// Changes many user leaves of the current root in silence, then FLUSH_TLB(0).
    FlushUser {
        entry: u8,
    },
    /// Changes all leaves in silence, then FLUSH_TLB(1).
    FlushAll {
        entry: u8,
    },
    Load {
        root: u8,
    },
    Access {
        slot: u8,
        leaf: u8,
        access: u8,
    },
}

fn steps() -> impl Strategy<Value = Step> {
    let byte = any::<u8>;
    prop_oneof![
        4 => (byte(), byte(), byte(), byte(), any::<bool>()).prop_map(
            |(root, slot, leaf, entry, forget)| Step::SetUserLeaf { root, slot, leaf, entry, forget }),
        3 => (byte(), byte(), byte(), byte(), any::<bool>()).prop_map(
            |(named, slot, leaf, entry, forget)| Step::SetKernelLeaf { named, slot, leaf, entry, forget }),
        1 => (byte(), byte()).prop_map(|(root, slot)| Step::FreeUserTable { root, slot }),
        2 => (byte(), byte(), byte()).prop_map(
            |(root, slot, rights)| Step::AddUserTable { root, slot, rights }),
        1 => byte().prop_map(|root| Step::EndRoot { root }),
        1 => byte().prop_map(|entry| Step::FlushUser { entry }),
        1 => byte().prop_map(|entry| Step::FlushAll { entry }),
        3 => byte().prop_map(|root| Step::Load { root }),
        16 => (byte(), byte(), byte()).prop_map(
            |(slot, leaf, access)| Step::Access { slot, leaf, access }),
    ]
}

fn pick<const N: usize>(from: [u32; N], by: u8) -> u32 {
    from[usize::from(by) % N]
}

/// A leaf entry: any rights and A, D, software and cache bits; absent one time in eight.
fn entry(by: u8) -> u32 {
    let flags = u32::from(by) & 0x66 | u32::from(by & 0x10) << 4 | u32::from(by & 8) << 1;
    let frame = DATA as u32 + u32::from(by) % DATA_FRAMES as u32;
    frame << 12 | flags | u32::from(by % 8 != 7)
}

struct Guest {
    machine: Machine,
    current: u64,
}

impl Guest {
    fn new(kernel: u32, tables: usize, roots: usize) -> Self {
        let mut machine = Machine::new((DATA + DATA_FRAMES) as usize, tables, roots);
        machine.shadow.set_kernel_address(Gva::new(kernel));
        for root in 0..ROOTS {
            Self::clone_kernel(&machine, root);
        }
        machine.load(0);
        Self {
            machine,
            current: 0,
        }
    }

    fn clone_kernel(machine: &Machine, root: u64) {
        for (slot, table) in KERNEL_SLOTS.into_iter().zip(KERNEL_TABLES as u32..) {
            machine.ram.set_entry(root, slot, table << 12 | 0x67);
        }
    }

    fn user_table(root: u64, slot: u8) -> u64 {
        USER_TABLES + root * USER_SLOTS.len() as u64 + u64::from(slot) % USER_SLOTS.len() as u64
    }

    fn set_leaf(&mut self, root: u64, table: u64, gva: u32, by: u8, forget: bool) {
        let leaf = gva >> 12 & 1023;
        let old = self.machine.ram.entry(table, leaf);
        self.machine.ram.set_entry(table, leaf, entry(by));
        // R1: what was absent may become present in silence. All else is said (R2).
        if old & 1 != 0 {
            let said = if forget { 0 } else { entry(by) };
            self.machine.set_pte(root, gva, said).unwrap();
            assert_eq!(
                self.machine.ram.entry(table, leaf),
                entry(by),
                "R9: memory is the guest's"
            );
        }
    }

    fn free_table(&mut self, root: u64, slot: u8) {
        let index = pick(USER_SLOTS, slot);
        if self.machine.ram.entry(root, index) & 1 == 0 {
            return;
        }
        let table = Self::user_table(root, slot);
        self.machine.ram.set_entry(root, index, 0);
        self.machine.set_pgd(root, index);
        self.machine.ram.fill(table, 0xdead_beef);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::SetUserLeaf {
                root,
                slot,
                leaf,
                entry,
                forget,
            } => {
                let root = u64::from(root) % ROOTS;
                let index = pick(USER_SLOTS, slot);
                if self.machine.ram.entry(root, index) & 1 != 0 {
                    let gva = index << 22 | pick(LEAVES, leaf) << 12;
                    self.set_leaf(root, Self::user_table(root, slot), gva, entry, forget);
                }
            }
            Step::SetKernelLeaf {
                named,
                slot,
                leaf,
                entry,
                forget,
            } => {
                let gva = pick(KERNEL_SLOTS, slot) << 22 | pick(LEAVES, leaf) << 12;
                let table = KERNEL_TABLES + u64::from(slot) % KERNEL_SLOTS.len() as u64;
                self.set_leaf(u64::from(named) % ROOTS, table, gva, entry, forget);
            }
            Step::FreeUserTable { root, slot } => self.free_table(u64::from(root) % ROOTS, slot),
            Step::AddUserTable { root, slot, rights } => {
                let root = u64::from(root) % ROOTS;
                let index = pick(USER_SLOTS, slot);
                if self.machine.ram.entry(root, index) & 1 == 0 {
                    let table = Self::user_table(root, slot);
                    self.machine.ram.fill(table, 0);
                    let top = (table as u32) << 12 | u32::from(rights) & 0x66 | 1;
                    self.machine.ram.set_entry(root, index, top);
                }
            }
            Step::EndRoot { root } => {
                let root = u64::from(root) % ROOTS;
                // R7: the current root is not freed.
                if root != self.current {
                    for slot in 0..USER_SLOTS.len() as u8 {
                        self.free_table(root, slot);
                    }
                    self.machine.ram.fill(root, 0);
                    Self::clone_kernel(&self.machine, root);
                }
            }
            Step::FlushUser { entry: by } => {
                for slot in 0..USER_SLOTS.len() as u8 {
                    if self.machine.ram.entry(self.current, pick(USER_SLOTS, slot)) & 1 != 0 {
                        let table = Self::user_table(self.current, slot);
                        for leaf in LEAVES {
                            self.machine.ram.set_entry(table, leaf, entry(by));
                        }
                    }
                }
                self.machine.shadow.flush_user();
            }
            Step::FlushAll { entry: by } => {
                for table in KERNEL_TABLES..DATA {
                    for leaf in LEAVES {
                        self.machine.ram.set_entry(table, leaf, entry(by));
                    }
                }
                self.machine.shadow.flush_all(&self.machine.ram).unwrap();
            }
            Step::Load { root } => {
                self.current = u64::from(root) % ROOTS;
                self.machine.load(self.current);
            }
            Step::Access { slot, leaf, access } => self.access(slot, leaf, access),
        }
    }

    /// The guest sees what its tables say now, whatever is remembered anywhere (LG-079, LG-117).
    fn access(&mut self, slot: u8, leaf: u8, access: u8) {
        let all = [0, 1, 256, 700, 832, 1021];
        let gva = pick(all, slot) << 22 | pick(LEAVES, leaf) << 12;
        let access = ACCESSES[usize::from(access) % ACCESSES.len()];
        let truth = self.machine.truth(self.current, gva, access);
        let seen = self.machine.access(gva, access);
        match truth {
            Ok(frame) => assert_eq!(seen, Seen::Frame(frame), "{access:?} at {gva:#x}"),
            Err(error) => assert_eq!(seen, Seen::Fault(error), "{access:?} at {gva:#x}"),
        }
        if truth.is_ok() {
            let top = self.machine.ram.entry(self.current, gva >> 22);
            let leaf = self
                .machine
                .ram
                .entry(u64::from(top >> 12), gva >> 12 & 1023);
            let needed = match access.kind {
                AccessKind::Read => bits::A,
                AccessKind::Write => bits::A | bits::D,
            };
            assert_eq!(
                u64::from(leaf) & needed,
                needed,
                "LG-080 to LG-082 at {gva:#x}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(500),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// 500 guests of 1,000 steps, with budgets from comfortable to far too small (A-20, A-21, LG-113).
    #[test]
    fn a_guest_that_keeps_the_rules_never_sees_the_shadow(
        steps in vec(steps(), 1_000),
        kernel in 0..2_usize,
        tables in prop_oneof![Just(8_usize), Just(12), Just(200)],
        roots in 1..6_usize,
    ) {
        let mut guest = Guest::new(KERNELS[kernel], tables, roots);
        for (count, step) in steps.into_iter().enumerate() {
            guest.step(step);
            if count % 50 == 0 {
                prop_assert_eq!(guest.machine.audit(), 0);
            }
        }
        guest.machine.finish();
    }
}
