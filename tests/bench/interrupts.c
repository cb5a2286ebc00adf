/* From the moment at which the timer expires to the handler's first instruction. */

#include "paravirt.h"

#define TIMER FIRST_IRQ_VECTOR
/* Nanoseconds, and so instructions: more than any way to the moment at which the waiting starts. */
#define DELAY 100000
#define ROUNDS 15

static volatile u32 ticked USER_DATA;

static void tick(struct frame *frame)
{
	(void)frame;
	ticked = 1;
	end_of_interrupt();
}

static void arm(void)
{
	hypercall(LHCALL_SET_CLOCKEVENT, DELAY, 0, 0, 0);
}

static void spin(void)
{
	while (!ticked)
		;
}

static void USER_TEXT spin_in_ring_3(void)
{
	while (!ticked)
		;
}

static void spin_below(void)
{
	run_user(spin_in_ring_3);
}

/* On bare processors, too, nothing comes before the instruction behind the one that turns interrupts on. */
static void halt(void)
{
	interrupts_off();
	hypercall(LHCALL_HALT, 0, 0, 0, 0);
}

/* The counter starts before the call that sets the timer, which counts from a moment within that call. */
static void latency(const char *name, void (*wait)(void))
{
	for (u32 i = 0; i < ROUNDS; i++) {
		u32 start;

		ticked = 0;
		interrupts_on();
		start = read_tsc();
		arm();
		wait();
		samples[i] = trapped_at - start - DELAY;
	}
	interrupts_off();
	report(name, ROUNDS);
}

/* It has expired while interrupts were off; from turning them on to the handler. */
static void held_back(void)
{
	for (u32 i = 0; i < ROUNDS; i++) {
		u32 start;

		interrupts_off();
		ticked = 0;
		arm();
		while (read_tsc() - trapped_at < 3 * DELAY)
			;
		start = read_tsc();
		interrupts_on();
		spin();
		samples[i] = trapped_at - start;
	}
	interrupts_off();
	report("interrupt_held_back", ROUNDS);
}

void guest_main(void)
{
	guest_init();
	measure_init();
	trap_hooks[TIMER] = tick;
	load_gate(TIMER, timed_stub(TIMER), INTERRUPT_GATE);
	lguest_data.blocked_interrupts = 0;
	MEASURE("set_clockevent", ROUNDS, arm(); hypercall(LHCALL_SET_CLOCKEVENT, 0, 0, 0, 0));
	latency("interrupt_in_ring1", spin);
	latency("interrupt_in_ring3", spin_below);
	latency("interrupt_ends_halt", halt);
	held_back();
}
