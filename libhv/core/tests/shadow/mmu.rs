//! Translation as a personality asks for it, of a guest whose format was chosen at run time: each call
//! reaches the shadow, and device memory is never mapped.

use super::rules::{GVA, HIGH, LEAF, OTHER, PAGE, SHARED, USER, machine, map, map_high};
use super::{G, ROOTS};
use hv_core::address::{Gfn, Gpa, Gva, Hpa};
use hv_core::fast_paths::FastPaths;
use hv_core::frames::TablePool as _;
use hv_core::kill::Kill;
use hv_core::memory::{BadAddress, GuestMemory};
use hv_core::paging::{AccessKind, Paging};
use hv_core::personality::{LeafChange, Mmu};
use hv_core::shadow::{AnyFormatShadow, Fault, Invalidation, Progress, Slot};
use hv_machine::{Pool, Ram, Tables as _, WRITE};

const TABLES: usize = 32;
const KERNEL: u32 = 0xc000_0000;

type Any = AnyFormatShadow<Pool, Vec<Slot>>;

fn any_format(paging: Paging) -> Any {
    let slots = (0..TABLES).map(|_| Slot::default()).collect();
    AnyFormatShadow::new(Pool::new(TABLES), slots, 4, paging)
}

fn format() -> Paging {
    match G::WIDTH {
        4 => Paging::TwoLevel,
        _ => Paging::Pae,
    }
}

/// RAM whose root maps `GVA` and `HIGH`, and a shadow that has both.
fn running() -> (Ram, Any) {
    let machine = machine();
    map(&machine, 0, PAGE);
    map_high(&machine, OTHER);
    let ram = machine.ram;
    let mut shadow = any_format(format());
    Mmu::set_kernel_address(&mut shadow, Gva::new(KERNEL));
    for root in [ROOTS[1], ROOTS[0]] {
        Mmu::new_pgtable(&mut shadow, &ram, Gpa::new(root)).unwrap();
    }
    for gva in [GVA, HIGH] {
        let repaired = Mmu::page_fault(&mut shadow, &ram, Gva::new(gva), 2);
        assert_eq!(repaired, Ok(Fault::Repaired));
    }
    assert_ne!(shadow.take_invalidation(), Invalidation::None);
    assert!(shadow.root().is_some());
    (ram, shadow)
}

/// The translations in the shadow.
fn translations(ram: &Ram, shadow: &Any) -> u64 {
    shadow.audit(ram).unwrap().translations
}

#[test]
fn set_pte_reaches_the_shadow() {
    let (ram, mut shadow) = running();
    let root = Gpa::new(ROOTS[0]);
    Mmu::set_pte(&mut shadow, &ram, change(root, Gva::new(GVA), 0)).unwrap();
    assert_eq!(translations(&ram, &shadow), 1);
    let gone = Invalidation::Pages([Gva::new(GVA)].into_iter().collect());
    assert_eq!(shadow.take_invalidation(), gone);
    let reserved = Gva::new(0xffff_f000);
    assert_eq!(
        Mmu::set_pte(&mut shadow, &ram, change(root, reserved, 0)),
        Err(Kill::PteInReservedWindow(reserved))
    );
}

#[test]
fn the_choice_of_shorter_ways_reaches_the_shadow() {
    let (ram, mut shadow) = running();
    shadow.choose_fast_paths(FastPaths::OFF);
    let forget = change(Gpa::new(ROOTS[0]), Gva::new(GVA), 0);
    Mmu::set_pte(&mut shadow, &ram, forget).unwrap();
    assert_eq!(shadow.take_invalidation(), Invalidation::All);
}

#[test]
fn set_pgd_reaches_the_shadow() {
    let (ram, mut shadow) = running();
    let index = GVA >> G::SHAPE[0].0;
    let told = Mmu::set_pgd(&mut shadow, &ram, Gpa::new(ROOTS[0]), index);
    assert_eq!(told, Ok(()));
    assert_eq!(translations(&ram, &shadow), 1);
    let told = Mmu::set_pgd(&mut shadow, &ram, Gpa::new(ROOTS[0]), 1024);
    assert!(matches!(told, Err(Kill::BadPgdIndex { index: 1024, .. })));
}

#[test]
fn flushes_reach_the_shadow() {
    let (ram, mut shadow) = running();
    let flushed = Mmu::flush_user(&mut shadow, &ram);
    assert_eq!(flushed, Ok(Progress::Done));
    assert_eq!(translations(&ram, &shadow), 1, "the kernel's");
    assert_eq!(shadow.take_invalidation(), Invalidation::All);
    Mmu::flush_all(&mut shadow, &ram).unwrap();
    assert_eq!(translations(&ram, &shadow), 0);
    assert_eq!(shadow.root(), None);
}

#[test]
fn host_accesses_are_the_kernel_s() {
    let (ram, mut shadow) = running();
    let there = Ok(Ok(Gpa::from(PAGE << 12 | 4)));
    let gva = Gva::new(GVA + 4);
    for kind in [AccessKind::Read, AccessKind::Write] {
        assert_eq!(Mmu::guest_access(&mut shadow, &ram, gva, kind), there);
    }
    let unmapped = Gva::new(GVA + 0x1000);
    let write = Mmu::guest_access(&mut shadow, &ram, unmapped, AccessKind::Write);
    assert_eq!(write, Ok(Err(2)), "of ring 1, which is supervisor");
}

#[test]
fn leaf_flags_that_a_generation_does_not_have_end_the_guest() {
    let (ram, mut shadow) = running();
    Mmu::refuse_leaf_flags(&mut shadow, 0x18);
    let bad = u64::from(PAGE) << 12 | 0x6f;
    let root = Gpa::new(ROOTS[0]);
    let kill = Kill::BadPageTableEntry(bad);
    let told = Mmu::set_pte(&mut shadow, &ram, change(root, Gva::new(GVA), bad));
    assert_eq!(told, Err(kill.clone()));
    // One that is not in use says nothing yet.
    let unused = Mmu::set_pte(&mut shadow, &ram, change(root, Gva::new(GVA), bad & !0x60));
    assert_eq!(unused, Ok(()));
    // They stay refused, and so do those that no format has, once the format is known.
    let mut shadow = any_format(Paging::Auto);
    Mmu::refuse_leaf_flags(&mut shadow, 0x18);
    Mmu::new_pgtable(&mut shadow, &ram, root).unwrap();
    for flag in [0x08, 0x10, 0x80] {
        let bad = u64::from(PAGE) << 12 | 0x67 | flag;
        let told = Mmu::set_pte(&mut shadow, &ram, change(root, Gva::new(GVA), bad));
        assert_eq!(told, Err(Kill::BadPageTableEntry(bad)));
    }
    let mut machine = machine();
    machine.shadow.refuse_leaf_flags(0x18);
    machine.tables().set(USER[0], LEAF, bad);
    let fault = machine.access(GVA, WRITE);
    assert_eq!(fault, hv_machine::Seen::Killed(kill));
}

#[test]
fn an_exit_that_did_much_is_tired() {
    let (ram, mut shadow) = running();
    assert!(!Mmu::is_tired(&shadow));
    // Each drops everything, at the cost of 64 entries; the limit is 1,024.
    for _ in 0..16 {
        Mmu::flush_all(&mut shadow, &ram).unwrap();
    }
    assert!(!Mmu::is_tired(&shadow) && !shadow.is_tired());
    Mmu::flush_all(&mut shadow, &ram).unwrap();
    assert!(Mmu::is_tired(&shadow) && shadow.is_tired());
    assert_eq!(shadow.release().available(), TABLES);
}

/// RAM with two frames of device registers behind it.
struct WithRegisters(Ram);

impl GuestMemory for WithRegisters {
    fn frames(&self) -> Gfn {
        self.0.frames()
    }
    fn device_limit(&self) -> Gfn {
        self.0.frames().wrapping_add(2)
    }
    fn read(&self, at: Gpa, into: &mut [u8]) -> Result<(), BadAddress> {
        self.0.read(at, into)
    }
    fn write(&self, at: Gpa, from: &[u8]) -> Result<(), BadAddress> {
        self.0.write(at, from)
    }
    fn read_u32(&self, at: Gpa) -> Result<u32, BadAddress> {
        self.0.read_u32(at)
    }
    fn write_u32(&self, at: Gpa, value: u32) -> Result<(), BadAddress> {
        self.0.write_u32(at, value)
    }
    fn compare_exchange_u32(&self, at: Gpa, current: u32, new: u32) -> Result<bool, BadAddress> {
        self.0.compare_exchange_u32(at, current, new)
    }
    fn read_u64(&self, at: Gpa) -> Result<u64, BadAddress> {
        self.0.read_u64(at)
    }
    fn compare_exchange_u64(&self, at: Gpa, current: u64, new: u64) -> Result<bool, BadAddress> {
        self.0.compare_exchange_u64(at, current, new)
    }
    fn host_frame(&self, gfn: Gfn) -> Option<Hpa> {
        self.0.host_frame(gfn)
    }
}

/// 7.2, step 6, and 7.5.
#[test]
fn device_memory_is_told_from_ram_and_from_nothing_in_linear_mode_and_behind_a_root() {
    let machine = machine();
    let first = machine.ram.frames().raw() as u32;
    for (page, frame) in (0..).zip([first - 1, first, first + 1, first + 2]) {
        let entry = u64::from(frame) << 12 | 0x67;
        machine.tables().set(USER[0], LEAF + page, entry);
        machine.tables().set(SHARED, LEAF + page, entry);
    }
    let ram = WithRegisters(machine.ram);
    let mut shadow = any_format(format());
    Mmu::set_kernel_address(&mut shadow, Gva::new(KERNEL));
    let check = |shadow: &mut Any, gva: u32, frame: u32| {
        let gva = Gva::new(gva | 0x18);
        let device = frame == first || frame == first + 1;
        let read = Mmu::guest_access(shadow, &ram, gva, AccessKind::Read);
        let fault = Mmu::page_fault(shadow, &ram, gva, 2);
        let at = Gpa::from(frame << 12 | 0x18);
        if frame < first {
            assert_eq!((read, fault), (Ok(Ok(at)), Ok(Fault::Repaired)));
        } else if device {
            // The host itself can use nothing there.
            assert_eq!((read, fault), (Ok(Err(0)), Ok(Fault::Device(at))));
        } else {
            assert!(matches!(read, Err(Kill::BadPageTableEntry(_))));
            assert!(matches!(fault, Err(Kill::BadPageTableEntry(_))));
        }
    };
    for frame in first - 1..first + 3 {
        check(&mut shadow, frame << 12, frame);
    }
    for root in [ROOTS[1], ROOTS[0]] {
        Mmu::new_pgtable(&mut shadow, &ram, Gpa::new(root)).unwrap();
    }
    for (gva, frame) in (GVA..).step_by(0x1000).zip(first - 1..first + 3) {
        check(&mut shadow, gva, frame);
    }
    // Announced for a page that is in the shadow: no longer, and the guest lives.
    let ram_page = Gva::new(GVA);
    let device = u64::from(first) << 12 | 0x67;
    let root = Gpa::new(ROOTS[0]);
    let told = Mmu::set_pte(&mut shadow, &ram, change(root, ram_page, device));
    assert_eq!(told, Ok(()));
    assert_eq!(shadow.audit(&ram).unwrap().translations, 0);
    let nowhere = u64::from(first + 2) << 12 | 0x67;
    let told = Mmu::set_pte(&mut shadow, &ram, change(root, ram_page, nowhere));
    assert_eq!(told, Err(Kill::BadPageTableEntry(nowhere)));
    // A stack there is none.
    let top = Gva::new(GVA + 0x2000);
    let pinned = Mmu::set_stack(&mut shadow, &ram, top, 1);
    assert_eq!(pinned, Err(Kill::BadStackPage(Gva::new(GVA + 0x1fff))));
}

fn change(root: Gpa, gva: Gva, entry: u64) -> LeafChange {
    LeafChange { root, gva, entry }
}
