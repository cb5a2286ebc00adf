//! Random guests that keep rules R1 to R9: their memory is always exactly what they made it.

use super::{G, Guest as Machine, ROOT_BYTES, nth_root};
use hv_core::address::Gva;
use hv_core::paging::{AccessKind, bits};
use hv_machine::{ACCESSES, Entries, Seen, Tables, slot_size};
use proptest::collection::vec;
use proptest::prelude::*;

/// First kernel address. The second one makes a quarter straddle it.
const KERNELS: [u32; 2] = [0xc000_0000, 0xd000_0000];
/// First addresses of what a leaf table covers.
const USER_SLOTS: [u32; 5] = [0, slot_size::<G>(), 0x4000_0000, 0xaf00_0000, 0xc000_0000];
const KERNEL_SLOTS: [u32; 2] = [0xd000_0000, 0xff40_0000];
/// Pages of such a stretch, at the edges of the processor's tables.
const PAGES: [u32; 4] = [0, 1, 511, slot_size::<G>() / 4096 - 1];
/// Frames: roots, a user leaf table for each root and slot, kernel leaf tables, page directories, then
/// data.
const ROOTS: u64 = 4;
const USER_TABLES: u64 = ROOTS;
const KERNEL_TABLES: u64 = USER_TABLES + ROOTS * USER_SLOTS.len() as u64;
const KERNEL_DIRECTORY: u64 = KERNEL_TABLES + KERNEL_SLOTS.len() as u64;
const DIRECTORIES: u64 = KERNEL_DIRECTORY + 1;
/// Four for each root, and as many that nobody uses.
const DATA: u64 = DIRECTORIES + 4 * (ROOTS + 1);
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

fn pick(from: &[u32], by: u8) -> u32 {
    from[usize::from(by) % from.len()]
}

/// A leaf entry: any rights and A, D, software and cache bits; absent one time in eight.
fn entry(by: u8) -> u64 {
    let by = u64::from(by);
    let flags = by & 0x66 | (by & 0x10) << 4 | (by & 8) << 1;
    let no_execute = if by & 0x80 != 0 && G::WIDTH == 8 {
        bits::NX
    } else {
        0
    };
    let frame = DATA + by % DATA_FRAMES;
    frame << 12 | flags | no_execute | u64::from(by % 8 != 7)
}

struct Guest {
    machine: Machine,
    kernel: u32,
    current: u64,
    /// Page directories of each root, for formats that have them; the last are free.
    directories: Vec<[u64; 4]>,
}

impl Guest {
    fn new(kernel: u32, tables: usize, roots: usize) -> Self {
        let mut machine = Machine::new((DATA + DATA_FRAMES) as usize, tables, roots);
        machine.shadow.set_kernel_address(Gva::new(kernel));
        let directories = (0..=ROOTS).map(|set| {
            let own = |quarter| DIRECTORIES + set * 4 + quarter;
            // A gigabyte of the kernel's alone has one directory in all roots.
            let last = if kernel == KERNELS[0] {
                KERNEL_DIRECTORY
            } else {
                own(3)
            };
            [own(0), own(1), own(2), last]
        });
        let mut guest = Self {
            machine,
            kernel,
            current: 0,
            directories: directories.collect(),
        };
        (0..ROOTS).for_each(|root| guest.build(root));
        guest.machine.load(Self::root(0));
        guest
    }

    fn root(root: u64) -> u64 {
        nth_root(0, root)
    }

    /// Fills a root with what every address space has, and announces its page directories.
    fn build(&mut self, root: u64) {
        let at = Self::root(root);
        let tables = self.machine.tables();
        G::build(&tables, at, self.directories[root as usize]);
        for (slot, table) in KERNEL_SLOTS.into_iter().zip(KERNEL_TABLES..) {
            tables.set_slot(at, slot, table << 12 | 0x67);
        }
        // What all roots share is there in silence: it is equal (R6).
        let own = if self.kernel == KERNELS[0] { 3 } else { 4 };
        G::announce_top(&mut self.machine, at, own);
    }

    fn user_slots(&self) -> usize {
        USER_SLOTS
            .iter()
            .filter(|slot| **slot < self.kernel)
            .count()
    }

    /// The user slot that `by` chooses.
    fn user_slot(&self, by: u8) -> usize {
        usize::from(by) % self.user_slots()
    }

    fn user_table(root: u64, slot: usize) -> u64 {
        USER_TABLES + root * USER_SLOTS.len() as u64 + slot as u64
    }

    fn has_table(&self, root: u64, slot: usize) -> bool {
        let root = Self::root(root);
        self.machine.tables().slot(root, USER_SLOTS[slot]) & 1 != 0
    }

    fn set_leaf(&mut self, root: u64, table: u64, gva: u32, by: u8, forget: bool) {
        let leaf = Entries::<G>::leaf_index(gva);
        let old = self.machine.tables().get(table, leaf);
        self.machine.tables().set(table, leaf, entry(by));
        // R1: what was absent may become present in silence. All else is said (R2).
        if old & 1 != 0 {
            let said = if forget { 0 } else { entry(by) };
            let root = Self::root(root);
            match gva >> 12 & 1 {
                0 => self.machine.set_pte(root, gva, said).unwrap(),
                _ => assert_eq!(self.machine.set_queued_ptes(&[(root, gva, said)]), Ok(1)),
            }
            assert_eq!(
                self.machine.tables().get(table, leaf),
                entry(by),
                "R9: memory is the guest's"
            );
        }
    }

    fn free_table(&mut self, root: u64, slot: usize) {
        if !self.has_table(root, slot) {
            return;
        }
        let tables = self.machine.tables();
        let at = tables.slot_at(Self::root(root), USER_SLOTS[slot]).unwrap();
        tables.set_at(at, 0);
        G::announce(&mut self.machine, at);
        let table = Self::user_table(root, slot);
        self.machine.ram.fill(table << 12, 4096, 0xdead_beef);
    }

    /// The page directories of a root that is gone are memory, and the free ones serve the next (R8).
    /// The one that holds kernel tables stays: it is not empty.
    fn exchange_directories(&mut self, root: u64) {
        let (roots, free) = self.directories.split_at_mut(ROOTS as usize);
        let (old, free) = (&mut roots[root as usize], &mut free[0]);
        for quarter in 0..3 {
            self.machine.ram.fill(old[quarter] << 12, 4096, 0xdead_beef);
            self.machine.ram.fill(free[quarter] << 12, 4096, 0);
            std::mem::swap(&mut old[quarter], &mut free[quarter]);
        }
        // A directory serves another gigabyte than before.
        old[..3].rotate_left(1);
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
                let (root, slot) = (u64::from(root) % ROOTS, self.user_slot(slot));
                if self.has_table(root, slot) {
                    let gva = USER_SLOTS[slot] | pick(&PAGES, leaf) << 12;
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
                let gva = pick(&KERNEL_SLOTS, slot) | pick(&PAGES, leaf) << 12;
                let table = KERNEL_TABLES + u64::from(slot) % KERNEL_SLOTS.len() as u64;
                self.set_leaf(u64::from(named) % ROOTS, table, gva, entry, forget);
            }
            Step::FreeUserTable { root, slot } => {
                self.free_table(u64::from(root) % ROOTS, self.user_slot(slot));
            }
            Step::AddUserTable { root, slot, rights } => {
                let (root, slot) = (u64::from(root) % ROOTS, self.user_slot(slot));
                if !self.has_table(root, slot) {
                    let table = Self::user_table(root, slot);
                    self.machine.ram.fill(table << 12, 4096, 0);
                    let upper = table << 12 | u64::from(rights) & 0x66 | 1;
                    let tables = self.machine.tables();
                    tables.set_slot(Self::root(root), USER_SLOTS[slot], upper);
                }
            }
            Step::EndRoot { root } => {
                let root = u64::from(root) % ROOTS;
                // R7: the current root is not freed.
                if root != self.current {
                    (0..self.user_slots()).for_each(|slot| self.free_table(root, slot));
                    self.machine.ram.fill(Self::root(root), ROOT_BYTES, 0);
                    self.exchange_directories(root);
                    self.build(root);
                }
            }
            Step::FlushUser { entry: by } => {
                for slot in 0..self.user_slots() {
                    if self.has_table(self.current, slot) {
                        let table = Self::user_table(self.current, slot);
                        self.set_all_leaves(table, by);
                    }
                }
                self.machine.flush_user();
            }
            Step::FlushAll { entry: by } => {
                (KERNEL_TABLES..KERNEL_DIRECTORY).for_each(|table| self.set_all_leaves(table, by));
                self.machine.shadow.flush_all(&self.machine.ram).unwrap();
            }
            Step::Load { root } => {
                self.current = u64::from(root) % ROOTS;
                self.machine.load(Self::root(self.current));
            }
            Step::Access { slot, leaf, access } => self.access(slot, leaf, access),
        }
    }

    /// In silence.
    fn set_all_leaves(&self, table: u64, by: u8) {
        for page in PAGES {
            self.machine.tables().set(table, page, entry(by));
        }
    }

    /// The guest sees what its tables say now, whatever is remembered anywhere (LG-079, LG-117).
    fn access(&mut self, slot: u8, leaf: u8, access: u8) {
        let slots = [&USER_SLOTS[..], &KERNEL_SLOTS[..]].concat();
        let gva = pick(&slots, slot) | pick(&PAGES, leaf) << 12;
        let access = ACCESSES[usize::from(access) % ACCESSES.len()];
        let root = Self::root(self.current);
        let truth = self.machine.truth(root, gva, access);
        let seen = self.machine.access(gva, access);
        match truth {
            Ok(frame) => assert_eq!(seen, Seen::Frame(frame), "{access:?} at {gva:#x}"),
            Err(error) => assert_eq!(seen, Seen::Fault(error), "{access:?} at {gva:#x}"),
        }
        if truth.is_ok() {
            let tables = self.machine.tables();
            let table = tables.slot(root, gva) >> 12;
            let leaf = tables.get(table, Entries::<G>::leaf_index(gva));
            let needed = match access.kind {
                AccessKind::Read | AccessKind::Execute => bits::A,
                AccessKind::Write => bits::A | bits::D,
            };
            assert_eq!(leaf & needed, needed, "LG-080 to LG-082 at {gva:#x}");
        }
    }
}

proptest! {
    #![proptest_config(crate::random_guests())]

    /// 400 guests of 1,000 steps, with budgets from comfortable to far too small (A-20, A-21, LG-113), and exits that may
    /// do much or next to nothing.
    #[test]
    fn lg113_a20_a21_a39_a_guest_that_keeps_the_rules_never_sees_the_shadow(
        steps in vec(steps(), 1_000),
        kernel in 0..2_usize,
        tables in prop_oneof![Just(8_usize), Just(12), Just(200)],
        roots in 1..6_usize,
        effort in prop_oneof![Just(50_u32), Just(300), Just(u32::MAX)],
        paths in crate::fast_paths(),
    ) {
        let mut guest = Guest::new(KERNELS[kernel], tables, roots);
        guest.machine.limit_exits(effort);
        guest.machine.shadow.choose_fast_paths(paths);
        for (count, step) in steps.into_iter().enumerate() {
            guest.step(step);
            if count % 50 == 0 {
                prop_assert_eq!(guest.machine.audit(), 0);
            }
        }
        guest.machine.finish();
    }
}
