//! The lguest ABI: what a 32-bit guest and its host agree on.
//!
//! There never was one ABI: guest and host were expected to be built from the same kernel. What differs
//! between the generations is in [`Generation`], one table for each in [`generations`]; what does not
//! differ is here. All quantities are 32-bit little-endian.

pub mod dma_page;
mod generation;
pub mod generations;
pub mod virtio_page;

pub use generation::{
    Arguments, BootTables, DataLayout, DeviceBus, Entry, Family, Generation, Hypercall, IdtLimit,
    KernelFields, KernelVersion, Noirq, RecordForm, Records, Silence, Slot, TopIndex, Transport,
    Tsc,
};

/// Privilege level of the guest's kernel.
pub const GUEST_PL: u16 = 1;
/// Selector of the guest kernel's code segment (GDT entry 12, RPL 1).
pub const KERNEL_CS: u16 = 0x61;
/// Selector of the guest kernel's data segment (GDT entry 13, RPL 1).
pub const KERNEL_DS: u16 = 0x69;
/// Entries in the guest's descriptor table.
pub const GDT_ENTRIES: usize = 32;
/// First of the three thread-local entries that LOAD_TLS replaces.
pub const TLS_FIRST: usize = 6;
/// Thread-local entries.
pub const TLS_ENTRIES: usize = 3;
/// Entries that a guest may send but that never reach the live table: the historical host's own
/// segments (10, 11), its TSS (16) and the double-fault TSS (31).
pub const GDT_IGNORED: [usize; 4] = [10, 11, 16, 31];
/// Vectors whose gates a guest cannot set: NMI, double fault, 15 (reserved) and the hypercall itself.
pub const IDT_IGNORED: [u8; 4] = [2, 8, 15, TRAP_HYPERCALL];
/// Vector of the hypercall instruction `int $0x1f`.
pub const TRAP_HYPERCALL: u8 = 31;
/// Vector of the guest's first virtual interrupt.
pub const FIRST_IRQ_VECTOR: u8 = 32;
/// Virtual interrupts.
pub const IRQS: u32 = 32;
/// The system call vector of Linux.
pub const SYSCALL_VECTOR: u8 = 0x80;
/// The system call vector of Plan 9, which hosts of 2.6.24 could be told to allow.
pub const SYSCALL_VECTOR_PLAN_9: u8 = 0x40;
/// Where Linux maps its RAM, unless it was configured otherwise.
pub const PAGE_OFFSET: u32 = 0xc000_0000;
/// Stands before the entry point in images of generation G1.
pub const ENTRY_MARKER: &[u8] = b"GenuineLguest";
/// Bytes of `vmcall`, by which G3 guests ask.
pub const VMCALL: [u8; 3] = [0x0f, 0x01, 0xc1];
/// What the host puts in its place: `int $0x1f; nop`.
pub const PATCHED_VMCALL: [u8; 3] = [0xcd, 0x1f, 0x90];
/// Bit 9 of `irq_enabled` and `irq_pending`: the virtual interrupt flag, as in EFLAGS.
pub const IF: u32 = 0x200;
/// Bytes that SHUTDOWN reads of its message.
pub const SHUTDOWN_MESSAGE: usize = 128;
/// The message of a guest that powers off in good order; any other text is a crash.
pub const POWER_DOWN: &str = "Power down";
/// Second argument of SHUTDOWN: restart. Anything else is power-off.
pub const SHUTDOWN_RESTART: u32 = 2;
/// Bytes below 4 GiB that a guest is told to leave alone. Nothing of this host lives there; Linux
/// subtracts the value when it lays out its fixmap, and the historical value keeps that layout.
pub const RESERVE_MEM: u32 = 4 << 20;

/// Fields of `struct lguest_data` that are at the same byte offset in every generation. The others are
/// in [`DataLayout`].
pub mod data {
    /// Virtual EFLAGS; only bit 9 means anything to the host.
    pub const IRQ_ENABLED: u32 = 0x000;
    /// One bit an interrupt; set = masked.
    pub const BLOCKED_INTERRUPTS: u32 = 0x004;
    /// Address of the last reflected page fault.
    pub const CR2: u32 = 0x008;
    /// Wall clock: seconds, then nanoseconds.
    pub const TIME: u32 = 0x00c;
    /// Slots in the ring.
    pub const RING_SLOTS: u32 = 64;
    /// Status of an empty slot; any other value means ready.
    pub const SLOT_EMPTY: u8 = 0xff;
}

/// `struct lguest_dma`, by which guests of generation G1 name buffers: 100 bytes.
pub mod dma {
    /// Buffers that a guest can have bound at a time.
    pub const MAX_BINDINGS: usize = 32;
    /// Sections of one `lguest_dma`; a length of 0 ends them earlier.
    pub const SECTIONS: u32 = 16;
    /// Byte offset of the number of bytes transferred; 0 while it is free.
    pub const USED_LEN: u32 = 0;
    /// Byte offset of the sections' addresses, 32 bits each.
    pub const ADDRESSES: u32 = 4;
    /// Byte offset of the sections' lengths, 16 bits each.
    pub const LENGTHS: u32 = 68;
    /// Bytes of the structure.
    pub const SIZE: usize = 100;
    /// Key of the console.
    pub const CONSOLE_KEY: u32 = 0;
}

/// The boot page at guest-physical 0 (`struct boot_params` of the Linux boot protocol): byte offsets.
pub mod boot {
    /// Number of e820 entries, one byte.
    pub const E820_ENTRIES: u32 = 0x1e8;
    /// Start of the setup header that a bzImage carries in its own file.
    pub const SETUP_HEADER: u32 = 0x1f1;
    /// Version of the boot protocol, two bytes.
    pub const VERSION: u32 = 0x206;
    /// The version a loader claims that has no file header to copy.
    pub const VERSION_VALUE: u16 = 0x207;
    /// Type of the loader, one byte; 0 hides the initrd from the kernel.
    pub const TYPE_OF_LOADER: u32 = 0x210;
    /// "No registered loader".
    pub const LOADER_UNDEFINED: u8 = 0xff;
    /// Load flags, one byte.
    pub const LOADFLAGS: u32 = 0x211;
    /// The kernel must not reload its segment registers.
    pub const KEEP_SEGMENTS: u8 = 0x40;
    /// Address of the initrd.
    pub const RAMDISK_IMAGE: u32 = 0x218;
    /// Size of the initrd.
    pub const RAMDISK_SIZE: u32 = 0x21c;
    /// Address of the command line.
    pub const CMD_LINE_PTR: u32 = 0x228;
    /// Alignment a relocatable kernel rounds its load address to.
    pub const KERNEL_ALIGNMENT: u32 = 0x230;
    /// 16 MiB.
    pub const KERNEL_ALIGNMENT_VALUE: u32 = 0x100_0000;
    /// Sub-architecture: 1 is lguest.
    pub const HARDWARE_SUBARCH: u32 = 0x23c;
    /// Value of `HARDWARE_SUBARCH`.
    pub const SUBARCH_LGUEST: u32 = 1;
    /// First e820 entry: 64-bit address, 64-bit size, 32-bit type.
    pub const E820_MAP: u32 = 0x2d0;
    /// e820 type of usable RAM.
    pub const E820_RAM: u32 = 1;
    /// Where the command line goes.
    pub const COMMAND_LINE: u32 = 0x1000;
    /// Bytes that a kernel copies from there, its NUL included.
    pub const COMMAND_LINE_SIZE: usize = 2048;
}
