/* Address spaces: the first load of a root, and switches among few and many. */

#include "paravirt.h"

#define MOST 1024
#define FRESH 15

static volatile pte *roots[MOST];
static u32 page;

/* A process with one page, at the start of the window. */
static volatile pte *small_process(void)
{
	volatile pte *root = new_root();

	*leaf(root, USER_WINDOW) = page | USED_PAGE;
	return root;
}

static void enter(volatile pte *root)
{
	switch_root(root);
	peek(USER_WINDOW);
}

static void fresh_roots(void)
{
	for (u32 i = 0; i < 2 * FRESH; i++)
		roots[i] = small_process();
	MEASURE("new_root", FRESH, switch_root(roots[i]));
	MEASURE("new_root_and_touch", FRESH, enter(roots[FRESH + i]));
}

/* In turn, each with a touch of a page that its process has used before. The mean: where the host has no room for all,
 * the rare dear switch is as much part of it as the others. */
static void switches(const char *name, u32 alive)
{
	u32 rounds = alive < SAMPLES ? SAMPLES / alive : 1, start;

	for (u32 i = 0; i < alive; i++)
		enter(roots[i]);
	start = read_tsc();
	for (u32 round = 0; round < rounds; round++)
		for (u32 i = 0; i < alive; i++)
			enter(roots[i]);
	report_value(name, (read_tsc() - start) / (rounds * alive));
}

#if !BARE

/* What has nothing to do with address spaces, with as many of them as there are. */
static void beside(void)
{
	volatile pte *entry = leaf(roots[0], USER_WINDOW);

	for (u32 i = 1; i <= SAMPLES; i++)
		entry[i] = page | USER_PAGE;
	enter(roots[0]);
	MEASURE("null_hypercall_1024", SAMPLES, hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0, 0));
	MEASURE("fault_read_1024", SAMPLES, peek(USER_WINDOW + (1 + i) * PAGE));
	MEASURE_AFTER("set_pte_1024", SAMPLES, *entry = page | (i & 1 ? USED_PAGE : USED_PAGE & ~PTE_RW),
		      announce_pte((u32)roots[0], USER_WINDOW, *entry));
}

#endif

void guest_main(void)
{
	guest_init();
	measure_init();
	page = allocate_page();
	fresh_roots();
	MEASURE("reload_root", SAMPLES, switch_root(roots[0]));
	for (u32 i = 2 * FRESH; i < MOST; i++)
		roots[i] = small_process();
	switches("root_switch_2", 2);
	switches("root_switch_8", 8);
	switches("root_switch_32", 32);
	switches("root_switch_128", 128);
	switches("root_switch_1024", 1024);
#if !BARE
	beside();
#endif
}
