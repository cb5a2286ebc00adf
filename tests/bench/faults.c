/* Page faults that the host repairs by itself, because a shadow entry was missing; a bare machine has none of them. */

#include "paravirt.h"

#define ROUNDS 15

static u32 page;

/* Pages [first, first + count) of the current root's window, all on one frame. */
static void map(u32 gva, u32 count, pte flags)
{
	for (u32 i = 0; i < count; i++)
		*leaf(kernel_root, gva + i * PAGE) = page | flags;
}

static void touch_all(u32 gva, u32 count)
{
	for (u32 i = 0; i < count; i++)
		peek(gva + i * PAGE);
}

/* The first touch of each page in a table that the shadow has already. */
static void warm(void)
{
	map(USER_WINDOW, 3 * SAMPLES, USER_PAGE);
	peek(USER_WINDOW);
	MEASURE("fault_read", SAMPLES, peek(USER_WINDOW + i * PAGE));
	MEASURE("fault_write_after_read", SAMPLES, poke(USER_WINDOW + i * PAGE, 1));
	MEASURE("fault_write", SAMPLES, poke(USER_WINDOW + (SAMPLES + i) * PAGE, 1));
	map(KERNEL_WINDOW, SAMPLES, PTE_P | PTE_RW);
	peek(KERNEL_WINDOW);
	MEASURE("fault_kernel_read", SAMPLES, peek(KERNEL_WINDOW + i * PAGE));
}

/* The first touch below a page-directory entry: the shadow tables have to be made as well. */
static void cold(void)
{
	for (u32 i = 1; i < USER_TABLES; i++)
		map(USER_TABLE(i), 1, USER_PAGE);
	MEASURE("fault_new_table", USER_TABLES - 1, peek(USER_TABLE(i + 1)));
}

/* What a process pays after its part was flushed: its pages have been used before, and say so. */
static void refill(void)
{
	map(USER_WINDOW, SAMPLES, USED_PAGE);
	MEASURE_AFTER("refill_64_pages", ROUNDS, flush_user(), touch_all(USER_WINDOW, SAMPLES));
	map(KERNEL_WINDOW, SAMPLES, PTE_P | PTE_RW | PTE_A | PTE_D);
	MEASURE_AFTER("refill_64_kernel_pages", ROUNDS, flush_all(), touch_all(KERNEL_WINDOW, SAMPLES));
}

void guest_main(void)
{
	guest_init();
	measure_init();
	page = allocate_page();
	warm();
	cold();
	refill();
}
