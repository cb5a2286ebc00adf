//! The processor's tables for everything that interrupts it, loaded before anything can go wrong.

use crate::descriptors::{Gate, HOST_CS, HOST_TSS, LiveGdt, TablePointer, TaskState, host_entries};
use crate::entry_area::{ExceptionStack, entry_area};
use core::arch::asm;
use hv_abi::lguest::TRAP_HYPERCALL;
use hv_core::registers::Registers;
use x86_64::registers::control::{Cr4, Cr4Flags};

unsafe extern "C" {
    /// The first of 256 stubs, 16 bytes apart.
    static exit_stubs: u8;
}

/// Distance between two stubs of switcher.S.
const STUB_SIZE: u64 = 16;

/// Fills in and loads the descriptor tables and the task state segment. From here on an exception of
/// the host's own ends it with one line (`host_exception`), a machine check included. The guest's
/// part of the tables is empty until there is a [`Switch`](crate::switch::Switch).
///
/// # Safety
/// Called once, by the first code of the image, with the image mapped where it is linked and
/// interrupts off.
pub unsafe fn load() {
    let area = entry_area.get();
    // SAFETY: nobody else uses the area yet, and no table in it has been loaded.
    let (gdt, idt) = unsafe {
        let (registers, tss) = (&raw const (*area).registers, &raw mut (*area).tss);
        (*tss).rsp[0] = registers.addr() as u64 + size_of::<Registers>() as u64;
        for stack in ExceptionStack::ALL {
            (*tss).ist[stack as usize - 1] = stack.top();
        }
        (*tss).io_bitmap = size_of::<TaskState>() as u16;
        (*area).gdt.host = host_entries(tss.addr() as u64);
        (*area).idt = core::array::from_fn(gate);
        (&raw const (*area).gdt, &raw const (*area).idt)
    };
    let gdt = TablePointer {
        limit: size_of::<LiveGdt>() as u16 - 1,
        base: gdt.addr() as u64,
    };
    let idt = TablePointer {
        limit: size_of::<[Gate; 256]>() as u16 - 1,
        base: idt.addr() as u64,
    };
    // SAFETY: both tables are complete and static. HOST_CS is 64-bit code of DPL 0 in the new
    // table, so the far return lands in the same code; null data segments are what 64-bit code
    // needs, and the TSS descriptor is an available one of the right size. #MC has its gate and stack.
    unsafe {
        asm!(
            "lgdt [{gdt}]",
            "lidt [{idt}]",
            "push {cs}",
            "lea {scratch}, [rip + 2f]",
            "push {scratch}",
            "retfq",
            "2:",
            "xor {scratch:e}, {scratch:e}",
            "mov ds, {scratch:x}",
            "mov es, {scratch:x}",
            "mov fs, {scratch:x}",
            "mov gs, {scratch:x}",
            "mov ss, {scratch:x}",
            "lldt {scratch:x}",
            "ltr {tss:x}",
            gdt = in(reg) &raw const gdt,
            idt = in(reg) &raw const idt,
            cs = in(reg) HOST_CS as u64,
            tss = in(reg) HOST_TSS,
            scratch = out(reg) _,
        );
        Cr4::write(Cr4::read() | Cr4Flags::MACHINE_CHECK_EXCEPTION);
    }
}

fn gate(vector: usize) -> Gate {
    let ist = match vector {
        1 => ExceptionStack::Debug as u8,
        2 => ExceptionStack::Nmi as u8,
        8 => ExceptionStack::DoubleFault as u8,
        18 => ExceptionStack::MachineCheck as u8,
        _ => 0,
    };
    let privilege = if vector == TRAP_HYPERCALL as usize {
        1
    } else {
        0
    };
    Gate::new(stub(vector as u8), ist, privilege)
}

/// Address of the stub of `vector`.
pub(crate) fn stub(vector: u8) -> u64 {
    (&raw const exit_stubs).addr() as u64 + u64::from(vector) * STUB_SIZE
}
