//! What only guests with page directories of their own have: R8, SET_PMD, NX; and the guests whose format
//! nobody has said.

use super::rules::{GVA, HIGH, LEAF, OTHER, PAGE, USER, frame, machine, map, map_high};
use super::{G, Guest, ROOTS};
use hv_core::address::{Gpa, Gva};
use hv_core::frames::TablePool as _;
use hv_core::kill::Kill;
use hv_core::paging::{Paging, bits};
use hv_core::personality::Mmu;
use hv_core::shadow::{AnyFormatShadow, Fault, NoMiddleTables, Slot};
use hv_machine::{
    EXECUTE, Pool, READ, Ram, Seen, USER_EXECUTE, USER_READ, WRITE, set_pmd, slot_size,
};

const KERNEL: u32 = 0xc000_0000;
const SLOT: u32 = slot_size::<G>();

/// The frame of the page directory for `gva`.
fn directory(machine: &Guest, root: u64, gva: u32) -> u64 {
    machine.tables().slot_at(root, gva).unwrap() >> 12
}

#[test]
fn r8_roots_in_one_frame_are_different_roots() {
    let mut machine = machine();
    map(&machine, 0, PAGE);
    map(&machine, 1, OTHER);
    for _ in 0..2 {
        machine.load(ROOTS[0]);
        assert_eq!(machine.access(GVA, READ), frame(PAGE));
        machine.load(ROOTS[1]);
        assert_eq!(machine.access(GVA, READ), frame(OTHER));
    }
    assert_eq!(machine.shadow.statistics().roots, 2);
    // The low five bits are flags of the guest's CR3.
    let repairs = machine.repairs;
    machine.load(ROOTS[1] | 0x18);
    assert_eq!(machine.access(GVA, READ), frame(OTHER));
    assert_eq!(machine.repairs, repairs);
}

#[test]
fn r8_a_page_directory_freed_in_silence_serves_another_gigabyte_of_the_next_root() {
    let mut machine = machine();
    map(&machine, 0, PAGE);
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    machine.load(ROOTS[1]);
    // It is emptied, with an announcement, and freed without.
    let freed = directory(&machine, ROOTS[0], GVA);
    machine.tables().set_slot(ROOTS[0], GVA, 0);
    set_pmd(&mut machine, freed);
    machine.ram.fill(freed << 12, 4096, 0xdead_beef);
    machine.ram.fill(freed << 12, 4096, 0);
    machine.tables().set_at(ROOTS[0], 0);
    machine.tables().set_at(ROOTS[0] + 8, freed << 12 | 1);
    machine.set_pgd(ROOTS[0], 0);
    machine.set_pgd(ROOTS[0], 1);
    let gva = 0x4000_0000 | GVA;
    machine.tables().set_slot(ROOTS[0], gva, USER[0] << 12 | 7);
    map(&machine, 0, OTHER);
    machine.load(ROOTS[0]);
    assert_eq!(machine.access(gva, READ), frame(OTHER));
    assert_eq!(machine.access(GVA, READ), Seen::Fault(0));
    assert_eq!(machine.audit(), 0);
}

#[test]
fn r8_a_new_kernel_directory_is_seen_in_all_roots() {
    let mut machine = machine();
    machine.tables().set(7, LEAF, u64::from(PAGE) << 12 | 7);
    for root in [ROOTS[1], ROOTS[0]] {
        machine.load(root);
        assert_eq!(machine.access(HIGH, READ), frame(PAGE));
    }
    // Another directory in every root, announced for one: the guest says that they are the same.
    let (old, new) = (directory(&machine, ROOTS[0], HIGH), 25);
    machine.tables().set(new, 0, USER[1] << 12 | 7);
    map(&machine, 1, OTHER);
    for root in ROOTS {
        machine.tables().set_at(root + 24, new << 12 | 1);
    }
    machine.set_pgd(ROOTS[0], 3);
    machine.ram.fill(old << 12, 4096, 0xffff_ffff);
    for root in [ROOTS[0], ROOTS[1], ROOTS[2]] {
        machine.load(root);
        assert_eq!(machine.access(HIGH, READ), frame(OTHER), "root {root:#x}");
    }
    machine.finish();
}

/// SET_PTE for a kernel address changes one directory, and all roots have that: if one turns out to have another, the
/// others cannot have the old one any more.
#[test]
fn r5_another_kernel_directory_in_one_root_takes_the_old_one_from_all_roots() {
    let mut machine = machine();
    machine.tables().set(7, LEAF, u64::from(PAGE) << 12 | 7);
    for root in [ROOTS[1], ROOTS[0]] {
        machine.load(root);
        assert_eq!(machine.access(HIGH, READ), frame(PAGE));
    }
    // In silence, and found out by a fault on a page that the old one did not have.
    let new = 25;
    machine.tables().set(new, 0, USER[1] << 12 | 7);
    machine
        .tables()
        .set(USER[1], LEAF + 1, u64::from(OTHER) << 12 | 7);
    machine.tables().set_at(ROOTS[0] + 24, new << 12 | 1);
    assert_eq!(machine.access(HIGH + 0x1000, READ), frame(OTHER));
    machine.audit();
    machine.load(ROOTS[1]);
    let repairs = machine.repairs;
    assert_eq!(machine.access(HIGH, READ), frame(PAGE));
    assert_eq!(machine.repairs, repairs + 1, "it was forgotten");
    machine.finish();
}

#[test]
fn lg_111_set_pmd_ends_every_path_through_a_page_directory() {
    let mut machine = machine();
    // The kernel's directory, which all roots use, hangs in a user's gigabyte as well.
    let shared = directory(&machine, ROOTS[0], HIGH);
    machine.tables().set_at(ROOTS[0] + 8, shared << 12 | 1);
    let low = 0x4000_0000 | GVA;
    machine.tables().set(7, LEAF, u64::from(PAGE) << 12 | 7);
    machine.load(ROOTS[1]);
    assert_eq!(machine.access(HIGH, WRITE), frame(PAGE));
    machine.load(ROOTS[0]);
    assert_eq!(machine.access(low, WRITE), frame(PAGE));
    assert_eq!(machine.access(HIGH, WRITE), frame(PAGE));
    machine.tables().set(shared, 0, USER[0] << 12 | 7);
    map(&machine, 0, OTHER);
    set_pmd(&mut machine, shared);
    assert_eq!(machine.access(low, READ), frame(OTHER));
    assert_eq!(machine.access(HIGH, READ), frame(OTHER));
    machine.load(ROOTS[1]);
    assert_eq!(machine.access(HIGH, READ), frame(OTHER));
    machine.finish();
}

/// However many tables hang in the directory, the processor has to forget what led through it.
#[test]
fn lg_111_set_pmd_ends_the_paths_through_each_of_two_leaf_tables() {
    let mut machine = machine();
    let pages = [GVA, SLOT | GVA];
    machine
        .tables()
        .set_slot(ROOTS[0], pages[1], USER[1] << 12 | 7);
    for (space, gva) in pages.into_iter().enumerate() {
        map(&machine, space, PAGE);
        assert_eq!(machine.access(gva, READ), frame(PAGE));
        map(&machine, space, OTHER);
    }
    let user = directory(&machine, ROOTS[0], GVA);
    set_pmd(&mut machine, user);
    for gva in pages {
        assert_eq!(machine.access(gva, READ), frame(OTHER));
    }
    machine.finish();
}

#[test]
fn lg_111_set_pmd_leaves_other_directories_alone_and_pins_the_stack() {
    let mut machine = machine();
    let stack = KERNEL + 0x8000;
    machine.tables().set(7, 7, u64::from(PAGE) << 12 | 3);
    map(&machine, 0, OTHER);
    machine
        .shadow
        .set_stack(&machine.ram, Gva::new(stack), 1)
        .unwrap();
    assert_eq!(machine.access(GVA, READ), frame(OTHER));
    let repairs = machine.repairs;
    let kernel = directory(&machine, ROOTS[0], HIGH);
    set_pmd(&mut machine, kernel);
    assert_eq!(machine.access(GVA, READ), frame(OTHER));
    assert_eq!(machine.access(stack - 4, WRITE), frame(PAGE));
    assert_eq!(machine.repairs, repairs, "neither had to be repaired");
    machine.tables().set(7, 7, 0);
    let told = machine.shadow.set_pmd(&machine.ram, Gpa::new(kernel << 12));
    assert_eq!(told, Err(Kill::BadStackPage(Gva::new(stack - 1))));
}

/// A directory that hangs in one place is emptied at once; only what is said to hang in several makes all forget.
#[test]
fn lg_111_set_pmd_in_a_long_exit_drops_no_more_than_the_directory() {
    let mut machine = machine();
    map(&machine, 0, PAGE);
    map_high(&machine, OTHER);
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    assert_eq!(machine.access(HIGH, READ), frame(OTHER));
    let kernel = directory(&machine, ROOTS[0], HIGH);
    machine.shadow.limit_exits(0);
    // Its table has to be made, in the same exit.
    let far = GVA + 0x20_0000;
    machine.tables().set_slot(ROOTS[0], far, USER[1] << 12 | 7);
    machine
        .tables()
        .set(USER[1], LEAF, u64::from(PAGE) << 12 | 7);
    let repaired = machine.shadow.page_fault(&machine.ram, Gva::new(far), 0);
    assert_eq!(repaired, Ok(Fault::Repaired));
    assert!(machine.shadow.is_tired());
    let flushed = machine.shadow.statistics().flushed;
    set_pmd(&mut machine, kernel);
    assert_eq!(machine.shadow.statistics().flushed, flushed);
    machine.finish();
}

#[test]
fn lg_111_set_pmd_of_any_address_is_harmless() {
    let mut machine = machine();
    map(&machine, 0, PAGE);
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    let repairs = machine.repairs;
    for frame in [0, 1, USER[0], 0xf_ffff, u64::MAX >> 12] {
        set_pmd(&mut machine, frame);
    }
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    assert_eq!(machine.repairs, repairs);
}

#[test]
fn lg_092_108_set_pgd_has_four_entries_and_bad_ones_kill() {
    let mut machine = machine();
    for index in [4, 1024, u32::MAX] {
        let refused = machine
            .shadow
            .set_pgd(&machine.ram, Gpa::new(ROOTS[0]), index);
        let entries = 4;
        assert_eq!(refused, Err(Kill::BadPgdIndex { index, entries }));
    }
    for flags in [3, 5, 0x21, 0x41, 0x81, 0x201, 1 | bits::NX, 1 | 1 << 36] {
        let bad = 16 << 12 | flags;
        machine.tables().set_at(ROOTS[0], bad);
        let kill = Kill::BadPageDirectoryEntry(bad);
        assert_eq!(machine.access(GVA, READ), Seen::Killed(kill), "LG-092");
    }
    machine.finish();
}

#[test]
fn a_fetch_from_a_page_without_execution_is_reflected_and_nothing_else_is() {
    let mut machine = machine();
    let no_execute = u64::from(PAGE) << 12 | 7 | bits::NX;
    machine.tables().set(USER[0], LEAF, no_execute);
    // The same code whether the shadow has the page or not (13.4).
    for _ in 0..2 {
        assert_eq!(machine.access(GVA, EXECUTE), Seen::Fault(0x11));
        assert_eq!(machine.access(GVA, USER_EXECUTE), Seen::Fault(0x15));
        assert_eq!(machine.access(GVA, USER_READ), frame(PAGE));
        assert_eq!(machine.access(GVA, WRITE), frame(PAGE));
    }
    assert_eq!(machine.audit(), 0);
    let executable = u64::from(PAGE) << 12 | 0x67;
    machine.tables().set(USER[0], LEAF, executable);
    machine.set_pte(ROOTS[0], GVA, executable).unwrap();
    assert_eq!(machine.access(GVA, USER_EXECUTE), frame(PAGE));
    // Announced as executable, and it is not: memory decides (R9).
    machine.tables().set(USER[0], LEAF, executable | bits::NX);
    machine.set_pte(ROOTS[0], GVA, executable).unwrap();
    assert_eq!(machine.access(GVA, EXECUTE), Seen::Fault(0x11));
}

#[test]
fn a17_a_page_directory_that_is_its_own_leaf_table_maps_guest_ram_only() {
    let mut machine = machine();
    let own = directory(&machine, ROOTS[0], GVA);
    machine.tables().set(own, 511, own << 12 | 7);
    let window = |page: u32| (511 * SLOT) | (page << 12);
    assert_eq!(machine.access(window(0), WRITE), frame(USER[0] as u32));
    assert_eq!(machine.access(window(511), WRITE), frame(own as u32));
    // A root's own frame as its page directory, so that roots are entries that name leaf tables: whatever
    // that comes to, the audit finds guest RAM only.
    machine
        .tables()
        .set_at(ROOTS[0] + 16, ROOTS[0] & !0xfff | 1);
    for slot in 0..8 {
        machine.access(0x8000_0000 + slot * SLOT, READ);
    }
    machine.finish();
}

fn any_format(paging: Paging) -> AnyFormatShadow<Pool, Vec<Slot>> {
    let slots = (0..16).map(|_| Slot::default()).collect();
    AnyFormatShadow::new(Pool::new(16), slots, 4, paging)
}

/// RAM with a three-level root at 0x1000 and a two-level root at 0x2000, both of which map `GVA`.
fn both_formats() -> Ram {
    let machine = Guest::new(16, 8, 1);
    let tables = machine.tables();
    tables.set(1, 0, 4 << 12 | 1);
    tables.set(4, 0, 5 << 12 | 7);
    tables.set(5, LEAF, u64::from(PAGE) << 12 | 7);
    tables.set(2, 0, 6 << 12 | 7);
    // Entry 5 of a two-level table: the high half of the third pair.
    tables.set(6, 2, (u64::from(OTHER) << 12 | 7) << 32);
    machine.ram
}

#[test]
fn the_first_root_decides_the_format_and_no_frame_is_lost() {
    for (paging, root, page) in [
        (Paging::Auto, 0x1000, PAGE),
        (Paging::Auto, 0x2000, OTHER),
        (Paging::Pae, 0x1000, PAGE),
        (Paging::TwoLevel, 0x2000, OTHER),
    ] {
        let ram = both_formats();
        let mut shadow = any_format(paging);
        shadow.set_kernel_address(Gva::new(KERNEL));
        let linear = Mmu::page_fault(&mut shadow, &ram, Gva::new(0x3000), 2);
        assert_eq!(linear, Ok(Fault::Repaired));
        assert_ne!(shadow.statistics().tables, 0);
        Mmu::new_pgtable(&mut shadow, &ram, Gpa::new(root)).unwrap();
        assert_eq!(shadow.statistics().tables, 0, "linear mode is over");
        assert_eq!(shadow.root(), None);
        let gva = Gva::new(GVA | 7);
        let there = Gpa::from(page << 12 | 7);
        assert_eq!(Mmu::translate(&shadow, &ram, gva), Some(there));
        let repaired = Mmu::page_fault(&mut shadow, &ram, gva, 4);
        assert_eq!(repaired, Ok(Fault::Repaired));
        assert_eq!(shadow.audit(&ram).unwrap().stale, 0);
        let pmd = Mmu::set_pmd(&mut shadow, &ram, Gpa::new(0x4000));
        let known = if page == PAGE {
            Ok(())
        } else {
            Err(NoMiddleTables)
        };
        assert_eq!(pmd, Ok(known), "LG-032");
        let pool = shadow.release();
        assert_eq!(pool.available(), 16, "LG-118");
    }
}

/// The stack that was set and the kernel's address outlive the decision.
#[test]
fn what_the_guest_said_before_its_first_root_holds() {
    let ram = both_formats();
    let mut shadow = any_format(Paging::Auto);
    Mmu::set_stack(&mut shadow, &ram, Gva::new(GVA), 1).unwrap();
    let root = Mmu::new_pgtable(&mut shadow, &ram, Gpa::new(0x1000));
    let gone = Kill::BadStackPage(Gva::new(GVA - 1));
    assert_eq!(root, Err(gone), "the root does not map it");
}

#[test]
fn a_first_root_outside_ram_kills_in_every_format() {
    for paging in [Paging::Auto, Paging::TwoLevel, Paging::Pae] {
        let mut shadow = any_format(paging);
        let root = Mmu::new_pgtable(&mut shadow, &both_formats(), Gpa::new(0xffff_ffe0));
        assert!(matches!(root, Err(Kill::BadAddress(_))), "{paging:?}");
    }
}

/// 2^20 different roots, of which a few are remembered, in a pool that has room for not many more.
#[test]
fn a20_two_to_the_twentieth_roots_take_no_more_than_a_few() {
    const ROOT: u64 = 32;
    const FRAMES: u64 = ROOT * (1 << 20) / 4096;
    let mut machine = Guest::new(FRAMES as usize, 40, 4);
    for root in 0..1 << 20 {
        machine.load(root * ROOT);
        if root % 257 == 0 {
            assert_eq!(machine.access(GVA, READ), Seen::Fault(0));
        }
    }
    assert!(machine.shadow.statistics().roots <= 4);
    machine.finish();
}
