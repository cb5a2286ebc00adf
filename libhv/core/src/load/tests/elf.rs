//! ELF kernels.

use super::*;

/// LG-011; the file size only: what follows is zeroed RAM.
#[test]
fn lg011_segments_of_an_elf_file_go_to_their_physical_addresses() {
    let headers = [
        load_header(148, 0x10_0000, 4, 0x2000),
        [4, 0, 0, 0, 1 << 30, 1 << 30, 0, 0], // PT_NOTE: not looked at
        load_header(152, 0x30_0000, 3, 3),
    ];
    let memory = memory();
    let entry = load_kernel(&memory, &elf_file(0x10_0002, &headers, b"textdat")).unwrap();
    assert_eq!(entry, Gpa::new(0x10_0002));
    assert_eq!(memory.bytes_at(0x10_0000, 5), b"text\0");
    assert_eq!(memory.bytes_at(0x30_0000, 4), b"dat\0");
}

#[test]
fn a_segment_may_end_at_the_last_byte_of_ram() {
    let last = (4 * MIB - 5) as u32;
    let memory = memory();
    let file = elf_file(last, &[load_header(84, last, 5, 5)], b"codes");
    assert_eq!(load_kernel(&memory, &file), Ok(Gpa::from(last)));
}

///
#[test]
fn a37_what_is_not_a_32_bit_x86_executable_is_refused() {
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

#[test]
fn linux_that_was_not_built_for_lguest_is_refused_before_it_runs() {
    let linux = b"Linux version 4.4.0 (a@b)\0Kernel panic - not syncing: %s\0";
    let kernel = |texts: &[&[u8]]| {
        let contents = [&b"codes"[..], &texts.concat()].concat();
        elf_file(0x10_0000, &[load_header(84, 0x10_0000, 5, 5)], &contents)
    };
    let error = refusal(&kernel(&[linux]));
    assert_eq!(error, LoadError::WithoutLguest);
    let line = "guest kernel: this kernel was not built with CONFIG_LGUEST_GUEST";
    assert_eq!(error.to_string(), line);
    assert!(load_kernel(&memory(), &kernel(&[linux, b"lguest\0"])).is_ok());
    assert!(load_kernel(&memory(), &kernel(&[b"Linux version 4.4.0 (a@b)"])).is_ok());
}

///
#[test]
fn a37_segments_that_cannot_be_placed_are_refused() {
    let one = |header: ProgramHeader| refusal(&elf_file(0x10_0000, &[header], b"codes"));
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
    let two = |first, second| elf_file(0x10_0000, &[first, second], b"codes");
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
fn a37_an_entry_point_outside_ram_is_refused() {
    for entry in [4 * MIB as u32, u32::MAX] {
        let file = elf_file(entry, &[load_header(84, 0x10_0000, 5, 5)], b"codes");
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
    assert!(load_kernel(&memory(), &elf_file(0x10_0000, &headers, b"")).is_ok());
}

///
#[test]
fn a37_truncation_at_any_length_is_named() {
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
}
