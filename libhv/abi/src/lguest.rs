//! The lguest ABI: what a 32-bit guest and its host agree on.
//!
//! Offsets are those of Linux 4.4 to 4.13 (generation G5); all quantities are 32-bit little-endian.

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
/// The system call vector that `syscall_vec` has to name.
pub const SYSCALL_VECTOR: u32 = 0x80;
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

/// Hypercall numbers, in EAX; arguments in EBX, ECX, EDX, ESI.
pub mod hypercall {
    /// Does nothing beyond draining the ring.
    pub const FLUSH_ASYNC: u32 = 0;
    /// EBX: guest-physical address of `lguest_data`.
    pub const LGUEST_INIT: u32 = 1;
    /// EBX: guest-physical address of a message; ECX: 1 power off, 2 restart.
    pub const SHUTDOWN: u32 = 2;
    /// EBX: guest-physical address of the new root.
    pub const NEW_PGTABLE: u32 = 4;
    /// EBX: 0 for user mappings of the current root, anything else for everything.
    pub const FLUSH_TLB: u32 = 5;
    /// EBX: vector; ECX, EDX: low and high word of the gate.
    pub const LOAD_IDT_ENTRY: u32 = 6;
    /// EBX: stack selector; ECX: stack top; EDX: pages to pin.
    pub const SET_STACK: u32 = 7;
    /// EBX: the guest's CR0.TS.
    pub const TS: u32 = 8;
    /// EBX: nanoseconds until the timer interrupt, 0 to cancel.
    pub const SET_CLOCKEVENT: u32 = 9;
    /// Sleeps until an interrupt is deliverable.
    pub const HALT: u32 = 10;
    /// PAE only: a middle-level entry changed.
    pub const SET_PMD: u32 = 13;
    /// EBX: root; ECX: address; EDX: entry, low word; ESI: high word with PAE.
    pub const SET_PTE: u32 = 14;
    /// EBX: root; ECX: index of the top-level entry that changed.
    pub const SET_PGD: u32 = 15;
    /// EBX: guest-physical address of three descriptors; ECX: ignored.
    pub const LOAD_TLS: u32 = 16;
    /// EBX: index; ECX, EDX: low and high word of the descriptor.
    pub const LOAD_GDT_ENTRY: u32 = 18;
    /// Does nothing beyond letting pending interrupts in.
    pub const SEND_INTERRUPTS: u32 = 19;
}

/// `struct lguest_data`, generation G5: byte offsets.
pub mod data {
    /// Virtual EFLAGS; only bit 9 means anything to the host.
    pub const IRQ_ENABLED: u32 = 0x000;
    /// One bit an interrupt; set = masked.
    pub const BLOCKED_INTERRUPTS: u32 = 0x004;
    /// Address of the last reflected page fault.
    pub const CR2: u32 = 0x008;
    /// Wall clock: seconds, then nanoseconds.
    pub const TIME: u32 = 0x00c;
    /// 0x200 while an interrupt waits for `irq_enabled`.
    pub const IRQ_PENDING: u32 = 0x014;
    /// Status bytes of the ring.
    pub const HCALL_STATUS: u32 = 0x018;
    /// Slots of the ring.
    pub const HCALLS: u32 = 0x058;
    /// Bytes at the top of the address space that the guest leaves alone.
    pub const RESERVE_MEM: u32 = 0x558;
    /// Rate of the time-stamp counter, or 0.
    pub const TSC_KHZ: u32 = 0x55c;
    /// Address of the guest's final `iret`.
    pub const NOIRQ_IRET: u32 = 0x560;
    /// At and above this address all page tables are the same.
    pub const KERNEL_ADDRESS: u32 = 0x564;
    /// The guest's system call vector.
    pub const SYSCALL_VEC: u32 = 0x568;
    /// Size of the structure.
    pub const SIZE: u32 = 0x56c;
    /// Slots in the ring.
    pub const RING_SLOTS: u32 = 64;
    /// Bytes in a slot: EAX, EBX, ECX, EDX, ESI.
    pub const SLOT_SIZE: u32 = 20;
    /// Status of an empty slot; any other value means ready.
    pub const SLOT_EMPTY: u8 = 0xff;
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
