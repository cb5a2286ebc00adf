/* expect: stop="guest killed: bad page table entry 0x20002b" status=3 */
/* PWT in a leaf ended guests of the first two kernels. */

#include "guest.h"

#define PTE_PWT 0x008

void guest_main(void)
{
	guest_init();
	*leaf(kernel_root, USER_WINDOW) = 0x200000 | PTE_P | PTE_RW;
	check("LG-090", "without PWT the page is read", read_traps(USER_WINDOW), 0);
	*leaf(kernel_root, USER_WINDOW + PAGE) = 0x200000 | PTE_P | PTE_RW | PTE_PWT;
	peek(USER_WINDOW + PAGE);
	print("LG-090 FAIL the page with PWT was read\n");
}
