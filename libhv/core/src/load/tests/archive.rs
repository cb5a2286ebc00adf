//! Boot modules.

use super::*;

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
        cpio(FILE, "host-cmdline", b"memory=48\n"),
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
    assert_eq!(modules.host_command_line, Some(&b"memory=48"[..]));
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
        "unknown file `vmlinuz?[2J`; known: kernel, initrd, cmdline, disk0 to disk3, host-cmdline"
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
fn a37_an_archive_truncated_before_its_trailer_is_refused() {
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
            prop_assert!(archive.count() <= 7);
        }
    }
}
