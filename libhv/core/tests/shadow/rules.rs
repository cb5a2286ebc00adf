//! The contract of the shadow, rule by rule, and the machine that other tests of it have as well.

use super::{G, Guest, ROOT_BYTES, ROOTS};
use hv_core::address::Gva;
use hv_machine::{RAM_BASE, READ, Seen, Tables, WRITE, slot_size};

pub const KERNEL: u32 = 0xc000_0000;
/// Frames: roots up to 3, a user leaf table for each of the first two, a spare one, the kernel's leaf
/// table, data, and then page directories, if the format has them.
pub const USER: [u64; 2] = [4, 5];
pub const SPARE: u64 = 6;
pub const SHARED: u64 = 7;
pub const PAGE: u32 = 8;
pub const OTHER: u32 = 9;
const KERNEL_DIRECTORY: u64 = 15;
const DIRECTORIES: [[u64; 4]; 3] = [
    [16, 17, 18, KERNEL_DIRECTORY],
    [19, 20, 21, KERNEL_DIRECTORY],
    [22, 23, 24, KERNEL_DIRECTORY],
];
pub const FRAMES: u32 = 32;
pub const GVA: u32 = 0x5000;
pub const LEAF: u32 = 5;
pub const HIGH: u32 = KERNEL + GVA;
pub const STACK: u32 = KERNEL + 0x8000;
/// Bytes that a leaf table covers.
pub const SLOT: u32 = slot_size::<G>();

pub fn frame(gfn: u32) -> Seen {
    Seen::Frame(RAM_BASE + (u64::from(gfn) << 12))
}

pub fn entry(gfn: u32, flags: u32) -> u64 {
    u64::from(gfn << 12 | flags)
}

pub fn table(frame: u64, flags: u64) -> u64 {
    frame << 12 | flags
}

/// A machine with three roots that name no leaf table yet. Nothing is loaded.
pub fn bare(tables: usize, roots: usize) -> Guest {
    let machine = Guest::new(FRAMES as usize, tables, roots);
    for (root, directories) in ROOTS.into_iter().zip(DIRECTORIES) {
        G::build(&machine.tables(), root, directories);
    }
    machine
}

/// Two address spaces that both have been current, so that R5's exception is over.
pub fn machine() -> Guest {
    let mut machine = bare(64, 8);
    machine.shadow.set_kernel_address(Gva::new(KERNEL));
    for (root, user) in ROOTS.into_iter().zip(USER) {
        machine.tables().set_slot(root, GVA, table(user, 7));
        machine.tables().set_slot(root, HIGH, table(SHARED, 7));
    }
    machine.load(ROOTS[0]);
    machine.load(ROOTS[1]);
    machine.load(ROOTS[0]);
    machine
}

/// Maps `GVA` in an address space.
pub fn map(machine: &Guest, space: usize, page: u32) {
    machine.tables().set(USER[space], LEAF, entry(page, 7));
}

/// Announces that the leaf table for `GVA` in an address space is another one now.
pub fn announce(machine: &mut Guest, space: usize) {
    let at = machine.tables().slot_at(ROOTS[space], GVA).unwrap();
    G::announce(machine, at);
}

/// Maps `HIGH` in all of them.
pub fn map_high(machine: &Guest, page: u32) {
    machine.tables().set(SHARED, LEAF, entry(page, 7));
}

pub fn leaf(machine: &Guest, table: u64) -> u64 {
    machine.tables().get(table, LEAF)
}

#[test]
fn r1_absence_is_never_remembered() {
    let mut machine = machine();
    machine.tables().set_slot(ROOTS[0], GVA, 0);
    assert_eq!(
        machine.access(GVA, READ),
        Seen::Fault(0),
        "LG-085: no top-level entry"
    );
    machine.tables().set_slot(ROOTS[0], GVA, table(USER[0], 7));
    assert_eq!(machine.access(GVA, READ), Seen::Fault(0), "LG-085: no leaf");
    map(&machine, 0, PAGE);
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
}

#[test]
fn r1_set_pte_of_zero_means_forget_and_read_again() {
    let mut machine = machine();
    map(&machine, 0, PAGE);
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    map(&machine, 0, OTHER);
    machine.set_pte(ROOTS[0], GVA, 0).unwrap();
    assert_eq!(machine.access(GVA, READ), frame(OTHER));
}

#[test]
fn r2_an_announced_change_holds_for_a_root_that_is_not_current() {
    let mut machine = machine();
    machine.tables().set(USER[0], LEAF, entry(PAGE, 0x67));
    assert_eq!(machine.access(GVA, WRITE), frame(PAGE));
    machine.load(ROOTS[1]);
    machine.tables().set(USER[0], LEAF, entry(PAGE, 0x65));
    machine.set_pte(ROOTS[0], GVA, entry(PAGE, 0x65)).unwrap();
    machine.load(ROOTS[0]);
    assert_eq!(machine.access(GVA, WRITE), Seen::Fault(3), "LG-112");
}

#[test]
fn r3_an_address_space_ends_by_set_pgd_while_not_current() {
    let mut machine = machine();
    map(&machine, 0, PAGE);
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    machine.load(ROOTS[1]);
    machine.tables().set_slot(ROOTS[0], GVA, 0);
    announce(&mut machine, 0);
    machine.ram.fill(USER[0] << 12, 4096, 0);
    machine.tables().set_slot(ROOTS[0], GVA, table(USER[0], 7));
    machine.load(ROOTS[0]);
    assert_eq!(machine.access(GVA, READ), Seen::Fault(0), "LG-108");
}

#[test]
fn a22_r4_a_leaf_shadow_does_not_outlive_its_last_slot() {
    let mut machine = machine();
    map(&machine, 0, PAGE);
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    machine.tables().set_slot(ROOTS[0], GVA, 0);
    announce(&mut machine, 0);
    // The table's frame is reused, in silence, as a leaf table of another root.
    map(&machine, 0, OTHER);
    machine.tables().set_slot(ROOTS[1], GVA, table(USER[0], 7));
    announce(&mut machine, 1);
    machine.load(ROOTS[1]);
    assert_eq!(machine.access(GVA, READ), frame(OTHER));
}

#[test]
fn r4_a_leaf_shadow_does_not_outlive_an_evicted_root() {
    let mut machine = bare(64, 1);
    for root in ROOTS.into_iter().take(2) {
        machine.tables().set_slot(root, GVA, table(SPARE, 7));
    }
    machine.load(ROOTS[0]);
    machine.load(ROOTS[1]);
    machine.tables().set(SPARE, LEAF, entry(PAGE, 7));
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    machine.load(ROOTS[0]);
    machine.tables().set_slot(ROOTS[0], GVA, 0);
    assert_eq!(machine.access(GVA, READ), Seen::Fault(0));
    machine.tables().set(SPARE, LEAF, entry(OTHER, 7));
    // The first access makes the shadow of this root, for which the other one goes.
    machine.tables().set_slot(ROOTS[0], GVA, table(USER[0], 7));
    machine.tables().set(USER[0], 0, entry(PAGE, 7));
    assert_eq!(machine.access(0, READ), frame(PAGE));
    machine.load(ROOTS[1]);
    assert_eq!(machine.access(GVA, READ), frame(OTHER));
}

#[test]
fn r4_nothing_is_remembered_of_an_evicted_root_though_its_frame_serves_the_next() {
    let mut machine = bare(64, 1);
    machine.shadow.set_kernel_address(Gva::new(KERNEL));
    machine.tables().set(SHARED, 7, entry(OTHER, 3));
    for (root, user) in ROOTS.into_iter().zip([USER[0], USER[1], SPARE]) {
        machine.tables().set_slot(root, GVA, table(user, 7));
        machine.tables().set_slot(root, HIGH, table(SHARED, 7));
    }
    map(&machine, 1, PAGE);
    machine.load(ROOTS[0]);
    // With a stack to pin, the next root's shadow is made at once: the processor never sees none.
    machine
        .shadow
        .set_stack(&machine.ram, Gva::new(STACK), 1)
        .unwrap();
    machine.load(ROOTS[1]);
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    let before = machine.shadow.root();
    machine.load(ROOTS[2]);
    assert_eq!(machine.shadow.root(), before, "the case that this is about");
    assert_eq!(machine.access(GVA, READ), Seen::Fault(0));
}

#[test]
fn r5_a_kernel_change_holds_in_all_roots_whatever_root_is_named() {
    for named in [ROOTS[0], ROOTS[1], 0, 0xf_ffff] {
        let mut machine = machine();
        machine.tables().set(SHARED, LEAF, entry(PAGE, 3));
        for root in ROOTS.into_iter().take(2) {
            machine.load(root);
            assert_eq!(machine.access(HIGH, READ), frame(PAGE));
        }
        machine.tables().set(SHARED, LEAF, entry(OTHER, 3));
        machine.set_pte(named, HIGH, 0).unwrap();
        for root in ROOTS.into_iter().take(2) {
            machine.load(root);
            assert_eq!(
                machine.access(HIGH, READ),
                frame(OTHER),
                "LG-100, A41: root {named:#x}"
            );
        }
    }
}

#[test]
fn r5_a_new_root_costs_one_page_and_faults_on_nothing_of_the_kernel_s() {
    let mut machine = machine();
    map_high(&machine, PAGE);
    map(&machine, 1, OTHER);
    assert_eq!(machine.access(HIGH, WRITE), frame(PAGE));
    let (before, repairs) = (machine.shadow.statistics(), machine.repairs);
    assert_eq!(before.tables, 3, "a root, a directory and a leaf table");
    machine.load(ROOTS[1]);
    assert_eq!(machine.access(GVA, READ), frame(OTHER));
    assert_eq!(machine.access(HIGH, WRITE), frame(PAGE));
    assert_eq!(machine.repairs, repairs + 1, "the user's page alone");
    let now = machine.shadow.statistics();
    assert_eq!(now.tables, before.tables + 3, "a root, and the user's two");
}

#[test]
fn r5_roots_that_are_older_than_the_kernel_s_directory_share_it() {
    let mut machine = machine();
    map_high(&machine, PAGE);
    for space in [0, 1] {
        map(&machine, space, OTHER);
        machine.load(ROOTS[space]);
        assert_eq!(machine.access(GVA, READ), frame(OTHER));
    }
    for (space, repairs) in [(0, 1), (1, 1), (0, 0), (1, 0)] {
        machine.load(ROOTS[space]);
        let before = machine.repairs;
        assert_eq!(machine.access(HIGH, WRITE), frame(PAGE));
        assert_eq!(machine.repairs, before + repairs);
    }
}

#[test]
fn r5_the_first_two_roots_drop_everything() {
    let mut machine = bare(64, 8);
    machine.shadow.set_kernel_address(Gva::new(KERNEL));
    assert_eq!(machine.access(GVA, WRITE), frame(GVA >> 12));
    // A10: one leaf table in two slots.
    machine.tables().set_slot(ROOTS[0], GVA, table(SHARED, 7));
    machine.tables().set_slot(ROOTS[0], HIGH, table(SHARED, 7));
    machine.tables().set_slot(ROOTS[1], HIGH, table(SHARED, 7));
    map_high(&machine, PAGE);
    machine.load(ROOTS[0]);
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    assert_eq!(machine.access(HIGH, READ), frame(PAGE));
    map_high(&machine, OTHER);
    machine.load(ROOTS[1]);
    // Another page first: its fault makes the root's shadow, and must not bring old leaves along.
    machine.tables().set(SHARED, 0, entry(PAGE, 7));
    assert_eq!(machine.access(KERNEL, READ), frame(PAGE));
    assert_eq!(machine.access(HIGH, READ), frame(OTHER));
    assert_eq!(machine.access(GVA, READ), Seen::Fault(0));
}

#[test]
fn r6_memory_of_a_root_that_is_not_current_is_left_alone() {
    let mut machine = machine();
    map(&machine, 0, PAGE);
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    machine.load(ROOTS[1]);
    // The old tables are data now, and data that would kill were it read as entries.
    let slot = machine.tables().slot_at(ROOTS[0], GVA).unwrap();
    let ends = [
        (ROOTS[0], ROOT_BYTES),
        (DIRECTORIES[0][0] << 12, 4096),
        (USER[0] << 12, 4096),
    ];
    for (at, length) in ends {
        machine.ram.fill(at, length, 0xffff_ffff);
    }
    map_high(&machine, OTHER);
    assert_eq!(machine.access(HIGH, WRITE), frame(OTHER));
    machine.set_pte(ROOTS[0], GVA, 0).unwrap();
    G::announce(&mut machine, slot);
    G::announce_top(&mut machine, ROOTS[0], 4);
    machine.shadow.flush_all(&machine.ram).unwrap();
    for (at, length) in ends {
        assert!(machine.ram.is_full_of(at, length, 0xffff_ffff), "{at:#x}");
    }
}

#[test]
fn r6_a_cached_user_part_is_valid_when_its_root_is_loaded_again() {
    let mut machine = machine();
    map(&machine, 0, PAGE);
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    let repairs = machine.repairs;
    machine.load(ROOTS[1]);
    machine.load(ROOTS[0]);
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    assert_eq!(machine.repairs, repairs, "a context switch loses nothing");
}

#[test]
fn a21_r7_the_current_root_is_never_evicted() {
    let mut machine = bare(8, 1);
    machine.tables().set_slot(ROOTS[0], GVA, table(USER[0], 7));
    map(&machine, 0, PAGE);
    machine.load(ROOTS[0]);
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    // More leaf tables than the budget holds: everything but the root in use may go.
    for slot in (0..=u32::MAX).step_by(SLOT as usize) {
        machine.tables().set_slot(ROOTS[0], slot, table(USER[0], 7));
        assert_eq!(machine.access(slot | GVA, READ), frame(PAGE));
        assert!(machine.shadow.root().is_some());
    }
    machine.finish();
}
