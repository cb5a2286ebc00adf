/* asleep with everything blocked, for ever. What ends the machine is for the other side to find. */

#include "guest.h"

void guest_main(void)
{
	guest_init();
	lguest_data.blocked_interrupts = 0xffffffff;
	lguest_data.irq_enabled = 0;
	print("asleep\n");
	hypercall(LHCALL_HALT, 0, 0, 0, 0);
	print("awake\n");
}
