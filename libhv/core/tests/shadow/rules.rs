//! The contract of the shadow, rule by rule, and the statements of lguest-abi 11.6 and 11.7 that need
//! no hardware.

use crate::machine::{ACCESSES, Machine, RAM_BASE, READ, Seen, USER_READ, USER_WRITE, WRITE};
use hv_core::address::{Gpa, Gva};
use hv_core::kill::Kill;
use hv_core::paging::{AccessKind, Privilege, bits};

const KERNEL: u32 = 0xc000_0000;
const KERNEL_TOP: u32 = 768;
/// Frames: two roots, one user leaf table for each, a spare one, the kernel's leaf table, data.
const ROOT: [u64; 2] = [1, 2];
const USER: [u64; 2] = [3, 4];
const SPARE: u64 = 5;
const SHARED: u64 = 6;
const PAGE: u32 = 8;
const OTHER: u32 = 9;
const FRAMES: u32 = 16;
const GVA: u32 = 0x5000;
const LEAF: u32 = 5;
const HIGH: u32 = KERNEL + GVA;
const STACK: u32 = KERNEL + 0x8000;

fn frame(gfn: u32) -> Seen {
    Seen::Frame(RAM_BASE + (u64::from(gfn) << 12))
}

fn entry(gfn: u32, flags: u32) -> u32 {
    gfn << 12 | flags
}

/// Two address spaces that both have been current, so that R5's exception is over.
fn machine() -> Machine {
    let mut machine = Machine::new(FRAMES as usize, 64, 8);
    machine.shadow.set_kernel_address(Gva::new(KERNEL));
    for (root, user) in ROOT.into_iter().zip(USER) {
        machine.ram.set_entry(root, 0, entry(user as u32, 7));
        machine
            .ram
            .set_entry(root, KERNEL_TOP, entry(SHARED as u32, 7));
    }
    machine.load(ROOT[0]);
    machine.load(ROOT[1]);
    machine.load(ROOT[0]);
    machine
}

fn leaf(machine: &Machine, table: u64) -> u32 {
    machine.ram.entry(table, LEAF)
}

#[test]
fn r1_absence_is_never_remembered() {
    let mut machine = machine();
    machine.ram.set_entry(ROOT[0], 0, 0);
    assert_eq!(
        machine.access(GVA, READ),
        Seen::Fault(0),
        "LG-085: no top-level entry"
    );
    machine.ram.set_entry(ROOT[0], 0, entry(USER[0] as u32, 7));
    assert_eq!(machine.access(GVA, READ), Seen::Fault(0), "LG-085: no leaf");
    machine.ram.set_entry(USER[0], LEAF, entry(PAGE, 7));
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
}

#[test]
fn r1_set_pte_of_zero_means_forget_and_read_again() {
    let mut machine = machine();
    machine.ram.set_entry(USER[0], LEAF, entry(PAGE, 7));
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    machine.ram.set_entry(USER[0], LEAF, entry(OTHER, 7));
    machine.set_pte(ROOT[0], GVA, 0).unwrap();
    assert_eq!(machine.access(GVA, READ), frame(OTHER));
}

#[test]
fn r2_an_announced_change_holds_for_a_root_that_is_not_current() {
    let mut machine = machine();
    machine.ram.set_entry(USER[0], LEAF, entry(PAGE, 0x67));
    assert_eq!(machine.access(GVA, WRITE), frame(PAGE));
    machine.load(ROOT[1]);
    machine.ram.set_entry(USER[0], LEAF, entry(PAGE, 0x65));
    machine.set_pte(ROOT[0], GVA, entry(PAGE, 0x65)).unwrap();
    machine.load(ROOT[0]);
    assert_eq!(machine.access(GVA, WRITE), Seen::Fault(3), "LG-112");
}

#[test]
fn r3_an_address_space_ends_by_set_pgd_while_not_current() {
    let mut machine = machine();
    machine.ram.set_entry(USER[0], LEAF, entry(PAGE, 7));
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    machine.load(ROOT[1]);
    machine.ram.set_entry(ROOT[0], 0, 0);
    machine.set_pgd(ROOT[0], 0);
    machine.ram.fill(USER[0], 0);
    machine.ram.set_entry(ROOT[0], 0, entry(USER[0] as u32, 7));
    machine.load(ROOT[0]);
    assert_eq!(machine.access(GVA, READ), Seen::Fault(0), "LG-108");
}

#[test]
fn r4_a_leaf_shadow_does_not_outlive_its_last_slot() {
    let mut machine = machine();
    machine.ram.set_entry(USER[0], LEAF, entry(PAGE, 7));
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    machine.ram.set_entry(ROOT[0], 0, 0);
    machine.set_pgd(ROOT[0], 0);
    // The table's frame is reused, in silence, as a leaf table of another root.
    machine.ram.set_entry(USER[0], LEAF, entry(OTHER, 7));
    machine.ram.set_entry(ROOT[1], 0, entry(USER[0] as u32, 7));
    machine.set_pgd(ROOT[1], 0);
    machine.load(ROOT[1]);
    assert_eq!(machine.access(GVA, READ), frame(OTHER));
}

#[test]
fn r4_a_leaf_shadow_does_not_outlive_an_evicted_root() {
    let mut machine = Machine::new(FRAMES as usize, 64, 1);
    for root in ROOT {
        machine.ram.set_entry(root, 0, entry(SPARE as u32, 7));
    }
    machine.load(ROOT[0]);
    machine.load(ROOT[1]);
    machine.ram.set_entry(SPARE, LEAF, entry(PAGE, 7));
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    machine.load(ROOT[0]);
    machine.ram.set_entry(ROOT[0], 0, 0);
    assert_eq!(machine.access(GVA, READ), Seen::Fault(0));
    machine.ram.set_entry(SPARE, LEAF, entry(OTHER, 7));
    // The first access makes the shadow of this root, for which the other one goes.
    machine.ram.set_entry(ROOT[0], 0, entry(USER[0] as u32, 7));
    machine.ram.set_entry(USER[0], 0, entry(PAGE, 7));
    assert_eq!(machine.access(0, READ), frame(PAGE));
    machine.load(ROOT[1]);
    assert_eq!(machine.access(GVA, READ), frame(OTHER));
}

#[test]
fn r4_nothing_is_remembered_of_an_evicted_root_though_its_frame_serves_the_next() {
    let mut machine = Machine::new(FRAMES as usize, 64, 1);
    machine.shadow.set_kernel_address(Gva::new(KERNEL));
    machine.ram.set_entry(SHARED, 7, entry(OTHER, 3));
    for (root, user) in [(ROOT[0], USER[0]), (ROOT[1], USER[1]), (SPARE, 7)] {
        machine.ram.set_entry(root, 0, entry(user as u32, 7));
        machine
            .ram
            .set_entry(root, KERNEL_TOP, entry(SHARED as u32, 7));
    }
    machine.ram.set_entry(USER[1], LEAF, entry(PAGE, 7));
    machine.load(ROOT[0]);
    // With a stack to pin, the next root's shadow is made at once: the processor never sees none.
    machine
        .shadow
        .set_stack(&machine.ram, Gva::new(STACK), 1)
        .unwrap();
    machine.load(ROOT[1]);
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    let before = machine.shadow.root();
    machine.load(SPARE);
    assert_eq!(machine.shadow.root(), before, "the case that this is about");
    assert_eq!(machine.access(GVA, READ), Seen::Fault(0));
}

#[test]
fn r5_a_kernel_change_holds_in_all_roots_whatever_root_is_named() {
    for named in [ROOT[0], ROOT[1], 0, 0xf_ffff] {
        let mut machine = machine();
        machine.ram.set_entry(SHARED, LEAF, entry(PAGE, 3));
        for root in ROOT {
            machine.load(root);
            assert_eq!(machine.access(HIGH, READ), frame(PAGE));
        }
        machine.ram.set_entry(SHARED, LEAF, entry(OTHER, 3));
        machine.set_pte(named, HIGH, 0).unwrap();
        for root in ROOT {
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
fn r5_the_first_two_roots_drop_everything() {
    let mut machine = Machine::new(FRAMES as usize, 64, 8);
    machine.shadow.set_kernel_address(Gva::new(KERNEL));
    assert_eq!(machine.access(GVA, WRITE), frame(GVA >> 12));
    // A10: one leaf table in two slots.
    machine.ram.set_entry(ROOT[0], 0, entry(SHARED as u32, 7));
    machine
        .ram
        .set_entry(ROOT[0], KERNEL_TOP, entry(SHARED as u32, 7));
    machine
        .ram
        .set_entry(ROOT[1], KERNEL_TOP, entry(SHARED as u32, 7));
    machine.ram.set_entry(SHARED, LEAF, entry(PAGE, 7));
    machine.load(ROOT[0]);
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    assert_eq!(machine.access(HIGH, READ), frame(PAGE));
    machine.ram.set_entry(SHARED, LEAF, entry(OTHER, 7));
    machine.load(ROOT[1]);
    // Another page first: its fault makes the root's shadow, and must not bring old leaves along.
    machine.ram.set_entry(SHARED, 0, entry(PAGE, 7));
    assert_eq!(machine.access(KERNEL, READ), frame(PAGE));
    assert_eq!(machine.access(HIGH, READ), frame(OTHER));
    assert_eq!(machine.access(GVA, READ), Seen::Fault(0));
}

#[test]
fn r6_memory_of_a_root_that_is_not_current_is_left_alone() {
    let mut machine = machine();
    machine.ram.set_entry(USER[0], LEAF, entry(PAGE, 7));
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    machine.load(ROOT[1]);
    // The old root is data now, and data that would kill were it read as entries.
    machine.ram.fill(ROOT[0], 0xffff_ffff);
    machine.ram.fill(USER[0], 0xffff_ffff);
    machine.ram.set_entry(SHARED, LEAF, entry(OTHER, 7));
    assert_eq!(machine.access(HIGH, WRITE), frame(OTHER));
    machine.set_pte(ROOT[0], GVA, 0).unwrap();
    machine.set_pgd(ROOT[0], 0);
    machine.shadow.flush_all(&machine.ram).unwrap();
    for index in 0..1024 {
        assert_eq!(machine.ram.entry(ROOT[0], index), 0xffff_ffff);
        assert_eq!(machine.ram.entry(USER[0], index), 0xffff_ffff);
    }
}

#[test]
fn r6_a_cached_user_part_is_valid_when_its_root_is_loaded_again() {
    let mut machine = machine();
    machine.ram.set_entry(USER[0], LEAF, entry(PAGE, 7));
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    let repairs = machine.repairs;
    machine.load(ROOT[1]);
    machine.load(ROOT[0]);
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    assert_eq!(machine.repairs, repairs, "a context switch loses nothing");
}

#[test]
fn r7_the_current_root_is_never_evicted() {
    let mut machine = Machine::new(FRAMES as usize, 8, 1);
    machine.ram.set_entry(ROOT[0], 0, entry(USER[0] as u32, 7));
    machine.ram.set_entry(USER[0], LEAF, entry(PAGE, 7));
    machine.load(ROOT[0]);
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    // More directories than the budget holds: everything but the root in use may go.
    for top in 0..1024 {
        machine
            .ram
            .set_entry(ROOT[0], top, entry(USER[0] as u32, 7));
        assert_eq!(machine.access(top << 22 | GVA, READ), frame(PAGE));
        assert!(machine.shadow.root().is_some());
    }
    machine.finish();
}

#[test]
fn r8_roots_are_keyed_by_what_the_format_says() {
    let mut machine = machine();
    machine.ram.set_entry(USER[0], LEAF, entry(PAGE, 7));
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    // Two-level roots are pages: the low twelve bits of the value are flags of CR3.
    machine
        .shadow
        .new_pgtable(&machine.ram, Gpa::new((ROOT[0] << 12) | 0x18))
        .unwrap();
    let repairs = machine.repairs;
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    assert_eq!(machine.repairs, repairs);
}

#[test]
fn r9_an_announced_value_is_believed_only_as_far_as_memory_agrees() {
    let mut machine = machine();
    machine.ram.set_entry(USER[0], LEAF, entry(PAGE, 0x25));
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    for lie in [entry(OTHER, 0x67), entry(PAGE, 0x67), entry(0, 0x67)] {
        machine.set_pte(ROOT[0], GVA, lie).unwrap();
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
    machine.ram.set_entry(USER[0], LEAF, entry(PAGE, 7));
    machine.access(GVA, USER_READ);
    assert_eq!(leaf(&machine, USER[0]), entry(PAGE, 0x27), "LG-080");
    machine.access(GVA, USER_WRITE);
    assert_eq!(leaf(&machine, USER[0]), entry(PAGE, 0x67), "LG-081, LG-082");
    assert_eq!(
        machine.ram.entry(ROOT[0], 0),
        entry(USER[0] as u32, 7),
        "leaves only"
    );
}

#[test]
fn lg_083_084_095_rights_count_at_every_level_with_the_architectural_error_code() {
    for top in 0..4 {
        for low in 0..4 {
            for access in ACCESSES {
                let mut machine = machine();
                machine
                    .ram
                    .set_entry(ROOT[0], 0, entry(USER[0] as u32, 1 | top << 1));
                machine
                    .ram
                    .set_entry(USER[0], LEAF, entry(PAGE, 1 | low << 1));
                let write = access.kind == AccessKind::Write;
                let user = access.privilege == Privilege::User;
                let refused = write && top & low & 1 == 0 || user && top & low & 2 == 0;
                let error = 1 | u32::from(write) << 1 | u32::from(user) << 2;
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
fn lg_088_089_091_entries_that_this_abi_does_not_have_kill() {
    let mut machine = machine();
    for bad in [entry(FRAMES, 7), entry(0xf_ffff, 7), entry(PAGE, 0x87)] {
        machine.ram.set_entry(USER[0], LEAF, bad);
        let kill = Kill::BadPageTableEntry(bad.into());
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
        machine.ram.set_entry(ROOT[0], 0, bad);
        let kill = Kill::BadPageDirectoryEntry(bad.into());
        assert_eq!(machine.access(GVA, READ), Seen::Killed(kill), "LG-091");
    }
    machine.finish();
}

#[test]
fn lg_094_the_global_bit_has_no_effect() {
    let mut machine = machine();
    machine.ram.set_entry(USER[0], LEAF, entry(PAGE, 0x107));
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    machine.ram.set_entry(USER[0], LEAF, entry(OTHER, 0x107));
    machine.shadow.flush_user();
    assert_eq!(machine.access(GVA, READ), frame(OTHER));
}

#[test]
fn lg_099_102_a_user_change_is_for_the_named_root_alone() {
    let mut machine = machine();
    for (root, user) in ROOT.into_iter().zip(USER) {
        machine.ram.set_entry(user, LEAF, entry(PAGE, 7));
        machine.load(root);
        assert_eq!(machine.access(GVA, READ), frame(PAGE));
    }
    let repairs = machine.repairs;
    machine.set_pte(ROOT[0], GVA, 0).unwrap();
    machine.set_pte(0, GVA, 0).unwrap();
    machine.set_pte(0, GVA, entry(FRAMES, 0x67)).unwrap();
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    assert_eq!(machine.repairs, repairs, "the other root lost nothing");
    machine.load(ROOT[0]);
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    assert_eq!(machine.repairs, repairs + 1);
}

#[test]
fn lg_101_a_page_announced_absent_faults() {
    let mut machine = machine();
    machine.ram.set_entry(USER[0], LEAF, entry(PAGE, 0x67));
    assert_eq!(machine.access(GVA, WRITE), frame(PAGE));
    for absent in [0, 0x60, 0xe0, entry(FRAMES, 0x66)] {
        machine.ram.set_entry(USER[0], LEAF, absent);
        machine.set_pte(ROOT[0], GVA, absent).unwrap();
        assert_eq!(machine.access(GVA, READ), Seen::Fault(0), "{absent:#x}");
    }
}

#[test]
fn lg_103_104_an_announced_page_is_writable_at_once_only_if_dirty() {
    for (flags, repairs) in [(0x67, 0), (0x27, 1)] {
        let mut machine = machine();
        machine.ram.set_entry(USER[0], LEAF, entry(PAGE, 7));
        machine.ram.set_entry(USER[0], 0, entry(PAGE, 7));
        machine.access(0, READ);
        machine.ram.set_entry(USER[0], LEAF, entry(OTHER, flags));
        machine.set_pte(ROOT[0], GVA, entry(OTHER, flags)).unwrap();
        let before = machine.repairs;
        assert_eq!(machine.access(GVA, WRITE), frame(OTHER));
        assert_eq!(machine.repairs - before, repairs, "flags {flags:#x}");
        assert_eq!(u64::from(leaf(&machine, USER[0])) & bits::D, bits::D);
    }
}

#[test]
fn lg_105_106_an_announced_entry_is_validated_only_if_in_use() {
    let mut machine = machine();
    for bad in [entry(FRAMES, 0x27), entry(FRAMES, 0x47), entry(PAGE, 0xa7)] {
        let kill = Kill::BadPageTableEntry(bad.into());
        assert_eq!(machine.set_pte(ROOT[0], GVA, bad), Err(kill), "LG-105");
    }
    for idle in [entry(FRAMES, 7), entry(PAGE, 0x87), entry(FRAMES, 0x66)] {
        assert_eq!(machine.set_pte(ROOT[0], GVA, idle), Ok(()), "LG-106");
    }
    machine.finish();
}

#[test]
fn lg_090_flags_that_a_generation_does_not_have_kill() {
    const PWT: u32 = 1 << 3;
    let mut machine = machine();
    let bad = entry(PAGE, 7 | PWT | 0x20);
    machine.ram.set_entry(USER[0], LEAF, bad);
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    machine.shadow.flush_user();
    machine.shadow.refuse_leaf_flags(PWT.into());
    let kill = Kill::BadPageTableEntry(bad.into());
    assert_eq!(machine.access(GVA, READ), Seen::Killed(kill.clone()));
    assert_eq!(machine.set_pte(ROOT[0], GVA, bad), Err(kill));
    machine.ram.set_entry(USER[0], LEAF, bad & !PWT);
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    machine.finish();
}

#[test]
fn lg_107_the_reserved_window_kills_and_ends_where_it_should() {
    let mut machine = machine();
    for gva in [0xffc0_0000, 0xffff_f000, 0xffff_ffff] {
        let kill = Kill::PteInReservedWindow(Gva::new(gva));
        assert_eq!(machine.set_pte(ROOT[0], gva, 0), Err(kill));
    }
    assert_eq!(machine.set_pte(ROOT[0], 0xffbf_ffff, 0), Ok(()));
}

#[test]
fn lg_108_110_set_pgd_is_bounded_and_ignores_unknown_roots() {
    let mut machine = machine();
    let root = Gpa::new(ROOT[0] << 12);
    for index in [1024, u32::MAX] {
        assert_eq!(
            machine.shadow.set_pgd(root, index),
            Err(Kill::BadPgdIndex(index))
        );
    }
    machine.ram.set_entry(USER[0], LEAF, entry(PAGE, 7));
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    let repairs = machine.repairs;
    machine.set_pgd(0, 0);
    machine.set_pgd(ROOT[1], 0);
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    assert_eq!(machine.repairs, repairs);
}

#[test]
fn lg_108_a_slot_is_empty_after_set_pgd_though_its_table_hangs_elsewhere_too() {
    let mut machine = machine();
    machine.ram.set_entry(ROOT[0], 1, entry(USER[0] as u32, 7));
    machine.ram.set_entry(USER[0], LEAF, entry(PAGE, 7));
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    assert_eq!(machine.access(1 << 22 | GVA, READ), frame(PAGE));
    machine.ram.set_entry(USER[0], LEAF, entry(OTHER, 7));
    machine.ram.set_entry(USER[0], 0, entry(PAGE, 7));
    machine.set_pgd(ROOT[0], 0);
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
    let mut machine = Machine::new(128, 64, 4);
    for root in 16..112 {
        machine.ram.set_entry(root, 0, entry(USER[0] as u32, 7));
    }
    machine.ram.set_entry(USER[0], LEAF, entry(PAGE, 7));
    for _ in 0..20 {
        for root in 16..112 {
            machine.load(root);
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
    machine.ram.set_entry(SHARED, 7, entry(PAGE, 3));
    machine.ram.set_entry(SHARED, 6, entry(OTHER, 3));
    machine
        .shadow
        .set_stack(&machine.ram, Gva::new(STACK), 2)
        .unwrap();
    machine
        .ram
        .set_entry(SPARE, KERNEL_TOP, entry(SHARED as u32, 7));
    for root in [ROOT[0], ROOT[1], SPARE] {
        machine.load(root);
        let repairs = machine.repairs;
        assert_eq!(machine.access(STACK - 4, WRITE), frame(PAGE));
        assert_eq!(machine.access(STACK - 4096 - 4, WRITE), frame(OTHER));
        assert_eq!(machine.repairs, repairs, "root {root}");
    }
}

#[test]
fn a_stack_that_is_not_mapped_writable_kills_when_it_is_pinned() {
    let mut machine = machine();
    machine.ram.set_entry(SHARED, 7, entry(PAGE, 1));
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
    for (root, user) in ROOT.into_iter().zip(USER) {
        machine.ram.set_entry(user, LEAF, entry(PAGE, 7));
        machine.ram.set_entry(SHARED, LEAF, entry(PAGE, 7));
        machine.load(root);
        machine.access(GVA, READ);
        machine.access(HIGH, READ);
    }
    let repairs = machine.repairs;
    machine.shadow.flush_user();
    machine.access(HIGH, READ);
    machine.load(ROOT[0]);
    machine.access(GVA, READ);
    assert_eq!(
        machine.repairs, repairs,
        "the kernel's part and the other root stay"
    );
    machine.load(ROOT[1]);
    machine.access(GVA, READ);
    assert_eq!(machine.repairs, repairs + 1);
}

#[test]
fn lg_115_flush_user_reaches_a_table_that_another_root_uses_too() {
    let mut machine = machine();
    machine.ram.set_entry(ROOT[1], 0, entry(USER[0] as u32, 7));
    machine.ram.set_entry(USER[0], 0, entry(PAGE, 7));
    machine.ram.set_entry(USER[0], LEAF, entry(PAGE, 7));
    for root in [ROOT[1], ROOT[0]] {
        machine.load(root);
        assert_eq!(machine.access(GVA, READ), frame(PAGE));
    }
    machine.ram.set_entry(USER[0], LEAF, entry(OTHER, 7));
    machine.shadow.flush_user();
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
    machine.ram.set_entry(USER[0], LEAF, entry(PAGE, 7));
    machine.ram.set_entry(SHARED, LEAF, entry(PAGE, 7));
    machine.access(GVA, WRITE);
    machine.access(HIGH, WRITE);
    machine.ram.set_entry(USER[0], LEAF, entry(OTHER, 7));
    machine.ram.set_entry(SHARED, LEAF, entry(OTHER, 7));
    machine.shadow.flush_all(&machine.ram).unwrap();
    assert_eq!(machine.shadow.statistics().tables, 0);
    assert_eq!(machine.access(GVA, WRITE), frame(OTHER));
    assert_eq!(machine.access(HIGH, WRITE), frame(OTHER));
}

#[test]
fn linear_mode_is_identity_for_the_kernel_and_nothing_for_ring_3() {
    let mut machine = Machine::new(FRAMES as usize, 8, 1);
    assert_eq!(machine.access(GVA, WRITE), frame(GVA >> 12));
    assert_eq!(machine.access(GVA, USER_READ), Seen::Fault(5));
    let end = FRAMES << 12;
    assert!(matches!(
        machine.access(end, READ),
        Seen::Killed(Kill::BadPageTableEntry(_))
    ));
    assert_eq!(
        machine.shadow.translate(&machine.ram, Gva::new(end - 1)),
        Some(Gpa::from(end - 1))
    );
    assert_eq!(machine.shadow.translate(&machine.ram, Gva::new(end)), None);
    machine.finish();
}

#[test]
fn a17_a_root_that_is_its_own_leaf_table_maps_guest_ram_only() {
    let mut machine = machine();
    machine
        .ram
        .set_entry(ROOT[0], 1023, entry(ROOT[0] as u32, 7));
    let window = |top: u32| 0xffc0_0000 | top << 12;
    assert_eq!(machine.access(window(0), WRITE), frame(USER[0] as u32));
    assert_eq!(machine.access(window(1023), WRITE), frame(ROOT[0] as u32));
    machine.finish();
}

#[test]
fn a23_a_page_read_only_through_one_address_is_dirtied_through_the_other() {
    let mut machine = machine();
    machine.ram.set_entry(ROOT[0], 1, entry(USER[0] as u32, 5));
    machine.ram.set_entry(USER[0], LEAF, entry(PAGE, 7));
    let alias = 1 << 22 | GVA;
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
    machine.ram.set_entry(ROOT[0], 1023, entry(SPARE as u32, 7));
    machine.ram.set_entry(SPARE, 1023, entry(PAGE, 7));
    assert_eq!(machine.access(0xffff_f000, WRITE), frame(PAGE));
    assert_eq!(machine.access(0xffff_ffff, READ), frame(PAGE));
    machine.finish();
}

#[test]
fn host_accesses_honour_the_guests_rights_and_leave_its_marks() {
    let mut machine = machine();
    machine.ram.set_entry(USER[0], LEAF, entry(PAGE, 5));
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
