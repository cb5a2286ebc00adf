/* From the first instruction above KERNEL_BASE to the first process. */

#include "kernel.h"

void kernel_main(u32 first_free)
{
	paging_init();
	memory_init(first_free);
	traps_init();
	console_init();
	print("demo: a small kernel on libhv\n");
	fpu_init();
	process_init();
	timer_init();
	/* Whose gates are loaded may come. */
	lguest_data.blocked_interrupts = 0;
	process_idle();
}
