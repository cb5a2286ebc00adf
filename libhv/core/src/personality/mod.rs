//! Guest ABIs: what a guest's traps and calls mean.
//!
//! A personality owns everything about one virtual processor that is not memory translation: its
//! descriptor table, its gates, its pending interrupts and its timer. The run loop alternates
//! between entering the guest and handing the trap that ended the entry to the personality. Memory
//! translation comes in through [`Mmu`], devices through [`Devices`](crate::device::Devices), time
//! through [`Clock`](crate::clock::Clock).

pub mod lguest;
mod mmu;

pub use crate::paging::AccessKind;
pub use crate::shadow::{Fault, LeafChange, NoMiddleTables, Progress};
pub use mmu::Mmu;

use crate::kill::{Kill, Message};

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

/// The guest has no handler for the vector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoHandler(pub u8);

impl core::fmt::Display for NoHandler {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "the guest has no handler for vector {}", self.0)
    }
}

/// What the run loop does next with a guest that goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Enter it.
    Enter,
    /// Devices were polled: see to what they left for the host, then enter the guest.
    Polled,
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
