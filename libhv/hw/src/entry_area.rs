//! The entry area: everything the processor and the switcher touch between host and guest.
//!
//! It has a section of its own in the image, because in isolated mode it and the switcher are all
//! that is mapped beside the guest.

use crate::descriptors::{Gate, LiveGdt, TaskState};
use core::cell::UnsafeCell;
use core::sync::atomic::AtomicU64;
use hv_core::registers::Registers;

/// Bytes of a stack that exceptions with a stack of their own run on.
const EXCEPTION_STACK: usize = 8192;

/// One of the guest's XMM registers.
#[derive(Clone, Copy, Default)]
#[repr(C, align(16))]
pub struct Xmm(pub [u8; 16]);

/// Layout shared with the processor (descriptor tables, TSS) and with switcher.S (`offset_of!`).
#[repr(C, align(4096))]
pub struct EntryArea {
    /// The interrupt descriptor table, for guest and host alike.
    pub idt: [Gate; 256],
    /// The descriptor table: the guest's 32 entries, then the host's.
    pub gdt: LiveGdt,
    /// The task state segment: where exits find their stacks.
    pub tss: TaskState,
    /// The guest's registers; TSS.RSP0 is their end.
    pub registers: Registers,
    /// The guest's XMM0 to XMM7; compatibility-mode code reaches no more.
    pub xmm: [Xmm; 8],
    /// The host's stack pointer while the guest runs.
    pub host_rsp: u64,
    /// What to load into CR3 on entry; 0 leaves it alone (shared mode). See [`Unusual::isolated`].
    pub entry_cr3: u64,
    /// What to load into CR3 on exit; as above.
    pub exit_cr3: u64,
    /// What `iretq` loads to start the guest's system call handler: EIP, CS, EFLAGS, ESP and SS.
    pub syscall_frame: [u64; 5],
    /// Address of the guest's `irq_enabled`, in the window.
    pub syscall_irq_enabled: u64,
    /// System calls that the switcher delivered by itself.
    pub syscalls: u64,
    /// Vector of the interrupt that ended `idle`.
    pub idle_vector: u64,
    /// NMIs taken. Their stub counts at any moment, whatever else runs.
    pub nmi_count: AtomicU64,
    /// Machine checks survived; as above.
    pub mce_count: AtomicU64,
    /// What entries and exits do beyond the usual.
    pub unusual: Unusual,
    /// The time-stamp counter at the last entry and the last exit. Only images with the feature `profile` write here.
    pub entered: u64,
    /// As above.
    pub left: u64,
}

/// Bytes that are 0 usually: all of them are one test on entry, and the first two one on exit.
#[repr(C, align(4))]
pub struct Unusual {
    /// Not 0: the guest runs with CR0.TS set.
    pub task_switched: u8,
    /// Not 0: CR3 is loaded, both ways.
    pub isolated: u8,
    /// Not 0: the next entry loads DS, ES, FS and GS from the registers.
    pub reload_segments: u8,
    /// Nothing.
    pub reserved: u8,
}

/// The processor aligns RSP0 down to 16 before it pushes; the frame has to end there.
const _: () = assert!(size_of::<Registers>().is_multiple_of(16));
const _: () = assert!(core::mem::offset_of!(Registers, eip) + 40 == size_of::<Registers>());
/// A TSS that crosses a page may be read in part (Intel SDM volume 3, 8.2.1).
const _: () =
    assert!(core::mem::offset_of!(EntryArea, tss) % 4096 + size_of::<TaskState>() <= 4096);

/// A stack with a page below it that host paging leaves unmapped.
#[repr(C, align(4096))]
pub struct GuardedStack {
    guard: [u8; 4096],
    stack: [u8; EXCEPTION_STACK],
}

/// Exceptions that never run on whatever stack is current.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum ExceptionStack {
    /// #DB: a guest can delay it into the first instruction of a stub.
    Debug = 1,
    /// NMI.
    Nmi = 2,
    /// #DF.
    DoubleFault = 3,
    /// #MC.
    MachineCheck = 4,
}

impl ExceptionStack {
    /// All of them, in the order of their interrupt stack table slots.
    pub const ALL: [Self; 4] = [
        Self::Debug,
        Self::Nmi,
        Self::DoubleFault,
        Self::MachineCheck,
    ];

    /// Address of the first byte past the stack.
    pub fn top(self) -> u64 {
        let index = self as u64 - 1;
        let first = (&raw const exception_stacks).addr() as u64;
        first + (index + 1) * size_of::<GuardedStack>() as u64
    }

    /// Address of the page below the stack that stays unmapped.
    pub fn guard(self) -> u64 {
        self.top() - size_of::<GuardedStack>() as u64
    }
}

/// A static that the processor, the switcher and one owner in Rust share. There is never a reference
/// to all of it: the processor reads the descriptor tables, and NMI and #MC count, at any moment.
#[repr(transparent)]
pub struct Shared<T>(UnsafeCell<T>);

// SAFETY: the host runs on one processor. Rust code makes references only to single fields: those of
// the guest's state through the one `Switch`, which lends them no longer than it is borrowed itself,
// so never while the switcher runs; counters as atomics. What the processor reads on its own, the
// descriptor tables, is written by whole words (`exceptions::load`, `Switch`).
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// A pointer to the contents.
    pub const fn get(&self) -> *mut T {
        self.0.get()
    }
}

/// The one entry area. switcher.S knows it by this name.
// SAFETY: all-zero bytes are a valid `EntryArea`: it has integers, atomic or not, and arrays of them only.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".entry.area")]
pub static entry_area: Shared<EntryArea> = Shared(UnsafeCell::new(unsafe { core::mem::zeroed() }));

/// A page of its own.
#[repr(C, align(4096))]
pub struct EmptyPage([u8; 4096]);

/// Where the switcher sees a page of the guest's; see [`Window`](crate::window::Window). The next page is the guard of a
/// stack and never mapped: an access that would run on from here faults.
// SAFETY: as above; a page is bytes.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".entry.window")]
pub static entry_window: Shared<EmptyPage> =
    Shared(UnsafeCell::new(unsafe { core::mem::zeroed() }));

// SAFETY: as above; the stacks are bytes.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".entry.stacks")]
static exception_stacks: Shared<[GuardedStack; 4]> =
    Shared(UnsafeCell::new(unsafe { core::mem::zeroed() }));
