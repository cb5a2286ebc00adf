//! Why a guest cannot be started: one stable line each, with the thing and the limit.

use super::archive::ArchiveError;
use super::boot_tables::PAGE_OFFSET_RULE;
use crate::address::Gpa;
use crate::memory::BadAddress;
use core::fmt;
use hv_abi::lguest::boot::COMMAND_LINE_SIZE;

/// A part of an image that the file ends inside of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// The ELF file header.
    ElfHeader,
    /// The table of ELF program headers.
    ProgramHeaders,
    /// The file bytes of the ELF segment with this index.
    Segment(u16),
    /// The real-mode part of a bzImage.
    Setup,
    /// The protected-mode part of a bzImage.
    Payload,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::ElfHeader => f.write_str("the ELF header"),
            Part::ProgramHeaders => f.write_str("the program header table"),
            Part::Segment(index) => write!(f, "segment {index}"),
            Part::Setup => f.write_str("the setup code"),
            Part::Payload => f.write_str("the protected-mode code"),
        }
    }
}

/// Why a guest's images cannot be loaded. The `Display` line is stable; scripts match it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LoadError {
    /// The image is empty.
    NoKernel,
    /// The image has neither the ELF magic number nor a Linux setup header.
    NotAKernel,
    /// The file is shorter than its own headers say.
    Truncated {
        /// What does not lie inside the file.
        part: Part,
        /// Bytes that the file would need.
        needed: u64,
        /// Bytes it has.
        size: u64,
    },
    /// An ELF file of class 64.
    SixtyFourBit,
    /// A bzImage that switches to 64-bit mode.
    SixtyFourBitLinux,
    /// An uncompressed Linux kernel without a trace of lguest.
    WithoutLguest,
    /// An ELF file whose identification bytes name no format that exists.
    BadElfIdentification,
    /// An ELF file for a processor other than the 80386; its `e_machine`.
    OtherMachine(u16),
    /// An ELF file that is not linked to fixed addresses; its `e_type`.
    NotExecutable(u16),
    /// Program headers that are not 32 bytes long.
    ProgramHeaderSize(u16),
    /// No program headers, or more than 2048.
    ProgramHeaderCount(u16),
    /// Nothing to load.
    NoLoadableSegment,
    /// A segment with more bytes in the file than in memory.
    SegmentLargerThanMemory {
        /// Program header.
        index: u16,
        /// Bytes in the file.
        file: u64,
        /// Bytes in memory.
        memory: u64,
    },
    /// A segment that would run past 4 GiB.
    SegmentWraps {
        /// Program header.
        index: u16,
        /// Its physical address.
        at: Gpa,
        /// Bytes in memory.
        size: u64,
    },
    /// A segment that would run past RAM.
    SegmentOutsideRam {
        /// Program header.
        index: u16,
        /// First byte past the segment.
        end: Gpa,
        /// Bytes of RAM.
        ram: u64,
    },
    /// A segment where the boot page and the command line go.
    SegmentInBootPages {
        /// Program header.
        index: u16,
        /// Its physical address.
        at: Gpa,
        /// First address that a kernel may use.
        limit: Gpa,
    },
    /// Two segments that share bytes of memory.
    SegmentsOverlap {
        /// Program header.
        first: u16,
        /// Program header.
        second: u16,
    },
    /// The first instruction does not lie inside RAM.
    EntryOutsideRam {
        /// Entry point.
        entry: Gpa,
        /// Bytes of RAM.
        ram: u64,
    },
    /// A compressed kernel that needs more memory to unpack than there is.
    KernelDoesNotFit {
        /// Bytes of RAM it needs.
        needed: u64,
        /// Bytes of RAM.
        ram: u64,
    },
    /// The guest's command line is longer than a kernel would read.
    CommandLineTooLong(usize),
    /// The initrd does not fit between the kernel and the top of RAM.
    InitrdDoesNotFit {
        /// Bytes, rounded up to pages.
        size: u64,
        /// Bytes that are free.
        room: u64,
    },
    /// A kernel of generation G1 does not say where it starts.
    NoEntryMarker,
    /// No kernel can have its RAM there.
    BadPageOffset(u32),
    /// The page tables that an old generation starts on do not fit between kernel and initrd.
    BootTablesDoNotFit {
        /// Bytes.
        size: u64,
        /// Bytes that are free.
        room: u64,
    },
    /// Guest memory refused an access.
    Memory(BadAddress),
    /// The boot module is a damaged archive.
    Archive(ArchiveError),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use LoadError::*;
        match self {
            NoKernel => f.write_str("no guest kernel: the file is empty"),
            NotAKernel => f.write_str("guest kernel: neither an ELF file nor a bzImage"),
            Truncated { part, needed, size } => write!(
                f,
                "guest kernel: truncated: {part} ends at byte {needed}, the file has {size}"
            ),
            SixtyFourBit => {
                f.write_str("guest kernel: a 64-bit kernel (ELF); only 32-bit ones can run")
            }
            SixtyFourBitLinux => {
                f.write_str("guest kernel: a 64-bit kernel (bzImage); only 32-bit ones can run")
            }
            WithoutLguest => {
                f.write_str("guest kernel: this kernel was not built with CONFIG_LGUEST_GUEST")
            }
            BadElfIdentification => f.write_str(
                "guest kernel: an ELF file that is not 32-bit little-endian of version 1",
            ),
            OtherMachine(machine) => write!(
                f,
                "guest kernel: an ELF file for machine {machine}; only 3 (80386) can run"
            ),
            NotExecutable(kind) => write!(
                f,
                "guest kernel: an ELF file of type {kind}; only 2 (executable) can run"
            ),
            ProgramHeaderSize(size) => {
                write!(f, "guest kernel: program headers of {size} bytes, not 32")
            }
            ProgramHeaderCount(count) => write!(
                f,
                "guest kernel: {count} program headers; 1 to {} can be loaded",
                super::elf::MAX_PROGRAM_HEADERS
            ),
            NoLoadableSegment => f.write_str("guest kernel: no loadable segment"),
            SegmentLargerThanMemory {
                index,
                file,
                memory,
            } => write!(
                f,
                "guest kernel: segment {index} has {file} bytes in the file but {memory} in memory"
            ),
            SegmentWraps { index, at, size } => write!(
                f,
                "guest kernel: segment {index} at {at} with {size} bytes runs past 4 GiB"
            ),
            SegmentOutsideRam { index, end, ram } => write!(
                f,
                "guest kernel: segment {index} ends at {end}, guest RAM at {ram:#x}"
            ),
            SegmentInBootPages { index, at, limit } => write!(
                f,
                "guest kernel: segment {index} at {at} covers the boot page; the limit is {limit}"
            ),
            SegmentsOverlap { first, second } => {
                write!(f, "guest kernel: segments {first} and {second} overlap")
            }
            EntryOutsideRam { entry, ram } => write!(
                f,
                "guest kernel: entry point {entry} is outside guest RAM, which ends at {ram:#x}"
            ),
            KernelDoesNotFit { needed, ram } => write!(
                f,
                "guest kernel: unpacking needs RAM up to {needed:#x}, guest RAM ends at {ram:#x}"
            ),
            CommandLineTooLong(length) => write!(
                f,
                "guest command line: {length} bytes; the limit is {}",
                COMMAND_LINE_SIZE.saturating_sub(1)
            ),
            InitrdDoesNotFit { size, room } => write!(
                f,
                "initrd: {size} bytes; between the kernel and the top of guest RAM there are {room}"
            ),
            NoEntryMarker => f.write_str(
                "guest kernel: no entry marker `GenuineLguest` in it; generation G1 starts there",
            ),
            BadPageOffset(address) => write!(
                f,
                "page offset {address:#x}: it has to be a {PAGE_OFFSET_RULE}"
            ),
            BootTablesDoNotFit { size, room } => write!(
                f,
                "boot page tables: {size} bytes; between the kernel and the initrd there are {room}"
            ),
            Memory(bad) => write!(f, "guest RAM: no {} bytes at {}", bad.length, bad.at),
            Archive(error) => write!(f, "boot module: {error}"),
        }
    }
}

impl core::error::Error for LoadError {}

impl From<BadAddress> for LoadError {
    fn from(bad: BadAddress) -> Self {
        LoadError::Memory(bad)
    }
}

impl From<ArchiveError> for LoadError {
    fn from(error: ArchiveError) -> Self {
        LoadError::Archive(error)
    }
}
