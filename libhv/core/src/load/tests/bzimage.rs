//! bzImage kernels.

use super::*;

#[test]
fn lg012_the_payload_of_a_bzimage_goes_to_1_mib() {
    let mut file = bzimage(b"decompressor");
    put(&mut file, 0x214, &0x10_0004_u32.to_le_bytes());
    let memory = memory();
    assert_eq!(load_kernel(&memory, &file), Ok(Gpa::new(0x10_0004)));
    assert_eq!(memory.bytes_at(0x10_0000, 13), b"decompressor\0");
}

/// A1, A2, LG-006
#[test]
fn lg006_a_bzimage_finds_its_own_header_in_the_boot_page() {
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
fn a37_a_bzimage_states_the_memory_it_needs() {
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

#[test]
fn kernels_of_64_bits_are_known_by_their_flag_or_their_entry_code() {
    let with_flags = |version: u16, flags: u16| {
        let mut file = bzimage(b"payload");
        put(&mut file, 0x206, &version.to_le_bytes());
        put(&mut file, 0x236, &flags.to_le_bytes());
        load_kernel(&memory(), &file)
    };
    let refused = Err(LoadError::SixtyFourBitLinux);
    assert_eq!(with_flags(0x20c, 1), refused);
    assert_eq!(with_flags(0x20f, 0x7f), refused);
    assert!(with_flags(0x20c, 0xfffe).is_ok());
    assert!(with_flags(0x20b, 1).is_ok(), "the field did not exist");

    let read_efer = b"\xb9\x80\0\0\xc0\x0f\x32";
    for (at, is_64_bit) in [(0, true), (0x200 - 7, true), (0x200 - 6, false)] {
        let mut payload = [0; 0x300];
        put(&mut payload, at, read_efer);
        let outcome = load_kernel(&memory(), &bzimage(&payload));
        assert_eq!(outcome == refused, is_64_bit, "{at:#x}");
    }
}

///
#[test]
fn every_header_word_of_a_bzimage_at_its_extremes_is_harmless() {
    for at in (0x1f0..0x262).step_by(2) {
        for value in [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
            let mut file = bzimage(&[0; 64]);
            put(&mut file, at, &value.to_le_bytes());
            let memory = memory();
            if let Ok(entry) = load_kernel(&memory, &file) {
                assert!(memory.contains(entry, 1), "{at:#x} {value:#x}");
            }
            assert_eq!(memory.refused(), 0, "{at:#x} {value:#x}");
        }
    }
}

///
#[test]
fn a37_every_header_field_of_a_bzimage_at_its_extremes_is_harmless() {
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

///
#[test]
fn a37_truncation_at_any_length_is_named() {
    let file = bzimage(&[1; 64]);
    let memory = memory();
    // The last paragraph may be cut short.
    for length in 0x206..file.len() - 15 {
        let error = load_kernel(&memory, &file[..length]).unwrap_err();
        assert!(
            matches!(error, LoadError::Truncated { .. }),
            "{length}: {error}"
        );
    }
}
