/* Changes of page tables, and what makes the processor forget old ones. */

#include "paravirt.h"

#define PAGES 64

static u32 page;

static void map_used(void)
{
	for (u32 i = 0; i < PAGES; i++)
		*leaf(kernel_root, USER_WINDOW + i * PAGE) = page | USED_PAGE;
}

static void touch_used(void)
{
	for (u32 i = 0; i < PAGES; i++)
		peek(USER_WINDOW + i * PAGE);
}

static void use(void)
{
	map_used();
	touch_used();
}

#if !BARE

/* Each change is one that matters: writable, read-only, and so on. */
static pte changed(u32 i)
{
	return page | (i & 1 ? USED_PAGE : USED_PAGE & ~PTE_RW);
}

static void change_all(u32 round)
{
	for (u32 i = 0; i < RING_SLOTS; i++) {
		u32 gva = USER_WINDOW + i * PAGE;

		*leaf(kernel_root, gva) = changed(round);
		ring_write(i, LHCALL_SET_PTE, (u32)kernel_root, gva, changed(round), 0);
	}
	hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0, 0);
}

/* Only the calls: the guest has written what they are about. */
static void queued(void)
{
	static u32 spans[15];

	for (u32 round = 0; round < 15; round++) {
		u32 start;

		for (u32 i = 0; i < RING_SLOTS; i++)
			*leaf(kernel_root, USER_WINDOW + i * PAGE) = changed(round);
		for (u32 i = 0; i < RING_SLOTS; i++)
			ring_write(i, LHCALL_SET_PTE, (u32)kernel_root, USER_WINDOW + i * PAGE, changed(round), 0);
		start = read_tsc();
		hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0, 0);
		spans[round] = read_tsc() - start;
	}
	for (u32 round = 0; round < 15; round++)
		samples[round] = spans[round];
	report("set_pte_ring_64", 15);
}

static void direct(void)
{
	u32 unused = USER_TABLE(1);

	MEASURE_AFTER("set_pte", SAMPLES, *leaf(kernel_root, USER_WINDOW) = changed(i),
		      announce_pte((u32)kernel_root, USER_WINDOW, changed(i)));
	/* No shadow table is there for this one. */
	MEASURE_AFTER("set_pte_not_shadowed", SAMPLES, *leaf(kernel_root, unused) = changed(i),
		      announce_pte((u32)kernel_root, unused, changed(i)));
	MEASURE("set_pgd", SAMPLES, announce_pde(kernel_root, USER_TABLE(2)));
}

#endif

void guest_main(void)
{
	guest_init();
	measure_init();
	page = allocate_page();
	use();
#if !BARE
	direct();
	use();
	queued();
	MEASURE("change_64_pages", 15, change_all(i));
#endif
	MEASURE_AFTER("flush_page", SAMPLES, peek(USER_WINDOW), flush_page(kernel_root, USER_WINDOW));
	MEASURE_AFTER("flush_user", 15, use(), flush_user());
	MEASURE_AFTER("flush_all", 15, use(), flush_all());
}
