//! Why the guest was left, as tables of exits tell it.

use core::fmt;

/// Hypercall numbers that are told apart; there are none above.
const CALLS: usize = 20;
/// Vectors that are traps of the guest's.
const TRAPS: usize = 32;

/// Why the guest was left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
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
    /// A trap, or a system call: whatever the guest was left by that is no hypercall.
    pub fn of_trap(vector: u8) -> Self {
        if usize::from(vector) < TRAPS {
            Kind::Trap(vector)
        } else {
            Kind::Software
        }
    }

    /// All, in the order of their places.
    pub fn all() -> impl Iterator<Item = Self> {
        let calls = (0..CALLS as u32).map(Kind::Call);
        let traps = (0..TRAPS as u8).map(Kind::Trap);
        let others = [Kind::Software, Kind::Interrupt, Kind::Wake];
        calls.chain(traps).chain(others)
    }

    /// Its place in a table; past the end for a call that there is not, which ends the guest.
    pub fn place(self) -> usize {
        const SOFTWARE: usize = CALLS + TRAPS;
        match self {
            Kind::Call(number) if (number as usize) < CALLS => number as usize,
            Kind::Call(_) => KINDS,
            Kind::Trap(vector) => usize::from(vector).saturating_add(CALLS),
            Kind::Software => SOFTWARE,
            Kind::Interrupt => SOFTWARE + 1,
            Kind::Wake => SOFTWARE + 2,
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
pub const KINDS: usize = CALLS + TRAPS + 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_place_of_its_own() {
        let places: Vec<usize> = Kind::all().map(Kind::place).collect();
        assert_eq!(places, (0..KINDS).collect::<Vec<_>>());
        assert_eq!(Kind::Call(u32::MAX).place(), KINDS);
    }

    #[test]
    fn vectors_from_32_on_are_system_calls() {
        let kinds = [31, 32, 0x80].map(Kind::of_trap);
        assert_eq!(kinds, [Kind::Trap(31), Kind::Software, Kind::Software]);
    }
}
