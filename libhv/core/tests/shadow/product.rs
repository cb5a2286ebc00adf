//! `propagate` over every combination of flags, against the walker.

use crate::machine::{ACCESSES, Ram};
use hv_core::address::{Gfn, Gva, Hpa};
use hv_core::kill::Kill;
use hv_core::memory::GuestMemory;
use hv_core::paging::{
    Access, AccessKind, Outcome, Presence, Privilege, TwoLevel, bits, propagate, walker,
};

const FRAMES: u64 = 4;
const TABLE: u32 = 1;
const PAGE: u32 = 2;
/// Flags of a top-level entry that are no error: P, RW, US, A, D.
const TOP_ALLOWED: u32 = 0x67;

/// What lguest-abi 7.2 says, with the rights of both levels combined, in the order of its steps.
fn expected(top: u32, leaf: u32, access: Access) -> Outcome {
    let inside = |entry: u32| u64::from(entry >> 12) < FRAMES;
    let (top, leaf) = match (
        top & 1,
        top & 0xfff & !TOP_ALLOWED == 0 && inside(top),
        leaf & 1,
    ) {
        (0, _, _) => return Outcome::Fault(access.error(Presence::Absent)),
        (_, false, _) => return Outcome::Kill(Kill::BadPageDirectoryEntry(top.into())),
        (_, true, 0) => return Outcome::Fault(access.error(Presence::Absent)),
        _ => (top, leaf),
    };
    let write = access.kind == AccessKind::Write;
    let user = access.privilege == Privilege::User;
    if write && top & leaf & 2 == 0 || user && top & leaf & 4 == 0 {
        return Outcome::Fault(access.error(Presence::Present));
    }
    if leaf & 0x80 != 0 || !inside(leaf) {
        return Outcome::Kill(Kill::BadPageTableEntry(leaf.into()));
    }
    let marked = u64::from(leaf) | bits::A | if write { bits::D } else { 0 };
    Outcome::Mapped(hv_core::paging::Mapping::of(
        Gfn::new(u64::from(leaf >> 12)),
        marked,
    ))
}

fn check(ram: &Ram, top: u32, leaf: u32) {
    ram.set_entry(0, 0, top);
    ram.set_entry(u64::from(TABLE), 0, leaf);
    let truth = walker::walk::<TwoLevel>(ram, Gfn::new(0), Gva::new(0));
    for access in ACCESSES {
        let outcome = propagate::<TwoLevel>(
            top.into(),
            |_| Ok(leaf.into()),
            access,
            ram.frames(),
            ram.frames(),
        );
        assert_eq!(
            outcome,
            expected(top, leaf, access),
            "{top:#x} {leaf:#x} {access:?}"
        );
        if let Outcome::Mapped(mapping) = outcome {
            let truth = truth.expect("the walker finds what propagate maps");
            assert_eq!(mapping.frame, truth.frame);
            let host = Hpa::new(0x7000);
            let shadow = mapping.shadow(host);
            assert_eq!(
                shadow & u64::from(top) & (bits::RW | bits::US) & !truth.rights,
                0
            );
            assert_eq!(shadow & bits::FRAME, host.raw());
            // Of the flags, nothing but these can ever reach the processor.
            let allowed = bits::P | bits::RW | bits::US | bits::A | bits::D;
            assert_eq!(shadow & !bits::FRAME & !allowed, 0);
            // Writable only once the guest's entry is dirty (LG-082, LG-104).
            let dirty = access.kind == AccessKind::Write || leaf & bits::D as u32 != 0;
            assert!(dirty || shadow & bits::RW == 0);
        }
    }
}

#[test]
fn every_top_flag_with_the_rights_of_every_leaf() {
    let ram = Ram::new(FRAMES as usize);
    for top in 0..0x1000 {
        for leaf in [0, 1, 3, 5, 7, 0x27, 0x67, 0x87, 0x107] {
            check(&ram, TABLE << 12 | top, PAGE << 12 | leaf);
        }
    }
}

#[test]
fn every_leaf_flag_with_the_rights_of_every_top() {
    let ram = Ram::new(FRAMES as usize);
    for leaf in 0..0x1000 {
        for top in (0..0x80).filter(|top| top & !TOP_ALLOWED == 0) {
            check(&ram, TABLE << 12 | top, PAGE << 12 | leaf);
        }
    }
}

#[test]
fn frames_inside_at_and_past_the_end_of_ram() {
    let ram = Ram::new(FRAMES as usize);
    for leaf_frame in [
        0,
        FRAMES as u32 - 1,
        FRAMES as u32,
        FRAMES as u32 + 1,
        0xf_ffff,
    ] {
        for flags in 0..0x1000 {
            check(&ram, TABLE << 12 | 0x67, leaf_frame << 12 | flags);
        }
    }
    for top_frame in [FRAMES as u32, FRAMES as u32 + 1, 0xf_ffff] {
        for flags in 0..0x1000 {
            check(&ram, top_frame << 12 | flags, PAGE << 12 | 0x67);
        }
    }
}
