/* Changes of page tables, and what makes the processor forget old ones. */

#include "paravirt.h"

#define PAGES 64
#define ROUNDS 15

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

/* As many as the ring holds. */
static void queue_changes(u32 round)
{
	for (u32 i = 0; i < RING_SLOTS; i++) {
		u32 gva = USER_WINDOW + i * PAGE;

		*leaf(kernel_root, gva) = changed(round);
		ring_write(i, LHCALL_SET_PTE, (u32)kernel_root, gva, changed(round), 0);
	}
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
	MEASURE_AFTER("set_pte_ring_64", ROUNDS, queue_changes(i), leave_lazy());
#endif
	MEASURE_AFTER("flush_page", SAMPLES, peek(USER_WINDOW), flush_page(kernel_root, USER_WINDOW));
	MEASURE_AFTER("flush_user", ROUNDS, use(), flush_user());
	MEASURE_AFTER("flush_all", ROUNDS, use(), flush_all());
}
