//! Loading, and A-37: what is wrong with an image is said before anything runs.
//!
//! Here are the images that the tests break, and the tests with random ones.

mod archive;
mod boot_page;
mod bzimage;
mod elf;
mod generations;
mod lines;

use super::*;
use crate::device::fake_memory::FakeMemory;
use proptest::prelude::*;

pub(super) const MIB: usize = 1 << 20;

pub(super) fn memory() -> FakeMemory {
    FakeMemory::with_bytes(4 * MIB)
}

/// A program header: type, offset, virtual and physical address, size in file and memory, rest.
pub(super) type ProgramHeader = [u32; 8];

pub(super) fn load_header(offset: u32, at: u32, file: u32, memory: u32) -> ProgramHeader {
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
pub(super) fn elf_file(entry: u32, headers: &[ProgramHeader], contents: &[u8]) -> Vec<u8> {
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
pub(super) fn small_elf() -> Vec<u8> {
    elf_file(
        0x10_0000,
        &[load_header(84, 0x10_0000, 5, 0x1000)],
        b"codes",
    )
}

/// A bzImage of one setup sector whose header reaches up to 0x264.
pub(super) fn bzimage(payload: &[u8]) -> Vec<u8> {
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

pub(super) fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

pub(super) fn load_kernel(memory: &FakeMemory, kernel: &[u8]) -> Result<Gpa, LoadError> {
    load(
        memory,
        &Boot {
            kernel,
            ..Boot::default()
        },
    )
    .map(|start| Gpa::from(start.entry.raw()))
}

/// The error of a kernel, after its text has been seen to be one line.
pub(super) fn refusal(kernel: &[u8]) -> LoadError {
    let error = load_kernel(&memory(), kernel).unwrap_err();
    let line = error.to_string();
    assert!(!line.is_empty() && !line.contains('\n'));
    error
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// random bytes in place of headers load or are refused; memory is never overrun.
    #[test]
    fn a37_random_headers_load_or_are_refused(
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
}
