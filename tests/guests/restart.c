/* expect: stop="*" status=4 */
/* LG-178: SHUTDOWN with flag 2 asks for a restart, whatever the message. */

#include "guest.h"

void guest_main(void)
{
	guest_init();
	survived("LG-178", "the last call is SHUTDOWN with flag 2");
	shutdown("Restarting", SHUTDOWN_RESTART);
}
