/* Exits that have nothing to do with memory: calls, ports, instructions that only ring 0 may use. */

#include "paravirt.h"

/* Nothing is there. */
#define UNKNOWN_PORT 0x300

static u32 no_descriptors[6];

static u32 read_cr4(void)
{
	u32 value;

	asm volatile("movl %%cr4, %0" : "=r"(value));
	return value;
}

void guest_main(void)
{
	guest_init();
	measure_init();
#if !BARE
	MEASURE("null_hypercall", SAMPLES, hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0, 0));
#endif
	MEASURE("set_stack", SAMPLES, hypercall(LHCALL_SET_STACK, KERNEL_DS, trap_stack_top(), 2, 0));
	MEASURE("load_tls", SAMPLES, hypercall(LHCALL_LOAD_TLS, (u32)no_descriptors, 0, 0, 0));
	MEASURE("load_idt_entry", SAMPLES, load_gate(200, stub(200), INTERRUPT_GATE));
	MEASURE("task_switched_on_off", SAMPLES, hypercall(LHCALL_TS, 8, 0, 0, 0); hypercall(LHCALL_TS, 0, 0, 0, 0));
	MEASURE("port_in", SAMPLES, in8(UNKNOWN_PORT));
	MEASURE("port_out", SAMPLES, out8(UNKNOWN_PORT, 0));
	MEASURE("read_cr4", SAMPLES, read_cr4());
}
