/*
 * one hypercall number with arguments from all boundaries, in all registers, until the host has had enough. A run
 * for each line of calls.txt. hv-core is asked about every number and all combinations.
 */

#include "cases.h"

static u32 boundary(u32 index)
{
	switch (index) {
	case 0: return 0;
	case 1: return 1;
	case 2: return PAGE - 1;
	case 3: return PAGE;
	case 4: return ram_bytes() - 1;
	case 5: return ram_bytes();
	case 6: return 0x80000000;
	default: return 0xffffffff;
	}
}

/* Harmless arguments come first, each run in another order of registers. */
static void call(u32 number)
{
	guest_init();
	lguest_data.blocked_interrupts = 0xffffffff;
	for (u32 i = 0; i < 4096; i++)
		hypercall(number, boundary(i >> 9 & 7), boundary(i >> 6 & 7), boundary(i >> 3 & 7), boundary(i & 7));
	shutdown("it took all of them", SHUTDOWN_POWEROFF);
}

#define CALL(n) static void call_##n(void) { call(n); }
#define NAME(n) { "call_" #n, call_##n }

CALL(0) CALL(1) CALL(2) CALL(4) CALL(5) CALL(6) CALL(7) CALL(8) CALL(9) CALL(13) CALL(14) CALL(15) CALL(16)
CALL(18) CALL(19) CALL(0xffffffff)

static const struct attack attacks[] = {
	NAME(0), NAME(1), NAME(2), NAME(4), NAME(5), NAME(6), NAME(7), NAME(8), NAME(9), NAME(13), NAME(14), NAME(15),
	NAME(16), NAME(18), NAME(19), NAME(0xffffffff),
};

void guest_main(void)
{
	run_attack(attacks, sizeof attacks / sizeof *attacks);
}
