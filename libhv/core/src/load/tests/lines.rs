//! The lines that tell why an image cannot be loaded: those that no damaged image of the other tests leads to.

use super::super::archive::ArchiveError;
use super::super::error::{LoadError, Part};
use crate::address::Gpa;
use crate::memory::{Access, BadAddress};

/// Scripts match these lines.
#[test]
fn every_limit_is_named_with_what_it_is_and_what_was_wanted() {
    let lines = [
        (
            LoadError::SixtyFourBitLinux,
            "guest kernel: a 64-bit kernel (bzImage); only 32-bit ones can run",
        ),
        (
            LoadError::Truncated {
                part: Part::Setup,
                needed: 512,
                size: 100,
            },
            "guest kernel: truncated: the setup code ends at byte 512, the file has 100",
        ),
        (
            LoadError::Truncated {
                part: Part::Payload,
                needed: 512,
                size: 100,
            },
            "guest kernel: truncated: the protected-mode code ends at byte 512, the file has 100",
        ),
        (
            LoadError::KernelDoesNotFit {
                needed: 0x80_0000,
                ram: 0x40_0000,
            },
            "guest kernel: unpacking needs RAM up to 0x800000, guest RAM ends at 0x400000",
        ),
        (
            LoadError::InitrdDoesNotFit {
                size: 8192,
                room: 4096,
            },
            "initrd: 8192 bytes; between the kernel and the top of guest RAM there are 4096",
        ),
        (
            LoadError::NoEntryMarker,
            "guest kernel: no entry marker `GenuineLguest` in it; generation G1 starts there",
        ),
        (
            LoadError::BadPageOffset(0x1000),
            "page offset 0x1000: it has to be a multiple of 0x400000 from 0x40000000 to 0xff800000",
        ),
        (
            LoadError::BootTablesDoNotFit {
                size: 8192,
                room: 4096,
            },
            "boot page tables: 8192 bytes; between the kernel and the initrd there are 4096",
        ),
        (
            LoadError::from(BadAddress {
                at: Gpa::new(0x40_0000),
                length: 16,
                access: Access::Write,
            }),
            "guest RAM: no 16 bytes at 0x400000",
        ),
        (
            LoadError::from(ArchiveError::BadMagic(110)),
            "boot module: no cpio entry at byte 110",
        ),
        (
            LoadError::from(ArchiveError::BadNumber(110)),
            "boot module: damaged cpio header at byte 110",
        ),
        (
            LoadError::from(ArchiveError::BadName(110)),
            "boot module: damaged cpio file name at byte 110",
        ),
        (
            LoadError::from(ArchiveError::Truncated { at: 110, size: 200 }),
            "boot module: truncated: the cpio entry at byte 110 reaches past the end at 200",
        ),
    ];
    for (error, line) in lines {
        assert_eq!(error.to_string(), line);
    }
}
