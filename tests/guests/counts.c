/* expect: stop="guest powered off" status=0 */
/* Round trips that have limits, whatever the benchmarks say. */

#include "measure.h"

#define ROUNDS SAMPLES

/* The handler is a lone iret, so that only the host's part and the two instructions are counted. */
static void USER_TEXT user_system_calls(void)
{
	for (u32 i = 0; i < ROUNDS; i++) {
		u32 start = read_tsc();

		asm volatile("int $0x80" : : : "memory");
		samples[i] = read_tsc() - start;
	}
	/* The way back, now that int 0x80 is a lone iret. */
	asm volatile("ud2");
}

asm("lone_iret: iret");
extern char lone_iret[];

/* A read: the first of a page is a demand fault. */
static void touch(u32 i)
{
	peek(USER_WINDOW + i * PAGE);
}

/* The first fault in a part of the address space: its shadow tables have to be made. */
static u32 cold_fault(void)
{
	u32 start = read_tsc();

	touch(ROUNDS);
	return without_reading(read_tsc() - start);
}

void guest_main(void)
{
	/* Since power-on: the firmware's part and the host's own start. */
	u32 started = read_tsc(), page;

	guest_init();
	measure_init();
	report_value("power_on_to_guest", started);
	page = allocate_page();

	MEASURE("flush_async", ROUNDS, hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0, 0));

	/* The first touch makes the shadow table; each touch after it is one demand fault. */
	for (u32 i = 0; i <= ROUNDS; i++)
		*leaf(kernel_root, USER_WINDOW + i * PAGE) = page | PTE_P | PTE_RW;
	report_value("demand_fault_cold", cold_fault());
	hypercall(LHCALL_FLUSH_TLB, 1, 0, 0, 0);
	report_value("demand_fault_after_flush", cold_fault());
	MEASURE("demand_fault_read", ROUNDS, touch(i));
	MEASURE("demand_fault_dirty", ROUNDS, poke(USER_WINDOW + i * PAGE, 1));

	MEASURE("set_pte", ROUNDS, hypercall(LHCALL_SET_PTE, (u32)kernel_root, USER_WINDOW,
					     page | PTE_P | PTE_RW | PTE_A | PTE_D, 0));
	MEASURE("new_pgtable", ROUNDS, switch_root(kernel_root));

	load_gate(SYSCALL_VECTOR, (u32)lone_iret, USER_TRAP_GATE);
	run_user(user_system_calls);
	report("int80_reflect", ROUNDS);
}
