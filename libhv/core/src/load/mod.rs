//! Puts a guest kernel, its command line and its initrd into guest memory.
//!
//! Nothing here trusts the images: every offset, size and count in them is checked against the
//! image's own length and against guest RAM, and a refusal names both numbers.

pub mod archive;
mod boot_page;
pub mod boot_tables;
mod bzimage;
mod elf;
mod error;
mod evidence;
pub mod modules;
#[cfg(test)]
mod tests;

pub use archive::{Archive, ArchiveError};
pub use error::{LoadError, Part};
pub use evidence::Linux;
pub use modules::Modules;

use crate::address::{Gpa, Gva};
use crate::generation::{Choice, of_kernel};
use crate::memory::GuestMemory;
use crate::paging::Paging;
use hv_abi::lguest::{Entry, Generation, PAGE_OFFSET, generations};

/// What a guest starts from.
#[derive(Clone, Copy, Debug)]
pub struct Boot<'a> {
    /// An ELF executable or a bzImage.
    pub kernel: &'a [u8],
    /// Initial RAM disk; empty for none.
    pub initrd: &'a [u8],
    /// The kernel's command line, without a NUL.
    pub command_line: &'a [u8],
    /// The ABI that the kernel was built for.
    pub generation: Choice,
    /// Where the kernel has its RAM, for those generations that start there: one that
    /// [`boot_tables::is_page_offset`].
    pub page_offset: u32,
    /// The kernel's paging format, for those that start on tables.
    pub paging: Paging,
}

impl Default for Boot<'_> {
    fn default() -> Self {
        Self {
            kernel: &[],
            initrd: &[],
            command_line: &[],
            generation: Choice::Detect,
            page_offset: PAGE_OFFSET,
            paging: Paging::Auto,
        }
    }
}

/// A guest that lies in memory and can be started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Start {
    /// Address of its first instruction.
    pub entry: Gva,
    /// What the user said about its generation.
    pub choice: Choice,
    /// The generation that it is started as.
    pub generation: &'static Generation,
    /// Root of the page tables that it is started on; none in linear mode.
    pub root: Option<Gpa>,
    /// Room for such tables, if the guest turns out to need them later. `None` when its image leaves none.
    pub tables: Option<boot_tables::Plan>,
    /// Where its kernel has its RAM.
    pub page_offset: u32,
    /// What its image says about how it was built.
    pub linux: Linux,
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

/// Loads `boot` into zeroed guest memory.
///
/// Kernel at its own addresses, boot page at 0, command line at 0x1000, initrd at the top of RAM, and
/// right below it the page tables that old generations start on. On error guest memory holds whatever
/// had been copied by then and must not be run.
pub fn load(memory: &impl GuestMemory, boot: &Boot<'_>) -> Result<Start, LoadError> {
    if !boot_tables::is_page_offset(boot.page_offset) {
        return Err(LoadError::BadPageOffset(boot.page_offset));
    }
    let placed = if boot.kernel.is_empty() {
        return Err(LoadError::NoKernel);
    } else if elf::is_elf(boot.kernel) {
        elf::place(memory, boot.kernel)?
    } else if bzimage::is_bzimage(boot.kernel) {
        bzimage::place(memory, boot.kernel)?
    } else {
        return Err(LoadError::NotAKernel);
    };
    let linux = evidence::linux(boot.kernel);
    if linux == Linux::WithoutLguest {
        return Err(LoadError::WithoutLguest);
    }
    if !memory.contains(placed.entry, 1) {
        return Err(LoadError::EntryOutsideRam {
            entry: placed.entry,
            ram: ram_size(memory),
        });
    }
    let free = boot_page::write(memory, boot, &placed)?;
    let generation = generation(boot);
    let entry = match generation.entry {
        Entry::Marker => elf::marked_entry(boot.kernel)
            .ok_or(LoadError::NoEntryMarker)?
            .wrapping_add(boot.page_offset),
        Entry::Physical(_) | Entry::Linear => Gva::new(placed.entry.raw() as u32),
    };
    let mut plan =
        boot_tables::Plan::new(ram_size(memory), free.end, boot.page_offset, boot.paging);
    let fits = plan.size() <= free.size();
    if !fits && generation.entry != Entry::Linear {
        return Err(LoadError::BootTablesDoNotFit {
            size: plan.size().into(),
            room: free.size().into(),
        });
    }
    Ok(Start {
        entry,
        choice: boot.generation,
        generation,
        root: plan.write(memory, generation.entry)?,
        tables: fits.then_some(plan),
        page_offset: boot.page_offset,
        linux,
    })
}

/// The generation to start a kernel as: what its image says, if the user's choice allows it.
fn generation(boot: &Boot<'_>) -> &'static Generation {
    if let Choice::Exactly(generation) = boot.generation {
        return generation;
    }
    let said = evidence::version(boot.kernel).and_then(of_kernel);
    if let Some(said) = said.filter(|said| boot.generation.allows(said)) {
        return said;
    }
    let marked = &generations::LINUX_2_6_23;
    if said.is_none() && boot.generation.allows(marked) && elf::marked_entry(boot.kernel).is_some()
    {
        return marked;
    }
    boot.generation.newest()
}

/// Bytes of guest RAM.
fn ram_size(memory: &impl GuestMemory) -> u64 {
    memory.ram_frames().start().raw()
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
