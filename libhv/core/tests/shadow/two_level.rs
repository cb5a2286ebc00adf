//! Two-level tables.

#[path = "adversary.rs"]
#[allow(clippy::duplicate_mod, reason = "one copy for each format")]
mod adversary;
#[path = "announcements.rs"]
#[allow(clippy::duplicate_mod, reason = "one copy for each format")]
mod announcements;
#[path = "audit.rs"]
#[allow(clippy::duplicate_mod, reason = "one copy for each format")]
mod audit;
#[path = "effort.rs"]
#[allow(clippy::duplicate_mod, reason = "one copy for each format")]
mod effort;
#[path = "invalidation.rs"]
#[allow(clippy::duplicate_mod, reason = "one copy for each format")]
mod invalidation;
#[path = "mmu.rs"]
#[allow(clippy::duplicate_mod, reason = "one copy for each format")]
mod mmu;
#[path = "product.rs"]
#[allow(clippy::duplicate_mod, reason = "one copy for each format")]
mod product;
#[path = "roots.rs"]
#[allow(clippy::duplicate_mod, reason = "one copy for each format")]
mod roots;
#[path = "rules.rs"]
#[allow(clippy::duplicate_mod, reason = "one copy for each format")]
mod rules;
#[path = "stack.rs"]
#[allow(clippy::duplicate_mod, reason = "one copy for each format")]
mod stack;
#[path = "statements.rs"]
#[allow(clippy::duplicate_mod, reason = "one copy for each format")]
mod statements;
#[path = "well_behaved.rs"]
#[allow(clippy::duplicate_mod, reason = "one copy for each format")]
mod well_behaved;

use hv_core::address::{Gpa, Gva};
use hv_core::kill::Kill;
use hv_core::paging::{Access, AccessKind, Privilege, TwoLevel};
use hv_machine::{Machine, RAM_BASE, READ, Seen, Tables, WRITE};
use product::Expected;

/// The format under test.
type G = TwoLevel;
type Guest = Machine<G>;

/// Roots that a test has beside each other, and their size in bytes.
const ROOTS: [u64; 3] = [0x1000, 0x2000, 0x3000];
const ROOT_BYTES: u64 = G::ROOT_BYTES;
/// Why a guest ends with a bad entry where a leaf table should be named.
const BAD_SLOT: fn(u64) -> Kill = Kill::BadPageDirectoryEntry;

/// Root number `n` of many, in frames from `frame`.
fn nth_root(frame: u64, n: u64) -> u64 {
    (frame + n) << 12
}

/// What lguest-abi 7.2 says, with the rights of both levels combined, in the order of its steps.
fn oracle(entries: &[u64], frames: u64, access: Access) -> Expected {
    let [top, leaf] = *entries else {
        unreachable!("two levels");
    };
    let write = access.kind == AccessKind::Write;
    let user = access.privilege == Privilege::User;
    let error = u32::from(write) << 1 | u32::from(user) << 2;
    if top & 1 == 0 {
        return Expected::Fault(error);
    }
    if top & 0xf98 != 0 || top >> 12 >= frames {
        return Expected::Kill(Kill::BadPageDirectoryEntry(top));
    }
    if leaf & 1 == 0 {
        return Expected::Fault(error);
    }
    if write && (top & 2 == 0 || leaf & 2 == 0) || user && (top & 4 == 0 || leaf & 4 == 0) {
        return Expected::Fault(error | 1);
    }
    if leaf & 0x80 != 0 || leaf >> 12 >= frames {
        return Expected::Kill(Kill::BadPageTableEntry(leaf));
    }
    let dirty = if write { 0x40 } else { 0 };
    Expected::Mapped {
        frame: leaf >> 12,
        leaf: leaf | 0x20 | dirty,
        rights: top & 6,
    }
}

/// Entries that are worth trying at each level, whole.
fn special_entries() -> Vec<u64> {
    let frames = [0, 1, 2, 3, 4, 5, 0xf_ffff];
    let flags = [0, 1, 3, 5, 7, 0x27, 0x67, 0x87, 0x107];
    let all = frames
        .into_iter()
        .flat_map(|frame| flags.into_iter().map(move |flags: u64| frame << 12 | flags));
    all.collect()
}

#[test]
fn r8_roots_are_pages_whose_low_bits_are_flags() {
    let mut machine = rules::machine();
    rules::map(&machine, 0, rules::PAGE);
    assert_eq!(machine.access(rules::GVA, READ), rules::frame(rules::PAGE));
    for flags in [0x18, 0xfff] {
        machine
            .shadow
            .new_pgtable(&machine.ram, Gpa::new(ROOTS[0] | flags))
            .unwrap();
        let repairs = machine.repairs;
        assert_eq!(machine.access(rules::GVA, READ), rules::frame(rules::PAGE));
        assert_eq!(machine.repairs, repairs);
    }
}

#[test]
fn lg_108_set_pgd_is_bounded() {
    let mut machine = rules::machine();
    for index in [1024, u32::MAX] {
        let refused = machine
            .shadow
            .set_pgd(&machine.ram, Gpa::new(ROOTS[0]), index);
        let entries = 1024;
        assert_eq!(refused, Err(Kill::BadPgdIndex { index, entries }));
    }
}

/// LG-032.
#[test]
fn lg_032_there_is_no_set_pmd() {
    let mut machine = rules::machine();
    let told = machine.shadow.set_pmd(&machine.ram, Gpa::new(0x1000));
    assert_eq!(told, Ok(Err(hv_core::shadow::NoMiddleTables)));
}

#[test]
fn a17_a_root_that_is_its_own_leaf_table_maps_guest_ram_only() {
    let mut machine = rules::machine();
    machine.tables().set(ROOTS[0] >> 12, 1023, ROOTS[0] | 7);
    let window = |top: u32| 0xffc0_0000 | top << 12;
    let user = RAM_BASE + (rules::USER[0] << 12);
    assert_eq!(machine.access(window(0), WRITE), Seen::Frame(user));
    let root = Seen::Frame(RAM_BASE + ROOTS[0]);
    assert_eq!(machine.access(window(1023), WRITE), root);
    machine.finish();
}

/// In the gigabyte that both share, FLUSH_TLB(0) stops where the kernel begins.
#[test]
fn flush_user_leaves_the_kernel_its_first_table() {
    let mut machine = rules::machine();
    let kernel = 0xd000_0000;
    let pages = [kernel - 0x20_0000 + rules::GVA, kernel + rules::GVA];
    machine.shadow.set_kernel_address(Gva::new(kernel));
    for gva in pages {
        machine
            .tables()
            .set_slot(ROOTS[0], gva, rules::SHARED << 12 | 7);
        let leaf = gva >> 12 & 1023;
        machine
            .tables()
            .set(rules::SHARED, leaf, u64::from(rules::PAGE) << 12 | 7);
        assert_eq!(machine.access(gva, WRITE), rules::frame(rules::PAGE));
    }
    assert_eq!(machine.shadow.flush_user(), hv_core::shadow::Progress::Done);
    for (gva, dropped) in pages.into_iter().zip([1, 0]) {
        let repairs = machine.repairs;
        assert_eq!(machine.access(gva, WRITE), rules::frame(rules::PAGE));
        assert_eq!(machine.repairs, repairs + dropped, "{gva:#x}");
    }
    machine.finish();
}

/// The high word of SET_PTE's entry is none of these guests' entries.
#[test]
fn set_pte_takes_the_low_word_alone() {
    let mut machine = rules::machine();
    rules::map(&machine, 0, rules::PAGE);
    machine.access(rules::GVA, WRITE);
    let entry = u64::from(rules::OTHER) << 12 | 0x67;
    machine.tables().set(rules::USER[0], rules::LEAF, entry);
    machine
        .set_pte(ROOTS[0], rules::GVA, entry | 0xdead_beef << 32)
        .unwrap();
    let repairs = machine.repairs;
    assert_eq!(
        machine.access(rules::GVA, WRITE),
        rules::frame(rules::OTHER)
    );
    assert_eq!(machine.repairs, repairs, "installed at once");
}

/// Where user and kernel share a gigabyte, each root has a directory of its own, and the kernel's leaf tables are
/// shared all the same, from the kernel's first page on.
#[test]
fn r5_leaf_tables_from_the_kernel_s_first_address_on_are_shared_by_roots_with_directories_of_their_own()
 {
    const KERNEL: u32 = 0xd000_0000;
    let mut machine = rules::machine();
    machine.shadow.set_kernel_address(Gva::new(KERNEL));
    let pages = [KERNEL, KERNEL + rules::GVA];
    for root in ROOTS {
        machine
            .tables()
            .set_slot(root, KERNEL, rules::SHARED << 12 | 7);
    }
    for page in [0, rules::LEAF] {
        let entry = u64::from(rules::PAGE) << 12 | 0x67;
        machine.tables().set(rules::SHARED, page, entry);
    }
    for gva in pages {
        assert_eq!(machine.access(gva, WRITE), rules::frame(rules::PAGE));
    }
    machine.load(ROOTS[1]);
    let repairs = machine.repairs;
    for gva in pages {
        assert_eq!(machine.access(gva, WRITE), rules::frame(rules::PAGE));
    }
    assert_eq!(machine.repairs, repairs + 1, "the second is there already");
    machine.finish();
}

/// A process that ended leaves nothing behind: neither while another is current, nor when it was itself.
#[test]
fn r3_an_address_space_that_ends_is_forgotten_with_its_last_table() {
    for current in [0, 1] {
        let mut machine = rules::machine();
        for (space, root) in ROOTS.into_iter().enumerate().take(2).rev() {
            machine.load(root);
            rules::map(&machine, space, rules::PAGE);
            rules::map_high(&machine, rules::OTHER);
            assert_eq!(machine.access(rules::GVA, READ), rules::frame(rules::PAGE));
            assert_eq!(
                machine.access(rules::HIGH, READ),
                rules::frame(rules::OTHER)
            );
        }
        let (both, one) = (machine.shadow.statistics(), ROOTS[0]);
        assert_eq!((both.roots, both.tables), (2, 8));
        machine.load(ROOTS[current]);
        machine.tables().set_slot(one, rules::GVA, 0);
        machine.set_pgd(one, 1);
        assert_eq!(machine.shadow.statistics().tables, 8, "another entry");
        machine.set_pgd(one, rules::GVA >> 22);
        machine.audit();
        machine.load(ROOTS[1]);
        let left = machine.shadow.statistics();
        assert_eq!((left.roots, left.tables, left.evicted), (1, 5, 0));
        machine.load(one);
        assert_eq!(machine.access(rules::GVA, READ), Seen::Fault(0));
        assert_eq!(
            machine.access(rules::HIGH, READ),
            rules::frame(rules::OTHER)
        );
        machine.finish();
    }
}

/// It is no end if the root gets a table before the next one is loaded.
#[test]
fn r3_a_current_root_that_loses_its_last_table_and_gets_another_is_remembered() {
    let mut machine = rules::machine();
    rules::map(&machine, 0, rules::PAGE);
    assert_eq!(machine.access(rules::GVA, READ), rules::frame(rules::PAGE));
    machine.set_pgd(ROOTS[0], rules::GVA >> 22);
    assert_eq!(machine.access(rules::GVA, READ), rules::frame(rules::PAGE));
    machine.load(ROOTS[1]);
    let repairs = machine.repairs;
    machine.load(ROOTS[0]);
    assert_eq!(machine.access(rules::GVA, READ), rules::frame(rules::PAGE));
    assert_eq!(machine.repairs, repairs);
    machine.finish();
}
