/* expect: stop="guest powered off" status=0 */
/*
 * Round trips in units of the time-stamp counter: instructions when the machine counts those, so
 * only meaningful there. The least of many, without the cost of reading the counter.
 */

#include "guest.h"

#define ROUNDS 64

static u32 reading_costs(void)
{
	u32 least = ~0u;

	for (u32 i = 0; i < ROUNDS; i++) {
		u32 start = read_tsc(), span = read_tsc() - start;

		if (span < least)
			least = span;
	}
	return least;
}

static void report(const char *name, u32 least, u32 overhead)
{
	print("COUNT ");
	print(name);
	print(" ");
	print_decimal(least - overhead);
	print("\n");
}

/* `statement` may use i. */
#define LEAST(statement)                                       \
	({                                                     \
		u32 least = ~0u;                               \
		for (u32 i = 0; i < ROUNDS; i++) {             \
			u32 start = read_tsc();                \
			statement;                             \
			u32 span = read_tsc() - start;         \
			if (span < least)                      \
				least = span;                  \
		}                                              \
		least;                                         \
	})

static u32 user_least USER_DATA;

/* The handler is a lone iret, so that only the host's part and the two instructions are counted. */
static void USER_TEXT user_system_calls(void)
{
	user_least = ~0u;
	for (u32 i = 0; i < ROUNDS; i++) {
		u32 start, end, high;

		asm volatile("rdtsc" : "=a"(start), "=d"(high));
		asm volatile("int $0x80" : : : "memory");
		asm volatile("rdtsc" : "=a"(end), "=d"(high));
		if (end - start < user_least)
			user_least = end - start;
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

/* A demand fault after a flush: it has to make the shadow's page directory and leaf table as well. */
static u32 cold_fault(void)
{
	u32 least = ~0u;

	for (u32 i = 0; i < ROUNDS; i++) {
		volatile u32 start;
		u32 span;

		hypercall(LHCALL_FLUSH_TLB, 0, 0, 0, 0);
		/* The stack's own fault comes first. */
		start = 0;
		start = read_tsc();
		touch(i);
		span = read_tsc() - start;
		if (span < least)
			least = span;
	}
	return least;
}

void guest_main(void)
{
	u32 overhead, page;

	guest_init();
	overhead = reading_costs();
	page = allocate_page();

	report("flush_async", LEAST(hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0, 0)), overhead);

	/* The first touch makes the shadow table; each touch after it is one demand fault. */
	for (u32 i = 0; i <= ROUNDS; i++)
		*leaf(kernel_root, USER_WINDOW + i * PAGE) = page | PTE_P | PTE_RW;
	touch(ROUNDS);
	report("demand_fault_read", LEAST(touch(i)), overhead);
	report("demand_fault_dirty", LEAST(poke(USER_WINDOW + i * PAGE, 1)), overhead);

	report("demand_fault_cold", cold_fault(), overhead);

	report("set_pte", LEAST(hypercall(LHCALL_SET_PTE, (u32)kernel_root, USER_WINDOW,
					  page | PTE_P | PTE_RW | PTE_A | PTE_D, 0)), overhead);
	report("new_pgtable", LEAST(switch_root(kernel_root)), overhead);

	load_gate(SYSCALL_VECTOR, (u32)lone_iret, USER_TRAP_GATE);
	run_user(user_system_calls);
	report("int80_reflect", user_least, overhead);
}
