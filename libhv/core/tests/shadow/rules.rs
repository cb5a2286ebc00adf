//! The contract of the shadow, rule by rule, and the statements of lguest-abi 11.6 and 11.7 that need
//! no hardware.

use super::{BAD_SLOT, G, Guest, ROOT_BYTES, ROOTS, nth_root};
use hv_core::address::{Gpa, Gva};
use hv_core::kill::Kill;
use hv_core::paging::{AccessKind, Privilege, bits};
use hv_machine::{
    ACCESSES, Entries, RAM_BASE, READ, Seen, Tables, USER_READ, USER_WRITE, WRITE, slot_size,
};

pub const KERNEL: u32 = 0xc000_0000;
/// Frames: roots up to 3, a user leaf table for each of the first two, a spare one, the kernel's leaf
/// table, data, and then page directories, if the format has them.
pub const USER: [u64; 2] = [4, 5];
const SPARE: u64 = 6;
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
const STACK: u32 = KERNEL + 0x8000;
/// Bytes that a leaf table covers.
const SLOT: u32 = slot_size::<G>();

pub fn frame(gfn: u32) -> Seen {
    Seen::Frame(RAM_BASE + (u64::from(gfn) << 12))
}

fn entry(gfn: u32, flags: u32) -> u64 {
    u64::from(gfn << 12 | flags)
}

fn table(frame: u64, flags: u64) -> u64 {
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
fn announce(machine: &mut Guest, space: usize) {
    let at = machine.tables().slot_at(ROOTS[space], GVA).unwrap();
    G::announce(machine, at);
}

/// Maps `HIGH` in all of them.
pub fn map_high(machine: &Guest, page: u32) {
    machine.tables().set(SHARED, LEAF, entry(page, 7));
}

fn leaf(machine: &Guest, table: u64) -> u64 {
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

#[test]
fn a18_r9_an_announced_value_is_believed_only_as_far_as_memory_agrees() {
    let mut machine = machine();
    machine.tables().set(USER[0], LEAF, entry(PAGE, 0x25));
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    for lie in [entry(OTHER, 0x67), entry(PAGE, 0x67), entry(0, 0x67)] {
        machine.set_pte(ROOTS[0], GVA, lie).unwrap();
        assert_eq!(
            leaf(&machine, USER[0]),
            entry(PAGE, 0x25),
            "never written back"
        );
        assert_eq!(machine.access(GVA, WRITE), Seen::Fault(3), "A-18: {lie:#x}");
        assert_eq!(machine.access(GVA, READ), frame(PAGE));
    }
}

#[test]
fn lg_080_to_082_accessed_and_dirty_bits_are_set_as_the_processor_does() {
    let mut machine = machine();
    map(&machine, 0, PAGE);
    machine.access(GVA, USER_READ);
    assert_eq!(leaf(&machine, USER[0]), entry(PAGE, 0x27), "LG-080");
    machine.access(GVA, USER_WRITE);
    assert_eq!(leaf(&machine, USER[0]), entry(PAGE, 0x67), "LG-081, LG-082");
    assert_eq!(
        machine.tables().slot(ROOTS[0], GVA),
        table(USER[0], 7),
        "leaves only"
    );
}

#[test]
fn lg_083_084_095_rights_count_at_every_level_with_the_architectural_error_code() {
    for top in 0..4 {
        for low in 0..4 {
            for access in ACCESSES {
                let mut machine = machine();
                let upper = table(USER[0], 1 | top << 1);
                machine.tables().set_slot(ROOTS[0], GVA, upper);
                machine
                    .tables()
                    .set(USER[0], LEAF, table(u64::from(PAGE), 1 | low << 1));
                let write = access.kind == AccessKind::Write;
                let user = access.privilege == Privilege::User;
                let refused = write && top & low & 1 == 0 || user && top & low & 2 == 0;
                let fetch = access.kind == AccessKind::Execute;
                let code = 1 | u32::from(write) << 1 | u32::from(user) << 2;
                let error = (code | u32::from(fetch) << 4) & G::ERRORS;
                let expected = if refused {
                    Seen::Fault(error)
                } else {
                    frame(PAGE)
                };
                assert_eq!(
                    machine.access(GVA, access),
                    expected,
                    "{top} {low} {access:?}"
                );
                // 13.4: the same code when the shadow is there as when it is not.
                machine.access(GVA, READ);
                assert_eq!(
                    machine.access(GVA, access),
                    expected,
                    "{top} {low} {access:?}"
                );
            }
        }
    }
}

#[test]
fn lg_088_089_091_093_entries_that_this_abi_does_not_have_kill() {
    let mut machine = machine();
    for bad in [entry(FRAMES, 7), entry(0xf_ffff, 7), entry(PAGE, 0x87)] {
        machine.tables().set(USER[0], LEAF, bad);
        let kill = Kill::BadPageTableEntry(bad);
        assert_eq!(
            machine.access(GVA, READ),
            Seen::Killed(kill),
            "LG-088, LG-089"
        );
    }
    for bad in [
        entry(FRAMES, 7),
        entry(3, 0x87),
        entry(3, 0xf),
        entry(3, 0x17),
        entry(3, 0x107),
    ] {
        machine.tables().set_slot(ROOTS[0], GVA, bad);
        let kill = BAD_SLOT(bad);
        assert_eq!(machine.access(GVA, READ), Seen::Killed(kill), "LG-091");
    }
    machine.finish();
}

#[test]
fn lg_094_the_global_bit_has_no_effect() {
    let mut machine = machine();
    machine.tables().set(USER[0], LEAF, entry(PAGE, 0x107));
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    machine.tables().set(USER[0], LEAF, entry(OTHER, 0x107));
    machine.flush_user();
    assert_eq!(machine.access(GVA, READ), frame(OTHER));
}

#[test]
fn lg_099_102_a_user_change_is_for_the_named_root_alone() {
    let mut machine = machine();
    for (root, user) in ROOTS.into_iter().zip(USER) {
        machine.tables().set(user, LEAF, entry(PAGE, 7));
        machine.load(root);
        assert_eq!(machine.access(GVA, READ), frame(PAGE));
    }
    let repairs = machine.repairs;
    machine.set_pte(ROOTS[0], GVA, 0).unwrap();
    machine.set_pte(0, GVA, 0).unwrap();
    machine.set_pte(0, GVA, entry(FRAMES, 0x67)).unwrap();
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    assert_eq!(machine.repairs, repairs, "the other root lost nothing");
    machine.load(ROOTS[0]);
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    assert_eq!(machine.repairs, repairs + 1);
}

#[test]
fn lg_101_a_page_announced_absent_faults() {
    let mut machine = machine();
    machine.tables().set(USER[0], LEAF, entry(PAGE, 0x67));
    assert_eq!(machine.access(GVA, WRITE), frame(PAGE));
    for absent in [0, 0x60, 0xe0, entry(FRAMES, 0x66)] {
        machine.tables().set(USER[0], LEAF, absent);
        machine.set_pte(ROOTS[0], GVA, absent).unwrap();
        assert_eq!(machine.access(GVA, READ), Seen::Fault(0), "{absent:#x}");
    }
}

#[test]
fn lg_103_104_an_announced_page_is_writable_at_once_only_if_dirty() {
    for (flags, repairs) in [(0x67, 0), (0x27, 1)] {
        let mut machine = machine();
        map(&machine, 0, PAGE);
        machine.tables().set(USER[0], 0, entry(PAGE, 7));
        machine.access(0, READ);
        machine.tables().set(USER[0], LEAF, entry(OTHER, flags));
        machine.set_pte(ROOTS[0], GVA, entry(OTHER, flags)).unwrap();
        let before = machine.repairs;
        assert_eq!(machine.access(GVA, WRITE), frame(OTHER));
        assert_eq!(machine.repairs - before, repairs, "flags {flags:#x}");
        assert_eq!(leaf(&machine, USER[0]) & bits::D, bits::D);
    }
}

#[test]
fn lg_105_106_an_announced_entry_is_validated_only_if_in_use() {
    let mut machine = machine();
    for bad in [entry(FRAMES, 0x27), entry(FRAMES, 0x47), entry(PAGE, 0xa7)] {
        let kill = Kill::BadPageTableEntry(bad);
        assert_eq!(machine.set_pte(ROOTS[0], GVA, bad), Err(kill), "LG-105");
    }
    for idle in [entry(FRAMES, 7), entry(PAGE, 0x87), entry(FRAMES, 0x66)] {
        assert_eq!(machine.set_pte(ROOTS[0], GVA, idle), Ok(()), "LG-106");
    }
    machine.finish();
}

#[test]
fn lg_090_flags_that_a_generation_does_not_have_kill() {
    const PWT: u64 = 1 << 3;
    let mut machine = machine();
    let bad = entry(PAGE, 0x27) | PWT;
    machine.tables().set(USER[0], LEAF, bad);
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    machine.flush_user();
    machine.shadow.refuse_leaf_flags(PWT);
    let kill = Kill::BadPageTableEntry(bad);
    assert_eq!(machine.access(GVA, READ), Seen::Killed(kill.clone()));
    assert_eq!(machine.set_pte(ROOTS[0], GVA, bad), Err(kill));
    machine.tables().set(USER[0], LEAF, bad & !PWT);
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    machine.finish();
}

#[test]
fn lg_107_the_reserved_window_kills_and_ends_where_it_should() {
    let mut machine = machine();
    for gva in [0xffc0_0000, 0xffff_f000, 0xffff_ffff] {
        let kill = Kill::PteInReservedWindow(Gva::new(gva));
        assert_eq!(machine.set_pte(ROOTS[0], gva, 0), Err(kill));
    }
    assert_eq!(machine.set_pte(ROOTS[0], 0xffbf_ffff, 0), Ok(()));
}

#[test]
fn lg_110_a_change_in_an_unknown_root_is_ignored() {
    let mut machine = machine();
    map(&machine, 0, PAGE);
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    let repairs = machine.repairs;
    machine.set_pgd(0, 0);
    announce(&mut machine, 1);
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    assert_eq!(machine.repairs, repairs);
}

#[test]
fn lg_108_a_slot_is_empty_after_set_pgd_though_its_table_hangs_elsewhere_too() {
    let mut machine = machine();
    machine.tables().set_slot(ROOTS[0], SLOT, table(USER[0], 7));
    map(&machine, 0, PAGE);
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    assert_eq!(machine.access(SLOT | GVA, READ), frame(PAGE));
    map(&machine, 0, OTHER);
    machine.tables().set(USER[0], 0, entry(PAGE, 7));
    announce(&mut machine, 0);
    assert_eq!(
        machine.access(0, READ),
        frame(PAGE),
        "hangs the table's shadow in again"
    );
    assert_eq!(machine.access(GVA, READ), frame(OTHER));
}

#[test]
fn lg_113_more_roots_than_the_cache_holds() {
    // a loop over far more roots than are remembered takes no memory.
    let mut machine = Guest::new(256, 64, 4);
    let roots: Vec<_> = (0..96).map(|n| nth_root(16, n)).collect();
    for (root, directory) in roots.iter().zip(128..) {
        G::build(&machine.tables(), *root, [directory; 4]);
        machine.tables().set_slot(*root, GVA, table(USER[0], 7));
    }
    map(&machine, 0, PAGE);
    for _ in 0..20 {
        for root in &roots {
            machine.load(*root);
            assert_eq!(machine.access(GVA, READ), frame(PAGE));
            assert!(machine.shadow.statistics().roots <= 4);
        }
    }
    assert!(machine.shadow.statistics().tables <= 4 * 3);
    machine.finish();
}

#[test]
fn lg_114_the_kernel_stack_is_pinned_in_a_fresh_root() {
    let mut machine = machine();
    machine.tables().set(SHARED, 7, entry(PAGE, 3));
    machine.tables().set(SHARED, 6, entry(OTHER, 3));
    machine
        .shadow
        .set_stack(&machine.ram, Gva::new(STACK), 2)
        .unwrap();
    machine.tables().set_slot(ROOTS[2], HIGH, table(SHARED, 7));
    for root in ROOTS {
        machine.load(root);
        let repairs = machine.repairs;
        assert_eq!(machine.access(STACK - 4, WRITE), frame(PAGE));
        assert_eq!(machine.access(STACK - 4096 - 4, WRITE), frame(OTHER));
        assert_eq!(machine.repairs, repairs, "root {root}");
    }
}

/// The pages may lie on either side of a multiple of 2 MiB, in two tables of the processor's.
#[test]
fn lg_114_a_stack_in_two_tables_is_pinned() {
    const TOP: u32 = KERNEL + 0x20_1000;
    let mut machine = machine();
    for root in ROOTS {
        machine.tables().set_slot(root, TOP, table(SHARED, 7));
    }
    let leaf = |gva: u32| (gva >> 12) % (SLOT >> 12);
    for (page, gva) in [(PAGE, TOP - 4096), (OTHER, TOP - 8192)] {
        machine.tables().set(SHARED, leaf(gva), entry(page, 3));
    }
    for _ in 0..2 {
        let told = (machine.shadow).set_stack(&machine.ram, Gva::new(TOP), 2);
        assert_eq!(told, Ok(()));
        let repairs = machine.repairs;
        assert_eq!(machine.access(TOP - 4, WRITE), frame(PAGE));
        assert_eq!(machine.access(TOP - 4096 - 4, WRITE), frame(OTHER));
        assert_eq!(machine.repairs, repairs);
    }
}

/// Guests say at every switch of their tasks where the stack is: what is mapped is not sought again.
#[test]
fn lg_114_a_stack_that_is_mapped_already_is_not_repaired() {
    let mut machine = machine();
    machine.tables().set(SHARED, 7, entry(PAGE, 3));
    machine.tables().set(SHARED, 6, entry(OTHER, 3));
    let mut repaired = || {
        let told = (machine.shadow).set_stack(&machine.ram, Gva::new(STACK), 2);
        assert_eq!(told, Ok(()));
        machine.shadow.statistics().repaired
    };
    let first = repaired();
    assert_eq!((repaired(), repaired()), (first, first));
}

/// A right is granted by all levels or not at all.
#[test]
fn a_stack_below_an_entry_that_grants_no_writing_kills_though_its_page_is_mapped() {
    let mut machine = machine();
    machine.tables().set(SHARED, 7, entry(PAGE, 3));
    for root in ROOTS {
        machine.tables().set_slot(root, HIGH, table(SHARED, 5));
    }
    machine.shadow.flush_all(&machine.ram).unwrap();
    assert_eq!(machine.access(STACK - 4, READ), frame(PAGE));
    // As the processor leaves it after a write that another way led to.
    machine.tables().set(SHARED, 7, entry(PAGE, 0x63));
    machine.shadow.flush_all(&machine.ram).unwrap();
    assert_eq!(machine.access(STACK - 4, READ), frame(PAGE));
    let kill = Kill::BadStackPage(Gva::new(STACK - 1));
    let told = machine.shadow.set_stack(&machine.ram, Gva::new(STACK), 1);
    assert_eq!(told, Err(kill));
}

#[test]
fn a_stack_that_is_not_mapped_writable_kills_when_it_is_pinned() {
    let mut machine = machine();
    machine.tables().set(SHARED, 7, entry(PAGE, 1));
    let top = Gva::new(STACK);
    let kill = Kill::BadStackPage(Gva::new(STACK - 1));
    assert_eq!(machine.shadow.set_stack(&machine.ram, top, 1), Err(kill));
    assert_eq!(
        machine.shadow.set_stack(&machine.ram, top, 0),
        Ok(()),
        "no page, no pin"
    );
}

#[test]
fn lg_115_flush_user_is_for_the_current_root_below_the_kernel() {
    let mut machine = machine();
    for (root, user) in ROOTS.into_iter().zip(USER) {
        machine.tables().set(user, LEAF, entry(PAGE, 7));
        map_high(&machine, PAGE);
        machine.load(root);
        machine.access(GVA, READ);
        machine.access(HIGH, READ);
    }
    let repairs = machine.repairs;
    machine.flush_user();
    machine.access(HIGH, READ);
    machine.load(ROOTS[0]);
    machine.access(GVA, READ);
    assert_eq!(
        machine.repairs, repairs,
        "the kernel's part and the other root stay"
    );
    machine.load(ROOTS[1]);
    machine.access(GVA, READ);
    assert_eq!(machine.repairs, repairs + 1);
}

#[test]
fn lg_115_flush_user_reaches_a_table_that_another_root_uses_too() {
    let mut machine = machine();
    machine.tables().set_slot(ROOTS[1], GVA, table(USER[0], 7));
    machine.tables().set(USER[0], 0, entry(PAGE, 7));
    map(&machine, 0, PAGE);
    for root in [ROOTS[1], ROOTS[0]] {
        machine.load(root);
        assert_eq!(machine.access(GVA, READ), frame(PAGE));
    }
    map(&machine, 0, OTHER);
    machine.flush_user();
    assert_eq!(
        machine.access(0, READ),
        frame(PAGE),
        "hangs the table's shadow in again"
    );
    assert_eq!(machine.access(GVA, READ), frame(OTHER), "LG-117");
}

#[test]
fn lg_116_flush_all_drops_everything_and_the_guest_goes_on() {
    let mut machine = machine();
    map(&machine, 0, PAGE);
    map_high(&machine, PAGE);
    machine.access(GVA, WRITE);
    machine.access(HIGH, WRITE);
    map(&machine, 0, OTHER);
    map_high(&machine, OTHER);
    machine.shadow.flush_all(&machine.ram).unwrap();
    assert_eq!(machine.shadow.statistics().tables, 0);
    assert_eq!(machine.access(GVA, WRITE), frame(OTHER));
    assert_eq!(machine.access(HIGH, WRITE), frame(OTHER));
}

#[test]
fn linear_mode_is_identity_for_the_kernel_and_nothing_for_ring_3() {
    let mut machine = bare(8, 1);
    assert_eq!(machine.access(GVA, WRITE), frame(GVA >> 12));
    assert_eq!(machine.access(GVA, USER_READ), Seen::Fault(5));
    let end = FRAMES << 12;
    let past = Kill::BadPageTableEntry(u64::from(end) | 0x63);
    assert_eq!(machine.access(end | 0x24, READ), Seen::Killed(past));
    assert_eq!(
        machine.shadow.translate(&machine.ram, Gva::new(end - 1)),
        Some(Gpa::from(end - 1))
    );
    assert_eq!(machine.shadow.translate(&machine.ram, Gva::new(end)), None);
    machine.finish();
}

#[test]
fn linear_mode_is_identity_in_every_leaf_table() {
    let mut machine = Guest::new(0x900, 16, 1);
    let pages = [0, 0x1000, 0x20_0000, 0x20_1000, 0x40_1000, 0x8f_f000];
    for gva in pages {
        assert_eq!(machine.access(gva, WRITE), frame(gva >> 12), "{gva:#x}");
    }
    for gva in pages {
        assert_eq!(machine.access(gva, WRITE), frame(gva >> 12), "{gva:#x}");
    }
    assert_eq!(
        machine.repairs,
        pages.len() as u64,
        "none displaced another"
    );
    machine.finish();
}

#[test]
fn a23_a_page_read_only_through_one_address_is_dirtied_through_the_other() {
    let mut machine = machine();
    machine.tables().set_slot(ROOTS[0], SLOT, table(USER[0], 5));
    map(&machine, 0, PAGE);
    let alias = SLOT | GVA;
    assert_eq!(machine.access(alias, WRITE), Seen::Fault(3));
    assert_eq!(
        leaf(&machine, USER[0]),
        entry(PAGE, 7),
        "a refused access sets nothing"
    );
    assert_eq!(machine.access(GVA, WRITE), frame(PAGE));
    assert_eq!(machine.access(alias, WRITE), Seen::Fault(3));
    assert_eq!(machine.access(alias, READ), frame(PAGE));
}

#[test]
fn a25_the_last_page_is_an_address_like_any_other() {
    let mut machine = machine();
    let last = Entries::<G>::leaf_index(0xffff_f000);
    machine
        .tables()
        .set_slot(ROOTS[0], 0xffff_f000, table(SPARE, 7));
    machine.tables().set(SPARE, last, entry(PAGE, 7));
    assert_eq!(machine.access(0xffff_f000, WRITE), frame(PAGE));
    assert_eq!(machine.access(0xffff_ffff, READ), frame(PAGE));
    machine.finish();
}

#[test]
fn host_accesses_honour_the_guests_rights_and_leave_its_marks() {
    let mut machine = machine();
    machine.tables().set(USER[0], LEAF, entry(PAGE, 5));
    let gva = Gva::new(GVA + 12);
    let there = Gpa::from(PAGE << 12 | 12);
    assert_eq!(machine.shadow.translate(&machine.ram, gva), Some(there));
    assert_eq!(
        leaf(&machine, USER[0]),
        entry(PAGE, 5),
        "translate leaves no trace"
    );
    assert_eq!(
        machine.shadow.guest_access(&machine.ram, gva, WRITE),
        Ok(Err(3))
    );
    assert_eq!(
        machine.shadow.guest_access(&machine.ram, gva, READ),
        Ok(Ok(there))
    );
    assert_eq!(leaf(&machine, USER[0]), entry(PAGE, 0x25));
}

/// With tables of two roots in use, and killed in the middle of an announcement, of a pin and of a
/// fault.
#[test]
fn lg_118_a_guest_that_ends_gives_every_frame_back() {
    let running = || {
        let mut machine = machine();
        for (root, user) in ROOTS.into_iter().zip(USER) {
            machine.tables().set(user, LEAF, entry(PAGE, 0x67));
            machine.tables().set(SHARED, LEAF, entry(OTHER, 0x67));
            machine.load(root);
            assert_eq!(machine.access(GVA, WRITE), frame(PAGE));
            assert_eq!(machine.access(HIGH, WRITE), frame(OTHER));
        }
        assert!(machine.shadow.statistics().tables > 4);
        machine
    };
    running().finish();

    let mut killed_by_a_call = running();
    let bad = entry(FRAMES, 0x67);
    assert!(killed_by_a_call.set_pte(ROOTS[1], GVA, bad).is_err());
    assert!(killed_by_a_call.set_pte(ROOTS[1], HIGH, bad).is_err());
    killed_by_a_call.finish();

    let mut killed_by_a_fault = running();
    killed_by_a_fault.tables().set(USER[1], LEAF + 1, bad);
    let seen = killed_by_a_fault.access(GVA + 0x1000, WRITE);
    assert_eq!(seen, Seen::Killed(Kill::BadPageTableEntry(bad)));
    killed_by_a_fault.finish();
}
