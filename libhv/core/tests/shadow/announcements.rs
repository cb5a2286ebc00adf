//! What an announcement is worth (R9), and whom it reaches (R5).

use super::rules::{
    FRAMES, GVA, HIGH, LEAF, OTHER, PAGE, SHARED, USER, bare, frame, machine, map, map_high,
};
use super::{G, Guest, ROOTS};
use hv_core::address::Gva;
use hv_core::fast_paths::{FastPath, FastPaths};
use hv_core::paging::bits;
use hv_core::shadow::Invalidation;
use hv_machine::{READ, Tables as _, WRITE};

fn entry(page: u32, flags: u64) -> u64 {
    u64::from(page) << 12 | flags
}

/// Two entries that differ in accessed, dirty and software bits only are the same translation: nothing has to
/// be repaired where memory has the one and the announcement the other.
#[test]
fn r9_bits_that_mean_nothing_to_a_translation_do_not_make_an_announcement_doubtful() {
    let in_memory = entry(OTHER, 0x67);
    for flags in [0x67, 0x27, 0x47, 0x267, 0x467, 0x867, 0xe67] {
        let mut machine = machine();
        map(&machine, 0, PAGE);
        assert_eq!(machine.access(GVA, READ), frame(PAGE));
        machine.tables().set(USER[0], LEAF, in_memory);
        machine.set_pte(ROOTS[0], GVA, entry(OTHER, flags)).unwrap();
        let repairs = machine.repairs;
        assert_eq!(machine.access(GVA, READ), frame(OTHER), "{flags:#x}");
        assert_eq!(machine.repairs, repairs, "{flags:#x} is installed at once");
        machine.finish();
    }
}

#[test]
fn r9_bits_that_do_mean_something_make_an_announcement_doubtful() {
    for flags in [0x65, 0x63, 0x6f, 0x77, 0x167] {
        let mut machine = machine();
        map(&machine, 0, PAGE);
        assert_eq!(machine.access(GVA, READ), frame(PAGE));
        machine.tables().set(USER[0], LEAF, entry(OTHER, 0x67));
        machine.set_pte(ROOTS[0], GVA, entry(OTHER, flags)).unwrap();
        let repairs = machine.repairs;
        assert_eq!(machine.access(GVA, READ), frame(OTHER));
        assert_eq!(machine.repairs, repairs + 1, "{flags:#x} is read again");
    }
}

/// LG-082, LG-104: an announcement that says dirty does not make a page writable that is clean in memory, nor
/// the other way round; the write that makes it dirty comes to the host.
#[test]
fn lg_082_104_r9_the_first_write_to_a_clean_page_is_seen_whatever_was_announced() {
    for (in_memory, announced) in [(0x27, 0x67), (0x67, 0x27), (0x27, 0x27)] {
        let mut machine = machine();
        map(&machine, 0, PAGE);
        assert_eq!(machine.access(GVA, READ), frame(PAGE));
        machine.tables().set(USER[0], LEAF, entry(OTHER, in_memory));
        machine
            .set_pte(ROOTS[0], GVA, entry(OTHER, announced))
            .unwrap();
        let repairs = machine.repairs;
        assert_eq!(machine.access(GVA, WRITE), frame(OTHER));
        assert_eq!(
            machine.repairs,
            repairs + 1,
            "{in_memory:#x}, {announced:#x}"
        );
        assert_eq!(machine.tables().get(USER[0], LEAF), entry(OTHER, 0x67));
    }
}

/// What a guest queues is for the many pages of a fork, of which few are touched: one that the shadow does not have
/// stays so until then.
#[test]
fn r1_a_queued_announcement_installs_nothing() {
    let mut machine = machine();
    map(&machine, 0, PAGE);
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    let mut repaired = |announce: fn(&mut Guest)| {
        machine.set_pte(ROOTS[0], GVA, 0).unwrap();
        machine.tables().set(USER[0], LEAF, entry(OTHER, 0x67));
        announce(&mut machine);
        let repairs = machine.repairs;
        assert_eq!(machine.access(GVA, READ), frame(OTHER));
        machine.repairs - repairs
    };
    let queued = |machine: &mut Guest| {
        let change = (ROOTS[0], GVA, entry(OTHER, 0x67));
        assert_eq!(machine.set_queued_ptes(&[change]), Ok(1));
    };
    assert_eq!(repaired(queued), 1);
    let direct = |machine: &mut Guest| {
        machine.set_pte(ROOTS[0], GVA, entry(OTHER, 0x67)).unwrap();
    };
    assert_eq!(repaired(direct), 0);
    machine.finish();
}

/// The shorter way of announcements that are not queued can be left alone.
#[test]
fn without_its_shorter_way_an_announcement_installs_nothing_and_still_replaces() {
    let mut machine = machine();
    let eager = FastPaths::ON.without(FastPath::Eager);
    machine.shadow.choose_fast_paths(eager);
    map(&machine, 0, PAGE);
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    for (forgotten, repaired) in [(true, 1), (false, 0)] {
        if forgotten {
            machine.set_pte(ROOTS[0], GVA, 0).unwrap();
        }
        machine.tables().set(USER[0], LEAF, entry(OTHER, 0x67));
        machine.set_pte(ROOTS[0], GVA, entry(OTHER, 0x67)).unwrap();
        let repairs = machine.repairs;
        assert_eq!(machine.access(GVA, READ), frame(OTHER));
        assert_eq!(machine.repairs - repairs, repaired);
        machine.tables().set(USER[0], LEAF, entry(PAGE, 0x67));
        machine.set_pte(ROOTS[0], GVA, entry(PAGE, 0x67)).unwrap();
        assert_eq!(machine.access(GVA, READ), frame(PAGE));
    }
    machine.finish();
}

#[test]
fn r9_a_queued_announcement_replaces_what_the_shadow_has() {
    let mut machine = machine();
    map(&machine, 0, PAGE);
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    for (page, flags) in [(OTHER, 0x67), (OTHER, 0x65), (PAGE, 0x67)] {
        machine.tables().set(USER[0], LEAF, entry(page, flags));
        let change = (ROOTS[0], GVA, entry(page, flags));
        assert_eq!(machine.set_queued_ptes(&[change]), Ok(1));
        let repairs = machine.repairs;
        assert_eq!(machine.access(GVA, READ), frame(page));
        assert_eq!(machine.repairs, repairs);
        // Nothing changes.
        assert_eq!(machine.set_queued_ptes(&[change]), Ok(1));
        assert_eq!(machine.shadow.take_invalidation(), Invalidation::None);
    }
    machine.finish();
}

/// Before the first root is loaded, gva = gpa, and an announcement of a kernel's page means "look again".
#[test]
fn an_announcement_in_linear_mode_drops_the_page() {
    let mut machine = bare(8, 1);
    machine.shadow.set_kernel_address(Gva::new(0x1000));
    assert_eq!(machine.access(GVA, READ), frame(GVA >> 12));
    machine.set_pte(0, GVA, 0).unwrap();
    let repairs = machine.repairs;
    assert_eq!(machine.access(GVA, READ), frame(GVA >> 12));
    assert_eq!(machine.repairs, repairs + 1);
    // One that is not there is not invalidated.
    for changed in [
        Invalidation::Pages([Gva::new(GVA)].into_iter().collect()),
        Invalidation::None,
    ] {
        machine.set_pte(0, GVA, 0).unwrap();
        assert_eq!(machine.shadow.take_invalidation(), changed);
    }
    machine.finish();
}

/// LG-080: the first access to a page that was not accessed in memory comes to the host.
#[test]
fn lg_080_r9_a_page_that_is_not_accessed_in_memory_is_not_installed() {
    let mut machine = machine();
    map(&machine, 0, PAGE);
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    machine.tables().set(USER[0], LEAF, entry(OTHER, 0x7));
    machine.set_pte(ROOTS[0], GVA, entry(OTHER, 0x27)).unwrap();
    assert_eq!(machine.access(GVA, READ), frame(OTHER));
    let leaf = machine.tables().get(USER[0], LEAF);
    assert_eq!(leaf & bits::A, bits::A);
}

/// The first top-level entry of the kernel's, announced for a root that nobody knows.
#[test]
fn r5_set_pgd_at_the_kernel_s_first_address_is_for_all_roots() {
    let mut machine = machine();
    map_high(&machine, PAGE);
    for root in ROOTS.into_iter().take(2) {
        machine.load(root);
        assert_eq!(machine.access(HIGH, READ), frame(PAGE));
    }
    machine.tables().set(SHARED, LEAF, entry(OTHER, 7));
    machine.set_pgd(0x1f000, HIGH >> G::SHAPE[0].0);
    for root in ROOTS.into_iter().take(2) {
        machine.load(root);
        assert_eq!(machine.access(HIGH, READ), frame(OTHER), "root {root:#x}");
    }
    machine.finish();
}

/// LG-102, LG-105: an entry that this ABI does not have is nothing to a guest whose root is not in use, and its end
/// from the moment on that it is, before anything of it is remembered.
#[test]
fn lg_102_105_an_announcement_is_judged_from_the_load_of_its_root_on() {
    let mut machine = machine();
    let bad = entry(FRAMES, 0x67);
    assert_eq!(machine.set_pte(ROOTS[1], GVA, bad), Ok(()));
    machine.load(ROOTS[1]);
    assert!(machine.set_pte(ROOTS[1], GVA, bad).is_err());
}

/// LG-099, LG-102: that nobody knew a root is forgotten when it is known; and what is queued about it is no obstacle
/// to what is queued about another.
#[test]
fn lg_099_102_announcements_reach_a_root_that_earlier_ones_did_not() {
    let mut machine = machine();
    for space in [0, 1] {
        map(&machine, space, PAGE);
    }
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    let changed = entry(OTHER, 0x67);
    let both = [ROOTS[1], ROOTS[0], ROOTS[1], ROOTS[0]].map(|root| (root, GVA, changed));
    machine.tables().set(USER[0], LEAF, changed);
    assert_eq!(machine.set_queued_ptes(&both), Ok(4));
    assert_eq!(machine.access(GVA, READ), frame(OTHER));
    machine.load(ROOTS[1]);
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    machine.load(ROOTS[0]);
    machine.tables().set(USER[1], LEAF, changed);
    assert_eq!(machine.set_queued_ptes(&both), Ok(4));
    machine.load(ROOTS[1]);
    assert_eq!(machine.access(GVA, READ), frame(OTHER));
    machine.finish();
}
