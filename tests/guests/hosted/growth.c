/* Costs that must not depend on how much RAM there is: it runs with little and with much of it. */

#include "measure.h"

#define ROUNDS SAMPLES

/* Pages from the whole of RAM, from the bottom to the top. They are only read. */
static u32 spread(u32 i)
{
	return FRAME(ram_bytes() / ROUNDS * (i + 1) - PAGE);
}

static pte entry(u32 i)
{
	return spread(i) | PTE_P | PTE_RW | PTE_A | PTE_D;
}

static void enter(volatile pte *root)
{
	switch_root(root);
	peek(USER_WINDOW);
}

void guest_main(void)
{
	volatile pte *other;

	guest_init();
	measure_init();
	MEASURE("null_hypercall", ROUNDS, hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0, 0));

	for (u32 i = 0; i < ROUNDS; i++)
		*leaf(kernel_root, USER_WINDOW + i * PAGE) = entry(i);
	peek(USER_WINDOW + (ROUNDS - 1) * PAGE);
	MEASURE("fault_read", ROUNDS - 1, peek(USER_WINDOW + i * PAGE));
	MEASURE("set_pte", ROUNDS, announce_pte((u32)kernel_root, USER_WINDOW + i * PAGE, entry(i)));

	other = new_root();
	*leaf(other, USER_WINDOW) = entry(0);
	enter(other);
	enter(kernel_root);
	MEASURE("root_switch", ROUNDS, enter(i & 1 ? kernel_root : other));
}
