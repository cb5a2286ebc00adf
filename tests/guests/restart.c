/* expect: stop="*" status=4 */
/* LG-178: SHUTDOWN with flag 2 asks for a restart, whatever the message. */

#include "guest.h"

void guest_main(void)
{
	guest_init();
	shutdown("Restarting", SHUTDOWN_RESTART);
}
