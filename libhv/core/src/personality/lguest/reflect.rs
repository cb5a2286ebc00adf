//! Reflection: building the frame that the processor would have built, and entering the handler.

use super::Lguest;
use super::data::Data;
use super::gates::{Gate, GateKind};
use super::stack::bytes_of;
use crate::address::Gva;
use crate::device::Devices;
use crate::kill::Kill;
use crate::memory::GuestMemory;
use crate::personality::Mmu;
use crate::registers::{Registers, eflags};
use hv_abi::lguest::{GUEST_PL, KERNEL_CS};

/// Reflections in a row, each of a handler that could not execute its first instruction, after
/// which the guest is stuck. In a working guest a handler's first instruction may fault once, while
/// its page is brought in; it never faults in the handler of that fault.
const NESTING_LIMIT: u32 = 32;

/// Notices traps whose handlers never get to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Nesting {
    depth: u32,
    /// EIP and ESP that the last handler was entered with.
    entered: Option<(u32, u32)>,
}

impl Nesting {
    /// Counts a trap at `regs`; `Err` when there were too many without progress.
    fn trapped(&mut self, vector: u8, regs: &Registers) -> Result<(), Kill> {
        if self.entered != Some((regs.eip, regs.esp)) {
            self.depth = 0;
            return Ok(());
        }
        self.depth = self.depth.saturating_add(1);
        if self.depth >= NESTING_LIMIT {
            return Err(Kill::FaultLoop {
                vector,
                eip: regs.eip,
            });
        }
        Ok(())
    }

    fn enters(&mut self, regs: &Registers) {
        self.entered = Some((regs.eip, regs.esp));
    }
}

impl<M: GuestMemory, U: Mmu, D: Devices> Lguest<M, U, D> {
    /// Delivers a trap to the guest's handler. `detail` goes into the reason if there is none.
    pub(super) fn reflect(
        &mut self,
        regs: &mut Registers,
        vector: u8,
        error: Option<u32>,
        detail: u32,
    ) -> Result<(), Kill> {
        // Gates can be loaded only after LGUEST_INIT; both tests are one.
        let (Some(gate), Some(shared)) = (self.gates.get(vector), self.data) else {
            return Err(Kill::UnhandledTrap {
                vector: u16::from(vector),
                eip: regs.eip,
                detail,
            });
        };
        self.nesting.trapped(vector, regs)?;
        self.push_frame(regs, shared, error)?;
        self.counters.reflected = self.counters.reflected.wrapping_add(1);
        self.enter_handler(regs, shared, gate)
    }

    /// Pushes SS and ESP when the privilege level changes, then EFLAGS, CS, EIP and the error code
    /// (5.5), and sets SS:ESP to what the handler starts with.
    #[inline(always)]
    pub(super) fn push_frame(
        &mut self,
        regs: &mut Registers,
        shared: Data,
        error: Option<u32>,
    ) -> Result<(), Kill> {
        let from_kernel = regs.ss & 3 == u32::from(GUEST_PL);
        let (selector, pointer) = if from_kernel {
            (regs.ss, regs.esp)
        } else {
            (self.stack.selector, self.stack.pointer)
        };
        let base = self.stack_base(selector, regs)?;

        let mut flags = regs.eflags & eflags::FRAME;
        if shared.interrupts_enabled(&self.memory)? {
            flags |= eflags::IF;
        }
        // The lowest address first. What a frame does not have is at either end.
        let words = [
            error.unwrap_or_default(),
            regs.eip,
            regs.cs,
            flags,
            regs.esp,
            regs.ss,
        ];
        let first = usize::from(error.is_none());
        let end = if from_kernel { 4 } else { words.len() };
        let frame = words.get(first..end).unwrap_or_default();
        let esp = pointer.wrapping_sub(bytes_of(frame));
        let start = Gva::new(base.wrapping_add(esp));
        self.write_stack(start, frame)?;
        regs.ss = selector;
        regs.esp = esp;
        Ok(())
    }

    /// Goes to the handler's first instruction with the flags that a gate gives (LG-123, LG-124,
    /// LG-127).
    pub(super) fn enter_handler(
        &mut self,
        regs: &mut Registers,
        shared: Data,
        gate: Gate,
    ) -> Result<(), Kill> {
        regs.eflags &= !(eflags::TF | eflags::VM | eflags::RF | eflags::NT);
        regs.cs = u32::from(KERNEL_CS);
        regs.eip = gate.handler;
        if gate.kind == GateKind::Interrupt {
            shared.set_irq_enabled(&self.memory, 0)?;
        }
        self.nesting.enters(regs);
        Ok(())
    }
}
