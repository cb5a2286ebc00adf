//! PAE tables.

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

#[path = "pae_rules.rs"]
mod own_rules;

use hv_core::kill::Kill;
use hv_core::paging::{Access, AccessKind, Pae, Privilege};
use hv_machine::{Machine, Tables};
use product::Expected;

/// The format under test.
type G = Pae;
type Guest = Machine<G>;

/// Roots that a test has beside each other: in one frame (R8). And their size in bytes.
const ROOTS: [u64; 3] = [0x1020, 0x1040, 0x1fe0];
const ROOT_BYTES: u64 = G::ROOT_BYTES;
/// Why a guest ends with a bad entry where a leaf table should be named.
const BAD_SLOT: fn(u64) -> Kill = Kill::BadPageMiddleDirectoryEntry;

/// Root number `n` of many, in frames from `frame`.
fn nth_root(frame: u64, n: u64) -> u64 {
    (frame << 12) + n * 32
}

/// What lguest-abi 7.2 and 7.9 say, with the rights of all levels combined, in the order of the steps.
fn oracle(entries: &[u64], frames: u64, access: Access) -> Expected {
    let [top, middle, leaf] = *entries else {
        unreachable!("three levels");
    };
    let write = access.kind == AccessKind::Write;
    let fetch = access.kind == AccessKind::Execute;
    let user = access.privilege == Privilege::User;
    let error = u32::from(write) << 1 | u32::from(user) << 2 | u32::from(fetch) << 4;
    let high = 1 << 63;
    if top & 1 == 0 {
        return Expected::Fault(error);
    }
    if top & (0xffe | high) != 0 || top >> 12 >= frames {
        return Expected::Kill(Kill::BadPageDirectoryEntry(top));
    }
    if middle & 1 == 0 {
        return Expected::Fault(error);
    }
    if middle & (0xf98 | high) != 0 || middle >> 12 >= frames {
        return Expected::Kill(Kill::BadPageMiddleDirectoryEntry(middle));
    }
    if leaf & 1 == 0 {
        return Expected::Fault(error);
    }
    let unwritable = middle & 2 == 0 || leaf & 2 == 0;
    let supervisor = middle & 4 == 0 || leaf & 4 == 0;
    if write && unwritable || user && supervisor || fetch && leaf & high != 0 {
        return Expected::Fault(error | 1);
    }
    let frame = (leaf & !high) >> 12;
    if leaf & 0x80 != 0 || frame >= frames {
        return Expected::Kill(Kill::BadPageTableEntry(leaf));
    }
    let dirty = if write { 0x40 } else { 0 };
    Expected::Mapped {
        frame,
        leaf: leaf | 0x20 | dirty,
        rights: middle & 6,
    }
}

/// Entries that are worth trying at each level, whole: those with NX and each other high bit as well.
fn special_entries() -> Vec<u64> {
    let inside = [0, 1, 2, 3, 4];
    let outside = [5, 6, 0xf_ffff].into_iter().map(|frame: u64| frame << 12);
    let high = (32..63).map(|bit| 1 << bit | 3 << 12);
    let frames = inside.map(|frame: u64| frame << 12);
    let mut all = Vec::new();
    for frame in frames {
        for flags in [0, 1, 3, 5, 7, 0x67, 0x87] {
            all.extend([frame | flags, frame | flags | 1 << 63]);
        }
    }
    for frame in outside.chain(high) {
        all.extend([frame | 1, frame | 7 | 1 << 63]);
    }
    all
}
