//! Boot page, command line and initrd.

use super::*;
use crate::address::{Gfn, Hpa};
use crate::memory::BadAddress;

#[test]
fn lg005_to_lg008_the_boot_page_of_an_elf_kernel() {
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

#[test]
fn lg009_lg010_an_initrd_ends_at_the_top_of_ram() {
    let memory = memory();
    let kernel = small_elf();
    let initrd = vec![0x5a; 4097];
    load(
        &memory,
        &Boot {
            kernel: &kernel,
            initrd: &initrd,
            command_line: b"",
            ..Boot::default()
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
        fn frames(&self) -> Gfn {
            Gfn::new(0xc_0000)
        }
        fn read(&self, at: Gpa, into: &mut [u8]) -> Result<(), BadAddress> {
            self.0.read(at, into)
        }
        fn write(&self, at: Gpa, from: &[u8]) -> Result<(), BadAddress> {
            if at.raw() < 4 * MIB as u64 {
                self.0.write(at, from)
            } else {
                Ok(())
            }
        }
        fn read_u32(&self, at: Gpa) -> Result<u32, BadAddress> {
            self.0.read_u32(at)
        }
        fn write_u32(&self, at: Gpa, value: u32) -> Result<(), BadAddress> {
            self.0.write_u32(at, value)
        }
        fn compare_exchange_u32(
            &self,
            at: Gpa,
            current: u32,
            new: u32,
        ) -> Result<bool, BadAddress> {
            self.0.compare_exchange_u32(at, current, new)
        }
        fn read_u64(&self, at: Gpa) -> Result<u64, BadAddress> {
            self.0.read_u64(at)
        }
        fn compare_exchange_u64(
            &self,
            at: Gpa,
            current: u64,
            new: u64,
        ) -> Result<bool, BadAddress> {
            self.0.compare_exchange_u64(at, current, new)
        }
        fn host_frame(&self, gfn: Gfn) -> Option<Hpa> {
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
            ..Boot::default()
        },
    )
    .unwrap();
    assert_eq!(vast.0.u32_at(0x218), 0x7fff_f000);
}

///
#[test]
fn a37_an_initrd_that_does_not_fit_is_refused_with_both_numbers() {
    let kernel = small_elf();
    let room = 4 * MIB - 0x10_1000;
    for size in [room + 1, 8 * MIB] {
        let initrd = vec![0; size];
        let boot = Boot {
            kernel: &kernel,
            initrd: &initrd,
            command_line: b"",
            ..Boot::default()
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
                command_line: b"",
                ..Boot::default()
            }
        )
        .is_ok()
    );
}

///
#[test]
fn a37_the_command_line_has_2047_bytes_at_most() {
    let kernel = small_elf();
    for (length, fits) in [(0, true), (2047, true), (2048, false), (65536, false)] {
        let line = vec![b'a'; length];
        let boot = Boot {
            kernel: &kernel,
            initrd: b"",
            command_line: &line,
            ..Boot::default()
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
