//! The boot page (`struct boot_params` of the Linux boot protocol), the command line and the initrd.

use super::{Boot, LoadError, Placed, ram_size, u16_at};
use crate::address::{Gpa, PAGE_SIZE};
use crate::memory::GuestMemory;
use hv_abi::lguest::boot;

/// First address past what this module writes at the bottom of RAM. A kernel reads 2048 bytes of
/// command line whatever its length.
pub(super) const END: Gpa =
    Gpa::new(boot::COMMAND_LINE as u64).wrapping_add(boot::COMMAND_LINE_SIZE as u64);

/// An initrd ends at this address at most: `initrd_addr_max` of 32-bit kernels is 0x7fff_ffff.
const INITRD_CEILING: u64 = 0x8000_0000;
/// `root_flags`, two bytes. Images carry 1, which would mount the root file system read-only.
const ROOT_FLAGS: u32 = 0x1f2;

/// Guest-physical place and page-rounded size of an initrd.
#[derive(Clone, Copy, Default)]
struct Initrd {
    at: u32,
    size: u32,
}

/// Memory that nothing of what was loaded lies in: from the kernel's end up to the initrd, or to the
/// end of what an initrd could have.
#[derive(Clone, Copy)]
pub(super) struct Free {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Free {
    pub(super) fn size(self) -> u32 {
        self.end.saturating_sub(self.start)
    }
}

/// Writes everything that the kernel looks for outside its own image, and says what is still free.
pub(super) fn write(
    memory: &impl GuestMemory,
    boot: &Boot<'_>,
    placed: &Placed<'_>,
) -> Result<Free, LoadError> {
    write_command_line(memory, boot.command_line)?;
    let initrd = write_initrd(memory, boot.initrd, placed.end)?;

    // The file's header first, so that ours wins where both have a say. Nothing below 0x1f1 is
    // copied: a non-zero sentinel at 0x1ef makes a kernel wipe the page.
    let header = placed.setup_header;
    memory.write(Gpa::from(boot::SETUP_HEADER), header)?;
    let version = field(header, boot::VERSION)
        .and_then(|at| u16_at(header, at))
        .unwrap_or(0);
    let flags = field(header, boot::LOADFLAGS)
        .and_then(|at| header.get(at))
        .copied()
        .unwrap_or(0);

    put(memory, boot::E820_ENTRIES, &[1])?;
    put(memory, boot::E820_MAP, &0_u64.to_le_bytes())?;
    put(
        memory,
        boot::E820_MAP.wrapping_add(8),
        &ram_size(memory).to_le_bytes(),
    )?;
    put(
        memory,
        boot::E820_MAP.wrapping_add(16),
        &boot::E820_RAM.to_le_bytes(),
    )?;
    put(memory, ROOT_FLAGS, &0_u16.to_le_bytes())?;
    put(
        memory,
        boot::VERSION,
        &version.max(boot::VERSION_VALUE).to_le_bytes(),
    )?;
    put(memory, boot::TYPE_OF_LOADER, &[loader(initrd)])?;
    put(memory, boot::LOADFLAGS, &[flags | boot::KEEP_SEGMENTS])?;
    put(memory, boot::RAMDISK_IMAGE, &initrd.at.to_le_bytes())?;
    put(memory, boot::RAMDISK_SIZE, &initrd.size.to_le_bytes())?;
    put(
        memory,
        boot::CMD_LINE_PTR,
        &boot::COMMAND_LINE.to_le_bytes(),
    )?;
    put(
        memory,
        boot::KERNEL_ALIGNMENT,
        &boot::KERNEL_ALIGNMENT_VALUE.to_le_bytes(),
    )?;
    put(
        memory,
        boot::HARDWARE_SUBARCH,
        &boot::SUBARCH_LGUEST.to_le_bytes(),
    )?;
    let start = placed.end.max(END.raw());
    Ok(Free {
        start: u32::try_from(start).unwrap_or(u32::MAX),
        end: match initrd.size {
            0 => ram_size(memory).min(INITRD_CEILING) as u32,
            _ => initrd.at,
        },
    })
}

fn put(memory: &impl GuestMemory, at: u32, bytes: &[u8]) -> Result<(), LoadError> {
    Ok(memory.write(Gpa::from(at), bytes)?)
}

/// Index of the boot page's field `offset` in the file's own header, when that reaches so far.
fn field(header: &[u8], offset: u32) -> Option<usize> {
    let at = usize::try_from(offset.checked_sub(boot::SETUP_HEADER)?).ok()?;
    (at < header.len()).then_some(at)
}

/// A kernel ignores the initrd of a loader that does not say what it is.
fn loader(initrd: Initrd) -> u8 {
    if initrd.size == 0 {
        0
    } else {
        boot::LOADER_UNDEFINED
    }
}

fn write_command_line(memory: &impl GuestMemory, line: &[u8]) -> Result<(), LoadError> {
    if line.len() >= boot::COMMAND_LINE_SIZE {
        return Err(LoadError::CommandLineTooLong(line.len()));
    }
    let at = Gpa::from(boot::COMMAND_LINE);
    memory.write(at, line)?;
    memory.write(at.wrapping_add(line.len() as u64), &[0])?;
    Ok(())
}

/// Copies `bytes` to the top of RAM, above `kernel_end`.
fn write_initrd(
    memory: &impl GuestMemory,
    bytes: &[u8],
    kernel_end: u64,
) -> Result<Initrd, LoadError> {
    if bytes.is_empty() {
        return Ok(Initrd::default());
    }
    let size = (bytes.len() as u64).next_multiple_of(PAGE_SIZE.into());
    let ceiling = ram_size(memory).min(INITRD_CEILING);
    let room = ceiling.saturating_sub(kernel_end.max(END.raw()));
    let at = ceiling.saturating_sub(size);
    match (u32::try_from(at), u32::try_from(size)) {
        (Ok(at), Ok(size)) if u64::from(size) <= room => {
            memory.write(Gpa::from(at), bytes)?;
            Ok(Initrd { at, size })
        }
        _ => Err(LoadError::InitrdDoesNotFit { size, room }),
    }
}
