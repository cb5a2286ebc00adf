//! Guest ABIs: what a guest's traps and calls mean.
//!
//! A personality owns everything about one virtual processor that is not memory translation: its
//! descriptor table, its gates, its pending interrupts and its timer. The run loop alternates
//! between entering the guest and handing the trap that ended the entry to the personality. Memory
//! translation comes in through [`Mmu`], devices through [`Devices`](crate::device::Devices), time
//! through [`Clock`](crate::clock::Clock).
#![allow(
    clippy::result_large_err,
    reason = "a guest ends once, and its last words travel without an allocator"
)]

pub mod lguest;

use crate::address::{Gpa, Gva};
use crate::kill::{Kill, Message};
use crate::memory::GuestMemory;

/// An exit of the guest, as the processor reported it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trap {
    /// Vector.
    pub vector: u8,
    /// Error code; 0 for vectors without one.
    pub error: u32,
    /// CR2 at the time of the exit; means something for page faults only. An access that straddles
    /// 4 GiB can leave more than 32 bits here on processors that do not wrap it.
    pub cr2: u64,
}

/// What the run loop does next with a guest that goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Enter it.
    Enter,
    /// It sleeps: idle until the deadline, a device or a kick, then ask again.
    Halt,
}

/// How a guest came to its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// It powered itself off in good order.
    PowerOff(Message),
    /// It wants to be started anew.
    Restart(Message),
    /// The host ended it, or it reported its own crash.
    Killed(Kill),
}

impl From<Kill> for End {
    fn from(kill: Kill) -> Self {
        End::Killed(kill)
    }
}

/// The guest's CR0.TS: whether its next floating-point instruction traps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Ts {
    /// Floating-point instructions run.
    #[default]
    Clear,
    /// They raise #NM.
    Set,
}

/// No interrupt has this number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadIrq(pub u32);

impl core::fmt::Display for BadIrq {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "no such interrupt {}", self.0)
    }
}

/// What a page fault came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The shadow was behind the guest's tables; it no longer is. Resume.
    Repaired,
    /// The guest's own tables refuse the access.
    Reflect {
        /// The error code that the guest's tables, not the shadow, call for.
        error: u32,
    },
}

/// What the host does at a guest-virtual address on the guest kernel's behalf.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessKind {
    /// Reads, as ring 1.
    Read,
    /// Writes, as ring 1; a read-only page refuses, as with CR0.WP set.
    Write,
}

/// Memory translation of one guest, as a personality needs it.
///
/// A `Kill` from any of these methods means that the guest's tables hold something this ABI does not
/// have, or that its stack is gone.
pub trait Mmu {
    /// The processor could not translate `gva`; `error` is its error code.
    fn page_fault(
        &mut self,
        memory: &impl GuestMemory,
        gva: Gva,
        error: u32,
    ) -> Result<Fault, Kill>;

    /// Where the host may do `kind` at `gva` for the guest's kernel: the guest's own rights are
    /// honoured and accessed and dirty bits set, as if the guest had done it. The inner error is the
    /// page-fault error code that the guest would have had.
    fn guest_access(
        &mut self,
        memory: &impl GuestMemory,
        gva: Gva,
        kind: AccessKind,
    ) -> Result<Result<Gpa, u32>, Kill>;

    /// Where `gva` lies, without regard to rights and without leaving a trace.
    fn translate(&self, memory: &impl GuestMemory, gva: Gva) -> Option<Gpa>;

    /// The kernel's stack for traps from ring 3 now ends below `top`, with `pages` (at most 2)
    /// that have to be mapped writable, now and whenever the shadow is rebuilt.
    fn set_stack(&mut self, memory: &impl GuestMemory, top: Gva, pages: u32) -> Result<(), Kill>;

    /// `root` is the current root from now on.
    fn new_pgtable(&mut self, memory: &impl GuestMemory, root: Gpa) -> Result<(), Kill>;

    /// The leaf for `gva` in `root` became `entry`; 0 says only that it changed.
    fn set_pte(
        &mut self,
        memory: &impl GuestMemory,
        root: Gpa,
        gva: Gva,
        entry: u64,
    ) -> Result<(), Kill>;

    /// Top-level entry `index` of `root` changed.
    fn set_pgd(&mut self, memory: &impl GuestMemory, root: Gpa, index: u32) -> Result<(), Kill>;

    /// Forget the current root's translations below the kernel's address.
    fn flush_user(&mut self, memory: &impl GuestMemory) -> Result<(), Kill>;

    /// Forget every translation.
    fn flush_all(&mut self, memory: &impl GuestMemory) -> Result<(), Kill>;

    /// At and above `start` all of the guest's page tables are the same.
    fn set_kernel_address(&mut self, start: Gva);
}
