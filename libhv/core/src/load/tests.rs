//! Loading, and A-37: what is wrong with an image is said before anything runs.

use super::*;
use crate::device::fake_memory::FakeMemory;
use crate::memory::GuestMemory;
use proptest::prelude::*;

const MIB: usize = 1 << 20;

fn memory() -> FakeMemory {
    FakeMemory::with_bytes(4 * MIB)
}

/// A program header: type, offset, virtual and physical address, size in file and memory, rest.
type ProgramHeader = [u32; 8];

fn load_header(offset: u32, at: u32, file: u32, memory: u32) -> ProgramHeader {
    [
        1,
        offset,
        0xc000_0000_u32.wrapping_add(at),
        at,
        file,
        memory,
        7,
        4096,
    ]
}

/// An ELF file for the 80386 with these program headers behind the file header.
fn elf(entry: u32, headers: &[ProgramHeader], contents: &[u8]) -> Vec<u8> {
    let mut file = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let half = |file: &mut Vec<u8>, value: u16| file.extend(value.to_le_bytes());
    half(&mut file, 2);
    half(&mut file, 3);
    for word in [1, entry, 52, 0, 0_u32] {
        file.extend(word.to_le_bytes());
    }
    for value in [52, 32, headers.len() as u16, 0, 0, 0] {
        half(&mut file, value);
    }
    file.extend(headers.iter().flatten().flat_map(|word| word.to_le_bytes()));
    file.extend(contents);
    file
}

/// One segment of five bytes at 1 MiB, with BSS.
fn small_elf() -> Vec<u8> {
    elf(
        0x10_0000,
        &[load_header(84, 0x10_0000, 5, 0x1000)],
        b"codes",
    )
}

/// A bzImage of one setup sector whose header reaches up to 0x264.
fn bzimage(payload: &[u8]) -> Vec<u8> {
    let mut file = vec![0xee; 1024];
    file[0x1f1..0x264].fill(0);
    put(&mut file, 0x1f1, &[1]);
    put(&mut file, 0x1f2, &1_u16.to_le_bytes());
    put(
        &mut file,
        0x1f4,
        &(payload.len() as u32).div_ceil(16).to_le_bytes(),
    );
    put(&mut file, 0x201, &[0x62]);
    put(&mut file, 0x202, b"HdrS");
    put(&mut file, 0x206, &0x20c_u16.to_le_bytes());
    put(&mut file, 0x211, &[1]);
    put(&mut file, 0x214, &0x10_0000_u32.to_le_bytes());
    put(&mut file, 0x258, &0x20_0000_u64.to_le_bytes());
    put(&mut file, 0x260, &0x10_0000_u32.to_le_bytes());
    file.extend(payload);
    file
}

fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

fn load_kernel(memory: &FakeMemory, kernel: &[u8]) -> Result<Gpa, LoadError> {
    load(
        memory,
        &Boot {
            kernel,
            ..Boot::default()
        },
    )
}

/// The error of a kernel, after its text has been seen to be one line.
fn refusal(kernel: &[u8]) -> LoadError {
    let error = load_kernel(&memory(), kernel).unwrap_err();
    let line = error.to_string();
    assert!(!line.is_empty() && !line.contains('\n'));
    error
}

/// LG-011; the file size only: what follows is zeroed RAM.
#[test]
fn segments_of_an_elf_file_go_to_their_physical_addresses() {
    let headers = [
        load_header(148, 0x10_0000, 4, 0x2000),
        [4, 0, 0, 0, 1 << 30, 1 << 30, 0, 0], // PT_NOTE: not looked at
        load_header(152, 0x30_0000, 3, 3),
    ];
    let memory = memory();
    let entry = load_kernel(&memory, &elf(0x10_0002, &headers, b"textdat")).unwrap();
    assert_eq!(entry, Gpa::new(0x10_0002));
    assert_eq!(memory.bytes_at(0x10_0000, 5), b"text\0");
    assert_eq!(memory.bytes_at(0x30_0000, 4), b"dat\0");
}

#[test]
fn a_segment_may_end_at_the_last_byte_of_ram() {
    let last = (4 * MIB - 5) as u32;
    let memory = memory();
    let file = elf(last, &[load_header(84, last, 5, 5)], b"codes");
    assert_eq!(load_kernel(&memory, &file), Ok(Gpa::from(last)));
}

/// LG-005 to LG-008
#[test]
fn the_boot_page_of_an_elf_kernel() {
    let memory = memory();
    let kernel = small_elf();
    let boot = Boot {
        kernel: &kernel,
        command_line: b"console=hvc0",
        ..Boot::default()
    };
    load(&memory, &boot).unwrap();
    assert_eq!(memory.u32_at(0x23c), 1, "LG-005");
    assert_eq!(memory.u16_at(0x206), 0x207, "LG-006");
    assert_eq!(memory.bytes_at(0x211, 1), [0x40], "LG-006");
    assert_eq!(memory.bytes_at(0x1e8, 1), [1], "LG-007");
    let mut e820 = [0; 20];
    e820[8..16].copy_from_slice(&(4 * MIB as u64).to_le_bytes());
    e820[16] = 1;
    assert_eq!(memory.bytes_at(0x2d0, 20), e820, "LG-007");
    assert_eq!(memory.u32_at(0x228), 0x1000, "LG-008");
    assert_eq!(memory.bytes_at(0x1000, 14), b"console=hvc0\0\0", "LG-008");
    assert_eq!(memory.u32_at(0x230), 0x100_0000);
    assert_eq!(memory.bytes_at(0x210, 1), [0], "no initrd, no loader type");
    assert_eq!([memory.u32_at(0x218), memory.u32_at(0x21c)], [0, 0]);
}

/// LG-009, LG-010
#[test]
fn an_initrd_ends_at_the_top_of_ram() {
    let memory = memory();
    let kernel = small_elf();
    let initrd = vec![0x5a; 4097];
    load(
        &memory,
        &Boot {
            kernel: &kernel,
            initrd: &initrd,
            command_line: b"",
        },
    )
    .unwrap();
    let at = (4 * MIB - 8192) as u32;
    assert_eq!([memory.u32_at(0x218), memory.u32_at(0x21c)], [at, 8192]);
    assert_eq!(memory.bytes_at(at.into(), 4097), initrd);
    assert_eq!(memory.bytes_at(u64::from(at) + 4097, 4095), [0; 4095]);
    assert_eq!(memory.bytes_at(0x210, 1), [0xff]);
}

/// A7: 32-bit kernels refuse an initrd past 0x7fff_ffff.
#[test]
fn an_initrd_stays_below_2_gib() {
    /// RAM so large that only what was written is kept.
    struct Vast(FakeMemory);
    impl GuestMemory for Vast {
        fn frames(&self) -> crate::address::Gfn {
            crate::address::Gfn::new(0xc_0000)
        }
        fn read(&self, at: Gpa, into: &mut [u8]) -> Result<(), crate::memory::BadAddress> {
            self.0.read(at, into)
        }
        fn write(&self, at: Gpa, from: &[u8]) -> Result<(), crate::memory::BadAddress> {
            if at.raw() < 4 * MIB as u64 {
                self.0.write(at, from)
            } else {
                Ok(())
            }
        }
        fn read_u32(&self, at: Gpa) -> Result<u32, crate::memory::BadAddress> {
            self.0.read_u32(at)
        }
        fn write_u32(&self, at: Gpa, value: u32) -> Result<(), crate::memory::BadAddress> {
            self.0.write_u32(at, value)
        }
        fn compare_exchange_u32(
            &self,
            at: Gpa,
            current: u32,
            new: u32,
        ) -> Result<bool, crate::memory::BadAddress> {
            self.0.compare_exchange_u32(at, current, new)
        }
        fn host_frame(&self, gfn: crate::address::Gfn) -> Option<crate::address::Hpa> {
            self.0.host_frame(gfn)
        }
    }
    let vast = Vast(memory());
    let kernel = small_elf();
    load(
        &vast,
        &Boot {
            kernel: &kernel,
            initrd: b"x",
            command_line: b"",
        },
    )
    .unwrap();
    assert_eq!(vast.0.u32_at(0x218), 0x7fff_f000);
}

///
#[test]
fn an_initrd_that_does_not_fit_is_refused_with_both_numbers() {
    let kernel = small_elf();
    let room = 4 * MIB - 0x10_1000;
    for size in [room + 1, 8 * MIB] {
        let initrd = vec![0; size];
        let boot = Boot {
            kernel: &kernel,
            initrd: &initrd,
            command_line: b"",
        };
        let rounded = size.next_multiple_of(4096) as u64;
        let refused = LoadError::InitrdDoesNotFit {
            size: rounded,
            room: room as u64,
        };
        assert_eq!(load(&memory(), &boot), Err(refused));
    }
    let initrd = vec![0; room];
    assert!(
        load(
            &memory(),
            &Boot {
                kernel: &kernel,
                initrd: &initrd,
                command_line: b""
            }
        )
        .is_ok()
    );
}

///
#[test]
fn the_command_line_has_2047_bytes_at_most() {
    let kernel = small_elf();
    for (length, fits) in [(0, true), (2047, true), (2048, false), (65536, false)] {
        let line = vec![b'a'; length];
        let boot = Boot {
            kernel: &kernel,
            initrd: b"",
            command_line: &line,
        };
        let memory = memory();
        let outcome = load(&memory, &boot).map(|_| ());
        let expected = if fits {
            Ok(())
        } else {
            Err(LoadError::CommandLineTooLong(length))
        };
        assert_eq!(outcome, expected);
        if fits {
            assert_eq!(memory.bytes_at(0x1000 + length as u64, 1), [0]);
        }
    }
    let line = LoadError::CommandLineTooLong(2048).to_string();
    assert_eq!(line, "guest command line: 2048 bytes; the limit is 2047");
}

///
#[test]
fn what_is_not_a_32_bit_x86_executable_is_refused() {
    let with = |at: usize, bytes: &[u8]| {
        let mut file = small_elf();
        put(&mut file, at, bytes);
        refusal(&file)
    };
    assert_eq!(refusal(b""), LoadError::NoKernel);
    assert_eq!(refusal(b"#!/bin/sh"), LoadError::NotAKernel);
    assert_eq!(with(4, &[2]), LoadError::SixtyFourBit);
    assert_eq!(with(4, &[9]), LoadError::BadElfIdentification);
    assert_eq!(with(5, &[2]), LoadError::BadElfIdentification);
    assert_eq!(with(16, &[3]), LoadError::NotExecutable(3));
    assert_eq!(with(18, &[0x28]), LoadError::OtherMachine(0x28));
    assert_eq!(with(42, &[56]), LoadError::ProgramHeaderSize(56));
    for count in [0_u16, 2049, 0xffff] {
        assert_eq!(
            with(44, &count.to_le_bytes()),
            LoadError::ProgramHeaderCount(count)
        );
    }
    assert_eq!(with(52, &[0]), LoadError::NoLoadableSegment);
}

///
#[test]
fn segments_that_cannot_be_placed_are_refused() {
    let one = |header: ProgramHeader| refusal(&elf(0x10_0000, &[header], b"codes"));
    let at = Gpa::from(0xffff_f000);
    assert_eq!(
        one(load_header(84, 0xffff_f000, 5, 0x1001)),
        LoadError::SegmentWraps {
            index: 0,
            at,
            size: 0x1001
        }
    );
    assert_eq!(
        one(load_header(84, 0x3f_fffc, 4, 5)),
        LoadError::SegmentOutsideRam {
            index: 0,
            end: Gpa::from(0x40_0001),
            ram: 4 * MIB as u64
        }
    );
    assert_eq!(
        one(load_header(84, 0x17ff, 5, 5)),
        LoadError::SegmentInBootPages {
            index: 0,
            at: Gpa::from(0x17ff),
            limit: Gpa::from(0x1800),
        }
    );
    assert_eq!(
        one(load_header(84, 0x10_0000, 5, 4)),
        LoadError::SegmentLargerThanMemory {
            index: 0,
            file: 5,
            memory: 4
        }
    );
    for (offset, needed) in [(85, 90), (u32::MAX, u64::from(u32::MAX) + 5)] {
        let part = Part::Segment(0);
        assert_eq!(
            one(load_header(offset, 0x10_0000, 5, 5)),
            LoadError::Truncated {
                part,
                needed,
                size: 89
            }
        );
    }
    let two = |first, second| elf(0x10_0000, &[first, second], b"codes");
    assert_eq!(
        refusal(&two(
            load_header(116, 0x10_0000, 5, 0x1001),
            load_header(116, 0x10_1000, 5, 5)
        )),
        LoadError::SegmentsOverlap {
            first: 0,
            second: 1
        }
    );
    let touching = two(
        load_header(116, 0x10_0000, 5, 0x1000),
        load_header(116, 0x10_1000, 5, 5),
    );
    assert!(load_kernel(&memory(), &touching).is_ok());
}

///
#[test]
fn an_entry_point_outside_ram_is_refused() {
    for entry in [4 * MIB as u32, u32::MAX] {
        let file = elf(entry, &[load_header(84, 0x10_0000, 5, 5)], b"codes");
        let ram = 4 * MIB as u64;
        assert_eq!(
            refusal(&file),
            LoadError::EntryOutsideRam {
                entry: Gpa::from(entry),
                ram
            }
        );
    }
}

#[test]
fn as_many_program_headers_as_the_limit_load_in_reasonable_time() {
    let headers: Vec<_> = (0..2048)
        .map(|index| load_header(52, 0x10_0000 + index * 16, 16, 16))
        .collect();
    assert!(load_kernel(&memory(), &elf(0x10_0000, &headers, b"")).is_ok());
}

///
#[test]
fn truncation_at_any_length_is_named() {
    let file = small_elf();
    for length in 0..file.len() {
        let error = refusal(&file[..length]);
        match length {
            0 => assert_eq!(error, LoadError::NoKernel),
            1..4 => assert_eq!(error, LoadError::NotAKernel),
            _ => assert!(
                matches!(error, LoadError::Truncated { .. }),
                "{length}: {error}"
            ),
        }
    }
    let file = bzimage(&[1; 64]);
    let memory = FakeMemory::with_bytes(32 * MIB);
    // The last paragraph may be cut short.
    for length in 0x206..file.len() - 15 {
        let error = load_kernel(&memory, &file[..length]).unwrap_err();
        assert!(
            matches!(error, LoadError::Truncated { .. }),
            "{length}: {error}"
        );
    }
}

/// LG-012
#[test]
fn the_payload_of_a_bzimage_goes_to_1_mib() {
    let mut file = bzimage(b"decompressor");
    put(&mut file, 0x214, &0x10_0004_u32.to_le_bytes());
    let memory = memory();
    assert_eq!(load_kernel(&memory, &file), Ok(Gpa::new(0x10_0004)));
    assert_eq!(memory.bytes_at(0x10_0000, 13), b"decompressor\0");
}

/// A1, A2, LG-006
#[test]
fn a_bzimage_finds_its_own_header_in_the_boot_page() {
    let memory = memory();
    load_kernel(&memory, &bzimage(b"payload")).unwrap();
    assert_eq!(
        memory.bytes_at(0, 0x1e8),
        [0; 0x1e8],
        "nothing below the header"
    );
    assert_eq!(memory.bytes_at(0x1e9, 8), [0; 8], "the sentinel above all");
    assert_eq!(memory.u16_at(0x1f2), 0, "root_flags");
    assert_eq!(memory.bytes_at(0x202, 4), b"HdrS");
    assert_eq!(
        memory.u16_at(0x206),
        0x20c,
        "the file's version is new enough"
    );
    assert_eq!(memory.bytes_at(0x211, 1), [0x41], "the file's flags stay");
    assert_eq!(memory.u32_at(0x260), 0x10_0000, "init_size");
    assert_eq!(memory.bytes_at(0x264, 4), [0; 4], "nothing past the header");
    assert_eq!(memory.u32_at(0x23c), 1);

    let mut old = bzimage(b"payload");
    put(&mut old, 0x206, &0x204_u16.to_le_bytes());
    load_kernel(&memory, &old).unwrap();
    assert_eq!(memory.u16_at(0x206), 0x207);
}

/// A3, A-37: a kernel that would unpack itself past RAM is refused before it does.
#[test]
fn a_bzimage_states_the_memory_it_needs() {
    let with = |fields: &[(usize, u64)]| {
        let mut file = bzimage(b"payload");
        for (at, value) in fields {
            let length = if *at == 0x258 { 8 } else { 4 };
            put(&mut file, *at, &value.to_le_bytes()[..length]);
        }
        load_kernel(&memory(), &file)
    };
    let ram = 4 * MIB as u64;
    let refused = |needed| Err(LoadError::KernelDoesNotFit { needed, ram });
    assert!(with(&[(0x260, 0x20_0000)]).is_ok());
    assert_eq!(with(&[(0x260, 0x20_0001)]), refused(0x40_0001));
    assert_eq!(with(&[(0x258, u64::MAX)]), refused(u64::MAX));
    // Relocatable: from 16 MiB on.
    assert_eq!(with(&[(0x234, 1)]), refused(0x110_0000));
    let payload = vec![0; 3 * MIB + 1];
    assert_eq!(
        load_kernel(&memory(), &bzimage(&payload)),
        refused(0x40_0001)
    );
}

///
#[test]
fn every_header_field_of_a_bzimage_at_its_extremes_is_harmless() {
    for at in 0x1f1..0x264 {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut file = bzimage(&[0; 64]);
            file[at] = value;
            let memory = memory();
            let _ = load_kernel(&memory, &file);
            assert_eq!(memory.refused(), 0);
        }
    }
}

/// An archive entry in the `newc` format.
fn cpio(mode: u32, name: &str, contents: &[u8]) -> Vec<u8> {
    let mut entry = b"070701".to_vec();
    let fields = [
        1,
        mode,
        0,
        0,
        1,
        0,
        contents.len() as u32,
        0,
        0,
        0,
        0,
        name.len() as u32 + 1,
        0,
    ];
    entry.extend(
        fields
            .iter()
            .flat_map(|field| format!("{field:08X}").into_bytes()),
    );
    entry.extend(name.as_bytes());
    entry.push(0);
    entry.resize(entry.len().next_multiple_of(4), 0);
    entry.extend(contents);
    entry.resize(entry.len().next_multiple_of(4), 0);
    entry
}

const FILE: u32 = 0o100_644;

fn guest_archive() -> Vec<u8> {
    [
        cpio(0o040_755, ".", b""),
        cpio(FILE, "./kernel", b"\x7fELF..."),
        cpio(FILE, "initrd", b"disk"),
        cpio(FILE, "cmdline", b"root=/dev/ram0\n"),
        cpio(0, "TRAILER!!!", b""),
        vec![0; 200],
    ]
    .concat()
}

#[test]
fn an_archive_holds_a_whole_guest() {
    let archive = guest_archive();
    let modules = Modules::parse(&archive).unwrap();
    assert_eq!(modules.kernel, Some(&b"\x7fELF..."[..]));
    assert_eq!(modules.initrd, Some(&b"disk"[..]));
    assert_eq!(modules.command_line, Some(&b"root=/dev/ram0"[..]));
}

#[test]
fn a_module_that_is_no_archive_is_a_kernel() {
    let modules = Modules::parse(b"\x7fELF").unwrap();
    assert_eq!(
        modules,
        Modules {
            kernel: Some(b"\x7fELF"),
            ..Modules::default()
        }
    );
}

#[test]
fn archives_with_files_that_mean_nothing_are_refused() {
    let unknown = cpio(FILE, "vmlinuz\x1b[2J", b"");
    let error = Modules::parse(&unknown).unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown file `vmlinuz?[2J`; known: kernel, initrd, cmdline"
    );
    let twice = [cpio(FILE, "kernel", b"a"), cpio(FILE, "kernel", b"b")].concat();
    let error = Modules::parse(&twice).unwrap_err();
    assert_eq!(error.to_string(), "file `kernel` is there twice");
}

#[test]
fn damaged_archives_are_refused() {
    let with = |at: usize, bytes: &[u8]| {
        let mut archive = cpio(FILE, "kernel", b"abcd");
        put(&mut archive, at, bytes);
        Modules::parse(&archive).unwrap_err()
    };
    assert_eq!(
        with(54, b"FFFFFFFF"),
        ArchiveError::Truncated { at: 0, size: 124 }
    );
    assert_eq!(
        with(94, b"FFFFFFFF"),
        ArchiveError::Truncated { at: 0, size: 124 }
    );
    assert_eq!(with(54, b"0000000g"), ArchiveError::BadNumber(0));
    assert_eq!(with(94, b"00000000"), ArchiveError::BadName(0));
    assert_eq!(with(116, b"!"), ArchiveError::BadName(0));
    let two = [
        cpio(FILE, "kernel", b"abcd"),
        b"070702".to_vec(),
        vec![b'0'; 104],
    ]
    .concat();
    assert_eq!(Modules::parse(&two), Err(ArchiveError::BadMagic(124)));
}

///
#[test]
fn an_archive_truncated_before_its_trailer_is_refused() {
    let archive = guest_archive();
    let trailer = archive
        .windows(10)
        .position(|name| name == b"TRAILER!!!")
        .unwrap();
    // Its name ends at 11; the next multiple of four is where its contents would be.
    for length in 6..trailer + 14 {
        let error = Modules::parse(&archive[..length]).unwrap_err();
        assert!(
            matches!(error, ArchiveError::Truncated { .. }),
            "{length}: {error}"
        );
    }
    assert!(Modules::parse(&archive[..trailer + 14]).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// random bytes in place of headers load or are refused; memory is never overrun.
    #[test]
    fn random_headers_load_or_are_refused(
        bzimage_like in any::<bool>(),
        changes in prop::collection::vec((0..0x270_usize, any::<u8>()), 1..12),
    ) {
        let mut file = if bzimage_like { bzimage(&[7; 64]) } else { small_elf() };
        for (at, value) in changes {
            let at = at % file.len();
            file[at] = value;
        }
        let memory = memory();
        if let Ok(entry) = load_kernel(&memory, &file) {
            prop_assert!(memory.contains(entry, 1));
        }
        prop_assert_eq!(memory.refused(), 0);
    }

    #[test]
    fn random_bytes_are_no_guest(mut bytes in prop::collection::vec(any::<u8>(), 0..600), cpio in any::<bool>()) {
        if cpio && bytes.len() >= 6 {
            bytes[..6].copy_from_slice(b"070701");
        }
        if let Ok(modules) = Modules::parse(&bytes) {
            let kernel = modules.kernel.unwrap_or_default();
            prop_assert!(load_kernel(&memory(), kernel).is_err());
        }
    }

    #[test]
    fn random_changes_to_an_archive_are_contained(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut archive = guest_archive();
        for (at, value) in changes {
            let at = at.index(archive.len());
            archive[at] = value;
        }
        if let Some(archive) = Archive::new(&archive) {
            prop_assert!(archive.count() <= 6);
        }
    }
}
