//! Accesses to device memory: the faulting instruction is carried out here, one access at a time.
//!
//! The guest's tables allow the access; only there is nothing that could be mapped. What cannot be
//! carried out is a page fault of the guest's: an instruction without a meaning here, an operand that
//! straddles pages, an address between devices.

use super::Lguest;
use super::emulate::{Emulated, selector};
use super::operands::{Effect, MemoryInstruction, Operand, Strides};
use crate::address::{Gpa, Gva, PAGE_SIZE};
use crate::device::{Devices, NoDevice, Width};
use crate::kill::Kill;
use crate::memory::GuestMemory;
use crate::paging::{Access, Presence, Privilege};
use crate::personality::{AccessKind, Fault, Mmu};
use crate::registers::{Registers, eflags};

/// Direction flag: string instructions go down.
const DIRECTION: u32 = 1 << 10;

/// Where an operand is, with its address translated.
#[derive(Clone, Copy)]
enum Place {
    Value(u32),
    Register(super::operands::Part),
    Device(Gpa, Width),
    Ram(Gpa, Width),
}

/// The access that faulted.
#[derive(Clone, Copy)]
pub(super) struct DeviceAccess {
    pub(super) gva: Gva,
    pub(super) gpa: Gpa,
    /// What it was allowed for, which is all that the guest's tables were asked.
    pub(super) kind: AccessKind,
}

impl<M: GuestMemory, U: Mmu, D: Devices> Lguest<M, U, D> {
    /// Carries out the instruction at CS:EIP, which made `access`.
    pub(super) fn access_device(
        &mut self,
        regs: &mut Registers,
        access: DeviceAccess,
    ) -> Result<Emulated, Kill> {
        if !self.gdt.descriptor(regs.cs).is_code_32() {
            return Ok(Emulated::No);
        }
        let code = self.fetch(regs);
        let Some(instruction) = MemoryInstruction::decode(code.bytes(), regs) else {
            return Ok(Emulated::No);
        };
        let count_left = !instruction.strides.repeated || regs.ecx != 0;
        if count_left {
            if let Some(error) = self.refused_write(regs, &instruction, access)? {
                self.reflect_page_fault(regs, access.gva, error)?;
                return Ok(Emulated::Faulted);
            }
            let Some(places) = self.places(regs, &instruction, access)? else {
                return Ok(Emulated::No);
            };
            if self.carry_out(regs, &instruction, places)?.is_err() {
                return Ok(Emulated::No);
            }
            advance(regs, instruction.strides, instruction.first.1);
        }
        if !instruction.strides.repeated || regs.ecx == 0 {
            regs.eip = regs.eip.wrapping_add(instruction.length);
        }
        regs.eflags &= !eflags::RF;
        self.counters.emulated = self.counters.emulated.wrapping_add(1);
        self.interrupts.note_single_step(regs);
        Ok(Emulated::Done)
    }

    /// The error code of the page fault with which the guest's tables refuse to have `access` written to, for an
    /// instruction whose fault was one of reading: those that read first may fault so, and nobody has asked
    /// about writing yet.
    fn refused_write(
        &mut self,
        regs: &Registers,
        instruction: &MemoryInstruction,
        access: DeviceAccess,
    ) -> Result<Option<u32>, Kill> {
        let Operand::Memory(segment, offset) = instruction.first.0 else {
            return Ok(None);
        };
        let base = self.gdt.descriptor(selector(segment, regs)).base();
        let is_there = base.wrapping_add(offset) == access.gva.raw();
        let was_asked = access.kind == AccessKind::Write;
        if was_asked || !is_there || instruction.effect == Effect::Compare {
            return Ok(None);
        }
        let write = Access {
            kind: AccessKind::Write,
            privilege: match regs.privilege_level() {
                3 => Privilege::User,
                _ => Privilege::Supervisor,
            },
        };
        let error = write.error(Presence::Absent);
        Ok(
            match self.mmu.page_fault(&self.memory, access.gva, error)? {
                Fault::Reflect { error } => Some(error),
                Fault::Device(_) | Fault::Repaired => None,
            },
        )
    }

    /// Both operands' places; `None` when one has none, or neither is the device.
    fn places(
        &mut self,
        regs: &Registers,
        instruction: &MemoryInstruction,
        access: DeviceAccess,
    ) -> Result<Option<[Place; 2]>, Kill> {
        let first = self.place(regs, instruction.first, access, AccessKind::Write)?;
        let second = self.place(regs, instruction.second, access, AccessKind::Read)?;
        let places = first.zip(second).map(|(first, second)| [first, second]);
        // Without one the guest has changed the instruction since the processor saw it.
        let has_device =
            |places: &[Place; 2]| (places.iter()).any(|place| matches!(place, Place::Device(..)));
        Ok(places.filter(has_device))
    }

    fn place(
        &mut self,
        regs: &Registers,
        (operand, width): (Operand, Width),
        access: DeviceAccess,
        kind: AccessKind,
    ) -> Result<Option<Place>, Kill> {
        let (segment, offset) = match operand {
            Operand::Register(part) => return Ok(Some(Place::Register(part))),
            Operand::Immediate(value) => return Ok(Some(Place::Value(value))),
            Operand::Memory(segment, offset) => (segment, offset),
        };
        let base = self.gdt.descriptor(selector(segment, regs)).base();
        let gva = Gva::new(base.wrapping_add(offset));
        if gva == access.gva {
            return Ok(Some(Place::Device(access.gpa, width)));
        }
        // The other operand of a string instruction. The host reads and writes with the kernel's
        // rights, which ring 3 must not borrow.
        let inside_page = gva.page_offset().saturating_add(width.bytes()) <= PAGE_SIZE;
        if regs.privilege_level() != 1 || !inside_page {
            return Ok(None);
        }
        let gpa = self.mmu.guest_access(&self.memory, gva, kind)?;
        Ok(gpa.ok().map(|gpa| Place::Ram(gpa, width)))
    }

    fn carry_out(
        &mut self,
        regs: &mut Registers,
        instruction: &MemoryInstruction,
        [first, second]: [Place; 2],
    ) -> Result<Result<(), NoDevice>, Kill> {
        let exchanges = instruction.effect == Effect::Exchange;
        let Ok(source) = self.read_place(regs, second)? else {
            return Ok(Err(NoDevice));
        };
        let old = if instruction.compute.needs_first() || exchanges {
            let Ok(old) = self.read_place(regs, first)? else {
                return Ok(Err(NoDevice));
            };
            old
        } else {
            0
        };
        let width = instruction.first.1;
        let (value, flags) = instruction.compute.apply(old, source, width, regs.eflags);
        if instruction.effect != Effect::Compare && self.write_place(regs, first, value)?.is_err() {
            return Ok(Err(NoDevice));
        }
        if exchanges && self.write_place(regs, second, old)?.is_err() {
            return Ok(Err(NoDevice));
        }
        regs.eflags = flags;
        Ok(Ok(()))
    }

    fn read_place(
        &mut self,
        regs: &Registers,
        place: Place,
    ) -> Result<Result<u32, NoDevice>, Kill> {
        Ok(match place {
            Place::Value(value) => Ok(value),
            Place::Register(part) => Ok(part.read(regs)),
            Place::Device(at, width) => self.devices.memory_read(at, width),
            Place::Ram(at, width) => {
                let mut bytes = [0; 4];
                let used = bytes.get_mut(..width.bytes() as usize).unwrap_or_default();
                self.memory.read(at, used)?;
                Ok(u32::from_le_bytes(bytes))
            }
        })
    }

    fn write_place(
        &mut self,
        regs: &mut Registers,
        place: Place,
        value: u32,
    ) -> Result<Result<(), NoDevice>, Kill> {
        match place {
            Place::Value(_) => {}
            Place::Register(part) => part.write(regs, value),
            Place::Device(at, width) => {
                match self.devices.memory_write(&self.memory, at, width, value) {
                    Ok(work) => self.interrupts.note_work(work),
                    Err(NoDevice) => return Ok(Err(NoDevice)),
                }
            }
            Place::Ram(at, width) => {
                let bytes = value.to_le_bytes();
                let used = bytes.get(..width.bytes() as usize).unwrap_or_default();
                self.memory.write(at, used)?;
            }
        }
        Ok(Ok(()))
    }
}

/// After one element of a string: the index registers move on and the count goes down.
fn advance(regs: &mut Registers, strides: Strides, width: Width) {
    let step = if regs.eflags & DIRECTION == 0 {
        width.bytes()
    } else {
        width.bytes().wrapping_neg()
    };
    if strides.source {
        regs.esi = regs.esi.wrapping_add(step);
    }
    if strides.destination {
        regs.edi = regs.edi.wrapping_add(step);
    }
    if strides.repeated {
        regs.ecx = regs.ecx.wrapping_sub(1);
    }
}
