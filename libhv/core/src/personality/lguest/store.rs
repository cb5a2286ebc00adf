//! `sgdt`, `sidt`, `sldt`, `str` and `smsw`, which run in every ring and store what is the host's.
//!
//! Where the processor can refuse them the host has it do so (CR4.UMIP, Intel SDM volume 3, 2.5), and
//! carries them out here, for ring 3 too: neither kernels of this ABI nor their programs expect a fault.
//! They find a processor after reset (SDM volume 3, table 10-1): tables at 0 with the largest limit, and
//! null selectors. `smsw` stores the CR0 that the guest would read.

use super::Lguest;
use super::decode::{Place, Segment, SystemRegister};
use super::emulate::{Emulated, selector};
use super::stack::in_first_page;
use crate::address::{Gpa, Gva};
use crate::device::Devices;
use crate::kill::Kill;
use crate::memory::GuestMemory;
use crate::paging::{Access, AccessKind, Presence, Privilege};
use crate::personality::{Fault, Mmu};
use crate::registers::Registers;

/// Limit, then base, as in memory.
const TABLE_AFTER_RESET: [u8; 6] = [0xff, 0xff, 0, 0, 0, 0];
const NULL_SELECTOR: u32 = 0;

impl<M: GuestMemory, U: Mmu, D: Devices> Lguest<M, U, D> {
    /// Stores what stands for `register`. Rare, so it stays out of the path that every exit takes.
    #[cold]
    #[inline(never)]
    pub(super) fn store(
        &mut self,
        regs: &mut Registers,
        register: SystemRegister,
        place: Place,
    ) -> Result<Emulated, Kill> {
        let value = match register {
            SystemRegister::MachineStatus => self.control_register(0),
            SystemRegister::Selector | SystemRegister::Table => NULL_SELECTOR,
        };
        match place {
            Place::Register(general, width) => {
                let kept = general.read(regs) & !width.ones();
                general.write(regs, kept | value & width.ones());
                Ok(Emulated::Done)
            }
            Place::Memory(segment, offset) if register == SystemRegister::Table => {
                self.store_bytes(regs, segment, offset, &TABLE_AFTER_RESET)
            }
            // To memory it is a word, whatever the operand size.
            Place::Memory(segment, offset) => {
                let [low, high, ..] = value.to_le_bytes();
                self.store_bytes(regs, segment, offset, &[low, high])
            }
        }
    }

    /// Writes as the guest would have, or faults as it would have, before the first byte.
    fn store_bytes(
        &mut self,
        regs: &mut Registers,
        segment: Segment,
        offset: u32,
        bytes: &[u8],
    ) -> Result<Emulated, Kill> {
        let descriptor = self.gdt.descriptor(selector(segment, regs));
        if segment == Segment::Cs || !descriptor.is_present() {
            return Ok(Emulated::No);
        }
        let mut at = Gva::new(descriptor.base().wrapping_add(offset));
        let (low, high) = bytes.split_at(in_first_page(at, bytes.len()));
        let mut parts = [(Gpa::from(0), low), (Gpa::from(0), high)];
        for (place, part) in &mut parts {
            if part.is_empty() {
                continue;
            }
            match self.written_page(regs, at)? {
                Ok(gpa) => *place = gpa,
                Err(error) => {
                    self.reflect_page_fault(regs, at, error)?;
                    return Ok(Emulated::Faulted);
                }
            }
            at = at.wrapping_add(part.len() as u32);
        }
        for (place, part) in parts {
            self.memory.write(place, part).map_err(Kill::from)?;
        }
        Ok(Emulated::Done)
    }

    /// Where the running ring may write at `gva`; else the error code of its page fault.
    fn written_page(&mut self, regs: &Registers, gva: Gva) -> Result<Result<Gpa, u32>, Kill> {
        let privilege = if regs.privilege_level() == 3 {
            Privilege::User
        } else {
            Privilege::Supervisor
        };
        let kind = AccessKind::Write;
        let error = Access { kind, privilege }.error(Presence::Absent);
        match self.mmu.page_fault(&self.memory, gva, error)? {
            Fault::Reflect { error } => Ok(Err(error)),
            // No kernel keeps descriptor tables in a device: as if nothing were mapped there.
            Fault::Device(_) => Ok(Err(error)),
            Fault::Repaired => Ok(self.mmu.translate(&self.memory, gva).ok_or(error)),
        }
    }
}
