/* expect: stop="guest powered off" status=0 */
/* Randomness from the page above RAM. */

#include "legacy.h"

#define LEGACY_ENTROPY 4
#define BYTES 4096

static u8 noise[BYTES] __attribute__((aligned(PAGE)));

void guest_main(void)
{
	struct legacy_device *device;
	struct legacy_queue *requests;
	u32 ones = 0, repeated = 0, filled = 0;

	guest_init();
	check("LG-164", "records end with type 0", legacy_init(), 0);
	device = legacy_find(LEGACY_ENTROPY);
	check("LG-164", "queues", device->queue_count, 1);
	requests = &device->queues[0];
	legacy_start(device);
	while (filled < BYTES) {
		u32 number = requests->used[1];
		u32 length;

		legacy_put(requests, 0, noise + filled, BYTES - filled, LEGACY_WRITE);
		if (!legacy_submit(device, requests))
			shutdown("the device needs a reset", SHUTDOWN_POWEROFF);
		length = ((volatile u32 *)(requests->used + 2))[2 * (number % requests->size) + 1];
		if (length == 0 || length > BYTES - filled)
			shutdown("a length that cannot be", SHUTDOWN_POWEROFF);
		filled += length;
	}
	for (u32 i = 0; i < BYTES; i++)
		for (u32 bit = 0; bit < 8; bit++)
			ones += noise[i] >> bit & 1;
	/* 16384 are expected; 91 is the standard deviation. */
	check("LG-165", "half of the bits are ones", ones > 16384 - 8 * 91 && ones < 16384 + 8 * 91, 1);
	for (u32 i = 0; i + 8 < BYTES; i += 4)
		repeated += *(u32 *)(noise + i) == *(u32 *)(noise + i + 4);
	check("LG-165", "words that follow themselves", repeated, 0);
}
