//! How long exits take: from the guest's last instruction to its next, for each kind of exit.
//!
//! On in every image that the tests boot, where the time-stamp counter counts instructions. No exit may take
//! more than a bound, whatever the guest did to cause it: a guest that could keep the host busy would keep it
//! from its devices, and from whoever kicks it.

use core::fmt;
use hv_abi::lguest::TRAP_HYPERCALL;
use hv_hw::clock::tsc;
use hv_hw::switch::HwExit;

/// Hypercall numbers that are told apart; there are none above.
const CALLS: usize = 20;
/// Vectors that are traps of the guest's.
const TRAPS: usize = 32;

/// Why the guest was left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A hypercall, with what it found queued.
    Call(u32),
    /// A trap.
    Trap(u8),
    /// A system call.
    Software,
    /// An interrupt of the host's own.
    Interrupt,
    /// Something woke the host while its guest slept.
    Wake,
}

impl Kind {
    /// `eax`: the guest's, which is the number of a hypercall.
    pub(crate) fn of(exit: &HwExit, eax: u32) -> Self {
        match *exit {
            HwExit::Trap { vector, .. } if vector == TRAP_HYPERCALL => Kind::Call(eax),
            HwExit::Trap { vector, .. } if usize::from(vector) < TRAPS => Kind::Trap(vector),
            HwExit::Trap { .. } => Kind::Software,
            HwExit::Interrupt(_) | HwExit::Refused => Kind::Interrupt,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Call(number) => write!(f, "call {number}"),
            Kind::Trap(vector) => write!(f, "trap {vector}"),
            Kind::Software => f.write_str("system call"),
            Kind::Interrupt => f.write_str("interrupt"),
            Kind::Wake => f.write_str("wake"),
        }
    }
}

/// An exit that is being handled.
#[derive(Clone, Copy, Debug)]
struct Running {
    kind: Kind,
    since: u64,
}

/// The longest exit of each kind so far, in counts of the time-stamp counter.
#[derive(Debug)]
pub(crate) struct ExitTimes {
    running: Option<Running>,
    calls: [u64; CALLS],
    traps: [u64; TRAPS],
    software: u64,
    interrupt: u64,
    wake: u64,
}

impl Default for ExitTimes {
    fn default() -> Self {
        Self {
            running: None,
            calls: [0; CALLS],
            traps: [0; TRAPS],
            software: 0,
            interrupt: 0,
            wake: 0,
        }
    }
}

impl ExitTimes {
    /// The guest was left.
    pub(crate) fn begin(&mut self, kind: Kind) {
        self.running = Some(Running { kind, since: tsc() });
    }

    /// The guest is about to be entered, or the host to sleep.
    pub(crate) fn end(&mut self) {
        let Some(Running { kind, since }) = self.running.take() else {
            return;
        };
        let took = tsc().wrapping_sub(since);
        if let Some(longest) = self.longest_mut(kind) {
            *longest = took.max(*longest);
        }
    }

    /// Does something that is no part of the exit.
    pub(crate) fn apart<T>(&mut self, action: impl FnOnce() -> T) -> T {
        let before = tsc();
        let result = action();
        if let Some(running) = &mut self.running {
            running.since = running.since.wrapping_add(tsc().wrapping_sub(before));
        }
        result
    }

    fn longest_mut(&mut self, kind: Kind) -> Option<&mut u64> {
        match kind {
            Kind::Call(number) => self.calls.get_mut(number as usize),
            Kind::Trap(vector) => self.traps.get_mut(usize::from(vector)),
            Kind::Software => Some(&mut self.software),
            Kind::Interrupt => Some(&mut self.interrupt),
            Kind::Wake => Some(&mut self.wake),
        }
    }

    /// Logs the longest of each kind that there was.
    pub(crate) fn report(&self) {
        let calls = (0..).map(Kind::Call).zip(self.calls);
        let traps = (0..).map(Kind::Trap).zip(self.traps);
        let others = [
            (Kind::Software, self.software),
            (Kind::Interrupt, self.interrupt),
            (Kind::Wake, self.wake),
        ];
        for (kind, longest) in calls.chain(traps).chain(others) {
            if longest != 0 {
                hv_hw::log_debug!(
                    "longest exit: {}, {=u64} instructions",
                    defmt::Display2Format(&kind),
                    longest,
                );
            }
        }
    }
}
