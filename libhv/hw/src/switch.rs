//! The contract with switcher.S: one owner, one way in, one way out.

use crate::descriptors::{Gate, HOST_CS, HOST_TSS, TablePointer, TaskState};
use crate::entry_area::{EntryArea, ExceptionStack, entry_area};
use core::arch::{asm, global_asm};
use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, Ordering};
use hv_abi::lguest::{GDT_ENTRIES, TRAP_HYPERCALL};
use hv_core::address::Hpa;
use hv_core::registers::Registers;
use x86_64::registers::control::{Cr0, Cr0Flags, Cr2, Cr3, Cr4, Cr4Flags};
use x86_64::registers::model_specific::{Efer, EferFlags, Msr};

global_asm!(
    include_str!("../../../switcher.S"),
    eax = const offset_of!(Registers, eax),
    ebx = const offset_of!(Registers, ebx),
    ecx = const offset_of!(Registers, ecx),
    edx = const offset_of!(Registers, edx),
    esi = const offset_of!(Registers, esi),
    edi = const offset_of!(Registers, edi),
    ebp = const offset_of!(Registers, ebp),
    ds = const offset_of!(Registers, ds),
    es = const offset_of!(Registers, es),
    fs = const offset_of!(Registers, fs),
    gs = const offset_of!(Registers, gs),
    vector = const offset_of!(Registers, vector),
    error = const offset_of!(Registers, error),
    eip = const offset_of!(Registers, eip),
    cs = const offset_of!(Registers, cs),
    eflags = const offset_of!(Registers, eflags),
    registers = const offset_of!(EntryArea, registers),
    xmm = const offset_of!(EntryArea, xmm),
    host_rsp = const offset_of!(EntryArea, host_rsp),
    entry_cr3 = const offset_of!(EntryArea, entry_cr3),
    exit_cr3 = const offset_of!(EntryArea, exit_cr3),
    task_switched = const offset_of!(EntryArea, task_switched),
    reload_segments = const offset_of!(EntryArea, reload_segments),
    idle_vector = const offset_of!(EntryArea, idle_vector),
    nmi_count = const offset_of!(EntryArea, nmi_count),
    mce_count = const offset_of!(EntryArea, mce_count),
    options(att_syntax)
);

unsafe extern "C" {
    /// The first of 256 stubs, 16 bytes apart.
    static exit_stubs: u8;
}

/// Distance between two stubs of switcher.S.
const STUB_SIZE: u64 = 16;
/// SYSENTER's code selector; 0 makes the instruction a #GP (Intel SDM volume 2, SYSENTER).
const IA32_SYSENTER_CS: u32 = 0x174;

/// Whether the host is mapped beside the guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Isolation {
    /// The host's half stays mapped, supervisor and global: an exit loads no CR3. Code of 32-bit
    /// guests cannot form an address above 4 GiB.
    Shared,
    /// Only the switcher and the entry area are mapped while the guest runs.
    Isolated,
}

/// Why the guest stopped running.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HwExit {
    /// A trap or software interrupt: vectors 0 to 31, and gates that the guest opened.
    Trap {
        /// Vector.
        vector: u8,
        /// Error code, or 0.
        error: u32,
        /// Address of a page fault; meaningless for other vectors. May exceed 32 bits on processors
        /// that do not wrap an access across 4 GiB.
        cr2: u64,
    },
    /// An interrupt of the host's own.
    Interrupt(u8),
    /// The processor refused to load the guest's state.
    Refused,
}

/// The CR0.TS that the guest runs with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TaskSwitched {
    /// FPU instructions trap.
    Set,
    /// FPU instructions run.
    Clear,
}

static TAKEN: AtomicBool = AtomicBool::new(false);

/// The processor's world switch. There is one, and it owns the entry area.
pub struct Switch {
    isolation: Isolation,
    guest_root: Hpa,
}

impl Switch {
    /// Loads the host's descriptor tables and control registers. `guest_root` is the PML4 that the
    /// guest runs on; in shared mode it maps all of the host and stays loaded from the first entry.
    ///
    /// # Panics
    /// On a second call: two owners would share one entry area.
    pub fn take(isolation: Isolation, host_root: Hpa, guest_root: Hpa) -> Self {
        assert!(
            !TAKEN.swap(true, Ordering::Relaxed),
            "the world switch has an owner"
        );
        let mut switch = Self {
            isolation,
            guest_root,
        };
        switch.load_tables();
        switch.set_control_registers();
        let area = switch.area();
        // The first entry loads the data segments from the guest's initial registers.
        area.reload_segments = 1;
        match isolation {
            Isolation::Shared => switch.flush(),
            Isolation::Isolated => {
                area.entry_cr3 = guest_root.raw();
                area.exit_cr3 = host_root.raw();
            }
        }
        switch
    }

    fn area(&mut self) -> &'static mut EntryArea {
        // SAFETY: `self` is the only `Switch` (see `take`), every caller lets go of the reference
        // before the next call, and the switcher writes only while `enter` or `idle` run. NMI and
        // #MC stubs write only their counters, which no other code writes.
        unsafe { &mut *entry_area.get() }
    }

    fn load_tables(&mut self) {
        let area = self.area();
        area.tss.rsp[0] = (&raw const area.registers).addr() as u64 + size_of::<Registers>() as u64;
        for stack in ExceptionStack::ALL {
            area.tss.ist[stack as usize - 1] = stack.top();
        }
        area.tss.io_bitmap = size_of::<TaskState>() as u16;
        let stubs = (&raw const exit_stubs).addr() as u64;
        for (vector, gate) in area.idt.iter_mut().enumerate() {
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
            *gate = Gate::new(stubs + vector as u64 * STUB_SIZE, ist, privilege);
        }
        area.gdt
            .set_host_entries((&raw const area.tss).addr() as u64);
        let gdt = TablePointer {
            limit: size_of_val(&area.gdt) as u16 - 1,
            base: (&raw const area.gdt).addr() as u64,
        };
        let idt = TablePointer {
            limit: size_of_val(&area.idt) as u16 - 1,
            base: (&raw const area.idt).addr() as u64,
        };
        // SAFETY: both tables are complete and static. HOST_CS is 64-bit code of DPL 0 in the new
        // table, so the far return lands in the same code; null data segments are what 64-bit code
        // needs, and the TSS descriptor is an available one of the right size.
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
        }
    }

    fn set_control_registers(&self) {
        let mut cr4 = Cr4Flags::PHYSICAL_ADDRESS_EXTENSION
            | Cr4Flags::OSFXSR
            | Cr4Flags::OSXMMEXCPT_ENABLE
            | Cr4Flags::MACHINE_CHECK_EXCEPTION;
        if self.isolation == Isolation::Shared {
            // Global translations of the host would outlive the CR3 load that isolation is about.
            cr4 |= Cr4Flags::PAGE_GLOBAL;
        }
        // SAFETY: the host runs in long mode with paging on and keeps both; SMEP and SMAP stay off
        // because a guest kernel in ring 1 is supervisor to paging and runs and reads user pages.
        // WP makes read-only hold for that ring, AM lets a guest's EFLAGS.AC work in ring 3, and
        // without SCE and SYSENTER_CS there is no way into ring 0 but the gates.
        unsafe {
            Cr4::write(cr4);
            Cr0::write(
                Cr0Flags::PROTECTED_MODE_ENABLE
                    | Cr0Flags::MONITOR_COPROCESSOR
                    | Cr0Flags::EXTENSION_TYPE
                    | Cr0Flags::NUMERIC_ERROR
                    | Cr0Flags::WRITE_PROTECT
                    | Cr0Flags::ALIGNMENT_MASK
                    | Cr0Flags::PAGING,
            );
            Efer::write(Efer::read() & !EferFlags::SYSTEM_CALL_EXTENSIONS);
            Msr::new(IA32_SYSENTER_CS).write(0);
        }
    }

    /// The guest's registers, valid between exits.
    pub fn registers(&mut self) -> &mut Registers {
        &mut self.area().registers
    }

    /// Tour 3. Runs the guest until something needs the host. EFLAGS must have been sanitised.
    pub fn enter(&mut self) -> HwExit {
        let refused: u32;
        // SAFETY: the entry area is set up (`take`); the guest's PML4 maps the switcher and the
        // entry area, and beside them nothing of the host below 4 GiB; the host comes back by
        // `leave_guest` with its stack, RBX and RBP as they were. Interrupts are off here and on
        // while the guest runs. All else that the guest may change is declared.
        unsafe {
            asm!(
                "call enter_guest",
                out("eax") refused,
                out("r12") _, out("r13") _, out("r14") _, out("r15") _,
                clobber_abi("C"),
            );
        }
        if refused != 0 {
            return HwExit::Refused;
        }
        let registers = self.registers();
        let vector = registers.vector as u8;
        match vector {
            14 => HwExit::Trap {
                vector,
                error: registers.error,
                cr2: Cr2::read_raw(),
            },
            // The guest's system calls, Plan 9's and Linux's; the host's interrupt controllers never use
            // these vectors.
            0..32 | 0x40 | 0x80 => HwExit::Trap {
                vector,
                error: registers.error,
                cr2: 0,
            },
            _ => HwExit::Interrupt(vector),
        }
    }

    /// Sleeps until an interrupt and returns its vector, or `None` when something else woke the
    /// processor.
    pub fn idle(&mut self) -> Option<u8> {
        let vector: u64;
        // SAFETY: `idle` keeps every register but RAX; interrupts that arrive in it return to it.
        unsafe { asm!("call idle", out("rax") vector) };
        (vector != 0).then_some(vector as u8)
    }

    /// Replaces the guest's part of the descriptor table; the next entry reloads all selectors, so
    /// one that lost its descriptor is refused there.
    pub fn load_gdt(&mut self, entries: &[u64; GDT_ENTRIES]) {
        self.save_segments();
        let area = self.area();
        area.gdt.set_guest_entries(entries);
        area.reload_segments = 1;
    }

    /// Reads the data selectors into the registers. The host never loads them, so they are still
    /// the guest's, unless the registers hold newer ones that have not been loaded yet.
    pub fn save_segments(&mut self) {
        let area = self.area();
        if area.reload_segments != 0 {
            return;
        }
        let (ds, es, fs, gs): (u16, u16, u16, u16);
        // SAFETY: reads four registers.
        unsafe {
            asm!(
                "mov {0:x}, ds", "mov {1:x}, es", "mov {2:x}, fs", "mov {3:x}, gs",
                out(reg) ds, out(reg) es, out(reg) fs, out(reg) gs,
                options(nomem, nostack, preserves_flags)
            );
        }
        area.registers.ds = ds as u32;
        area.registers.es = es as u32;
        area.registers.fs = fs as u32;
        area.registers.gs = gs as u32;
    }

    /// Lets `int vector` through from rings up to `privilege`.
    pub fn set_gate_privilege(&mut self, vector: u8, privilege: u8) {
        self.area().idt[vector as usize].set_privilege(privilege);
    }

    /// Sets the CR0.TS of the guest.
    pub fn set_task_switched(&mut self, ts: TaskSwitched) {
        self.area().task_switched = (ts == TaskSwitched::Set) as u8;
    }

    /// Forgets every translation of the guest. In isolated mode each entry does so anyway.
    pub fn flush(&mut self) {
        if self.isolation == Isolation::Shared {
            let (_, flags) = Cr3::read();
            let frame = x86_64::structures::paging::PhysFrame::containing_address(
                x86_64::PhysAddr::new(self.guest_root.raw()),
            );
            // SAFETY: the guest's PML4 maps the whole host, as the running one does.
            unsafe { Cr3::write(frame, flags) };
        }
    }

    /// Forgets the guest's translation of the page at `address`.
    pub fn flush_page(&mut self, address: u32) {
        if self.isolation == Isolation::Shared {
            x86_64::instructions::tlb::flush(x86_64::VirtAddr::new(address as u64));
        }
    }

    /// NMIs taken since start.
    pub fn nmi_count(&mut self) -> u64 {
        // SAFETY: aligned and always mapped; volatile because the NMI stub changes it at any time.
        unsafe { (&raw const (*entry_area.get()).nmi_count).read_volatile() }
    }
}
