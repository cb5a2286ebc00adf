//! Generations: what an image says, and the page tables that old ones start on.

use super::*;
use crate::generation::Choice;
use crate::load::boot_tables::Written;
use crate::paging::Paging;
use hv_abi::lguest::{Family, generations};

const LINUX_2_6_24: &[u8] = b"Linux version 2.6.24.7 (a@b)\0";

/// A small kernel with `text` in its segment.
fn kernel(text: &[u8]) -> Vec<u8> {
    let length = text.len() as u32;
    elf_file(
        0x10_0000,
        &[load_header(84, 0x10_0000, length, length)],
        text,
    )
}

fn start(memory: &FakeMemory, kernel: &[u8], generation: Choice) -> Result<Start, LoadError> {
    load(
        memory,
        &Boot {
            kernel,
            generation,
            ..Boot::default()
        },
    )
}

#[test]
fn the_image_s_version_chooses_among_what_the_user_allows() {
    let old = kernel(LINUX_2_6_24);
    let nothing = kernel(b"nothing");
    let family = Choice::Family;
    for (image, choice, expected) in [
        (&old, Choice::Detect, &generations::LINUX_2_6_24),
        (&old, family(Family::G2), &generations::LINUX_2_6_24),
        (&old, family(Family::G3), &generations::LINUX_2_6_31),
        (
            &old,
            Choice::Exactly(&generations::LINUX_3_1),
            &generations::LINUX_3_1,
        ),
        (&nothing, Choice::Detect, &generations::LINUX_4_0),
        (&nothing, family(Family::G4), &generations::LINUX_3_1),
    ] {
        let start = start(&memory(), image, choice).unwrap();
        assert_eq!(start.generation, expected);
        assert_eq!(start.choice, choice);
        assert_eq!(start.entry.raw(), 0x10_0000);
    }
}

/// 2.6: G1 starts behind its marker, at PAGE_OFFSET.
#[test]
fn a_marked_kernel_is_g1() {
    let marked = kernel(b"xxGenuineLguest!");
    let started = start(&memory(), &marked, Choice::Detect).unwrap();
    assert_eq!(started.generation, &generations::LINUX_2_6_23);
    assert_eq!(started.entry.raw(), 0xc010_000f);
    // A version that the image names itself says more.
    let both = kernel(b"GenuineLguest Linux version 4.9.0 ");
    let started = start(&memory(), &both, Choice::Detect).unwrap();
    assert_eq!(started.generation, &generations::LINUX_4_0);
    let unmarked = start(&memory(), &small_elf(), Choice::Family(Family::G1));
    assert_eq!(unmarked, Err(LoadError::NoEntryMarker));
    // A marker that is in no segment is none.
    let mut outside = small_elf();
    outside.extend(b"GenuineLguest");
    let unmarked = start(&memory(), &outside, Choice::Family(Family::G1));
    assert_eq!(unmarked, Err(LoadError::NoEntryMarker));
}

#[test]
fn page_offset_moves_the_entry_and_the_tables() {
    let memory = memory();
    let boot = Boot {
        kernel: &kernel(b"GenuineLguest!"),
        page_offset: 0x8000_0000,
        ..Boot::default()
    };
    let started = load(&memory, &boot).unwrap();
    assert_eq!(started.entry.raw(), 0x8010_000d);
    let root = started.root.unwrap().raw();
    assert_ne!(memory.u32_at(root + 4 * 0x200), 0);
    assert_eq!(memory.u32_at(root + 4 * 0x300), 0);
}

#[test]
fn a_page_offset_that_no_kernel_has_is_refused() {
    for page_offset in [0, 0x3fc0_0000, 0xc000_1000, 0xffc0_0000] {
        let boot = Boot {
            kernel: &small_elf(),
            page_offset,
            ..Boot::default()
        };
        let refused = LoadError::BadPageOffset(page_offset);
        assert_eq!(load(&memory(), &boot), Err(refused));
    }
}

/// LG-013 to LG-015: 6 MiB take two leaf tables, of which half of the second is empty.
#[test]
fn lg013_lg014_lg015_boot_tables() {
    let frames = 6 * MIB as u32 / 4096;
    for (generation, low, high) in [
        (&generations::LINUX_2_6_23, false, true),
        (&generations::LINUX_2_6_24, true, false),
        (&generations::LINUX_2_6_25, true, false),
        (&generations::LINUX_2_6_29, true, true),
        (&generations::LINUX_2_6_30, true, true),
        (&generations::LINUX_2_6_31, true, true),
        (&generations::LINUX_2_6_34, true, true),
    ] {
        let memory = FakeMemory::with_bytes(6 * MIB);
        let initrd = [1; 5000];
        let boot = Boot {
            kernel: &kernel(b"GenuineLguest!"),
            initrd: &initrd,
            generation: Choice::Exactly(generation),
            ..Boot::default()
        };
        let started = load(&memory, &boot).unwrap();
        let root = started.root.unwrap().raw();
        assert_eq!(root, (6 * MIB - 2 * 4096 - 4096) as u64);
        let leaves = root as u32 - 2 * 4096;
        for (first, wanted) in [(0, low), (0x300, high)] {
            for index in 0..3 {
                let expected = if wanted && index < 2 {
                    (leaves + index * 4096) | 7
                } else {
                    0
                };
                let entry = memory.u32_at(root + 4 * u64::from(first + index));
                assert_eq!(entry, expected, "{generation} {first} {index}");
            }
        }
        for frame in 0..2048 {
            let expected = if frame < frames { frame << 12 | 7 } else { 0 };
            let entry = memory.u32_at(u64::from(leaves + 4 * frame));
            assert_eq!(entry, expected, "{generation} {frame}");
        }
        assert_eq!(memory.refused(), 0);
    }
}

/// 2.6: with three levels there is a page directory below the leaf tables, and the root has it at 0 and at
/// PAGE_OFFSET with P alone. 7 MiB take four leaf tables, of which half of the last is empty.
#[test]
fn lg014_lg015_boot_tables_of_g3_pae() {
    for (page_offset, slot) in [(0x4000_0000, 1), (0x8000_0000, 2), (0xc000_0000, 3)] {
        let memory = FakeMemory::with_bytes(7 * MIB);
        let boot = Boot {
            kernel: &kernel(b"nothing"),
            generation: Choice::Exactly(&generations::LINUX_2_6_31),
            page_offset,
            paging: Paging::Pae,
            ..Boot::default()
        };
        let started = load(&memory, &boot).unwrap();
        let root = started.root.unwrap().raw();
        assert_eq!(root, (7 * MIB - 4096) as u64);
        let leaves = root - 4 * 4096;
        let directory = leaves - 4096;
        assert_eq!(
            u64::from(started.tables.unwrap().size()),
            root + 4096 - directory
        );
        for index in 0..512 {
            let expected = if index == 0 || index == slot {
                directory | 1
            } else {
                0
            };
            assert_eq!(memory.u64_at(root + 8 * index), expected, "pointer {index}");
            let expected = if index < 4 {
                (leaves + 4096 * index) | 7
            } else {
                0
            };
            assert_eq!(
                memory.u64_at(directory + 8 * index),
                expected,
                "directory {index}"
            );
        }
        for frame in 0..2048 {
            let expected = if frame < 7 * 256 { frame << 12 | 7 } else { 0 };
            assert_eq!(memory.u64_at(leaves + 8 * frame), expected, "leaf {frame}");
        }
        assert_eq!(memory.refused(), 0);
    }
}

/// A page directory maps 1 GiB, however much RAM there is.
#[test]
fn boot_tables_with_three_levels_stay_within_one_page_directory() {
    let plan = |ram| boot_tables::Plan::new(ram, 0x8000_0000, PAGE_OFFSET, Paging::Pae);
    assert_eq!(plan(2 << 20).size(), 3 * 4096);
    assert_eq!(plan(1 << 30).size(), 514 * 4096);
    assert_eq!(plan(3 << 30).size(), 514 * 4096);
}

/// LG-016, LG-019: linear generations find their RAM untouched.
#[test]
fn lg016_lg019_no_tables_from_3_1_on() {
    for generation in [&generations::LINUX_3_1, &generations::LINUX_4_0] {
        let memory = memory();
        let started = start(&memory, &small_elf(), Choice::Exactly(generation)).unwrap();
        assert_eq!(started.root, None);
        let top = memory.bytes_at(4 * MIB as u64 - 8192, 8192);
        assert!(top.iter().all(|&byte| byte == 0));
        // ... but could still have some, if that is what they turn out to want.
        assert_eq!(started.tables.unwrap().root().raw(), 4 * MIB as u64 - 4096);
    }
}

/// no room between kernel and initrd.
#[test]
fn a37_boot_tables_that_do_not_fit_are_refused_with_both_numbers() {
    let kernel = small_elf();
    let initrd = vec![1; 4 * MIB - 0x10_1000 - 4096];
    let boot = |generation| Boot {
        kernel: &kernel,
        initrd: &initrd,
        generation,
        ..Boot::default()
    };
    let refused = LoadError::BootTablesDoNotFit {
        size: 8192,
        room: 4096,
    };
    let g2 = Choice::Exactly(&generations::LINUX_2_6_24);
    assert_eq!(load(&memory(), &boot(g2)), Err(refused));
    let linear = load(&memory(), &boot(Choice::Detect)).unwrap();
    assert_eq!(linear.tables, None);
}

/// A guest that waits for its tables does so in short exits, and has no root before all of them are there.
#[test]
fn boot_tables_are_written_a_few_at_a_time() {
    use hv_abi::lguest::{BootTables, Entry};
    let memory = FakeMemory::with_bytes(50 * MIB);
    let top = 50 * MIB as u64 - 4096;
    let mut plan = boot_tables::Plan::new(50 << 20, 50 << 20, PAGE_OFFSET, Paging::Auto);
    let entry = Entry::Physical(BootTables::Identity);
    let leaf = |index: u64| memory.u32_at(top - 4096 * (13 - index) + 4);
    assert_eq!(plan.write_on(&memory, entry), Ok(Written::Part));
    assert_eq!([leaf(7), leaf(8)], [0x1c0_1007, 0]);
    assert_eq!(memory.u32_at(top), 0);
    let all = Written::All(Gpa::new(top));
    assert_eq!(plan.write_on(&memory, entry), Ok(all));
    assert_eq!(leaf(12), 0x300_1007);
    assert_ne!(memory.u32_at(top), 0);
    assert_eq!(memory.refused(), 0);
}

/// RAM that reaches PAGE_OFFSET, and RAM that does not fit above it.
#[test]
fn boot_tables_stay_within_their_top_level() {
    use hv_abi::lguest::{BootTables, Entry};
    struct Counted(core::cell::RefCell<std::collections::BTreeMap<u64, u32>>);
    impl GuestMemory for Counted {
        fn frames(&self) -> crate::address::Gfn {
            crate::address::Gfn::new(0xc_0000)
        }
        fn read(&self, _: Gpa, _: &mut [u8]) -> Result<(), crate::memory::BadAddress> {
            Ok(())
        }
        fn write(&self, at: Gpa, from: &[u8]) -> Result<(), crate::memory::BadAddress> {
            for (at, word) in (at.raw()..).step_by(4).zip(from.as_chunks().0) {
                self.0.borrow_mut().insert(at, u32::from_le_bytes(*word));
            }
            Ok(())
        }
        fn read_u32(&self, _: Gpa) -> Result<u32, crate::memory::BadAddress> {
            Ok(0)
        }
        fn write_u32(&self, at: Gpa, value: u32) -> Result<(), crate::memory::BadAddress> {
            self.0.borrow_mut().insert(at.raw(), value);
            Ok(())
        }
        fn compare_exchange_u32(
            &self,
            _: Gpa,
            _: u32,
            _: u32,
        ) -> Result<bool, crate::memory::BadAddress> {
            Ok(false)
        }
        fn read_u64(&self, _: Gpa) -> Result<u64, crate::memory::BadAddress> {
            Ok(0)
        }
        fn compare_exchange_u64(
            &self,
            _: Gpa,
            _: u64,
            _: u64,
        ) -> Result<bool, crate::memory::BadAddress> {
            Ok(false)
        }
        fn host_frame(&self, _: crate::address::Gfn) -> Option<crate::address::Hpa> {
            None
        }
    }
    for (page_offset, low, high) in [
        (0xc000_0000, 768, 256),
        (0x8000_0000, 512, 512),
        (0x4000_0000, 256, 768),
        (0xff80_0000, 768, 2),
    ] {
        let memory = Counted(Default::default());
        let mut plan = boot_tables::Plan::new(3 << 30, 0x8000_0000, page_offset, Paging::Auto);
        let entry = Entry::Physical(BootTables::IdentityAndPageOffset);
        let root = plan.write(&memory, entry).unwrap().unwrap().raw();
        assert_eq!(root, 0x7fff_f000);
        let mut written = memory.0.into_inner();
        written.retain(|_, entry| *entry != 0);
        let top: Vec<_> = written.range(root..root + 4096).collect();
        assert_eq!(top.len(), low + high, "{page_offset:#x}");
        assert_eq!(written.range(root + 4096..).count(), 0);
        assert_eq!(written.range(..root).count(), 768 * 1024);
        let lowest = root - 768 * 4096;
        assert_eq!(written.keys().next(), Some(&lowest));
    }
}
