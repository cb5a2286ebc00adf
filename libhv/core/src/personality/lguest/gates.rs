//! The guest's interrupt gates, kept as data: the processor never sees them.

use crate::kill::Kill;
use hv_abi::lguest::{IDT_IGNORED, IdtLimit, SYSCALL_VECTOR};

/// What entering a handler does to the virtual interrupt flag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GateKind {
    /// Type 0xE: interrupts go off.
    Interrupt,
    /// Type 0xF: they stay as they are.
    Trap,
}

/// One handler. Its code segment is always the kernel's, whatever the guest wrote (LG-068).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Gate {
    pub(super) handler: u32,
    pub(super) kind: GateKind,
    /// From which rings `int` may call it.
    pub(super) privilege: u8,
}

impl Gate {
    /// From the two words of a 32-bit gate (Intel SDM volume 3, 6.11); `None` when not present.
    fn from_words(low: u32, high: u32) -> Result<Option<Gate>, Kill> {
        const PRESENT: u32 = 1 << 15;
        if high & PRESENT == 0 {
            return Ok(None);
        }
        let kind = match high >> 8 & 0xf {
            0xe => GateKind::Interrupt,
            0xf => GateKind::Trap,
            other => return Err(Kill::BadIdtType(other)),
        };
        Ok(Some(Gate {
            handler: high & 0xffff_0000 | low & 0xffff,
            kind,
            privilege: (high >> 13 & 3) as u8,
        }))
    }
}

/// Gates that a host of G1 has beside the system call's.
const G1_GATES: u8 = 64;

/// All 256 of them; none at start.
#[derive(Clone, Debug)]
pub(super) struct Gates {
    entries: [Option<Gate>; 256],
}

impl Default for Gates {
    fn default() -> Self {
        Self {
            entries: [None; 256],
        }
    }
}

impl Gates {
    /// LOAD_IDT_ENTRY. Returns the vector whose handler was replaced, `None` for one of those that
    /// a guest cannot have (LG-064).
    pub(super) fn load(
        &mut self,
        limit: IdtLimit,
        vector: u32,
        low: u32,
        high: u32,
    ) -> Result<Option<u8>, Kill> {
        let vector = match (limit, u8::try_from(vector)) {
            (IdtLimit::KillFrom256, Err(_)) => return Err(Kill::BadIdtEntry(vector)),
            (IdtLimit::IgnoreFrom64, Err(_)) => return Ok(None),
            (IdtLimit::IgnoreFrom64, Ok(vector))
                if vector >= G1_GATES && vector != SYSCALL_VECTOR =>
            {
                return Ok(None);
            }
            (_, Ok(vector)) => vector,
        };
        if IDT_IGNORED.contains(&vector) {
            return Ok(None);
        }
        let gate = Gate::from_words(low, high)?;
        if let Some(entry) = self.entries.get_mut(usize::from(vector)) {
            *entry = gate;
        }
        Ok(Some(vector))
    }

    pub(super) fn get(&self, vector: u8) -> Option<Gate> {
        self.entries.get(usize::from(vector)).copied().flatten()
    }

    /// DPL of the gate; 0 where there is none.
    pub(super) fn privilege(&self, vector: u8) -> u8 {
        self.get(vector).map_or(0, |gate| gate.privilege)
    }
}
