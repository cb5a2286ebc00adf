//! Linux bzImage kernels (Linux boot protocol, Documentation/x86/boot): setup code that only a
//! BIOS loader runs, then protected-mode code that unpacks the kernel by itself.

use super::{LoadError, Part, Placed, ram_size, u16_at, u32_at, u64_at};
use crate::address::Gpa;
use crate::memory::GuestMemory;
use hv_abi::lguest::boot;

/// Where the protected-mode code of a bzImage goes.
const PAYLOAD: Gpa = Gpa::new(0x10_0000);
const MAGIC: &[u8] = b"HdrS";
const SECTOR: u64 = 512;
/// What 0 sectors of setup code mean, for the sake of very old kernels.
const DEFAULT_SETUP_SECTORS: u8 = 4;
/// Unit of `syssize`. Kernels round the size up without always padding the file.
const PARAGRAPH: u64 = 16;
/// First version of the protocol with `pref_address` and `init_size`.
const VERSION_WITH_INIT_SIZE: u16 = 0x20a;
/// First version with `xloadflags`, and the flag of it that all 64-bit kernels have and no other:
/// XLF_KERNEL_64, a 64-bit entry point at 0x200.
const VERSION_WITH_FLAGS: u16 = 0x20c;
const KERNEL_64: u16 = 1;
/// `mov $0xc0000080, %ecx; rdmsr`. 64-bit kernels of all versions read EFER on the way from their 32-bit entry to
/// the 64-bit one at 0x200; 32-bit kernels have nothing to do with that register so early.
const READ_EFER: [u8; 7] = [0xb9, 0x80, 0, 0, 0xc0, 0x0f, 0x32];
const LONG_MODE_ENTRY: usize = 0x200;

/// File offsets of header fields.
mod field {
    pub const SETUP_SECTS: usize = 0x1f1;
    pub const SYSSIZE: usize = 0x1f4;
    /// Second byte of a short jump over the header: where the header ends, relative to 0x202.
    pub const JUMP: usize = 0x201;
    pub const MAGIC: usize = 0x202;
    pub const VERSION: usize = 0x206;
    pub const CODE32_START: usize = 0x214;
    pub const RELOCATABLE_KERNEL: usize = 0x234;
    pub const XLOADFLAGS: usize = 0x236;
    pub const PREF_ADDRESS: usize = 0x258;
    pub const INIT_SIZE: usize = 0x260;
}

/// Whether `image` has a Linux setup header.
pub(super) fn is_bzimage(image: &[u8]) -> bool {
    image
        .get(field::MAGIC..)
        .is_some_and(|rest| rest.starts_with(MAGIC))
}

/// Copies the protected-mode code to 1 MiB.
pub(super) fn place<'a>(
    memory: &impl GuestMemory,
    image: &'a [u8],
) -> Result<Placed<'a>, LoadError> {
    let (setup, payload) = split(image)?;
    if is_64_bit(setup, payload) {
        return Err(LoadError::SixtyFourBitLinux);
    }
    let payload_end = PAYLOAD.wrapping_add(payload.len() as u64).raw();
    let end = unpacked_end(setup).max(payload_end);
    let ram = ram_size(memory);
    if end > ram {
        return Err(LoadError::KernelDoesNotFit { needed: end, ram });
    }
    memory.write(PAYLOAD, payload)?;
    let entry = u32_at(setup, field::CODE32_START).unwrap_or_default();
    Ok(Placed {
        entry: Gpa::from(entry),
        end,
        setup_header: setup_header(setup),
    })
}

/// Setup code and protected-mode code. The first is at least 1024 bytes long.
fn split(image: &[u8]) -> Result<(&[u8], &[u8]), LoadError> {
    let size = image.len() as u64;
    let sectors = match image.get(field::SETUP_SECTS) {
        None | Some(0) => DEFAULT_SETUP_SECTORS,
        Some(&sectors) => sectors,
    };
    let setup_size = u64::from(sectors).saturating_add(1).saturating_mul(SECTOR);
    let truncated = |part, needed| LoadError::Truncated { part, needed, size };
    let (setup, payload) = usize::try_from(setup_size)
        .ok()
        .and_then(|at| image.split_at_checked(at))
        .ok_or(truncated(Part::Setup, setup_size))?;
    let paragraphs = u64::from(u32_at(setup, field::SYSSIZE).unwrap_or_default());
    let least = paragraphs
        .saturating_sub(1)
        .saturating_mul(PARAGRAPH)
        .saturating_add(1);
    if (payload.len() as u64) < least {
        return Err(truncated(Part::Payload, setup_size.saturating_add(least)));
    }
    Ok((setup, payload))
}

/// Whether the kernel is one for 64-bit processors.
fn is_64_bit(setup: &[u8], payload: &[u8]) -> bool {
    let version = u16_at(setup, field::VERSION).unwrap_or_default();
    let flags = u16_at(setup, field::XLOADFLAGS).unwrap_or_default();
    let entry = payload.get(..LONG_MODE_ENTRY).unwrap_or(payload);
    (version >= VERSION_WITH_FLAGS && flags & KERNEL_64 != 0)
        || entry.windows(READ_EFER.len()).any(|code| code == READ_EFER)
}

/// First byte past the memory that the kernel unpacks itself into, by its own account; 0 when its
/// header is too old to say.
fn unpacked_end(setup: &[u8]) -> u64 {
    if u16_at(setup, field::VERSION).unwrap_or_default() < VERSION_WITH_INIT_SIZE {
        return 0;
    }
    let preferred = u64_at(setup, field::PREF_ADDRESS).unwrap_or_default();
    let relocatable = setup
        .get(field::RELOCATABLE_KERNEL)
        .is_some_and(|flag| *flag != 0);
    // A relocatable kernel rounds the address it was loaded at, 1 MiB, up to the alignment that
    // the boot page gives.
    let start = if relocatable {
        preferred.max(boot::KERNEL_ALIGNMENT_VALUE.into())
    } else {
        preferred
    };
    let size = u32_at(setup, field::INIT_SIZE).unwrap_or_default();
    start.saturating_add(size.into())
}

/// The header proper: what the kernel's decompressor wants to find again in the boot page.
fn setup_header(setup: &[u8]) -> &[u8] {
    let length = setup.get(field::JUMP).copied().unwrap_or_default();
    let end = field::MAGIC.saturating_add(length.into());
    setup.get(field::SETUP_SECTS..end).unwrap_or_default()
}
