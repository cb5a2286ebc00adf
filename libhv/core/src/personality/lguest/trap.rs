//! Traps: which are the host's to settle, and which the guest's own.

use super::Lguest;
use super::counters::count;
use super::device_memory::DeviceAccess;
use super::emulate::Emulated;
use super::ring::Drained;
use super::vmcall::Patched;
use crate::address::Gva;
use crate::clock::Clock;
use crate::device::Devices;
use crate::kill::Kill;
use crate::memory::GuestMemory;
use crate::paging::{Access, Presence};
use crate::personality::{End, Fault, Mmu, NoHandler, Trap, Ts};
use crate::registers::{Registers, eflags};
use hv_abi::lguest::{FIRST_IRQ_VECTOR, TRAP_HYPERCALL, data};

const DEBUG: u8 = 1;
const NMI: u8 = 2;
const INVALID_OPCODE: u8 = 6;
const DEVICE_NOT_AVAILABLE: u8 = 7;
pub(super) const GENERAL_PROTECTION: u8 = 13;
const PAGE_FAULT: u8 = 14;
const MACHINE_CHECK: u8 = 18;

/// Error-code bit that says "the selector is a vector" (Intel SDM volume 3, 6.13).
const ERROR_IDT: u32 = 1 << 1;

/// The error code as a frame has it: only these vectors push one (LG-121).
fn frame_error(trap: Trap) -> Option<u32> {
    matches!(trap.vector, 8 | 10..=14 | 17).then_some(trap.error)
}

/// Some processors let an `iret` at ring 1 enter virtual-8086 mode, where CS is a number of the guest's
/// choosing and says nothing about privilege.
pub(super) fn refuse_virtual_8086(regs: &Registers) -> Result<(), Kill> {
    match regs.eflags & eflags::VM {
        0 => Ok(()),
        _ => Err(Kill::Virtual8086(regs.eip)),
    }
}

impl<M: GuestMemory, U: Mmu, D: Devices> Lguest<M, U, D> {
    /// Settles the trap that ended an entry (5.3), or says how the guest ended.
    pub fn on_trap(
        &mut self,
        regs: &mut Registers,
        trap: Trap,
        clock: &impl Clock,
    ) -> Result<(), End> {
        if trap.vector == TRAP_HYPERCALL {
            return self.on_hypercall(regs, clock);
        }
        count(&mut self.counters.exits, u32::from(trap.vector), 1);
        refuse_virtual_8086(regs)?;
        match trap.vector {
            PAGE_FAULT => self.page_fault(regs, trap, clock),
            GENERAL_PROTECTION => Ok(self.general_protection(regs, trap.error)?),
            // The host's own registers are in place by the time it gets here; only a guest that
            // asked for the trap has to hear of it.
            DEVICE_NOT_AVAILABLE if self.ts == Ts::Clear => Ok(()),
            DEBUG => Ok(self.reflect_debug(regs)?),
            INVALID_OPCODE if self.patch_vmcall(regs)? == Patched::Yes => Ok(()),
            // The host's own business, which merely happened while the guest ran.
            NMI | MACHINE_CHECK => Ok(()),
            vector if vector >= FIRST_IRQ_VECTOR && !self.opens_to_software(vector) => Ok(()),
            vector => Ok(self.reflect(regs, vector, frame_error(trap), trap.error)?),
        }
    }

    /// Delivers `vector` to the guest's own handler as if the processor had raised it, with the error
    /// code of the last exit where the vector has one.
    ///
    /// # Errors
    /// Inner: the guest has no handler, and nothing happened (LG-181). Outer: pushing the frame ended
    /// the guest.
    pub fn inject(
        &mut self,
        regs: &mut Registers,
        vector: u8,
    ) -> Result<Result<(), NoHandler>, End> {
        if self.gates.get(vector).is_none() || self.data.is_none() {
            return Ok(Err(NoHandler(vector)));
        }
        let error = regs.error;
        let trap = Trap {
            vector,
            error,
            cr2: 0,
        };
        self.reflect(regs, vector, frame_error(trap), error)?;
        Ok(Ok(()))
    }

    fn page_fault(
        &mut self,
        regs: &mut Registers,
        trap: Trap,
        clock: &impl Clock,
    ) -> Result<(), End> {
        let Ok(address) = u32::try_from(trap.cr2) else {
            // An access across 4 GiB, by a processor that does not wrap it. The manual allows a
            // limit violation here (SDM volume 3, 5.3). Reflecting it as a page fault at the wrapped
            // address would not end: the guest finds that page mapped and tries again.
            return Ok(self.reflect(regs, GENERAL_PROTECTION, Some(0), 0)?);
        };
        let gva = Gva::new(address);
        let mut fault = self.mmu.page_fault(&self.memory, gva, trap.error)?;
        if matches!(fault, Fault::Reflect { .. }) && regs.privilege_level() == 1 {
            // In the middle of a context switch NEW_PGTABLE may still be queued, and the guest's
            // handler would repair a root that is not in use yet, for ever (A42).
            match self.drain_ring(clock)? {
                Drained::Nothing => {}
                Drained::Calls => fault = self.mmu.page_fault(&self.memory, gva, trap.error)?,
                // It faults again, and the rest of the ring comes first again.
                Drained::Part => return Ok(()),
            }
        }
        let error = match fault {
            Fault::Repaired => return Ok(()),
            Fault::Reflect { error } => error,
            Fault::Device(gpa) => {
                let kind = Access::from_error(trap.error).kind;
                let access = DeviceAccess { gva, gpa, kind };
                match self.access_device(regs, access)? {
                    Emulated::Done | Emulated::Faulted => return Ok(()),
                    Emulated::No => {}
                }
                // As if nothing were mapped there.
                Access::from_error(trap.error).error(Presence::Absent)
            }
        };
        Ok(self.reflect_page_fault(regs, gva, error)?)
    }

    /// Delivers a page fault at `gva` to the guest's handler.
    pub(super) fn reflect_page_fault(
        &mut self,
        regs: &mut Registers,
        gva: Gva,
        error: u32,
    ) -> Result<(), Kill> {
        let address = gva.raw();
        self.cr2 = address;
        if let Some(shared) = self.data {
            self.memory
                .write_u32(shared.field(data::CR2), address)
                .map_err(Kill::from)?;
        }
        self.reflect(regs, PAGE_FAULT, Some(error), address)
    }

    /// Never inlined: registers and stack of the emulation would be a cost of every exit.
    #[inline(never)]
    fn general_protection(&mut self, regs: &mut Registers, error: u32) -> Result<(), Kill> {
        let mut error = error;
        if error == 0 {
            if self.emulate(regs)? != Emulated::No {
                return Ok(());
            }
        } else if error & ERROR_IDT != 0 {
            error = self.refused_interrupt(regs).unwrap_or(error);
        }
        self.reflect(regs, GENERAL_PROTECTION, Some(error), error)
    }

    /// Error code of a software interrupt that its gate's DPL refused: the vector times 8, plus 2
    /// (LG-069). Long-mode tables have 16-byte entries and some processors scale by that; the
    /// instruction has the vector itself.
    fn refused_interrupt(&self, regs: &Registers) -> Option<u32> {
        let vector = self.fetch(regs).software_interrupt()?;
        Some(u32::from(vector).wrapping_mul(8) | ERROR_IDT)
    }
}
