//! The guest kernel's stack, and the host's accesses to stacks on the kernel's behalf.

use super::{Changes, Lguest, refused_on_entry};
use crate::address::{Gpa, Gva, PAGE_SIZE};
use crate::device::Devices;
use crate::kill::Kill;
use crate::memory::GuestMemory;
use crate::personality::{AccessKind, Mmu};
use crate::registers::Registers;
use hv_abi::lguest::GUEST_PL;

/// Most pages that SET_STACK may ask to have pinned (3.2).
const MAX_PAGES: u32 = 2;

/// Bytes of the largest frame: error code, EIP, CS, EFLAGS, ESP and SS.
const MAX_FRAME: usize = 24;

/// Where traps from ring 3 go: SS1 and ESP1 of the guest's task state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct KernelStack {
    pub(super) selector: u32,
    pub(super) pointer: u32,
}

impl<M: GuestMemory, U: Mmu, D: Devices> Lguest<M, U, D> {
    /// SET_STACK.
    pub(super) fn set_stack(
        &mut self,
        selector: u32,
        pointer: u32,
        pages: u32,
    ) -> Result<(), Kill> {
        if selector & 3 != u32::from(GUEST_PL) {
            return Err(Kill::BadStackSegment(selector));
        }
        if pages > MAX_PAGES {
            return Err(Kill::BadStackPages(pages));
        }
        if selector == self.stack.selector {
            self.changes.add(Changes::STACK_POINTER);
        } else {
            self.note_syscall_changed();
        }
        self.stack = KernelStack { selector, pointer };
        self.mmu.set_stack(&self.memory, Gva::new(pointer), pages)
    }

    /// Linear address of offset 0 of the ring-1 stack segment `selector`.
    ///
    /// The entry that follows loads SS from the same descriptor. One that cannot be loaded ends the
    /// guest there, so it ends it here, for the same reason. Stacks with a 16-bit pointer end it
    /// too: a frame would have to wrap inside 64 KiB, and no kernel has its stack in one.
    pub(super) fn stack_base(&self, selector: u32, regs: &Registers) -> Result<u32, Kill> {
        let descriptor = self.gdt.descriptor(selector);
        if !descriptor.is_kernel_stack() {
            return Err(refused_on_entry(regs, selector));
        }
        Ok(descriptor.base())
    }

    /// Writes a frame at `start`.
    #[inline]
    pub(super) fn write_stack(&mut self, start: Gva, frame: &[u32]) -> Result<(), Kill> {
        if start.page_offset() > PAGE_SIZE.wrapping_sub(bytes_of(frame)) {
            return self.write_stack_across(start, frame);
        }
        let at = self.stack_page(start, AccessKind::Write)?;
        Ok(self.memory.write_words(at, frame)?)
    }

    /// Writes a frame that lies in two pages.
    ///
    /// Both are translated before the first byte is written: the stack may lie in the very
    /// tables that translate it, and the frame must go where the tables said when the trap came.
    #[inline(never)]
    fn write_stack_across(&mut self, start: Gva, frame: &[u32]) -> Result<(), Kill> {
        let mut bytes = [0; MAX_FRAME];
        for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(frame) {
            *bytes = word.to_le_bytes();
        }
        let bytes = bytes.get(..bytes_of(frame) as usize).unwrap_or_default();
        let (low, high) = bytes.split_at(in_first_page(start, bytes.len()));
        let low_at = self.stack_page(start, AccessKind::Write)?;
        let next_page = start.page_start().wrapping_add(PAGE_SIZE);
        let high_at = self.stack_page(next_page, AccessKind::Write)?;
        self.memory.write(low_at, low)?;
        Ok(self.memory.write(high_at, high)?)
    }

    /// Reads the word at `start`, which may cross into another page.
    pub(super) fn read_stack(&mut self, start: Gva) -> Result<u32, Kill> {
        let mut word = [0; 4];
        let (low, high) = word.split_at_mut(in_first_page(start, 4));
        let low_at = self.stack_page(start, AccessKind::Read)?;
        self.memory.read(low_at, low)?;
        if !high.is_empty() {
            let next_page = start.page_start().wrapping_add(PAGE_SIZE);
            let high_at = self.stack_page(next_page, AccessKind::Read)?;
            self.memory.read(high_at, high)?;
        }
        Ok(u32::from_le_bytes(word))
    }

    /// A stack that faults leaves the host nowhere to put the fault: on a processor it would be a
    /// double fault, whose handler no guest can have.
    fn stack_page(&mut self, gva: Gva, kind: AccessKind) -> Result<Gpa, Kill> {
        const PRESENT: u32 = 1 << 0;
        self.mmu
            .guest_access(&self.memory, gva, kind)?
            .map_err(|error| {
                if error & PRESENT == 0 {
                    Kill::Unmapped(gva)
                } else {
                    Kill::BadStackPage(gva)
                }
            })
    }
}

/// Bytes of a frame; it has a few words.
pub(super) fn bytes_of(frame: &[u32]) -> u32 {
    (frame.len() as u32).wrapping_mul(4)
}

/// How many of `length` bytes from `start` lie in the page of `start`.
pub(super) fn in_first_page(start: Gva, length: usize) -> usize {
    let room = PAGE_SIZE.wrapping_sub(start.page_offset()) as usize;
    length.min(room)
}
