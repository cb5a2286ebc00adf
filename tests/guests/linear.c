/* expect: stop="guest powered off" status=0 */
/* The end of linear mode, by a root whose address a host might take for "none": 0, the boot page. */

#include "guest.h"

/* Inside RAM, and not in any table. */
#define BEYOND_IDENTITY 0x900000

void guest_main(void)
{
	/* The host gave that page its contents; it is the guest's memory like any other. */
	volatile pte *root = (volatile pte *)0, *identity;

	poke(BEYOND_IDENTITY, 0x11ea4);
	lguest_init();
	traps_init();
	segments_init();
	check("LG-016", "linear after LGUEST_INIT", peek(BEYOND_IDENTITY), 0x11ea4);
	identity = new_root();
	for (u32 word = 0; word < TOP_ENTRIES * sizeof(pte) / 4; word++)
		poke(4 * word, ((volatile u32 *)identity)[word]);

	switch_root(root);
	check("LG-018", "identity ends with root 0", read_traps(BEYOND_IDENTITY), 1);
	check("LG-018", "vector", trap.vector, 14);
	check("LG-018", "what root 0 maps is there", peek(0), (u32)identity[0]);
	*leaf(identity, USER_WINDOW) = BEYOND_IDENTITY | PTE_P;
	switch_root(identity);
	check("LG-018", "another root", peek(USER_WINDOW), 0x11ea4);
	switch_root(root);
	check("LG-018", "root 0 again", read_traps(USER_WINDOW), 1);
	switch_root(identity);
	check("LG-018", "identity does not come back", read_traps(BEYOND_IDENTITY), 1);
}
