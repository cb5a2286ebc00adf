/* expect: stop="guest powered off" status=0 */
/*
 * Randomness: buffers of all lengths, several at a time. What makes it random is for others to judge; a
 * constant, a counter or a repeated block would be seen here.
 */

#include "virtio.h"

#define GUARD 0xee
#define BYTES 4096
#define BUFFERS 64

static struct queue requests;
static u8 buffer[2 * BYTES];

static void guard(u32 length)
{
	for (u32 i = 0; i < length; i++)
		buffer[i] = GUARD;
}

/* Whether all bytes from `from` to `to` are as guard() left them. */
static u32 guarded(u32 from, u32 to)
{
	for (u32 i = from; i < to; i++)
		if (buffer[i] != GUARD)
			return 0;
	return 1;
}

static void lengths(void)
{
	static const u32 tried[] = { 1, 2, 3, 63, 64, 65, 511, 512, 4095, 4096 };
	u32 short_or_long = 0, outside = 0;

	for (u32 i = 0; i < sizeof tried / sizeof *tried; i++) {
		struct used used;

		guard(sizeof buffer);
		put(&requests, 0, buffer, tried[i], F_WRITE);
		submit(&requests, 0);
		used = take_used(&requests);
		if (used.head != 0 || used.length == 0 || used.length > tried[i])
			short_or_long++;
		if (!guarded(used.length, sizeof buffer))
			outside++;
	}
	check("LG-161", "buffers of 1 to 4096 bytes come back with bytes", short_or_long, 0);
	check("LG-173", "and what lies behind those is not touched", outside, 0);
}

/* Asks for less and less until the buffer is full, as a driver does. */
static void fill_up(u8 *at)
{
	u32 filled = 0;

	while (filled < BYTES) {
		put(&requests, 0, at + filled, BYTES - filled, F_WRITE);
		submit(&requests, 0);
		filled += take_used(&requests).length;
	}
}

static void two_pages(void)
{
	u32 ones = 0, repeated = 0;

	fill_up(buffer);
	fill_up(buffer + BYTES);
	for (u32 i = 0; i < sizeof buffer; i++)
		for (u32 bit = 0; bit < 8; bit++)
			ones += buffer[i] >> bit & 1;
	/* 32768 are expected; 128 is the standard deviation. */
	check("LG-161", "half of the bits are ones", ones > 32768 - 8 * 128 && ones < 32768 + 8 * 128, 1);
	for (u32 i = 0; i + 8 < sizeof buffer; i += 4)
		repeated += *(u32 *)(buffer + i) == *(u32 *)(buffer + i + 4);
	check("LG-161", "words that follow themselves", repeated, 0);
	check("LG-161", "two reads differ",
	      checksum(FNV_START, buffer, BYTES) != checksum(FNV_START, buffer + BYTES, BYTES), 1);
}

/* Chains of two buffers each, all made available before the first notification. */
static void many_at_once(void)
{
	u32 seen[BUFFERS] = { 0 }, wrong = 0, alike = 0;

	guard(sizeof buffer);
	for (u32 i = 0; i < BUFFERS; i++) {
		put(&requests, 2 * i, buffer + 64 * i, 16, F_WRITE | F_NEXT);
		put(&requests, 2 * i + 1, buffer + 64 * i + 16, 16, F_WRITE);
		make_available(&requests, 2 * i);
	}
	notify(&requests);
	for (u32 i = 0; i < BUFFERS; i++) {
		struct used used = take_used(&requests);

		if (used.head >= 2 * BUFFERS || used.head % 2 || seen[used.head / 2]++ || used.length != 32)
			wrong++;
	}
	check("LG-161", "64 chains come back, each once and full", wrong, 0);
	for (u32 i = 0; i < BUFFERS; i++) {
		if (!guarded(64 * i + 32, 64 * i + 64))
			wrong++;
		for (u32 j = 0; j < i; j++)
			alike += *(u32 *)(buffer + 64 * i) == *(u32 *)(buffer + 64 * j);
	}
	check("LG-173", "nothing between them is touched", wrong, 0);
	check("LG-161", "no two are alike", alike, 0);
}

void guest_main(void)
{
	u32 slot;

	guest_init();
	interrupts_init();
	slot = find_device(ENTROPY, 0);
	if (command_line_number("sources") == 0) {
		check("LG-157", "without a source there is no device", slot, 0);
		return;
	}
	check("LG-157", "there is a device", slot != 0, 1);
	if (!slot)
		return;
	device_start(slot, 0);
	queue_start(&requests, slot, 0);
	device_ready(slot);
	lengths();
	two_pages();
	many_at_once();
}
