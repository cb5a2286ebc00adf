//! `struct lguest_data`, the memory that guest and host share, and what was sampled from it.

use crate::address::Gpa;
use crate::clock::WallTime;
use crate::memory::{BadAddress, GuestMemory};
use hv_abi::lguest::{self as abi, data};

/// Where the guest's `lguest_data` is. That all of it lies in RAM was checked once, at LGUEST_INIT;
/// RAM never shrinks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Data {
    base: Gpa,
    pub(super) noirq: Noirq,
}

/// How the guest's final `iret` is told apart from other instructions, sampled at LGUEST_INIT (LG-039).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Noirq {
    /// No interrupt is delivered from `start` up to `end`: the guest would lose its flag.
    Range { start: u32, end: u32 },
    /// An interrupt at this `iret` is folded into it.
    Iret(u32),
}

impl Noirq {
    pub(super) fn sample(
        memory: &impl GuestMemory,
        base: Gpa,
        fields: abi::Noirq,
    ) -> Result<Self, BadAddress> {
        let word = |offset: u32| memory.read_u32(base.wrapping_add(u64::from(offset)));
        Ok(match fields {
            abi::Noirq::Range(start, end) => Noirq::Range {
                start: word(start)?,
                end: word(end)?,
            },
            abi::Noirq::Iret(at) => Noirq::Iret(word(at)?),
        })
    }
}

impl Data {
    pub(super) fn new(base: Gpa, noirq: Noirq) -> Self {
        Self { base, noirq }
    }

    /// Address of the field at byte `offset`.
    pub(super) fn field(self, offset: u32) -> Gpa {
        self.base.wrapping_add(u64::from(offset))
    }

    /// Whether the guest takes interrupts. Only bit 9 says so: guests store whole EFLAGS words,
    /// which are never zero (4.2).
    pub(super) fn interrupts_enabled(self, memory: &impl GuestMemory) -> Result<bool, BadAddress> {
        let word = memory.read_u32(self.field(data::IRQ_ENABLED))?;
        Ok(word & abi::IF != 0)
    }

    pub(super) fn set_irq_enabled(
        self,
        memory: &impl GuestMemory,
        word: u32,
    ) -> Result<(), BadAddress> {
        memory.write_u32(self.field(data::IRQ_ENABLED), word)
    }

    pub(super) fn write_time(
        self,
        memory: &impl GuestMemory,
        time: WallTime,
    ) -> Result<(), BadAddress> {
        memory.write_u32(self.field(data::TIME), time.seconds)?;
        memory.write_u32(self.field(data::TIME.wrapping_add(4)), time.nanoseconds)
    }
}
