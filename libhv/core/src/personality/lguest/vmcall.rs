//! `vmcall`, by which G3 guests ask: replaced by the hypercall proper where the guest executes it (2.2).

use super::Lguest;
use crate::address::{Gpa, Gva};
use crate::device::Devices;
use crate::kill::{InitRefusal, Kill};
use crate::memory::GuestMemory;
use crate::personality::Mmu;
use crate::registers::Registers;
use hv_abi::lguest::{PATCHED_VMCALL, Transport, VMCALL};

/// Whether there was a `vmcall` that is none any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Patched {
    /// There was; it is executed again, as what it is now.
    Yes,
    /// The trap is about something else.
    No,
}

impl<M: GuestMemory, U: Mmu, D: Devices> Lguest<M, U, D> {
    /// Looks for `vmcall` at EIP of ring 1, after #UD, and replaces it (LG-026); from ring 3 it is the
    /// invalid opcode that it is (LG-027).
    ///
    /// The three bytes are the guest's own memory, which the host writes where the guest's tables say
    /// that they are. No shadow has to go for it: guest and host see the same frames.
    #[cold]
    pub(super) fn patch_vmcall(&mut self, regs: &Registers) -> Result<Patched, Kill> {
        let first_call = self.data.is_none();
        let possible = first_call || self.generation.transport == Transport::IntOrVmcall;
        if !possible || regs.privilege_level() != 1 {
            return Ok(Patched::No);
        }
        let Some(places) = self.vmcall_at(regs) else {
            return Ok(Patched::No);
        };
        if first_call && self.generation.transport == Transport::Int {
            self.settle_on_vmcall()?;
            if self.generation.transport == Transport::Int {
                return Err(Kill::Init {
                    refusal: InitRefusal::Vmcall(regs.eip),
                    likely: self.likely,
                });
            }
        }
        for (place, byte) in places.into_iter().zip(PATCHED_VMCALL) {
            self.memory.write(place, &[byte])?;
        }
        Ok(Patched::Yes)
    }

    /// Where the bytes of the `vmcall` at CS:EIP are, which may be in two pages.
    fn vmcall_at(&self, regs: &Registers) -> Option<[Gpa; VMCALL.len()]> {
        let base = self.gdt.descriptor(regs.cs).base();
        let mut gva = Gva::new(base.wrapping_add(regs.eip));
        let mut places = [Gpa::default(); VMCALL.len()];
        for (place, wanted) in places.iter_mut().zip(VMCALL) {
            *place = self.mmu.translate(&self.memory, gva)?;
            let mut byte = [0];
            self.memory.read(*place, &mut byte).ok()?;
            if byte != [wanted] {
                return None;
            }
            gva = gva.wrapping_add(1);
        }
        Some(places)
    }
}
