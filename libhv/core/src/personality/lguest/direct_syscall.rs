//! System calls that the switcher delivers by itself.
//!
//! `int $0x80` from ring 3 needs nothing of the host as long as the guest's handler, its stack and its segments are the
//! plain ones of a working kernel. What the switcher then does is what [`reflect`](super::reflect) would do, and here is
//! all that it has to know; whatever it cannot do, a stack that is not mapped to begin with, comes here as any
//! other trap.

use super::gates::GateKind;
use super::{Changes, Lguest};
use crate::address::{Gfn, Hpa, PAGE_SIZE};
use crate::device::Devices;
use crate::memory::GuestMemory;
use crate::personality::Mmu;
use crate::segment::Descriptor;
use hv_abi::lguest::{KERNEL_CS, SYSCALL_VECTOR, data};

/// From which rings a gate has to be open.
const RING_3: u8 = 3;

/// Where the last word of a page begins.
const LAST_WORD: u32 = PAGE_SIZE - 4;

/// How to deliver a system call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DirectSyscall {
    /// The handler's first instruction, in the flat kernel code segment.
    pub handler: u32,
    /// What its gate does to the virtual interrupt flag.
    pub kind: GateKind,
    /// The kernel's stack segment, flat.
    pub stack_selector: u32,
    /// The kernel's stack pointer before anything is pushed.
    pub stack_pointer: u32,
    /// Where the guest's `irq_enabled` is, which lies in one page.
    pub irq_enabled: Hpa,
}

impl<M: GuestMemory, U: Mmu, D: Devices> Lguest<M, U, D> {
    /// How the switcher may deliver the guest's system calls; `None` if it may not. Ask again after
    /// [`Changes::GDT`], [`Changes::GATES`] or [`Changes::SYSCALL`].
    pub fn direct_syscall(&self) -> Option<DirectSyscall> {
        let shared = self.data?;
        let gate = self.gates.get(self.syscall_vector)?;
        let stack = self.gdt.descriptor(self.stack.selector);
        let plain = self.syscall_vector == SYSCALL_VECTOR
            && gate.privilege == RING_3
            && stack.is_kernel_stack()
            && stack.base() == 0
            && self.gdt.descriptor(KERNEL_CS.into()) == Descriptor::FLAT_CODE;
        let irq_enabled = shared.field(data::IRQ_ENABLED);
        // The switcher sees one page of the guest's.
        let in_one_page = irq_enabled.page_offset() <= LAST_WORD;
        let frame = self.memory.host_frame(Gfn::containing(irq_enabled))?;
        (plain && in_one_page).then_some(DirectSyscall {
            handler: gate.handler,
            kind: gate.kind,
            stack_selector: self.stack.selector,
            stack_pointer: self.stack.pointer,
            irq_enabled: frame.wrapping_add(irq_enabled.page_offset().into()),
        })
    }

    /// Something that [`Lguest::direct_syscall`] depends on has changed.
    pub(super) fn note_syscall_changed(&mut self) {
        self.changes.add(Changes::SYSCALL);
    }
}
