/* expect: stop="guest powered off" status=0 */
/* clock events as near and as far as can be, in loops, and sleep that only the clock ends. */

#include "guest.h"

#define TIMER FIRST_IRQ_VECTOR

static volatile u32 ticks;

static void tick(struct frame *frame)
{
	(void)frame;
	ticks++;
}

static void event(u32 nanoseconds)
{
	hypercall(LHCALL_SET_CLOCKEVENT, nanoseconds, 0, 0, 0);
}

static void loop(const char *what, u32 nanoseconds)
{
	ticks = 0;
	lguest_data.irq_enabled = 0;
	for (u32 i = 0; i < 5000; i++)
		event(nanoseconds);
	lguest_data.irq_enabled = EFLAGS_IF;
	hypercall(LHCALL_SEND_INTERRUPTS, 0, 0, 0, 0);
	lguest_data.irq_enabled = 0;
	event(0);
	check("A-30", what, ticks <= 1, 1);
}

/* Everything is blocked but for the moment in which the handler of a trap of its own unblocks it. */
static void asleep(void)
{
	ticks = 0;
	lguest_data.irq_enabled = 0;
	lguest_data.blocked_interrupts = 0;
	for (u32 i = 0; i < 50; i++) {
		event(1);
		hypercall(LHCALL_HALT, 0, 0, 0, 0);
		lguest_data.irq_enabled = 0;
	}
	check("A-30", "sleeps of a nanosecond end", ticks, 50);
	for (u32 slot = 0; slot < RING_SLOTS; slot++)
		ring_write(slot, slot % 2 ? LHCALL_HALT : LHCALL_SET_CLOCKEVENT, 1, 0, 0, 0);
	hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0, 0);
	check("A-30", "32 sleeps from the ring are one", ticks <= 52, 1);
}

/* Bits that are no interrupts, and a mask that changes while one waits. */
static void masks(void)
{
	ticks = 0;
	for (u32 i = 0; i < 200; i++) {
		lguest_data.blocked_interrupts = i & 1 ? 0xffffffff : 0xfffffffe;
		lguest_data.irq_enabled = i & 2 ? ~0u : ~(u32)EFLAGS_IF;
		event(1);
		hypercall(LHCALL_SEND_INTERRUPTS, 0, 0, 0, 0);
	}
	lguest_data.irq_enabled = 0;
	lguest_data.blocked_interrupts = 0;
	check("A-30", "masks of all kinds", ticks <= 200, 1);
}

void guest_main(void)
{
	guest_init();
	trap_hooks[TIMER] = tick;
	lguest_data.blocked_interrupts = 0;
	loop("SET_CLOCKEVENT(0)", 0);
	loop("SET_CLOCKEVENT(1)", 1);
	loop("SET_CLOCKEVENT(2^32-1)", 0xffffffff);
	asleep();
	masks();
}
