//! The lguest ABI, in all its generations: 32-bit kernels in ring 1 that ask by `int $0x1f`.
//!
//! One file for each thing that a guest can see: `hypercall` and the `ring` that queues calls, `init`
//! and `shutdown` at either end of its life, its `gates`, its traps (`trap`), the frames that
//! `reflect` them and those that the switcher makes itself (`direct_syscall`), virtual `interrupts`, the privileged instructions that `decode` recognises and
//! `emulate` carries out, and the instructions on `device_memory`, with their `operands` and
//! `arithmetic`. Of old generations only: their `dma`, the texts that they `notify` of, and
//! their `vmcall`. What differs between generations is asked of one table, [`Generation`], which
//! `detect` settles at the first call. Numbers in comments, such as LG-020 or A17, are those of the ABI page's
//! checklist and additions.

mod arithmetic;
mod counters;
mod data;
mod decode;
mod detect;
mod device_memory;
mod direct_syscall;
mod dma;
mod emulate;
mod gates;
mod hypercall;
mod init;
mod interrupts;
mod notify;
mod operands;
mod reflect;
mod ring;
mod shutdown;
mod stack;
mod store;
mod trap;
mod vmcall;

#[cfg(test)]
mod tests;

pub use counters::Counters;
pub use direct_syscall::DirectSyscall;
pub use gates::GateKind;
pub use operands::prepare_decoder;

use super::{End, Mmu, Ts};
use crate::address::Gpa;
use crate::device::Devices;
use crate::generation::Choice;
use crate::kill::{Hint, Kill};
use crate::load::boot_tables::Plan;
use crate::load::{Linux, Start};
use crate::memory::GuestMemory;
use crate::registers::{Registers, eflags};
use crate::segment::GuestGdt;
use data::Data;
use detect::Likely;
use dma::Bindings;
use gates::Gates;
use hv_abi::lguest::{
    GDT_ENTRIES, Generation, KERNEL_CS, KERNEL_DS, SYSCALL_VECTOR, TRAP_HYPERCALL,
};
use interrupts::Interrupts;
use reflect::Nesting;
use ring::{Cursor, Ring};
use stack::KernelStack;

/// What the hardware must be told before the next entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Changes(u8);

impl Changes {
    /// [`Lguest::gdt`] has a different descriptor somewhere.
    pub const GDT: Changes = Changes(1 << 0);
    /// [`Lguest::gate_privilege`] has a different answer for some vector.
    pub const GATES: Changes = Changes(1 << 1);
    /// [`Lguest::task_switched`] has a different answer.
    pub const TS: Changes = Changes(1 << 2);
    /// [`Lguest::direct_syscall`] has a different answer; it may also after the first two.
    pub const SYSCALL: Changes = Changes(1 << 3);
    /// [`Lguest::deadline`] may be earlier than it was.
    pub const CLOCK: Changes = Changes(1 << 4);
    /// Of [`Lguest::direct_syscall`], the stack pointer alone: that happens at every switch of tasks.
    pub const STACK_POINTER: Changes = Changes(1 << 5);
    /// Everything: where a new guest starts.
    pub const ALL: Changes = Changes(63);

    /// Whether there is nothing to tell.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether [`Lguest::direct_syscall`] may have a different answer.
    pub const fn concern_syscalls(self) -> bool {
        self.0 & (Self::GDT.0 | Self::GATES.0 | Self::SYSCALL.0) != 0
    }

    /// Whether `change` is among them.
    pub const fn contains(self, change: Changes) -> bool {
        self.0 & change.0 == change.0
    }

    fn add(&mut self, change: Changes) {
        self.0 |= change.0;
    }
}

/// One guest's virtual processor.
#[derive(Debug)]
pub struct Lguest<M, U, D> {
    memory: M,
    mmu: U,
    devices: D,
    /// What the guest speaks; until LGUEST_INIT, what it is taken for.
    generation: &'static Generation,
    choice: Choice,
    /// Another generation that the first call would have suited.
    likely: Likely,
    /// Where its kernel has its RAM.
    page_offset: u32,
    /// Root of the tables that it started on.
    boot_root: Option<Gpa>,
    /// Room for such tables.
    boot_tables: Option<Plan>,
    /// What its image said about how it was built.
    linux: Linux,
    /// `None` until LGUEST_INIT; nothing but that call is served before.
    data: Option<Data>,
    cursor: Cursor,
    ring: Ring,
    gdt: GuestGdt,
    gates: Gates,
    /// Vector of the guest's system calls.
    syscall_vector: u8,
    /// Buffers that a G1 guest has bound.
    dma: Bindings,
    stack: KernelStack,
    ts: Ts,
    /// Argument of the last NEW_PGTABLE: the guest's CR3.
    root: Gpa,
    /// Address of the last reflected page fault: the guest's CR2.
    cr2: u32,
    /// The guest's DR6, as far as there is one: BS after a reflected single step.
    debug_status: u32,
    interrupts: Interrupts,
    nesting: Nesting,
    changes: Changes,
    counters: Counters,
}

impl<M: GuestMemory, U: Mmu, D: Devices> Lguest<M, U, D> {
    /// A guest that has not run yet; its image is in `memory` already, and `mmu` is at its root.
    pub fn new(memory: M, mmu: U, devices: D, start: &Start) -> Self {
        let (mut memory, mut devices) = (memory, devices);
        memory.choose_bus(start.generation.devices);
        devices.choose_bus(&memory, start.generation.devices);
        Self {
            memory,
            mmu,
            devices,
            generation: start.generation,
            choice: start.choice,
            likely: None,
            page_offset: start.page_offset,
            boot_root: start.root,
            boot_tables: start.tables,
            linux: start.linux,
            data: None,
            cursor: Cursor::default(),
            ring: Ring::default(),
            gdt: GuestGdt::new(),
            gates: Gates::default(),
            syscall_vector: SYSCALL_VECTOR,
            dma: Bindings::default(),
            stack: KernelStack::default(),
            ts: Ts::Clear,
            root: start.root.unwrap_or_default(),
            cr2: 0,
            debug_status: 0,
            interrupts: Interrupts::default(),
            nesting: Nesting::default(),
            changes: Changes::ALL,
            counters: Counters::default(),
        }
    }

    /// What the user may have got wrong, for a guest that ended with `kill`.
    pub fn hint(&self, kill: &Kill) -> Option<Hint> {
        let guess = self.data.is_none() && self.linux == Linux::Compressed;
        guess.then(|| Hint::new(kill)).flatten()
    }

    /// The registers of a guest's first entry at `start` (LG-001 to LG-004).
    pub fn entry_registers(start: u32) -> Registers {
        Registers {
            eip: start,
            cs: u32::from(KERNEL_CS),
            ds: u32::from(KERNEL_DS),
            es: u32::from(KERNEL_DS),
            ss: u32::from(KERNEL_DS),
            eflags: eflags::FORCED,
            ..Registers::default()
        }
    }

    /// The guest's memory.
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// Its memory translation.
    pub fn mmu(&self) -> &U {
        &self.mmu
    }

    /// Its memory translation, to change it.
    pub fn mmu_mut(&mut self) -> &mut U {
        &mut self.mmu
    }

    /// Its devices.
    pub fn devices_mut(&mut self) -> &mut D {
        &mut self.devices
    }

    /// What the guest speaks; before its first call, what it is taken for.
    pub fn generation(&self) -> &'static Generation {
        self.generation
    }

    /// What happened so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The descriptors that the live table must hold at indices 0 to 31: allow-listed and fixed up.
    /// Entries 0, 10, 11, 16 and 31 are always zero and may be used by the host.
    pub fn gdt(&self) -> &[u64; GDT_ENTRIES] {
        self.gdt.entries()
    }

    /// DPL of the live gate for `vector`: from which rings `int` may raise it (lguest-abi 8.6).
    ///
    /// Only the hypercall, breakpoints, overflow and system calls are open to software; everything
    /// else has DPL 0, so that no guest can raise a vector that means something else to the host.
    pub fn gate_privilege(&self, vector: u8) -> u8 {
        match vector {
            TRAP_HYPERCALL => 1,
            vector if self.opens_to_software(vector) => self.gates.privilege(vector),
            _ => 0,
        }
    }

    /// CR0.TS as the guest wants it.
    pub fn task_switched(&self) -> Ts {
        self.ts
    }

    /// Whether [`Lguest::take_changes`] has something to tell.
    #[inline]
    pub fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// What changed since this was last asked.
    pub fn take_changes(&mut self) -> Changes {
        core::mem::take(&mut self.changes)
    }

    /// Whether the live gate for `vector` takes the guest's DPL.
    fn opens_to_software(&self, vector: u8) -> bool {
        const BREAKPOINT: u8 = 3;
        const OVERFLOW: u8 = 4;
        matches!(vector, BREAKPOINT | OVERFLOW) || vector == self.syscall_vector
    }

    fn set_ts(&mut self, ts: Ts) {
        if self.ts != ts {
            self.ts = ts;
            self.changes.add(Changes::TS);
        }
    }

    /// The processor refused the guest's segments or its return address: the state that `regs` has
    /// cannot be entered (LG-062).
    pub fn on_entry_fault(&mut self, regs: &Registers) -> End {
        refused_on_entry(regs, regs.error).into()
    }
}

/// The reason for a state that the processor refuses on entry: vector 256, which is none.
fn refused_on_entry(regs: &Registers, detail: u32) -> Kill {
    Kill::UnhandledTrap {
        vector: 256,
        eip: regs.eip,
        detail,
    }
}
