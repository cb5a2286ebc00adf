//! Numbers and offsets of generation G5, written out anew: a slip in the tables shows.

pub(super) mod data {
    pub(crate) const IRQ_ENABLED: u32 = 0x000;
    pub(crate) const BLOCKED_INTERRUPTS: u32 = 0x004;
    pub(crate) const CR2: u32 = 0x008;
    pub(crate) const TIME: u32 = 0x00c;
    pub(crate) const IRQ_PENDING: u32 = 0x014;
    pub(crate) const HCALL_STATUS: u32 = 0x018;
    pub(crate) const RESERVE_MEM: u32 = 0x558;
    pub(crate) const TSC_KHZ: u32 = 0x55c;
    pub(crate) const NOIRQ_IRET: u32 = 0x560;
    pub(crate) const KERNEL_ADDRESS: u32 = 0x564;
    pub(crate) const SYSCALL_VEC: u32 = 0x568;
    pub(crate) const SIZE: u32 = 0x56c;
}

pub(super) mod hypercall {
    pub(crate) const FLUSH_ASYNC: u32 = 0;
    pub(crate) const LGUEST_INIT: u32 = 1;
    pub(crate) const SHUTDOWN: u32 = 2;
    pub(crate) const LOAD_GDT: u32 = 3;
    pub(crate) const NEW_PGTABLE: u32 = 4;
    pub(crate) const FLUSH_TLB: u32 = 5;
    pub(crate) const LOAD_IDT_ENTRY: u32 = 6;
    pub(crate) const SET_STACK: u32 = 7;
    pub(crate) const TS: u32 = 8;
    pub(crate) const SET_CLOCKEVENT: u32 = 9;
    pub(crate) const HALT: u32 = 10;
    pub(crate) const BIND_DMA: u32 = 12;
    pub(crate) const SEND_DMA: u32 = 13;
    pub(crate) const SET_PMD: u32 = 13;
    pub(crate) const SET_PTE: u32 = 14;
    pub(crate) const SET_PGD: u32 = 15;
    pub(crate) const LOAD_TLS: u32 = 16;
    pub(crate) const NOTIFY: u32 = 17;
    pub(crate) const LOAD_GDT_ENTRY: u32 = 18;
    pub(crate) const SEND_INTERRUPTS: u32 = 19;
}
