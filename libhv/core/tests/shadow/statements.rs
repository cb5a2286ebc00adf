//! The statements of lguest-abi 11.6 and 11.7 that need no hardware, and what host accesses may do.

use super::rules::{
    FRAMES, GVA, HIGH, LEAF, OTHER, PAGE, SHARED, SLOT, SPARE, USER, announce, bare, entry, frame,
    leaf, machine, map, map_high, table,
};
use super::{BAD_SLOT, G, Guest, ROOTS, nth_root};
use hv_core::address::{Gpa, Gva};
use hv_core::kill::Kill;
use hv_core::paging::{AccessKind, Privilege, bits};
use hv_machine::{ACCESSES, Entries, READ, Seen, Tables as _, USER_READ, USER_WRITE, WRITE};

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
