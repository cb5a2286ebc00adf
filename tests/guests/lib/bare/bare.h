/*
 * The machine without a host: what the processor has in place of each hypercall. A guest that is built with BARE is
 * a kernel in ring 0, started by a Multiboot loader, and shows what the same code costs there. Included by guest.h.
 */
#ifndef BARE_H
#define BARE_H

struct gate_words {
	u32 low, high;
};
extern struct gate_words bare_gdt[32], bare_idt[256];

/* The fields of a 32-bit TSS that the processor reads on a trap from ring 3 (Intel SDM 3A 8.2.1), and their surroundings. */
struct task_state {
	u32 link, esp0, ss0, others[23];
};
extern volatile struct task_state bare_task;

#define BARE_APIC 0xfee00000
#define APIC_END_OF_INTERRUPT 0xb0
#define APIC_INITIAL_COUNT 0x380

#define CR0_TS 8
#define CR4_PGE 0x80

/* Descriptor tables and the interrupt controllers; everything masked but the local APIC's timer, at vector 32. */
void bare_start(void);
/* Maps the local APIC in kernel_root. */
void bare_devices_map(void);
/* From here on CR3 counts. */
void bare_paging_on(void);
/* Ends QEMU as a host does whose guest powered off. */
void bare_power_off(void);

static inline void bare_flush(u32 global)
{
	u32 value;

	if (global) {
		asm volatile("movl %%cr4, %0; xorl %1, %0; movl %0, %%cr4; xorl %1, %0; movl %0, %%cr4"
			     : "=&r"(value) : "i"(CR4_PGE) : "memory", "cc");
	} else {
		asm volatile("movl %%cr3, %0; movl %0, %%cr3" : "=r"(value) : : "memory");
	}
}

static inline void bare_task_switched(u32 set)
{
	u32 cr0;

	if (set)
		asm volatile("movl %%cr0, %0; orl %1, %0; movl %0, %%cr0" : "=&r"(cr0) : "i"(CR0_TS) : "cc");
	else
		asm volatile("clts");
}

/*
 * `call` is a constant wherever it is made, so that nothing is left of this but the instructions of one case. A kernel of
 * its own machine tells nobody what it wrote into its page tables: those calls are empty.
 */
static inline __attribute__((always_inline)) u32 hypercall(u32 call, u32 a1, u32 a2, u32 a3, u32 a4)
{
	(void)a4;
	switch (call) {
	case LHCALL_LGUEST_INIT:
		bare_start();
		break;
	case LHCALL_SHUTDOWN:
		bare_power_off();
		break;
	case LHCALL_NEW_PGTABLE:
		asm volatile("movl %0, %%cr3" : : "r"(a1) : "memory");
		break;
	case LHCALL_FLUSH_TLB:
		bare_flush(a1);
		break;
	case LHCALL_LOAD_IDT_ENTRY:
		bare_idt[a1] = (struct gate_words){ a2, a3 };
		break;
	case LHCALL_LOAD_GDT_ENTRY:
		bare_gdt[a1] = (struct gate_words){ a2, a3 };
		break;
	case LHCALL_LOAD_TLS:
		for (u32 i = 0; i < 3; i++)
			bare_gdt[6 + i] = ((struct gate_words *)a1)[i];
		break;
	case LHCALL_SET_STACK:
		bare_task.ss0 = a1;
		bare_task.esp0 = a2;
		break;
	case LHCALL_TS:
		bare_task_switched(a1);
		break;
	case LHCALL_SET_CLOCKEVENT:
		*(volatile u32 *)(BARE_APIC + APIC_INITIAL_COUNT) = a1;
		break;
	case LHCALL_HALT:
		asm volatile("sti; hlt; cli" : : : "memory");
		break;
	}
	return call;
}

#endif
