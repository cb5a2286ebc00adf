//! The kernel's stack, which the host writes to (LG-114).

use super::rules::{
    GVA, HIGH, KERNEL, OTHER, PAGE, SHARED, SLOT, STACK, entry, frame, machine, map, table,
};
use super::{Guest, ROOTS};
use hv_core::address::Gva;
use hv_core::kill::Kill;
use hv_machine::{READ, WRITE};

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

/// Below the kernel's address each root has tables of its own, and what is known of one is nothing to another.
#[test]
fn lg_114_a_stack_that_roots_do_not_share_is_sought_in_each() {
    let mut machine = machine();
    for (space, page) in [(0, PAGE), (1, OTHER)] {
        map(&machine, space, page);
    }
    let pin = |machine: &mut Guest| {
        let told = (machine.shadow).set_stack(&machine.ram, Gva::new(GVA + 4096), 1);
        assert_eq!(told, Ok(()));
        machine.shadow.statistics().repaired
    };
    pin(&mut machine);
    machine.load(ROOTS[1]);
    let repaired = pin(&mut machine);
    machine.set_pte(ROOTS[0], GVA, 0).unwrap();
    machine.load(ROOTS[0]);
    assert_eq!(pin(&mut machine), repaired + 1);
    assert_eq!(machine.access(GVA, WRITE), frame(PAGE));
    machine.load(ROOTS[1]);
    assert_eq!(machine.access(GVA, WRITE), frame(OTHER));
    assert_eq!(machine.shadow.statistics().repaired, repaired + 1);
    machine.finish();
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
