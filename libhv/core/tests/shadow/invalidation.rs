//! What the processor is told to forget, and what was done so far: no more than is needed.

use super::rules::{GVA, HIGH, LEAF, OTHER, PAGE, USER, frame, machine, map, map_high};
use super::{Guest, ROOTS};
use hv_core::address::Gva;
use hv_core::fast_paths::{FastPath, FastPaths};
use hv_core::shadow::Invalidation;
use hv_machine::{READ, Seen, Tables as _, WRITE, slot_size};

/// A guest whose user pages from `GVA` on are mapped, used, and known to the processor.
fn with_pages(count: u32) -> Guest {
    let mut machine = machine();
    for page in 0..count {
        let entry = u64::from(PAGE) << 12 | 0x67;
        machine.tables().set(USER[0], LEAF + page, entry);
        let gva = GVA + (page << 12);
        assert_eq!(machine.access(gva, WRITE), frame(PAGE));
    }
    machine.shadow.take_invalidation();
    machine
}

fn pages(of: impl IntoIterator<Item = u32>) -> Invalidation {
    let gvas = of.into_iter().map(|page| Gva::new(GVA + (page << 12)));
    Invalidation::Pages(gvas.collect())
}

#[test]
fn a_new_translation_makes_the_processor_forget_nothing() {
    let mut machine = with_pages(1);
    machine
        .tables()
        .set(USER[0], LEAF + 1, u64::from(PAGE) << 12 | 7);
    let seen = machine.access(GVA + 0x1000, READ);
    assert_eq!(seen, frame(PAGE));
    assert_eq!(machine.shadow.take_invalidation(), Invalidation::None);
}

#[test]
fn a_new_table_makes_the_processor_forget_nothing() {
    let mut machine = with_pages(1);
    let gva = Gva::new(slot_size::<super::G>() | GVA);
    machine
        .tables()
        .set_slot(ROOTS[0], gva.raw(), USER[1] << 12 | 7);
    map(&machine, 1, OTHER);
    let repaired = machine.shadow.page_fault(&machine.ram, gva, 0);
    assert!(repaired.is_ok());
    assert_eq!(machine.shadow.take_invalidation(), Invalidation::None);
    assert_eq!(machine.access(gva.raw(), READ), frame(OTHER));
}

#[test]
fn a_changed_translation_is_forgotten_alone_and_an_equal_one_is_not() {
    let mut machine = with_pages(2);
    let entry = u64::from(PAGE) << 12 | 0x67;
    machine.set_pte(ROOTS[0], GVA, entry).unwrap();
    assert_eq!(machine.shadow.take_invalidation(), Invalidation::None);
    machine.set_pte(ROOTS[0], GVA + 0x1123, 0).unwrap();
    assert_eq!(machine.shadow.take_invalidation(), pages([1]));
    // It is gone already.
    machine.set_pte(ROOTS[0], GVA + 0x1123, 0).unwrap();
    assert_eq!(machine.shadow.take_invalidation(), Invalidation::None);
}

/// A write to a page that was only read so far replaces a translation.
#[test]
fn a_translation_that_gets_more_rights_is_forgotten() {
    let mut machine = machine();
    map(&machine, 0, PAGE);
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    machine.shadow.take_invalidation();
    let repaired = machine.shadow.page_fault(&machine.ram, Gva::new(GVA), 3);
    assert!(repaired.is_ok());
    assert_eq!(machine.shadow.take_invalidation(), pages([0]));
}

#[test]
fn more_than_eight_pages_are_forgotten_with_all_others() {
    let mut machine = with_pages(9);
    for page in 0..8 {
        machine.set_pte(ROOTS[0], GVA + (page << 12), 0).unwrap();
    }
    assert_eq!(machine.shadow.take_invalidation(), pages(0..8));
    let mut machine = with_pages(9);
    for page in 0..9 {
        machine.set_pte(ROOTS[0], GVA + (page << 12), 0).unwrap();
    }
    assert_eq!(machine.shadow.take_invalidation(), Invalidation::All);
}

/// An upper level that goes takes all that the processor remembers of it along.
#[test]
fn upper_levels_that_change_are_forgotten_with_everything() {
    let mut machine = with_pages(1);
    machine.tables().set_slot(ROOTS[0], GVA, USER[0] << 12 | 5);
    let repaired = machine.shadow.page_fault(&machine.ram, Gva::new(GVA), 1);
    assert!(repaired.is_ok());
    assert_eq!(machine.shadow.take_invalidation(), Invalidation::All);

    let mut machine = with_pages(1);
    let index = GVA >> super::G::SHAPE[0].0;
    machine.set_pgd(ROOTS[0], index);
    assert_eq!(machine.shadow.take_invalidation(), Invalidation::All);
    machine.set_pgd(ROOTS[0], index);
    let again = machine.shadow.take_invalidation();
    assert_eq!(again, Invalidation::None, "nothing was left to drop");
}

#[test]
fn statistics_count_repairs_faults_flushes_and_tables() {
    let mut machine = machine();
    let before = machine.shadow.statistics();
    assert_eq!(before.capacity, 64);
    map(&machine, 0, PAGE);
    map_high(&machine, OTHER);
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    assert_eq!(machine.access(HIGH, READ), frame(OTHER));
    assert_eq!(machine.access(GVA + 0x1000, READ), Seen::Fault(0));
    let now = machine.shadow.statistics();
    assert_eq!(now.repaired, before.repaired + 2);
    assert_eq!(now.reflected, before.reflected + 1);
    assert_eq!((now.tables, now.roots), (5, 1), "a root, two tables a page");
    machine.shadow.flush_all(&machine.ram).unwrap();
    let flushed = machine.shadow.statistics();
    assert_eq!(flushed.flushed, now.flushed + 1);
    assert_eq!((flushed.tables, flushed.roots), (0, 0));
}

/// Naming pages one by one is a shorter way that can be left alone.
#[test]
fn without_its_shorter_way_one_page_makes_the_processor_forget_all() {
    let mut machine = with_pages(2);
    let all_at_once = FastPaths::ON.without(FastPath::Pages);
    machine.shadow.choose_fast_paths(all_at_once);
    machine.set_pte(ROOTS[0], GVA, 0).unwrap();
    assert_eq!(machine.shadow.take_invalidation(), Invalidation::All);
    assert_eq!(machine.shadow.take_invalidation(), Invalidation::None);
}
