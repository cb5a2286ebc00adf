/* expect: stop="guest asked for restart" status=4 */
/* LG-178: a restart without a message, as Linux asks for it: the physical address of a null pointer. */

#include "guest.h"

void guest_main(void)
{
	guest_init();
	hypercall(LHCALL_SHUTDOWN, -PAGE_OFFSET, SHUTDOWN_RESTART, 0, 0);
}
