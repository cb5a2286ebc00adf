/* expect: stop="guest powered off" status=0 */
/* What LGUEST_INIT writes, and what it reads once and for all. */

#include "guest.h"

static void written_fields(void)
{
	/* The page was only read so far; the host's writes must show all the same. */
	u32 before = lguest_data.reserve_mem | lguest_data.tsc_khz | lguest_data.time_sec;

	check("LG-041", "fields before the call", before, 0);
	lguest_init();
	check("LG-035", "reserve_mem", lguest_data.reserve_mem, RESERVE_MEM);
	check("LG-041", "fields show after the call", lguest_data.time_sec != 0, 1);
	/* 2020-01-01; any machine that runs this has a later clock. */
	check("LG-036", "seconds", lguest_data.time_sec > 1577836800, 1);
	check("LG-036", "nanoseconds", lguest_data.time_nsec < 1000000000, 1);
	check("LG-034", "a rate between 1 MHz and 10 GHz, or none",
	      lguest_data.tsc_khz == 0 || (lguest_data.tsc_khz >= 1000 && lguest_data.tsc_khz <= 10000000), 1);
	check("LG-042", "the host leaves its neighbours alone",
#if HAS_NOIRQ_IRET
	      lguest_data.noirq_iret == (u32)noirq_iret &&
#else
	      lguest_data.noirq_start == (u32)noirq_start && lguest_data.noirq_end == (u32)noirq_end &&
#endif
#if HAS_KERNEL_FIELDS
		      lguest_data.kernel_address == KERNEL_WINDOW && lguest_data.syscall_vec == SYSCALL_VECTOR &&
#endif
#if HAS_IRQ_PENDING
		      lguest_data.irq_pending == 0 &&
#endif
		      lguest_data.irq_enabled == 0 && lguest_data.blocked_interrupts == 1,
	      1);
#if HAS_PGDIR
	check("LG-014", "pgdir is the last page of RAM", lguest_data.pgdir, ram_bytes() - PAGE);
	check("LG-014", "the second leaf table maps what follows the first",
	      peek(FRAME(*pde((volatile pte *)lguest_data.pgdir, PDE_SPAN)) + sizeof(pte)), (PDE_SPAN + PAGE) | 0x007);
#endif
}

/* Were the new value taken, SET_PTE at USER_WINDOW would apply to all roots. */
static void kernel_address_is_sampled(void)
{
	u32 page = allocate_page(), other = allocate_page();
	volatile pte *root = new_root();

	poke(page, 1);
	poke(other, 2);
	*leaf(kernel_root, USER_WINDOW) = page | PTE_P | PTE_RW;
	*leaf(root, USER_WINDOW) = other | PTE_P | PTE_RW;
	peek(USER_WINDOW);
#if HAS_KERNEL_FIELDS
	lguest_data.kernel_address = USER_WINDOW;
#endif
	announce_pte((u32)root, USER_WINDOW, other | PTE_P | PTE_RW | PTE_A);
	check("LG-040", "kernel_address keeps its first value", peek(USER_WINDOW), 1);
#if HAS_KERNEL_FIELDS
	lguest_data.kernel_address = KERNEL_WINDOW;
#endif
}

void guest_main(void)
{
	written_fields();
	traps_init();
	segments_init();
	paging_init();
	kernel_address_is_sampled();
}
