/* The lguest ABI, generation G5, as a 32-bit guest sees it. Also included by assembly. */
#ifndef LGUEST_H
#define LGUEST_H

/* Selectors: GDT entries 12 to 15. Ring 1 is the guest's kernel. */
#define KERNEL_CS 0x61
#define KERNEL_DS 0x69
#define USER_CS 0x73
#define USER_DS 0x7b

#define HYPERCALL_VECTOR 0x1f
#define SYSCALL_VECTOR 0x80
#define FIRST_IRQ_VECTOR 32

#define LHCALL_FLUSH_ASYNC 0
#define LHCALL_LGUEST_INIT 1
#define LHCALL_SHUTDOWN 2
#define LHCALL_NEW_PGTABLE 4
#define LHCALL_FLUSH_TLB 5
#define LHCALL_LOAD_IDT_ENTRY 6
#define LHCALL_SET_STACK 7
#define LHCALL_TS 8
#define LHCALL_SET_CLOCKEVENT 9
#define LHCALL_HALT 10
#define LHCALL_SET_PTE 14
#define LHCALL_SET_PGD 15
#define LHCALL_LOAD_TLS 16
#define LHCALL_LOAD_GDT_ENTRY 18
#define LHCALL_SEND_INTERRUPTS 19

#define SHUTDOWN_POWEROFF 1
#define SHUTDOWN_RESTART 2

#define RING_SLOTS 64
#define SLOT_EMPTY 0xff
#define SLOT_READY 0

#define RESERVE_MEM 0x400000

/* The boot page at guest-physical 0 and the command line behind it. */
#define BOOT_E820_ENTRIES 0x1e8
#define BOOT_VERSION 0x206
#define BOOT_LOADFLAGS 0x211
#define BOOT_CMD_LINE_PTR 0x228
#define BOOT_HARDWARE_SUBARCH 0x23c
#define BOOT_E820_MAP 0x2d0
#define BOOT_COMMAND_LINE 0x1000

#ifndef __ASSEMBLER__

struct lguest_data {
	unsigned int irq_enabled;
	unsigned int blocked_interrupts;
	unsigned int cr2;
	unsigned int time_sec, time_nsec;
	unsigned int irq_pending;
	unsigned char hcall_status[RING_SLOTS];
	struct {
		unsigned int eax, ebx, ecx, edx, esi;
	} hcalls[RING_SLOTS];
	unsigned int reserve_mem;
	unsigned int tsc_khz;
	unsigned int noirq_iret;
	unsigned int kernel_address;
	unsigned int syscall_vec;
};

/* The layout is the interface: a padding byte more and the host writes next to the field. */
_Static_assert(__builtin_offsetof(struct lguest_data, hcalls) == 0x058, "hcalls");
_Static_assert(__builtin_offsetof(struct lguest_data, noirq_iret) == 0x560, "noirq_iret");
_Static_assert(sizeof(struct lguest_data) == 0x56c, "lguest_data");

#endif
#endif
