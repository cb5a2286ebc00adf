/*
 * Never lets its host in by itself, or keeps it as busy as it can: the word case=NAME of the command line says how. Its
 * host kicks it.
 */

#include "../../attacks/cases.h"

/* Every virtual interrupt is off, and so is the processor's own flag, as far as the guest can see to that. */
static void interrupts_off(void)
{
	lguest_data.irq_enabled = 0;
	lguest_data.blocked_interrupts = 0xffffffff;
	asm volatile("pushl $2\n\tpopfl" : : : "cc");
}

static void ring_1(void)
{
	interrupts_off();
	asm volatile("1:\tjmp 1b");
}

static void USER_TEXT spin(void)
{
	asm volatile("1:\tjmp 1b");
}

static void ring_3(void)
{
	interrupts_off();
	run_user_flags(spin, EFLAGS_ONE);
}

/* One instruction that takes longer than the host's patience: it reads all of RAM, byte by byte. */
static void string(void)
{
	u32 from = 0, count = ram_bytes();

	interrupts_off();
	asm volatile("cld\n\trep lodsb" : "+S"(from), "+c"(count) : : "eax");
}

static void calls(void)
{
	interrupts_off();
	for (;;)
		hypercall(LHCALL_FLUSH_TLB, 1, 0, 0, 0);
}

/* Each int3 is reflected, and comes again. */
static void back(struct frame *frame)
{
	frame->eip--;
}

static void traps(void)
{
	trap_hooks[3] = back;
	interrupts_off();
	asm volatile("int3");
}

static void ignore(struct frame *frame)
{
	(void)frame;
	hypercall(LHCALL_SET_CLOCKEVENT, 1, 0, 0, 0);
}

static void interrupts(void)
{
	trap_hooks[FIRST_IRQ_VECTOR] = ignore;
	lguest_data.blocked_interrupts = 0;
	lguest_data.irq_enabled = EFLAGS_IF;
	hypercall(LHCALL_SET_CLOCKEVENT, 1, 0, 0, 0);
	asm volatile("1:\tjmp 1b");
}

static void asleep(void)
{
	interrupts_off();
	for (;;)
		hypercall(LHCALL_HALT, 0, 0, 0, 0);
}

#define NAME(case) { #case, case }

static const struct attack attacks[] = {
	NAME(ring_1), NAME(ring_3), NAME(string), NAME(calls), NAME(traps), NAME(interrupts), NAME(asleep),
};

void guest_main(void)
{
	guest_init();
	run_attack(attacks, sizeof attacks / sizeof *attacks);
}
