/* expect: stop="guest powered off" status=0 */
/*
 * Generations before G5: no interrupt comes while EIP is in the range that LGUEST_INIT named, although
 * interrupts are enabled; it comes soon after.
 */

#include "guest.h"

#define TIMER FIRST_IRQ_VECTOR

u32 spin_in_range(u32 rounds);
extern volatile u32 ticks_in_range;

static void tick(struct frame *frame)
{
	(void)frame;
	ticks_in_range++;
}

/* About 10 ms of counted instructions; ticks that the range keeps away come behind it. */
static void range(u32 nanoseconds)
{
	u32 inside;

	lguest_data.irq_enabled = 0;
	ticks_in_range = 0;
	hypercall(LHCALL_SET_CLOCKEVENT, nanoseconds, 0, 0, 0);
	inside = spin_in_range(5000000);
	check("LG-139", "ticks in the range", inside, 0);
	check("LG-039", "the range counts that LGUEST_INIT saw", inside, 0);
	while (!ticks_in_range)
		asm volatile("" : : : "memory");
	check("LG-139", "ticks behind it", ticks_in_range, 1);
}

void guest_main(void)
{
	guest_init();
	trap_hooks[TIMER] = tick;
	lguest_data.blocked_interrupts = 0;
	lguest_data.noirq_start = lguest_data.noirq_end = 0;
	range(1000);
	range(2000000);
}
