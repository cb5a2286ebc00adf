//! Privileged instructions of ring 1 that have a virtual meaning.
//!
//! A kernel that uses its hooks never comes here. Kernels forget some, most often before they have a
//! handler for the fault (A12 to A18). `cli` and `sti` are skipped, as the historical host does:
//! the flag that counts is `irq_enabled`, which the guest writes itself. Of ring 3 only what is not
//! privileged is emulated (`store`).

use super::Lguest;
use super::decode::{Code, Operation, Port, Segment};
use super::trap::GENERAL_PROTECTION;
use crate::address::{Gva, PAGE_SIZE};
use crate::device::{Devices, Width};
use crate::kill::Kill;
use crate::memory::GuestMemory;
use crate::personality::{LeafChange, Mmu, Ts};
use crate::registers::{Registers, eflags};
use hv_abi::lguest::GUEST_PL;

/// CR0 as a guest sees it: PG, WP, NE, ET, MP and PE, as any kernel of this kind sets them.
const CR0: u32 = 0x8001_0033;
const CR0_TS: u32 = 1 << 3;

/// MSRs that kernels touch without a fix-up, even after they have a #GP handler (A15).
const UNGUARDED_MSRS: [u32; 4] = [0x48, 0x49, 0xc001_011f, 0xc000_0082];

/// Whether an instruction was emulated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Emulated {
    /// Registers are as after it.
    Done,
    /// It has a fault of its own, which has been delivered to the guest.
    Faulted,
    /// It has no meaning here; registers are as before it.
    No,
}

impl<M: GuestMemory, U: Mmu, D: Devices> Lguest<M, U, D> {
    /// The instruction at CS:EIP, as far as its pages are mapped.
    ///
    /// The processor has fetched it with the guest's rights already, so none are asked for here.
    pub(super) fn fetch(&self, regs: &Registers) -> Code {
        let mut code = Code::default();
        let base = self.gdt.descriptor(regs.cs).base();
        let mut at = Gva::new(base.wrapping_add(regs.eip));
        // Fifteen bytes lie in two pages at most.
        for _page in 0..2 {
            let rest = PAGE_SIZE.wrapping_sub(at.page_offset());
            let room = code.room();
            let count = room.len().min(rest as usize);
            let Some(gpa) = self.mmu.translate(&self.memory, at) else {
                break;
            };
            let Some(into) = room.get_mut(..count) else {
                break;
            };
            if self.memory.read(gpa, into).is_err() {
                break;
            }
            code.fetched(count);
            at = at.wrapping_add(rest);
        }
        code
    }

    /// Emulates the instruction at CS:EIP, which faulted with #GP(0).
    pub(super) fn emulate(&mut self, regs: &mut Registers) -> Result<Emulated, Kill> {
        if !self.gdt.descriptor(regs.cs).is_code_32() {
            return Ok(Emulated::No);
        }
        let Some(instruction) = self.fetch(regs).decode(regs) else {
            return Ok(Emulated::No);
        };
        let privileged = !matches!(instruction.operation, Operation::Store(..));
        if privileged && u16::from(regs.privilege_level()) != GUEST_PL {
            return Ok(Emulated::No);
        }
        let emulated = self.perform(regs, instruction.operation)?;
        if emulated != Emulated::Done {
            return Ok(emulated);
        }
        regs.eip = regs.eip.wrapping_add(instruction.length);
        regs.eflags &= !eflags::RF;
        self.counters.emulated = self.counters.emulated.wrapping_add(1);
        self.interrupts.note_single_step(regs);
        Ok(Emulated::Done)
    }

    fn perform(&mut self, regs: &mut Registers, operation: Operation) -> Result<Emulated, Kill> {
        match operation {
            Operation::In(port, width) => self.port_in(regs, port, width),
            Operation::Out(port, width) => {
                let value = regs.eax & width.ones();
                let work =
                    (self.devices).port_write(&self.memory, number(port, regs), width, value);
                self.interrupts.note_work(work);
            }
            Operation::Nothing | Operation::WriteControl => {}
            Operation::Halt => self.halt(regs)?,
            Operation::ClearTs => self.set_ts(Ts::Clear),
            Operation::ReadControl(control, register) => {
                register.write(regs, self.control_register(control));
            }
            Operation::ReadDebug(debug, register) => {
                let value = if is_status(debug) {
                    self.debug_status
                } else {
                    0
                };
                register.write(regs, value);
            }
            Operation::WriteDebug(debug) => {
                if is_status(debug) {
                    self.debug_status = 0;
                }
            }
            Operation::ReadMsr | Operation::WriteMsr if !self.has_msr(regs.ecx) => {
                return Ok(Emulated::No);
            }
            Operation::ReadMsr => {
                regs.eax = 0;
                regs.edx = 0;
            }
            Operation::WriteMsr => {}
            Operation::Store(register, place) => return self.store(regs, register, place),
            Operation::InvalidatePage(segment, offset) => {
                let descriptor = self.gdt.descriptor(selector(segment, regs));
                if !descriptor.is_present() {
                    return Ok(Emulated::No);
                }
                let gva = Gva::new(descriptor.base().wrapping_add(offset));
                let root = self.root;
                let change = LeafChange {
                    root,
                    gva,
                    entry: 0,
                };
                self.mmu.set_pte(&self.memory, change)?;
            }
        }
        Ok(Emulated::Done)
    }

    /// `in`: only the bits of the access change (LG-152).
    fn port_in(&mut self, regs: &mut Registers, port: Port, width: Width) {
        let value = self
            .devices
            .port_read(&self.memory, number(port, regs), width);
        regs.eax = regs.eax & !width.ones() | value & width.ones();
    }

    /// `hlt`: sleep, if something can end it (A17).
    fn halt(&mut self, regs: &Registers) -> Result<(), Kill> {
        match self.data {
            Some(shared) if shared.interrupts_enabled(&self.memory)? => {
                self.interrupts.halt();
                Ok(())
            }
            _ => Err(Kill::Stopped(regs.eip)),
        }
    }

    pub(super) fn control_register(&self, number: u8) -> u32 {
        match (number, self.ts) {
            (0, Ts::Clear) => CR0,
            (0, Ts::Set) => CR0 | CR0_TS,
            (2, _) => self.cr2,
            (3, _) => self.root.raw() as u32,
            // CR4: this guest has none of its features.
            _ => 0,
        }
    }

    /// Whether the MSR reads 0 and ignores writes. Before the guest can handle the fault, all do.
    fn has_msr(&self, msr: u32) -> bool {
        self.gates.get(GENERAL_PROTECTION).is_none() || UNGUARDED_MSRS.contains(&msr)
    }
}

/// DR6, or DR4, which is another name for it.
fn is_status(debug: u8) -> bool {
    matches!(debug, 4 | 6)
}

fn number(port: Port, regs: &Registers) -> u16 {
    match port {
        Port::Immediate(port) => u16::from(port),
        Port::Dx => regs.edx as u16,
    }
}

pub(super) fn selector(segment: Segment, regs: &Registers) -> u32 {
    match segment {
        Segment::Es => regs.es,
        Segment::Cs => regs.cs,
        Segment::Ss => regs.ss,
        Segment::Ds => regs.ds,
        Segment::Fs => regs.fs,
        Segment::Gs => regs.gs,
    }
}
