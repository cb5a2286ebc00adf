//! How long exits take: from the guest's last instruction to its next, for each kind of exit.
//!
//! On in every image that the tests boot, where the time-stamp counter counts instructions. No exit may take
//! more than a bound, whatever the guest did to cause it: a guest that could keep the host busy would keep it
//! from its devices, and from whoever kicks it.

use core::fmt;
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
            HwExit::Hypercall => Kind::Call(eax),
            HwExit::Trap { vector, .. } if usize::from(vector) < TRAPS => Kind::Trap(vector),
            HwExit::Trap { .. } => Kind::Software,
            HwExit::Interrupt(_) | HwExit::Refused => Kind::Interrupt,
        }
    }
}

impl Kind {
    /// Its place in the table; past the end for a call that there is not, which ends the guest.
    fn place(self) -> usize {
        match self {
            Kind::Call(number) if (number as usize) < CALLS => number as usize,
            Kind::Call(_) => KINDS,
            Kind::Trap(vector) => CALLS + usize::from(vector),
            Kind::Software => CALLS + TRAPS,
            Kind::Interrupt => CALLS + TRAPS + 1,
            Kind::Wake => CALLS + TRAPS + 2,
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

/// Places in the table of kinds: calls, traps, and the three others.
const KINDS: usize = CALLS + TRAPS + 3;

/// The longest exit of each kind so far, in counts of the time-stamp counter. What it costs is a cost of every
/// exit, so it is but a table.
#[derive(Debug)]
pub(crate) struct ExitTimes {
    longest: [u64; KINDS],
    kind: Kind,
    /// When the exit began; `None` while the guest runs or the host sleeps.
    since: Option<u64>,
}

impl Default for ExitTimes {
    fn default() -> Self {
        Self {
            longest: [0; KINDS],
            kind: Kind::Wake,
            since: None,
        }
    }
}

impl ExitTimes {
    /// The guest was left.
    pub(crate) fn begin(&mut self, kind: Kind) {
        self.kind = kind;
        self.since = Some(tsc());
    }

    /// The guest is about to be entered, or the host to sleep.
    pub(crate) fn end(&mut self) {
        if let Some(since) = self.since.take() {
            let took = tsc().wrapping_sub(since);
            if let Some(longest) = self.longest.get_mut(self.kind.place()) {
                *longest = took.max(*longest);
            }
        }
    }

    /// Does something that is no part of the exit.
    pub(crate) fn apart(&mut self, action: impl FnOnce()) {
        let before = tsc();
        action();
        let took = tsc().wrapping_sub(before);
        self.since = self.since.map(|since| since.wrapping_add(took));
    }

    /// Logs the longest of each kind that there was.
    pub(crate) fn report(&self) {
        let calls = (0..CALLS as u32).map(Kind::Call);
        let traps = (0..TRAPS as u8).map(Kind::Trap);
        let others = [Kind::Software, Kind::Interrupt, Kind::Wake];
        for (kind, longest) in calls.chain(traps).chain(others).zip(self.longest) {
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
