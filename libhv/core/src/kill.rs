//! Why a guest was ended: data, with one stable line of text each.

use crate::address::{Gpa, Gva};
use crate::generation::Choice;
use crate::memory::{Access, BadAddress};
use core::fmt;
use heapless::String;
use hv_abi::lguest::{Family, SHUTDOWN_MESSAGE};

/// The text of a guest's last words, cleaned: printable ASCII only.
pub type Message = String<SHUTDOWN_MESSAGE>;

/// Why the host ended a guest. The `Display` line is stable; scripts match it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Kill {
    /// The guest reported its own crash (SHUTDOWN with a text that is not the power-off message).
    Crash(Message),
    /// The host could not read or write guest memory that a request named.
    BadAddress(BadAddress),
    /// An address that a request named has no translation in the guest's own tables.
    Unmapped(Gva),
    /// A call other than LGUEST_INIT came first.
    CallBeforeInit(u32),
    /// LGUEST_INIT came twice.
    AlreadyInitialised,
    /// No such call.
    BadHypercall(u32),
    /// The first call makes no sense in the generation that is hosted.
    Init {
        /// What was wrong.
        refusal: InitRefusal,
        /// The generation in which it would have made sense.
        likely: Option<Family>,
    },
    /// LOAD_GDT or LOAD_GDT_ENTRY past the table.
    TooManyGdtEntries(u32),
    /// LOAD_IDT_ENTRY past the table.
    BadIdtEntry(u32),
    /// A gate that is neither an interrupt gate nor a trap gate.
    BadIdtType(u32),
    /// SET_STACK with a selector that is not the kernel's.
    BadStackSegment(u32),
    /// SET_STACK with more pages than a stack may have.
    BadStackPages(u32),
    /// The kernel stack is not mapped writable.
    BadStackPage(Gva),
    /// A key that is neither 0 nor the address of a word in RAM.
    BadDmaKey(u32),
    /// A DMA section that is longer than a page or reaches into a second one: its address and length.
    BadDmaSection(Gpa, u32),
    /// SET_PGD past the table.
    BadPgdIndex {
        /// The index.
        index: u32,
        /// Entries that the table has.
        entries: u32,
    },
    /// A top-level entry with flags or a frame that this ABI does not have.
    BadPageDirectoryEntry(u64),
    /// A middle-level entry likewise.
    BadPageMiddleDirectoryEntry(u64),
    /// A leaf entry likewise.
    BadPageTableEntry(u64),
    /// SET_PTE into the reserved window.
    PteInReservedWindow(Gva),
    /// The budget for shadow tables cannot hold even one translation.
    OutOfShadowMemory,
    /// A trap that the guest has no handler for.
    UnhandledTrap {
        /// Vector, or 256 when the processor refused the guest's state on entry.
        vector: u16,
        /// Where the guest was.
        eip: u32,
        /// CR2 for page faults, else the error code.
        detail: u32,
    },
    /// The guest's EFLAGS said virtual-8086 mode.
    Virtual8086(u32),
    /// Reflecting traps made no progress: each handler faulted before its first instruction.
    FaultLoop {
        /// The vector that repeats.
        vector: u8,
        /// Where.
        eip: u32,
    },
    /// `hlt` with interrupts off: nothing can wake this guest.
    Stopped(u32),
}

/// What was wrong with a guest's first call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InitRefusal {
    /// `lguest_data` does not lie inside RAM.
    BadGuestPage(Gpa),
    /// `syscall_vec` is none that may be used.
    BadSyscallVector(u32),
    /// `kernel_address` lies in the reserved window.
    BadKernelAddress(Gva),
    /// It was made by `vmcall`, at this EIP, which is no instruction for a call.
    Vmcall(u32),
}

impl fmt::Display for InitRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InitRefusal::BadGuestPage(gpa) => write!(f, "bad guest page {gpa}"),
            InitRefusal::BadSyscallVector(vector) => write!(f, "bad syscall vector {vector:#x}"),
            InitRefusal::BadKernelAddress(gva) => write!(f, "bad kernel address {gva}"),
            InitRefusal::Vmcall(eip) => write!(f, "unhandled trap 6 at {eip:#x} (vmcall)"),
        }
    }
}

impl fmt::Display for Kill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kill::Crash(text) => write!(f, "CRASH: {text}"),
            Kill::BadAddress(BadAddress { at, length, access }) => {
                let verb = match access {
                    Access::Read => "read",
                    Access::Write => "write",
                };
                write!(f, "bad {verb} address {at} length {length}")
            }
            Kill::Unmapped(gva) => write!(f, "Bad address {gva}"),
            Kill::CallBeforeInit(call) => write!(f, "hypercall {call} before INIT"),
            Kill::AlreadyInitialised => write!(f, "already have lguest_data"),
            Kill::BadHypercall(call) => write!(f, "Bad hypercall {call}"),
            Kill::Init {
                refusal,
                likely: None,
            } => write!(f, "{refusal}"),
            Kill::Init {
                refusal,
                likely: Some(family),
            } => {
                let word = Choice::Family(*family);
                write!(
                    f,
                    "{refusal}; this looks like a {family} guest: generation={word}"
                )
            }
            Kill::TooManyGdtEntries(index) => write!(f, "too many gdt entries {index}"),
            Kill::BadIdtEntry(vector) => write!(f, "Setting idt entry {vector}"),
            Kill::BadIdtType(kind) => write!(f, "bad IDT type {kind}"),
            Kill::BadStackSegment(selector) => write!(f, "bad stack segment {selector:#x}"),
            Kill::BadStackPages(pages) => write!(f, "bad stack pages {pages}"),
            Kill::BadStackPage(gva) => write!(f, "bad stack page {gva}"),
            Kill::BadDmaKey(key) => write!(f, "bad dma key {key:#x}"),
            Kill::BadDmaSection(at, length) => write!(f, "bad DMA entry: {length} bytes at {at}"),
            Kill::BadPgdIndex { index, entries } => {
                write!(f, "Attempt to set pgd {index}/{entries}")
            }
            Kill::BadPageDirectoryEntry(entry) => write!(f, "bad page directory entry {entry:#x}"),
            Kill::BadPageMiddleDirectoryEntry(entry) => {
                write!(f, "bad page middle directory entry {entry:#x}")
            }
            Kill::BadPageTableEntry(entry) => write!(f, "bad page table entry {entry:#x}"),
            Kill::PteInReservedWindow(gva) => {
                write!(f, "attempt to set pte into Switcher pages {gva}")
            }
            Kill::OutOfShadowMemory => write!(f, "out of memory allocating pte page"),
            Kill::UnhandledTrap {
                vector,
                eip,
                detail,
            } => {
                write!(f, "unhandled trap {vector} at {eip:#x} ({detail:#x})")
            }
            Kill::Virtual8086(eip) => write!(f, "virtual-8086 mode at {eip:#x}"),
            Kill::FaultLoop { vector, eip } => write!(f, "fault loop: trap {vector} at {eip:#x}"),
            Kill::Stopped(eip) => write!(f, "halted with interrupts off at {eip:#x}"),
        }
    }
}

/// What may be wrong with a compressed kernel that was ended before its first call. Only a guess: its code
/// cannot be looked into before it has unpacked itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hint {
    /// It stopped where kernels stop that do not know lguest: at a privileged instruction, or at the `ud2` for
    /// machines that they were not built for.
    NotForLguest,
    /// It reached beyond RAM. Linkers since 2016 turn loads from the decompressor's own table of addresses, which
    /// it adjusts, into addresses of a place where it does not lie. Or what it unpacked is damaged.
    BeyondRam,
}

impl Hint {
    /// The hint for an end with `kill`.
    pub fn new(kill: &Kill) -> Option<Self> {
        match kill {
            Kill::UnhandledTrap { .. } => Some(Hint::NotForLguest),
            Kill::BadPageTableEntry(_) => Some(Hint::BeyondRam),
            _ => None,
        }
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Hint::NotForLguest => "perhaps this kernel was not built with CONFIG_LGUEST_GUEST",
            Hint::BeyondRam => {
                "perhaps the file is damaged, or its decompressor was not built with -Wa,-mrelax-relocations=no"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Gva;

    /// Scripts match these lines.
    #[test]
    fn kills_for_page_tables_name_the_entry_or_the_address() {
        let lines = [
            (
                Kill::BadPageDirectoryEntry(0xf067),
                "bad page directory entry 0xf067",
            ),
            (
                Kill::BadPageMiddleDirectoryEntry(0x8000_0000_0000_1067),
                "bad page middle directory entry 0x8000000000001067",
            ),
            (Kill::BadPageTableEntry(0x87), "bad page table entry 0x87"),
            (
                Kill::PteInReservedWindow(Gva::new(0xffc0_0000)),
                "attempt to set pte into Switcher pages 0xffc00000",
            ),
            (Kill::OutOfShadowMemory, "out of memory allocating pte page"),
            (
                Kill::BadAddress(BadAddress {
                    at: Gpa::new(0x1000),
                    length: 4,
                    access: Access::Write,
                }),
                "bad write address 0x1000 length 4",
            ),
        ];
        for (kill, line) in lines {
            assert_eq!(kill.to_string(), line);
        }
    }
}
