/* The 100 Hz tick, out of one-shot clock events. */

#include "kernel.h"
#include "syscalls.h"

#define NANOSECONDS_PER_TICK (1000000000u / TICKS_PER_SECOND)

u32 ticks;

static void arm(void)
{
	hypercall(LHCALL_SET_CLOCKEVENT, NANOSECONDS_PER_TICK, 0, 0);
}

void timer_init(void)
{
	arm();
}

void timer_interrupt(void)
{
	ticks++;
	arm();
	wake_sleepers(ticks);
	reschedule_wanted = 1;
}
