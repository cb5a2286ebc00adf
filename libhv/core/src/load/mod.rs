//! Puts a guest kernel, its command line and its initrd into guest memory.
//!
//! Nothing here trusts the images: every offset, size and count in them is checked against the
//! image's own length and against guest RAM, and a refusal names both numbers.

pub mod archive;
mod boot_page;
mod bzimage;
mod elf;
mod error;
pub mod modules;
#[cfg(test)]
mod tests;

pub use archive::{Archive, ArchiveError};
pub use error::{LoadError, Part};
pub use modules::Modules;

use crate::address::Gpa;
use crate::memory::GuestMemory;

/// What a guest starts from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Boot<'a> {
    /// An ELF executable or a bzImage.
    pub kernel: &'a [u8],
    /// Initial RAM disk; empty for none.
    pub initrd: &'a [u8],
    /// The kernel's command line, without a NUL.
    pub command_line: &'a [u8],
}

/// A kernel that lies in guest memory.
struct Placed<'a> {
    /// Where it starts, with paging off or identity-mapped.
    entry: Gpa,
    /// First byte past the memory that it fills before it reads its memory map.
    end: u64,
    /// The setup header that a bzImage wants to find in the boot page; empty for ELF.
    setup_header: &'a [u8],
}

/// Loads `boot` into zeroed guest memory and returns the entry point.
///
/// Kernel at its own addresses, boot page at 0, command line at 0x1000, initrd at the top of RAM.
/// On error guest memory holds whatever had been copied by then and must not be run.
pub fn load(memory: &impl GuestMemory, boot: &Boot<'_>) -> Result<Gpa, LoadError> {
    let placed = if boot.kernel.is_empty() {
        return Err(LoadError::NoKernel);
    } else if elf::is_elf(boot.kernel) {
        elf::place(memory, boot.kernel)?
    } else if bzimage::is_bzimage(boot.kernel) {
        bzimage::place(memory, boot.kernel)?
    } else {
        return Err(LoadError::NotAKernel);
    };
    if !memory.contains(placed.entry, 1) {
        return Err(LoadError::EntryOutsideRam {
            entry: placed.entry,
            ram: ram_size(memory),
        });
    }
    boot_page::write(memory, boot, &placed)?;
    Ok(placed.entry)
}

/// Bytes of guest RAM.
fn ram_size(memory: &impl GuestMemory) -> u64 {
    memory.frames().start().raw()
}

/// The little-endian number at `offset`, or `None` past the end.
fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes
        .get(offset..)?
        .first_chunk()
        .map(|b| u16::from_le_bytes(*b))
}

/// The little-endian number at `offset`, or `None` past the end.
fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes
        .get(offset..)?
        .first_chunk()
        .map(|b| u32::from_le_bytes(*b))
}

/// The little-endian number at `offset`, or `None` past the end.
fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    bytes
        .get(offset..)?
        .first_chunk()
        .map(|b| u64::from_le_bytes(*b))
}
