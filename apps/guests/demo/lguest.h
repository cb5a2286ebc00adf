/* The lguest ABI, generation G5, as this kernel uses it. Also included by assembly. */
#ifndef LGUEST_H
#define LGUEST_H

/* Selectors: GDT entries 12 to 15. The guest's kernel runs in ring 1. */
#define KERNEL_CS 0x61
#define KERNEL_DS 0x69
#define USER_CS 0x73
#define USER_DS 0x7b

#define SYSCALL_VECTOR 0x80
#define IRQ_VECTOR(irq) (32 + (irq))

#define LHCALL_FLUSH_ASYNC 0
#define LHCALL_LGUEST_INIT 1
#define LHCALL_SHUTDOWN 2
#define LHCALL_NEW_PGTABLE 4
#define LHCALL_LOAD_IDT_ENTRY 6
#define LHCALL_SET_STACK 7
#define LHCALL_TS 8
#define LHCALL_SET_CLOCKEVENT 9
#define LHCALL_HALT 10
#define LHCALL_SET_PTE 14
#define LHCALL_SET_PGD 15
#define LHCALL_LOAD_GDT_ENTRY 18
#define LHCALL_SEND_INTERRUPTS 19

#define SHUTDOWN_POWEROFF 1
#define SHUTDOWN_RESTART 2
#define SHUTDOWN_MESSAGE_BYTES 128

#define RING_SLOTS 64
#define SLOT_EMPTY 0xff
#define SLOT_READY 0

/* In the boot page, at guest-physical 0: the size of the only e820 entry. */
#define BOOT_RAM_BYTES 0x2d8

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

/* The layout is the interface. */
_Static_assert(sizeof(struct lguest_data) == 0x56c, "lguest_data");

static inline void hypercall(unsigned int call, unsigned int a1, unsigned int a2, unsigned int a3)
{
	asm volatile("int $0x1f" : : "a"(call), "b"(a1), "c"(a2), "d"(a3), "S"(0) : "memory");
}

#endif
#endif
