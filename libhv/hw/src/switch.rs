//! The contract with switcher.S: one owner, one way in, one way out.

use crate::descriptors::Gate;
use crate::entry_area::{EntryArea, entry_area};
use crate::exceptions;
use crate::window::Window;
use core::arch::x86_64::{__cpuid, __cpuid_count};
use core::arch::{asm, global_asm};
use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, Ordering};
use hv_abi::lguest::{GDT_ENTRIES, KERNEL_CS, SYSCALL_VECTOR, TRAP_HYPERCALL};
use hv_core::address::Hpa;
use hv_core::fast_paths::{FastPath, FastPaths};
use hv_core::personality::lguest::{DirectSyscall, GateKind};
use hv_core::registers::{Registers, eflags};
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
    task_switched = const offset_of!(EntryArea, unusual.task_switched),
    reload_segments = const offset_of!(EntryArea, unusual.reload_segments),
    unusual_entry = const offset_of!(EntryArea, unusual),
    unusual_exit = const offset_of!(EntryArea, unusual),
    syscall_frame = const offset_of!(EntryArea, syscall_frame),
    syscall_irq_enabled = const offset_of!(EntryArea, syscall_irq_enabled),
    syscalls = const offset_of!(EntryArea, syscalls),
    frame_flags = const eflags::FRAME,
    not_handler_flags = const !(eflags::HANDLER | eflags::FORCED),
    refused = const REFUSED,
    idle_vector = const offset_of!(EntryArea, idle_vector),
    profile = const cfg!(feature = "profile") as u8,
    entered = const offset_of!(EntryArea, entered),
    left = const offset_of!(EntryArea, left),
    nmi_count = const offset_of!(EntryArea, nmi_count),
    mce_count = const offset_of!(EntryArea, mce_count),
    options(att_syntax)
);

const HYPERCALL: u32 = TRAP_HYPERCALL as u32;
const PAGE_FAULT: u32 = 14;
/// In the place of a vector: the processor refused to load the guest's state.
const REFUSED: u32 = 256;

/// SYSENTER's code selector; 0 makes the instruction a #GP (Intel SDM volume 2, SYSENTER).
const IA32_SYSENTER_CS: u32 = 0x174;

/// Whether the host is mapped beside the guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Isolation {
    /// The host's half stays mapped, supervisor and global: an exit loads no CR3. Code of 32-bit
    /// guests cannot form an address above 4 GiB.
    Shared,
    /// Only the switcher and the entry area are mapped beside the guest while it runs.
    Isolated,
}

/// Bytes of a frame from ring 3 on the guest kernel's stack.
const SYSCALL_FRAME_BYTES: u32 = 20;

/// Why the guest stopped running.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HwExit {
    /// `int $0x1f`.
    Hypercall,
    /// Another trap or software interrupt: vectors 0 to 31, and gates that the guest opened.
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

/// When the guest ran last, in counts of the time-stamp counter.
#[cfg(feature = "profile")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamps {
    /// The entry.
    pub entered: u64,
    /// The exit.
    pub left: u64,
}

/// The CR0.TS that the guest runs with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TaskSwitched {
    /// FPU instructions trap.
    Set,
    /// FPU instructions run.
    Clear,
}

/// Whether the processor can keep all rings but 0 from reading where its tables are (CPUID leaf 7, ECX
/// bit 2; Intel SDM volume 2, CPUID).
fn has_umip() -> bool {
    const FEATURES: u32 = 7;
    const UMIP: u32 = 1 << 2;
    __cpuid(0).eax >= FEATURES && __cpuid_count(FEATURES, 0).ecx & UMIP != 0
}

unsafe extern "C" {
    /// Handlers of the system call's vector that need nothing of the host.
    static syscall_by_trap_gate: u8;
    static syscall_by_interrupt_gate: u8;
}

static TAKEN: AtomicBool = AtomicBool::new(false);

/// The processor's world switch. There is one, and it owns the guest's state in the entry area.
///
/// That area is not its alone: the processor reads the descriptor tables, and NMI and #MC count, at
/// any moment. So references are made to one field at a time, and end before the switcher runs again
/// because they borrow the `Switch`.
pub struct Switch {
    isolation: Isolation,
    fast_paths: FastPaths,
    guest_root: Hpa,
    window: Window,
}

impl Switch {
    /// Sets the control registers for a guest. The descriptor tables are loaded already
    /// ([`exceptions::load`]). `guest_root` is the PML4 that the guest runs
    /// on; in shared mode it maps all of the host and stays loaded from the first entry. `window` is that PML4's.
    ///
    /// # Panics
    /// On a second call: two owners would share one entry area.
    pub fn take(
        isolation: Isolation,
        fast_paths: FastPaths,
        host_root: Hpa,
        guest_root: Hpa,
        window: Window,
    ) -> Self {
        assert!(
            !TAKEN.swap(true, Ordering::Relaxed),
            "the world switch has an owner"
        );
        let mut switch = Self {
            isolation,
            fast_paths,
            guest_root,
            window,
        };
        switch.set_control_registers();
        // The first entry loads the data segments from the guest's initial registers.
        switch.reload_segments(1);
        match isolation {
            Isolation::Shared => switch.flush(),
            Isolation::Isolated => {
                let area = entry_area.get();
                // SAFETY: only the switcher reads these words, and it does not run.
                unsafe {
                    (*area).entry_cr3 = guest_root.raw();
                    (*area).exit_cr3 = host_root.raw();
                    (*area).unusual.isolated = 1;
                }
            }
        }
        switch
    }

    fn reload_segments(&mut self, reload: u8) {
        // SAFETY: the switcher alone uses this byte beside us, and it does not run.
        unsafe { (*entry_area.get()).unusual.reload_segments = reload }
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
        if has_umip() {
            // sgdt and its kind show every ring where the host's tables are.
            cr4 |= Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION;
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
        // SAFETY: `self` is the only `Switch` (see `take`) and stays borrowed as long as the result,
        // so the switcher does not run; the processor writes here only on an exit from the guest.
        unsafe { &mut (*entry_area.get()).registers }
    }

    /// Tour 3. Runs the guest until something needs the host. EFLAGS must have been sanitised.
    pub fn enter(&mut self) -> HwExit {
        // SAFETY: the entry area is set up (`take`); the guest's PML4 maps the switcher and the
        // entry area, and beside them nothing of the host below 4 GiB; the host comes back by
        // `leave_guest` with its stack, RBX and RBP as they were. Interrupts are off here and on
        // while the guest runs. All else that the guest may change is declared.
        unsafe {
            asm!(
                "call enter_guest",
                out("r12") _, out("r13") _, out("r14") _, out("r15") _,
                clobber_abi("C"),
            );
        }
        let registers = self.registers();
        let vector = registers.vector;
        if vector == HYPERCALL {
            // Most exits are, and they need no look at the others.
            return HwExit::Hypercall;
        }
        let error = registers.error;
        match vector {
            PAGE_FAULT => HwExit::Trap {
                vector: vector as u8,
                error,
                cr2: Cr2::read_raw(),
            },
            // The guest's system calls, Plan 9's and Linux's; the host's interrupt controllers never use
            // these vectors.
            0..32 | 0x40 | 0x80 => HwExit::Trap {
                vector: vector as u8,
                error,
                cr2: 0,
            },
            REFUSED => HwExit::Refused,
            _ => HwExit::Interrupt(vector as u8),
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
        // SAFETY: the host's segment registers name no entry of the guest's, but for the data segments
        // that the next entry loads again; of this table an NMI or #MC reads the host's entries only.
        unsafe { (*entry_area.get()).gdt.guest = *entries };
        self.reload_segments(1);
    }

    /// Reads the data selectors into the registers. The host never loads them, so they are still
    /// the guest's, unless the registers hold newer ones that have not been loaded yet.
    pub fn save_segments(&mut self) {
        // SAFETY: the switcher alone uses this byte beside us, and it does not run.
        if unsafe { (*entry_area.get()).unusual.reload_segments } != 0 {
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
        let registers = self.registers();
        registers.ds = ds as u32;
        registers.es = es as u32;
        registers.fs = fs as u32;
        registers.gs = gs as u32;
    }

    /// Lets `int vector` through from rings up to `privilege`.
    pub fn set_gate_privilege(&mut self, vector: u8, privilege: u8) {
        self.change_gate(vector, |gate| gate.with_privilege(privilege));
    }

    /// Lets the switcher deliver the guest's system calls, or not. `call` has to hold until this is called again.
    pub fn set_direct_syscall(&mut self, call: Option<DirectSyscall>) {
        let handler = match call.filter(|_| self.fast_paths.contain(FastPath::Syscalls)) {
            None => exceptions::stub(SYSCALL_VECTOR),
            Some(call) => {
                let irq_enabled = self.window.show(call.irq_enabled);
                let area = entry_area.get();
                let esp = call.stack_pointer.wrapping_sub(SYSCALL_FRAME_BYTES);
                let words = [
                    call.handler,
                    KERNEL_CS.into(),
                    eflags::FORCED,
                    esp,
                    call.stack_selector,
                ];
                // SAFETY: only the switcher uses these words, and it does not run.
                unsafe {
                    (*area).syscall_frame = words.map(u64::from);
                    (*area).syscall_irq_enabled = irq_enabled;
                }
                match call.kind {
                    GateKind::Trap => (&raw const syscall_by_trap_gate).addr() as u64,
                    GateKind::Interrupt => (&raw const syscall_by_interrupt_gate).addr() as u64,
                }
            }
        };
        self.change_gate(SYSCALL_VECTOR, |gate| gate.with_handler(handler));
    }

    /// Lets the next direct system calls start on another stack in the segment that they have.
    pub fn set_syscall_stack_pointer(&mut self, pointer: u32) {
        const ESP: usize = 3;
        let esp = pointer.wrapping_sub(SYSCALL_FRAME_BYTES);
        // SAFETY: only the switcher uses this word, and it does not run.
        unsafe { (*entry_area.get()).syscall_frame[ESP] = esp.into() }
    }

    /// System calls that the switcher delivered by itself.
    pub fn direct_syscalls(&self) -> u64 {
        // SAFETY: the switcher alone uses this word beside us, and it does not run.
        unsafe { (*entry_area.get()).syscalls }
    }

    /// When the guest was entered and left last.
    #[cfg(feature = "profile")]
    pub fn stamps(&self) -> Stamps {
        let area = entry_area.get();
        // SAFETY: the switcher alone uses these words beside us, and it does not run.
        unsafe {
            Stamps {
                entered: (*area).entered,
                left: (*area).left,
            }
        }
    }

    fn change_gate(&mut self, vector: u8, change: impl FnOnce(Gate) -> Gate) {
        let area = entry_area.get();
        // SAFETY: inside the table, which `self` alone writes. The processor reads it at any moment, so
        // the compiler must not take it for scratch memory; it uses none of the gates that change while
        // the host runs, where neither the guest's traps nor its interrupts come from.
        unsafe {
            let gate = (&raw mut (*area).idt).cast::<Gate>().add(vector as usize);
            gate.write_volatile(change(gate.read_volatile()));
        }
    }

    /// Sets the CR0.TS of the guest.
    pub fn set_task_switched(&mut self, ts: TaskSwitched) {
        // SAFETY: the switcher alone uses this byte beside us, and it does not run.
        unsafe { (*entry_area.get()).unusual.task_switched = (ts == TaskSwitched::Set) as u8 }
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

    /// NMIs taken since start, whatever ran.
    pub fn nmi_count(&self) -> u64 {
        // SAFETY: a reference to the counter alone; all that writes it does so by whole words.
        unsafe { &(*entry_area.get()).nmi_count }.load(Ordering::Relaxed)
    }

    /// Machine checks since start after which the interrupted code went on.
    pub fn machine_check_count(&self) -> u64 {
        // SAFETY: as in `nmi_count`.
        unsafe { &(*entry_area.get()).mce_count }.load(Ordering::Relaxed)
    }
}
