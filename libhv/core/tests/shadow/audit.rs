//! The audit finds what it is there for: tables that something spoilt behind the shadow's back, and
//! translations that the guest withdrew in silence.

use super::rules::{GVA, HIGH, LEAF, OTHER, PAGE, SHARED, USER, frame, machine, map, map_high};
use super::{G, Guest, ROOTS};
use hv_core::address::Hpa;
use hv_core::memory::GuestMemory as _;
use hv_core::paging::bits;
use hv_core::shadow::AuditFailure;
use hv_machine::{
    EXECUTE, Entries, RAM_BASE, READ, Seen, Tables as _, USER_READ, WRITE, slot_size,
};

/// A page of the third gigabyte, at no edge of any table.
const FAR: u32 = 0x8000_0000 + 3 * slot_size::<G>() + 0x7000;

/// A guest whose current root has translations for `GVA` and for `HIGH`, which the other root shares.
fn audited() -> Guest {
    let mut machine = machine();
    for space in [0, 1] {
        map(&machine, space, PAGE);
    }
    map_high(&machine, OTHER);
    for root in [ROOTS[1], ROOTS[0]] {
        machine.load(root);
        assert_eq!(machine.access(GVA, WRITE), frame(PAGE));
        assert_eq!(machine.access(HIGH, READ), frame(OTHER));
    }
    machine
}

/// The processor's tables on the way to `GVA`: root, directory and leaf table.
fn path(machine: &Guest) -> [Hpa; 3] {
    let below = |table, index| {
        let entry = machine.entry(table, index).expect("a way to the leaf");
        Hpa::new(entry & bits::FRAME)
    };
    let root = machine.shadow.root().expect("a root");
    let directory = below(root, GVA >> 30);
    [root, directory, below(directory, GVA >> 21)]
}

/// Changes an entry, audits, and puts it back.
fn found(machine: &mut Guest, table: Hpa, index: u32, entry: u64) -> Option<AuditFailure> {
    let old = machine.spoil(table, index, entry);
    let found = machine.shadow.audit(&machine.ram).err();
    machine.spoil(table, index, old);
    assert_eq!(machine.shadow.audit(&machine.ram).err(), None);
    found
}

#[test]
fn entries_with_bits_that_none_of_ours_has_are_found() {
    let mut machine = audited();
    for (table, index) in path(&machine).into_iter().zip([GVA >> 30, GVA >> 21, LEAF]) {
        let entry = machine.entry(table, index).unwrap();
        for bit in [3, 4, 7, 8, 9, 11, 52, 62] {
            let entry = entry | 1 << bit;
            let stray = AuditFailure::StrayBits { entry };
            assert_eq!(found(&mut machine, table, index, entry), Some(stray));
        }
        for entry in [1 << 1, 0x1000, bits::NX] {
            let absent = AuditFailure::AbsentNotZero { entry };
            assert_eq!(found(&mut machine, table, index, entry), Some(absent));
        }
    }
}

/// Only leaves may withhold execution, and only if the guest's can.
#[test]
fn nx_is_stray_where_the_guest_has_no_such_bit() {
    let mut machine = audited();
    let [root, directory, leaf] = path(&machine);
    for (table, index) in [(root, GVA >> 30), (directory, GVA >> 21)] {
        let entry = machine.entry(table, index).unwrap() | bits::NX;
        let stray = AuditFailure::StrayBits { entry };
        assert_eq!(found(&mut machine, table, index, entry), Some(stray));
    }
    let entry = machine.entry(leaf, LEAF).unwrap() | bits::NX;
    let expected = (G::WIDTH == 4).then_some(AuditFailure::StrayBits { entry });
    assert_eq!(found(&mut machine, leaf, LEAF, entry), expected);
}

#[test]
fn a19_a_leaf_that_names_anything_but_guest_ram_is_found() {
    let mut machine = audited();
    let [root, _, leaf] = path(&machine);
    let past = RAM_BASE + machine.ram.frames().start().raw();
    for host in [0, root.raw(), RAM_BASE - 0x1000, past, bits::FRAME] {
        let entry = host | bits::P | bits::A;
        let foreign = AuditFailure::ForeignFrame { entry };
        assert_eq!(found(&mut machine, leaf, LEAF, entry), Some(foreign));
    }
    for host in [RAM_BASE, past - 0x1000] {
        assert_eq!(found(&mut machine, leaf, LEAF, host | bits::P), None);
    }
}

#[test]
fn an_upper_entry_that_names_no_table_of_the_level_below_is_found() {
    let mut machine = audited();
    let [root, directory, leaf] = path(&machine);
    for (table, index, wrong) in [
        (root, GVA >> 30, [Hpa::new(RAM_BASE), root, leaf]),
        (directory, GVA >> 21, [Hpa::new(RAM_BASE), root, directory]),
    ] {
        for named in wrong {
            let entry = named.raw() | bits::P | bits::A;
            let broken = AuditFailure::BrokenLink { entry };
            assert_eq!(found(&mut machine, table, index, entry), Some(broken));
        }
    }
}

#[test]
fn an_entry_more_or_less_than_were_counted_is_found() {
    let mut machine = audited();
    let [_, _, leaf] = path(&machine);
    let wrong = Some(AuditFailure::WrongCount { table: leaf });
    assert_eq!(found(&mut machine, leaf, LEAF, 0), wrong);
    let entry = machine.entry(leaf, LEAF).unwrap();
    assert_eq!(found(&mut machine, leaf, LEAF + 1, entry), wrong);
}

#[test]
fn roots_that_differ_where_all_are_the_same_are_found() {
    let mut machine = audited();
    let [root, ..] = path(&machine);
    let user = machine.entry(root, GVA >> 30).unwrap();
    let divided = AuditFailure::Divided { quarter: 3 };
    assert_eq!(found(&mut machine, root, 3, user), Some(divided));
    // The root that is not current is looked at as well.
    machine.load(ROOTS[1]);
    let [other, ..] = path(&machine);
    machine.load(ROOTS[0]);
    assert_ne!(other, root);
    assert_eq!(found(&mut machine, other, 3, user), Some(divided));
}

#[test]
fn translations_are_counted_and_those_of_the_current_root_compared_with_its_tables() {
    let mut machine = machine();
    let leaf = Entries::<G>::leaf_index(FAR);
    let entry = |page: u32, flags: u64| u64::from(page) << 12 | flags;
    machine.tables().set_slot(ROOTS[0], FAR, USER[0] << 12 | 7);
    machine.tables().set(USER[0], leaf, entry(PAGE, 0x67));
    map(&machine, 0, OTHER);
    map_high(&machine, OTHER);
    assert_eq!(machine.access(FAR, WRITE), frame(PAGE));
    assert_eq!(machine.access(HIGH, READ), frame(OTHER));
    let report = machine.shadow.audit(&machine.ram).unwrap();
    assert_eq!((report.translations, report.stale), (2, 0));
    for (now, stale) in [
        (entry(PAGE, 0x67), 0),
        (entry(PAGE, 0x7), 0),
        (entry(PAGE, 0x65), 1),
        (entry(PAGE, 0x63), 1),
        (entry(PAGE, 0x66), 1),
        (entry(OTHER, 0x67), 1),
        (entry(PAGE, 0x67) | bits::NX, u64::from(G::WIDTH == 8)),
    ] {
        machine.tables().set(USER[0], leaf, now);
        assert_eq!(machine.audit(), stale, "{now:#x}");
    }
    // What the kernel's table says by now counts as well.
    machine.tables().set(USER[0], leaf, entry(PAGE, 0x67));
    machine.tables().set(SHARED, LEAF, 0);
    assert_eq!(machine.audit(), 1);
    // Of another root nothing can be said: its memory may serve for anything.
    machine.load(ROOTS[1]);
    let report = machine.shadow.audit(&machine.ram).unwrap();
    assert_eq!((report.translations, report.stale), (2, 0));
}

/// What the upper level withholds is no right, whatever the leaf grants.
#[test]
fn rights_that_the_upper_level_withholds_are_not_stale() {
    let mut machine = machine();
    machine.tables().set_slot(ROOTS[0], GVA, USER[0] << 12 | 1);
    machine
        .tables()
        .set(USER[0], LEAF, u64::from(PAGE) << 12 | 0x67);
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    machine
        .tables()
        .set(USER[0], LEAF, u64::from(PAGE) << 12 | 0x61);
    assert_eq!(machine.audit(), 0);
    assert_eq!(machine.access(GVA, EXECUTE), frame(PAGE));
    assert!(matches!(machine.access(GVA, USER_READ), Seen::Fault(_)));
}
