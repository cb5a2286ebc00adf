/* expect: stop="guest powered off" status=0 */
/* Between which two instructions an interrupt comes, and what the shared clock says then. */

#include "guest.h"

#define TIMER FIRST_IRQ_VECTOR
/* A calibrated clock may be off by 1 in 64. */
#define TOLERANCE 64

static u32 ticks, tick_eip;

static void tick(struct frame *frame)
{
	ticks++;
	tick_eip = frame->eip;
}

#if HAS_IRQ_PENDING

static void wait_until_pending(void)
{
	hypercall(LHCALL_SET_CLOCKEVENT, 1000, 0, 0, 0);
	while (!(lguest_data.irq_pending & EFLAGS_IF))
		asm volatile("" : : : "memory");
}

/* Enabling interrupts is silent; asking for them is what brings them, at once. */
static void sending(void)
{
	extern char sent[], flushed[];

	lguest_data.irq_enabled = 0;
	wait_until_pending();
	ticks = 0;
	asm volatile("movl $0x200, lguest_data\n\tint $0x1f\nsent:" : : "a"(LHCALL_SEND_INTERRUPTS) : "memory");
	check("LG-138", "SEND_INTERRUPTS delivers", ticks, 1);
	check("LG-138", "before the next instruction", tick_eip, (u32)sent);

	/* With the flag off the same call delivers nothing. */
	lguest_data.irq_enabled = 0;
	wait_until_pending();
	ticks = 0;
	hypercall(LHCALL_SEND_INTERRUPTS, 0, 0, 0, 0);
	check("LG-136", "SEND_INTERRUPTS with interrupts off", ticks, 0);
	check("LG-137", "the wish stays", lguest_data.irq_pending, EFLAGS_IF);
	/* 4.2: a whole EFLAGS word without bit 9 is off. */
	lguest_data.irq_enabled = 0x46;
	hypercall(LHCALL_SEND_INTERRUPTS, 0, 0, 0, 0);
	check("LG-136", "only bit 9 counts", ticks, 0);
	asm volatile("movl $0x200, lguest_data\n\tint $0x1f\nflushed:" : : "a"(LHCALL_FLUSH_ASYNC) : "memory");
	check("LG-138", "any call delivers", tick_eip, (u32)flushed);
}

#endif

/* Wakes from HALT `nanoseconds` later. */
static void sleep(u32 nanoseconds)
{
	lguest_data.irq_enabled = 0;
	hypercall(LHCALL_SET_CLOCKEVENT, nanoseconds, 0, 0, 0);
	hypercall(LHCALL_HALT, 0, 0, 0, 0);
}

/* `time` is written at each delivery, so it and the counter are read at the same two moments. */
static void clocks(void)
{
	u32 sec, nsec, tsc, microseconds, wanted, got;

	sleep(1000000);
	sec = lguest_data.time_sec;
	nsec = lguest_data.time_nsec;
	tsc = read_tsc();
	sleep(20000000);
	got = read_tsc() - tsc;
	microseconds = (lguest_data.time_sec - sec) * 1000000 + lguest_data.time_nsec / 1000 - nsec / 1000;
	check("LG-149", "time went on by the 20 ms that it slept",
	      microseconds >= 20000 - 20000 / TOLERANCE && microseconds < 40000, 1);
	wanted = lguest_data.tsc_khz / 1000 * microseconds;
	check("LG-034", "tsc_khz is the rate of the counter, or 0",
	      lguest_data.tsc_khz == 0 ||
		      (got >= wanted - wanted / TOLERANCE && got <= wanted + wanted / TOLERANCE),
	      1);
}

void guest_main(void)
{
	guest_init();
	trap_hooks[TIMER] = tick;
	lguest_data.blocked_interrupts = 0;
#if HAS_IRQ_PENDING
	sending();
#endif
	clocks();
}
