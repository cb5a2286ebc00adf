/* expect: stop="guest powered off" status=0 */
/*
 * The timer and the rules of delivery. No verdict depends on how fast the machine is: waits end on
 * an event, or are long enough that an event that is wrong would have come.
 */

#include "guest.h"

#define TIMER FIRST_IRQ_VECTOR

static u32 ticks;
static u32 tick_eflags, tick_irq_enabled, tick_cs;

static void tick(struct frame *frame)
{
	ticks++;
	tick_eflags = frame->eflags;
	tick_cs = frame->cs;
	tick_irq_enabled = lguest_data.irq_enabled;
}

static void clock_event(u32 nanoseconds)
{
	hypercall(LHCALL_SET_CLOCKEVENT, nanoseconds, 0, 0, 0);
}

static void halt(void)
{
	hypercall(LHCALL_HALT, 0, 0, 0, 0);
}

/* Busy for that long; without a known rate, for a number of instructions of that order. */
static void spin(u32 microseconds)
{
	u32 start = read_tsc(), ticks_wanted = lguest_data.tsc_khz / 1000 * microseconds;

	if (!lguest_data.tsc_khz)
		ticks_wanted = 4000 * microseconds;
	while (read_tsc() - start < ticks_wanted)
		asm volatile("pause" : : : "memory");
}

#if HAS_IRQ_PENDING

static void wait_until_pending(void)
{
	while (!(lguest_data.irq_pending & EFLAGS_IF))
		asm volatile("" : : : "memory");
}

static void consider_interrupts(void)
{
	hypercall(LHCALL_SEND_INTERRUPTS, 0, 0, 0, 0);
}

static void enable(void)
{
	lguest_data.irq_enabled = EFLAGS_IF;
	if (lguest_data.irq_pending & EFLAGS_IF)
		consider_interrupts();
}

#else

/* Nothing tells. */
static void wait_until_pending(void)
{
	spin(1000);
}

/* Any call does. */
static void consider_interrupts(void)
{
	hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0, 0);
}

static void enable(void)
{
	lguest_data.irq_enabled = EFLAGS_IF;
}

#endif

static void disable(void)
{
	lguest_data.irq_enabled = 0;
}

/* With interrupts off until HALT turns them on: a tick before the HALT would not end it. */
static void sleep(u32 nanoseconds)
{
	disable();
	clock_event(nanoseconds);
	halt();
}

static void halting(void)
{
	ticks = 0;
	sleep(1000000);
	check("LG-141", "HALT with interrupts off returns after the timer", ticks, 1);
	check("LG-133", "irq 0 is vector 32", trap.vector, TIMER);
	check("LG-143", "IF in the frame", tick_eflags & EFLAGS_IF, EFLAGS_IF);
	check("LG-123", "irq_enabled in the handler", tick_irq_enabled, 0);
	check("LG-119", "CS in the frame", tick_cs, KERNEL_CS);
	check("LG-143", "irq_enabled after it", lguest_data.irq_enabled & EFLAGS_IF, EFLAGS_IF);

	disable();
	clock_event(1000);
	wait_until_pending();
	check("LG-136", "nothing comes with interrupts off", ticks, 1);
#if HAS_IRQ_PENDING
	check("LG-137", "irq_pending", lguest_data.irq_pending, EFLAGS_IF);
#endif
	halt();
	check("LG-142", "HALT with an irq pending does not sleep", ticks, 2);
#if HAS_IRQ_PENDING
	check("LG-137", "irq_pending is cleared", lguest_data.irq_pending, 0);
#endif
}

static void sending(void)
{
	u32 after;

	disable();
	ticks = 0;
	clock_event(1000);
	wait_until_pending();
	lguest_data.irq_enabled = EFLAGS_IF;
	consider_interrupts();
	after = ticks;
	check("LG-138", "before the next instruction", after, 1);

	/* Two expiries while it cannot be delivered are one interrupt. */
	disable();
	ticks = 0;
	clock_event(1000);
	wait_until_pending();
	clock_event(1000);
	spin(1000);
	enable();
	spin(1000);
	check("LG-145", "raised twice, delivered once", ticks, 1);
}

static void blocking(void)
{
	enable();
	ticks = 0;
	lguest_data.blocked_interrupts = 1;
	clock_event(1000);
	spin(2000);
	check("LG-135", "blocked: not delivered", ticks, 0);
	lguest_data.blocked_interrupts = 0;
	consider_interrupts();
	check("LG-135", "delivered when unblocked", ticks, 1);
}

static void without_gate(void)
{
	enable();
	ticks = 0;
	unload_gate(TIMER);
	clock_event(1000);
	spin(2000);
	hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0, 0);
	check("LG-144", "no gate: nothing happens", ticks, 0);
	load_gate(TIMER, stub(TIMER), INTERRUPT_GATE);
	consider_interrupts();
	check("LG-144", "delivered when there is one", ticks, 1);
	check("LG-067", "a not-present load removed the handler", ticks, 1);
}

static void preempting(void)
{
	enable();
	ticks = 0;
	clock_event(100000);
	while (!ticks)
		asm volatile("" : : : "memory");
	check("LG-133", "a loop without exits is interrupted", ticks, 1);
	spin(2000);
	check("LG-147", "one-shot", ticks, 1);
}

static volatile u32 user_flag USER_DATA;

static void USER_TEXT user_loop(void)
{
	while (!user_flag)
		;
}

static void tick_in_user(struct frame *frame)
{
	tick(frame);
	user_flag = 1;
}

static void preempting_ring_3(void)
{
	trap_hooks[TIMER] = tick_in_user;
	enable();
	ticks = 0;
	/* Long enough to be in ring 3 by then. */
	clock_event(1000000);
	check("LG-120", "ring 3 goes on after a tick", run_user(user_loop), SYSCALL_VECTOR);
	check("LG-120", "one tick from ring 3", ticks, 1);
	check("LG-120", "CS in its frame", tick_cs, USER_CS);
	trap_hooks[TIMER] = tick;
}

static void order(void)
{
	u32 start, elapsed, expected;

	/* 2 ms, less the tolerance of a calibrated clock: 1 in 64. */
	expected = lguest_data.tsc_khz * 2;
	expected -= expected / 64;
	ticks = 0;
	start = read_tsc();
	sleep(2000000);
	elapsed = read_tsc() - start;
	check("LG-146", "not early", elapsed >= expected, 1);

	/* 4 s, replaced by 100 us. */
	ticks = 0;
	start = read_tsc();
	disable();
	clock_event(4000000000u);
	sleep(100000);
	elapsed = read_tsc() - start;
	check("LG-147", "a new call replaces the old deadline",
	      ticks == 1 && (!lguest_data.tsc_khz || elapsed / lguest_data.tsc_khz < 1000), 1);

	/* 100 us, replaced by 5 ms. */
	ticks = 0;
	clock_event(100000);
	clock_event(5000000);
	spin(2000);
	check("LG-147", "the old deadline is gone", ticks, 0);
	while (!ticks)
		asm volatile("" : : : "memory");
	check("LG-147", "the new one is kept", ticks, 1);

	ticks = 0;
	clock_event(1000000);
	clock_event(0);
	spin(3000);
	check("LG-148", "0 cancels", ticks, 0);
}

static void time_of_day(void)
{
	u32 sec = lguest_data.time_sec, nsec = lguest_data.time_nsec;

	spin(2000);
	sleep(1000);
	check("LG-149", "time went forward",
	      lguest_data.time_sec > sec || (lguest_data.time_sec == sec && lguest_data.time_nsec > nsec), 1);
}

/* no deadline however short keeps the guest from getting on. */
static void short_deadlines(void)
{
	enable();
	ticks = 0;
	for (u32 i = 0; i < 1000; i++)
		clock_event(1);
	clock_event(0);
	check("A-30", "1000 deadlines of 1 ns", ticks <= 1000, 1);
	for (u32 i = 0; i < 1000; i++)
		clock_event(0xffffffff);
	clock_event(0);
	survived("A-30", "1000 deadlines of 4 s");
}

void guest_main(void)
{
	guest_init();
	trap_hooks[TIMER] = tick;
	lguest_data.blocked_interrupts = 0;
	halting();
	sending();
	blocking();
	without_gate();
	preempting();
	preempting_ring_3();
	order();
	time_of_day();
	short_deadlines();
}
