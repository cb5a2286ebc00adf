/* expect: stop="guest powered off" status=0 */
/* texts without an end, by the calls that print before there is a driver, one by one and from the ring. */

#include "guest.h"

#define LENGTH 5000
#define QUEUED 4

static char text[LENGTH + 1] __attribute__((aligned(PAGE)));

#if HAS_DMA

static struct {
	u32 used_len, address[16];
	u16 length[16];
} dma[QUEUED];

static void say(u32 slot)
{
	dma[slot % QUEUED].address[0] = (u32)text;
	dma[slot % QUEUED].length[0] = PAGE;
	ring_write(slot, LHCALL_SEND_DMA, 0, (u32)&dma[slot % QUEUED], 0, 0);
}

#else

static void say(u32 slot)
{
	ring_write(slot, LHCALL_NOTIFY, (u32)text, 0, 0, 0);
}

#endif

void guest_main(void)
{
	u32 done = 0;

	guest_init();
	/* Lines, so that the log of a run can be read. */
	for (u32 i = 0; i < LENGTH; i++)
		text[i] = i % 64 == 63 ? '\n' : 'a' + i / 64 % 26;
	for (u32 slot = 0; slot < QUEUED; slot++)
		say(slot);
	hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0, 0);
	for (u32 slot = 0; slot < QUEUED; slot++)
		done += lguest_data.hcall_status[slot] == SLOT_EMPTY;
	check("A-39", "texts that were queued and printed", done, QUEUED);
}
