//! what takes long is done in several exits, and each goes on where the last one stopped.

use super::rules::{
    GVA, HIGH, KERNEL, LEAF, OTHER, PAGE, SHARED, USER, frame, machine, map, map_high,
};
use super::{G, Guest, ROOTS, nth_root};
use hv_core::address::Gva;
use hv_core::shadow::{Fault, Invalidation, Progress};
use hv_machine::{READ, Seen, Tables as _, slot_size};

/// Dropping everything counts as so many entries looked at.
const DROPPING_ALL: u32 = 64;

/// A first kernel address that lies within a gigabyte.
const STRADDLING: u32 = 0xd000_0000;

/// A new exit begins, which may look at `most` entries.
fn begin_exit(machine: &mut Guest, most: u32) {
    machine.shadow.take_invalidation();
    machine.shadow.limit_exits(most);
}

#[test]
fn a39_an_exit_is_tired_when_it_has_looked_at_more_entries_than_its_limit() {
    for (limit, tired) in [
        (DROPPING_ALL - 1, true),
        (DROPPING_ALL, false),
        (DROPPING_ALL + 1, false),
    ] {
        let mut machine = machine();
        begin_exit(&mut machine, limit);
        assert!(!machine.shadow.is_tired());
        machine.shadow.flush_all(&machine.ram).unwrap();
        assert_eq!(machine.shadow.is_tired(), tired, "limit {limit}");
        machine.shadow.take_invalidation();
        assert!(!machine.shadow.is_tired(), "the next exit is fresh");
    }
}

#[test]
fn a39_a_user_flush_frees_one_gigabyte_after_another() {
    let mut machine = machine();
    let pages = [GVA, 0x4000_0000 | GVA, 0x8000_0000 | GVA];
    map(&machine, 0, PAGE);
    map_high(&machine, OTHER);
    for gva in pages {
        machine.tables().set_slot(ROOTS[0], gva, USER[0] << 12 | 7);
    }
    assert_eq!(machine.access(HIGH, READ), frame(OTHER));
    // One leaf table in three slots: each use of it drops the one before.
    for gva in pages {
        assert_eq!(machine.access(gva, READ), frame(PAGE));
    }
    let before = machine.shadow.statistics().tables;
    for left in [2, 1] {
        begin_exit(&mut machine, 0);
        assert_eq!(machine.shadow.flush_user(), Progress::Unfinished);
        assert_eq!(machine.shadow.take_invalidation(), Invalidation::All);
        assert!(machine.shadow.statistics().tables < before);
        let directories = (0..3).filter(|quarter| {
            let root = machine.shadow.root().unwrap();
            machine.entry(root, *quarter).is_some()
        });
        assert_eq!(directories.count(), left);
        machine.audit();
    }
    begin_exit(&mut machine, 0);
    let last = machine.shadow.flush_user();
    assert_eq!(last, Progress::Done, "nothing is begun after the last");
    let repairs = machine.repairs;
    assert_eq!(machine.access(HIGH, READ), frame(OTHER));
    assert_eq!(machine.repairs, repairs, "the kernel's part stays");
    machine.finish();
}

/// `count` roots that all have used the page at `gva`, which is the kernel's in all of them.
fn many_roots(count: u64, kernel: u32, gva: u32) -> (Guest, Vec<u64>) {
    const DIRECTORIES: u64 = 1100;
    let mut machine = Guest::new(2200, 4000, 2000);
    machine.shadow.set_kernel_address(Gva::new(kernel));
    machine.tables().set(SHARED, LEAF, entry(PAGE));
    let roots: Vec<u64> = (0..count).map(|n| nth_root(64, n)).collect();
    for (&root, own) in roots.iter().zip(DIRECTORIES..) {
        // Page directories, if the format has them: the kernel's own is the same in all roots.
        let last = if kernel == KERNEL { 13 } else { own };
        G::build(&machine.tables(), root, [10, 11, 12, last]);
        machine.tables().set_slot(root, gva, SHARED << 12 | 7);
    }
    // The first two drop everything that was there before.
    for &root in roots.iter().chain(&roots) {
        machine.load(root);
        assert_eq!(machine.access(gva, READ), frame(PAGE));
    }
    assert_eq!(machine.shadow.statistics().roots, count as usize);
    (machine, roots)
}

fn entry(page: u32) -> u64 {
    u64::from(page) << 12 | 0x67
}

/// Entries that this exit has looked at.
fn looked_at(machine: &mut Guest) -> u32 {
    let mut most = 0;
    machine.shadow.limit_exits(most);
    while machine.shadow.is_tired() {
        most += 1;
        machine.shadow.limit_exits(most);
    }
    machine.shadow.limit_exits(u32::MAX);
    most
}

/// What all roots share is changed once, however many there are: where they share the directory, and where each
/// has one of its own.
#[test]
fn a39_a_change_to_all_roots_takes_the_same_for_two_and_for_a_thousand() {
    for kernel in [KERNEL, STRADDLING] {
        let gva = kernel | GVA;
        let change = |count, announce: fn(&mut Guest, u64, u32)| {
            let (mut machine, roots) = many_roots(count, kernel, gva);
            machine.tables().set(SHARED, LEAF, entry(OTHER));
            machine.shadow.take_invalidation();
            announce(&mut machine, roots[0], gva);
            let effort = looked_at(&mut machine);
            for &root in roots.iter().rev() {
                machine.load(root);
                assert_eq!(machine.access(gva, READ), frame(OTHER), "root {root:#x}");
            }
            machine.finish();
            effort
        };
        let leaf: fn(&mut Guest, u64, u32) =
            |machine, root, gva| machine.set_pte(root, gva, 0).unwrap();
        assert_eq!(change(2, leaf), change(1_000, leaf), "{kernel:#x}");
        // Without a top-level entry that is all the kernel's there is none to announce.
        if gva >> G::SHAPE[0].0 << G::SHAPE[0].0 >= kernel {
            let top: fn(&mut Guest, u64, u32) =
                |machine, root, gva| machine.set_pgd(root, gva >> G::SHAPE[0].0);
            assert_eq!(change(2, top), change(1_000, top), "{kernel:#x}");
        }
    }
}

/// Queued announcements that reach one table or none go on in an exit that has had its share; those that make all
/// roots forget do not.
#[test]
fn a39_announcements_that_reach_all_roots_end_an_exit_early() {
    let gva = STRADDLING | GVA;
    let (mut machine, roots) = many_roots(3, STRADDLING, gva);
    machine.tables().set_slot(roots[2], gva, 0);
    machine.load(roots[2]);
    machine.shadow.take_invalidation();
    machine.shadow.limit_exits(0);
    let all = (roots[2], gva, entry(OTHER));
    assert_eq!(machine.set_queued_ptes(&[all; 3]), Ok(1));
    assert!(machine.shadow.is_tired());
    let one = (roots[2], GVA, entry(OTHER));
    assert_eq!(machine.set_queued_ptes(&[one; 3]), Ok(3));
    assert_eq!(machine.set_queued_ptes(&[one, all, one]), Ok(2));
    machine.shadow.limit_exits(u32::MAX);
    machine.shadow.take_invalidation();
    assert_eq!(machine.set_queued_ptes(&[all; 3]), Ok(3));
    machine.finish();
}

#[test]
fn r5_a_change_of_a_page_of_all_roots_leaves_its_neighbours_alone() {
    for kernel in [KERNEL, STRADDLING] {
        let gva = kernel | GVA;
        let (mut machine, roots) = many_roots(3, kernel, gva);
        let beside = gva + 0x1000;
        machine.tables().set(SHARED, LEAF + 1, entry(OTHER));
        assert_eq!(machine.access(beside, READ), frame(OTHER));
        machine.set_pte(roots[0], gva, 0).unwrap();
        let repairs = machine.repairs;
        assert_eq!(machine.access(beside, READ), frame(OTHER));
        assert_eq!(machine.repairs, repairs, "{kernel:#x}");
        machine.finish();
    }
}

/// The current root has no table for the address, where others may have one that nobody can find: all forget.
#[test]
fn r5_a_change_at_an_address_that_the_current_root_does_not_have_reaches_the_others() {
    let gva = STRADDLING | GVA;
    let (mut machine, roots) = many_roots(3, STRADDLING, gva);
    machine.tables().set_slot(roots[2], gva, 0);
    machine.tables().set(SHARED, LEAF, entry(OTHER));
    machine.set_pte(roots[0], gva, entry(OTHER)).unwrap();
    machine.load(roots[0]);
    assert_eq!(machine.access(gva, READ), frame(OTHER));
    machine.finish();
}

/// A root that is evicted loses a gigabyte at a time; until all is gone the guest faults again.
#[test]
fn a39_a_large_root_is_evicted_in_several_exits() {
    let mut machine = Guest::new(64, 64, 1);
    let roots = [nth_root(1, 0), nth_root(2, 0)];
    for (root, first) in roots.into_iter().zip([8, 16]) {
        G::build(
            &machine.tables(),
            root,
            std::array::from_fn(|quarter| first + quarter as u64),
        );
    }
    let pages = [0, 0x4000_0000, 0x8000_0000];
    for (table, gva) in (30..).zip(pages) {
        machine.tables().set_slot(roots[0], gva, table << 12 | 7);
        machine.tables().set(table, 0, 40 << 12 | 7);
    }
    machine.tables().set_slot(roots[1], 0, 33 << 12 | 7);
    machine.tables().set(33, 0, 41 << 12 | 7);
    machine.load(roots[1]);
    machine.load(roots[0]);
    for gva in pages {
        assert_eq!(machine.access(gva, READ), frame(40));
    }
    machine.load(roots[1]);
    let mut exits = 0;
    while machine.shadow.statistics().evicted == 0 {
        assert_eq!(machine.shadow.root(), None, "nothing to run on yet");
        begin_exit(&mut machine, 0);
        let repaired = machine.shadow.page_fault(&machine.ram, Gva::new(0), 0);
        assert_eq!(repaired, Ok(Fault::Repaired));
        machine.audit();
        exits += 1;
        assert!(exits <= 4, "a gigabyte in each");
    }
    assert!(exits >= 3, "{exits}");
    assert_eq!(machine.shadow.statistics().roots, 1);
    machine.shadow.limit_exits(u32::MAX);
    assert_eq!(
        machine.access(0, READ),
        Seen::Frame(hv_machine::RAM_BASE + (41 << 12))
    );
    machine.finish();
}

/// With nothing left but the current root there is nothing to wait for: even an exit that did much begins anew.
#[test]
fn a39_a_current_root_that_fills_the_budget_is_dropped_in_the_same_exit() {
    let mut machine = Guest::new(64, 8, 2);
    let root = nth_root(1, 0);
    G::build(
        &machine.tables(),
        root,
        std::array::from_fn(|quarter| 8 + quarter as u64),
    );
    let slots = (0..5).map(|slot| slot * slot_size::<G>());
    for (table, gva) in (30..).zip(slots.clone().chain([0x8000_0000])) {
        machine.tables().set_slot(root, gva, table << 12 | 7);
        machine.tables().set(table, 0, 40 << 12 | 7);
    }
    machine.load(root);
    for gva in slots {
        assert_eq!(machine.access(gva, READ), frame(40));
    }
    let before = machine.shadow.statistics();
    assert_eq!(before.tables, 7, "a root, a directory and five leaf tables");
    // There is room for the directory, but not for the leaf table under it.
    begin_exit(&mut machine, 0);
    let gva = Gva::new(0x8000_0000);
    let repaired = machine.shadow.page_fault(&machine.ram, gva, 0);
    assert_eq!(repaired, Ok(Fault::Repaired));
    let now = machine.shadow.statistics();
    assert_eq!(now.flushed, before.flushed + 1);
    assert_eq!(now.tables, 3);
    let report = machine.shadow.audit(&machine.ram).unwrap();
    assert_eq!(report.translations, 1);
    machine.finish();
}
