/*
 * The lguest ABI as a 32-bit guest sees it. Also included by assembly.
 *
 * KERNEL says of which Linux: 20624 is 2.6.24, 30100 is 3.1. The Makefile builds guests for several.
 */
#ifndef LGUEST_H
#define LGUEST_H

#ifndef KERNEL
#define KERNEL 40000
#endif

/* Whether page tables have three levels. */
#ifndef PAE
#define PAE 0
#endif

/* Whether there is no host: the guest is a kernel in ring 0 then, and calls are what the processor has in their place. */
#ifndef BARE
#define BARE 0
#endif

/* Where the kernel begins, if above all user addresses. */
#ifndef HIGH_KERNEL
#define HIGH_KERNEL 0
#endif

/* What the kernels between those numbers have. */
#define HAS_PCI (KERNEL >= 40000)
#define HAS_NOTIFY (KERNEL >= 20624 && KERNEL < 40000)
#define HAS_TAGGED_RECORDS (KERNEL < 20625)
#define HAS_DMA (KERNEL < 20624)
#define HAS_WHOLE_GDT (KERNEL < 20630)
#define HAS_KVM_REGISTERS (KERNEL >= 20630)
#define HAS_VMCALL (KERNEL >= 20630 && KERNEL < 20634)
#define HAS_IRQ_PENDING (KERNEL >= 20631)
#define HAS_KERNEL_FIELDS (KERNEL >= 20624)
#define HAS_PGDIR (KERNEL >= 20624 && KERNEL < 30100)
#define HAS_BOOT_TABLES (KERNEL < 30100)
#define HAS_RAM_AT_PAGE_OFFSET (KERNEL < 20624 || (KERNEL >= 20629 && KERNEL < 30100))
#define HAS_NOIRQ_IRET (KERNEL >= 40000)
#define STARTS_AT_PAGE_OFFSET (KERNEL < 20624)

#define PAGE_OFFSET 0xc0000000

/* Selectors: GDT entries 12 to 15. Ring 1 is the guest's kernel. */
#if BARE
#define KERNEL_CS 0x60
#define KERNEL_DS 0x68
#else
#define KERNEL_CS 0x61
#define KERNEL_DS 0x69
#endif
#define USER_CS 0x73
#define USER_DS 0x7b

#define HYPERCALL_VECTOR 0x1f
#define SYSCALL_VECTOR 0x80
#define FIRST_IRQ_VECTOR 32

#define LHCALL_FLUSH_ASYNC 0
#define LHCALL_LGUEST_INIT 1
#define LHCALL_SHUTDOWN 2
#if HAS_WHOLE_GDT
#define LHCALL_LOAD_GDT 3
#endif
#define LHCALL_NEW_PGTABLE 4
#define LHCALL_FLUSH_TLB 5
#define LHCALL_LOAD_IDT_ENTRY 6
#define LHCALL_SET_STACK 7
#define LHCALL_TS 8
#define LHCALL_SET_CLOCKEVENT 9
#define LHCALL_HALT 10
#if HAS_DMA
#define LHCALL_BIND_DMA 12
#define LHCALL_SEND_DMA 13
#endif
#if PAE
#define LHCALL_SET_PMD 13
#endif
#define LHCALL_SET_PTE 14
#define LHCALL_SET_PGD 15
#define LHCALL_LOAD_TLS 16
#if HAS_NOTIFY
#define LHCALL_NOTIFY 17
#endif
#if !HAS_WHOLE_GDT
#define LHCALL_LOAD_GDT_ENTRY 18
#endif
#if HAS_IRQ_PENDING
#define LHCALL_SEND_INTERRUPTS 19
#endif

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
#if HAS_IRQ_PENDING
	unsigned int irq_pending;
#endif
	unsigned char hcall_status[RING_SLOTS];
	struct {
#if KERNEL < 20624
		unsigned int eax, edx, ebx, ecx;
#elif KERNEL < 20631
		unsigned int eax, ebx, ecx, edx;
#else
		unsigned int eax, ebx, ecx, edx, esi;
#endif
	} hcalls[RING_SLOTS];
	unsigned int reserve_mem;
#if KERNEL < 20624
	unsigned short guestid, padding;
#endif
	unsigned int tsc_khz;
#if HAS_PGDIR
	unsigned int pgdir;
#endif
#if HAS_NOIRQ_IRET
	unsigned int noirq_iret;
#else
	unsigned int noirq_start, noirq_end;
#endif
#if HAS_KERNEL_FIELDS
	unsigned int kernel_address;
	unsigned int syscall_vec;
#endif
};

/* The layout is the interface: a padding byte more and the host writes next to the field. */
#if KERNEL < 20624
#define LGUEST_DATA_SIZE 0x468
#elif KERNEL < 20631
#define LGUEST_DATA_SIZE 0x470
#elif KERNEL < 30100
#define LGUEST_DATA_SIZE 0x574
#elif KERNEL < 40000
#define LGUEST_DATA_SIZE 0x570
#else
#define LGUEST_DATA_SIZE 0x56c
#endif
_Static_assert(sizeof(struct lguest_data) == LGUEST_DATA_SIZE, "lguest_data");

#endif
#endif
