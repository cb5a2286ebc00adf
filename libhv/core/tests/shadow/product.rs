//! `propagate` over every combination of flags, against an oracle that is written by
//! hand for each format, and against the walker.

use super::{G, oracle, special_entries};
use hv_core::address::{Gfn, Gpa, Gva, Hpa};
use hv_core::kill::Kill;
use hv_core::memory::GuestMemory;
use hv_core::paging::{Access, AccessKind, Refused, Translation, bits, propagate, walker};
use hv_machine::{ACCESSES, Machine, Tables};

/// Level `n` is the table in frame `n`; the page is the frame behind them.
const LEVELS: usize = G::SHAPE.len();
const FRAMES: u64 = LEVELS as u64 + 2;

/// What an access has to come to.
#[derive(PartialEq, Eq, Debug)]
pub enum Expected {
    Fault(u32),
    Kill(Kill),
    Mapped {
        frame: u64,
        /// The entry with A and D.
        leaf: u64,
        /// RW and US of the upper levels together.
        rights: u64,
    },
}

/// What comes of an access.
type Outcome = Result<Translation, Refused>;

/// The levels' entries in the order in which they are asked for, wherever that is.
fn outcome(entries: &[u64; LEVELS], access: Access) -> Outcome {
    let mut next = entries.iter();
    let read = |_| Ok(*next.next().expect("a read for each level"));
    let ram = Gfn::new(FRAMES);
    propagate::<G>(Gpa::new(0), Gva::new(0), read, access, ram, ram)
}

fn agrees(outcome: &Outcome, expected: &Expected) -> bool {
    match (outcome, expected) {
        (Err(Refused::Fault(error)), Expected::Fault(wanted)) => error == wanted,
        (Err(Refused::Bad(bad)), Expected::Kill(wanted)) => Kill::from(*bad) == *wanted,
        (
            Ok(Translation { mapping, path }),
            Expected::Mapped {
                frame,
                leaf,
                rights,
            },
        ) => mapping.frame.raw() == *frame && mapping.leaf == *leaf && path.rights == *rights,
        _ => false,
    }
}

fn check(entries: [u64; LEVELS]) {
    for access in ACCESSES {
        let outcome = outcome(&entries, access);
        let expected = oracle(&entries, FRAMES, access);
        assert!(
            agrees(&outcome, &expected),
            "{entries:x?} {access:?}: {outcome:x?}, not {expected:x?}"
        );
        if let Ok(Translation { mapping, path }) = outcome {
            check_shadow(
                mapping.shadow(Hpa::new(0x7000)),
                path.rights,
                mapping.leaf,
                access,
            );
        }
    }
}

/// What reaches the processor: nothing but these flags ever, and writable only what is dirty in
/// the guest's own entry (LG-082, LG-104).
fn check_shadow(shadow: u64, upper: u64, leaf: u64, access: Access) {
    let allowed = bits::P | bits::RW | bits::US | bits::A | bits::D | bits::NX;
    assert_eq!(shadow & !allowed, 0x7000);
    assert_eq!(shadow & bits::NX, leaf & bits::NX);
    assert_eq!(shadow & (bits::RW | bits::US) & !leaf, 0);
    assert!(leaf & bits::D != 0 || shadow & bits::RW == 0);
    if access.kind == AccessKind::Write {
        assert_ne!(
            shadow & upper & bits::RW,
            0,
            "the write that was allowed goes on"
        );
    }
}

/// The entry that leads on from `level`, with these flags.
fn entry(level: usize, flags: u64) -> u64 {
    (level as u64 + 1) << 12 | flags
}

/// Entries of `level` that grant and withhold each right, and an absent one.
fn rights(level: usize) -> Vec<u64> {
    let flags = if level == 0 && LEVELS == 3 {
        vec![0, 1]
    } else {
        vec![0, 1, 3, 5, 7]
    };
    flags.into_iter().map(|flags| entry(level, flags)).collect()
}

/// Every combination of an entry of each level's `choices`.
fn product(choices: &[Vec<u64>; LEVELS], mut each: impl FnMut([u64; LEVELS])) {
    let count: usize = choices.iter().map(Vec::len).product();
    for mut number in 0..count {
        each(std::array::from_fn(|level| {
            let entries = &choices[level];
            let entry = entries[number % entries.len()];
            number /= entries.len();
            entry
        }));
    }
}

#[test]
fn a16_a19_every_flag_of_a_level_with_the_rights_of_all_others() {
    for level in 0..LEVELS {
        let mut choices = std::array::from_fn(rights);
        choices[level] = (0..0x1000).map(|flags| entry(level, flags)).collect();
        product(&choices, check);
    }
}

/// 2^24 pairs of entries for each access.
#[test]
fn a16_a19_every_flag_of_a_leaf_with_every_flag_of_the_level_above() {
    let mut entries = std::array::from_fn(|level| entry(level, 1));
    for upper in 0..0x1000 {
        entries[LEVELS - 2] = entry(LEVELS - 2, upper);
        for leaf in 0..0x1000 {
            entries[LEVELS - 1] = entry(LEVELS - 1, leaf);
            for access in ACCESSES {
                let outcome = outcome(&entries, access);
                let expected = oracle(&entries, FRAMES, access);
                assert!(agrees(&outcome, &expected), "{entries:x?} {access:?}");
            }
        }
    }
}

/// Frames inside, at and past the end of RAM, and whatever bits the format has above them.
#[test]
fn a16_every_frame_and_high_bit_that_matters() {
    product(&std::array::from_fn(|_| special_entries()), check);
}

#[test]
fn a16_a19_every_flag_of_a_level_with_every_frame_that_matters() {
    for level in 0..LEVELS {
        for frame in special_entries().into_iter().map(|entry| entry & !0xfff) {
            let mut entries =
                std::array::from_fn(|level| entry(level, if level == 0 { 1 } else { 7 }));
            for flags in 0..0x1000 {
                entries[level] = frame | flags;
                check(entries);
            }
        }
    }
}

/// The walker finds what `propagate` maps, with the same rights, and nothing else.
#[test]
fn a16_a24_the_walker_agrees() {
    let machine = Machine::<G>::new(FRAMES as usize, 8, 1);
    let mut found = 0;
    product(&std::array::from_fn(|_| special_entries()), |entries| {
        for (table, entry) in (0..).zip(entries) {
            machine.tables().set(table, 0, entry);
        }
        let truth = walker::walk::<G>(&machine.ram, Gpa::new(0), Gva::new(0));
        for access in ACCESSES {
            let memory = |at: Gpa| Ok(machine.tables().at(at.raw()));
            let ram = machine.ram.frames();
            let outcome = propagate::<G>(Gpa::new(0), Gva::new(0), memory, access, ram, ram);
            let expected = machine.truth(0, 0, access);
            match outcome {
                Ok(Translation { mapping, .. }) => {
                    assert_eq!(Some(mapping.frame), truth.map(|truth| truth.frame));
                    assert!(expected.is_ok(), "{entries:x?} {access:?}");
                    found += 1;
                }
                Err(Refused::Device(frame)) => panic!("no device has {frame:?}"),
                Err(Refused::Unreadable(bad)) => panic!("{bad:?}"),
                Err(Refused::Fault(error)) => assert_eq!(expected, Err(error), "{entries:x?}"),
                Err(Refused::Bad(_)) => assert_eq!(truth, None, "{entries:x?}"),
            }
        }
    });
    assert!(found > 100, "{found}");
}

/// 7.2, step 6: rights are decided as for RAM, but a device's frame is never mapped.
#[test]
fn frames_of_devices_are_told_from_ram_and_never_mapped() {
    let (ram, limit) = (Gfn::new(FRAMES - 1), Gfn::new(FRAMES));
    let mut found = 0;
    product(&std::array::from_fn(|_| special_entries()), |entries| {
        for access in ACCESSES {
            let mut next = entries.iter();
            let read = |_| Ok(*next.next().expect("a read for each level"));
            let outcome = propagate::<G>(Gpa::new(0), Gva::new(0), read, access, ram, limit);
            match (outcome, oracle(&entries, FRAMES, access)) {
                (Err(Refused::Device(frame)), Expected::Mapped { frame: wanted, .. }) => {
                    assert_eq!((frame.raw(), frame >= ram), (wanted, true));
                    found += 1;
                }
                (Ok(Translation { mapping, .. }), _) => assert!(mapping.frame < ram),
                // A table in a device's frame is no table.
                (Err(Refused::Bad(_)), _) => {}
                (outcome, expected) => assert!(agrees(&outcome, &expected), "{entries:x?}"),
            }
        }
    });
    assert!(found > 10, "{found}");
}
