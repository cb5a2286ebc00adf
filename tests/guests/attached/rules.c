/* expect: stop="guest powered off" status=0 */
/*
 * A driver that breaks the rules of virtio, one after the other, on a disk. Each time the device stops, says
 * that it needs a reset, and works after that. The host's log has a line for each, unless there are too many.
 */

#include "virtio.h"

#define SECTOR 512
#define READ 0
#define FLUSH 4
#define IN_RAM 0x400000
#define SETTING_UP (ACKNOWLEDGE | DRIVER | FEATURES_OK)
#define BREACHES_OF_A_FLOOD 1000

static struct queue queue;
static u32 slot;
static struct {
	u32 type, reserved, sector, sector_high;
} header;
static volatile u8 status;
static u8 data[SECTOR];
static struct descriptor table[8] __attribute__((aligned(16)));

static void start(u32 features)
{
	device_start(slot, features);
	queue_start(&queue, slot, 0);
	device_ready(slot);
}

static u32 works(void)
{
	header.type = READ;
	status = 0xee;
	put(&queue, 0, &header, sizeof header, F_NEXT);
	put(&queue, 1, data, sizeof data, F_NEXT | F_WRITE);
	put(&queue, 2, &status, 1, F_WRITE);
	submit(&queue, 0);
	return take_used(&queue).head == 0 && status == 0;
}

/* ---- chains: the device is up ------------------------------------------------------------------ */

static void head_out_of_range(void)
{
	submit(&queue, QUEUE_DESCRIPTORS);
}

static void next_out_of_range(void)
{
	put(&queue, 0, &header, sizeof header, F_NEXT);
	queue.descriptors[0].next = QUEUE_DESCRIPTORS;
	submit(&queue, 0);
}

static void index_jump(void)
{
	queue.avail[1] += QUEUE_DESCRIPTORS + 1;
	notify(&queue);
}

static void loop(void)
{
	put(&queue, 0, &header, sizeof header, F_NEXT);
	put(&queue, 1, data, 0, F_NEXT | F_WRITE);
	queue.descriptors[1].next = 1;
	submit(&queue, 0);
}

static void past_ram(void)
{
	put(&queue, 0, (void *)(ram_bytes() - 8), 16, 0);
	submit(&queue, 0);
}

static void wrapping(void)
{
	put(&queue, 0, (void *)0xfffffff0, 0x20, 0);
	submit(&queue, 0);
}

static void above_four_gib(void)
{
	put(&queue, 0, &header, sizeof header, 0);
	queue.descriptors[0].address_high = 1;
	submit(&queue, 0);
}

static void four_gib_at_once(void)
{
	u32 count = 0xffffffff / ram_bytes() + 2;

	put(&queue, 0, &header, sizeof header, F_NEXT);
	for (u32 i = 1; i < count; i++)
		put(&queue, i, 0, ram_bytes(), F_NEXT);
	put(&queue, count, &status, 1, F_WRITE);
	submit(&queue, 0);
}

static void readable_after_writable(void)
{
	put(&queue, 0, data, 1, F_NEXT | F_WRITE);
	put(&queue, 1, &header, sizeof header, 0);
	submit(&queue, 0);
}

static void short_header(void)
{
	put(&queue, 0, &header, 4, F_NEXT);
	put(&queue, 1, &status, 1, F_WRITE);
	submit(&queue, 0);
}

static void no_answer(void)
{
	put(&queue, 0, &header, sizeof header, 0);
	submit(&queue, 0);
}

static void too_many_segments(void)
{
	put(&queue, 0, &header, sizeof header, F_NEXT);
	for (u32 i = 1; i < 200; i++)
		put(&queue, i, data, 4, F_NEXT | F_WRITE);
	put(&queue, 200, &status, 1, F_WRITE);
	submit(&queue, 0);
}

static void indirect(u32 length, u16 flags)
{
	put(&queue, 0, table, length, F_INDIRECT | flags);
	submit(&queue, 0);
}

static void indirect_refused(void)
{
	put_descriptor(&table[0], &header, sizeof header, 0, 0);
	indirect(sizeof table, 0);
}

static void indirect_allowed(void)
{
	start(RING_INDIRECT_DESC);
}

static void indirect_nested(void)
{
	indirect_allowed();
	put_descriptor(&table[0], table, sizeof table, F_INDIRECT, 0);
	indirect(sizeof table, 0);
}

static void indirect_nested_later(void)
{
	indirect_allowed();
	put_descriptor(&table[0], &header, sizeof header, F_NEXT, 1);
	put_descriptor(&table[1], table, sizeof table, F_INDIRECT, 0);
	indirect(sizeof table, 0);
}

static void indirect_loop(void)
{
	indirect_allowed();
	put_descriptor(&table[0], &header, sizeof header, F_NEXT, 0);
	indirect(sizeof table, 0);
}

static void indirect_next_out_of_range(void)
{
	indirect_allowed();
	put_descriptor(&table[0], &header, sizeof header, F_NEXT, 8);
	indirect(sizeof table, 0);
}

static void indirect_with_next(void)
{
	indirect_allowed();
	indirect(sizeof table, F_NEXT);
}

static void indirect_odd_length(void)
{
	indirect_allowed();
	indirect(17, 0);
}

static void indirect_empty(void)
{
	indirect_allowed();
	indirect(0, 0);
}

static void indirect_past_ram(void)
{
	indirect_allowed();
	put(&queue, 0, (void *)(ram_bytes() - 16), 32, F_INDIRECT);
	submit(&queue, 0);
}

/* ---- registers --------------------------------------------------------------------------------- */

static void no_such_queue(void)
{
	register_write(slot, NOTIFY, 2, 7);
}

static void moved_while_running(void)
{
	register_write(slot, QUEUE_DESC, 4, IN_RAM);
}

static void features_while_running(void)
{
	register_write(slot, DRIVER_FEATURE, 4, 0);
}

static void bits_cleared(void)
{
	register_write(slot, DEVICE_STATUS, 1, ACKNOWLEDGE | DRIVER);
}

static void wide_notification(void)
{
	register_write(slot, NOTIFY, 4, 0);
}

static void set_up(u32 offset, u32 width, u32 value)
{
	device_start(slot, 0);
	register_write(slot, QUEUE_SELECT, 2, 0);
	register_write(slot, offset, width, value);
}

static void not_enabled(void)
{
	set_up(NOTIFY, 2, 0);
}

static void odd_size(void)
{
	set_up(QUEUE_SIZE, 2, 3);
}

static void large_size(void)
{
	set_up(QUEUE_SIZE, 2, 512);
}

static void enabled_with_two(void)
{
	set_up(QUEUE_ENABLE, 2, 2);
}

static void misaligned(void)
{
	set_up(QUEUE_DESC, 4, IN_RAM + 8);
	register_write(slot, QUEUE_ENABLE, 2, 1);
}

static void ring_past_ram(void)
{
	set_up(QUEUE_USED, 4, ram_bytes() - 2048);
	register_write(slot, QUEUE_ENABLE, 2, 1);
}

static void ring_above_four_gib(void)
{
	set_up(QUEUE_AVAIL + 4, 4, 1);
	register_write(slot, QUEUE_ENABLE, 2, 1);
}

static void ready_too_early(void)
{
	register_write(slot, DEVICE_STATUS, 1, 0);
	register_write(slot, DEVICE_STATUS, 1, ACKNOWLEDGE | DRIVER | DRIVER_OK);
}

static const struct {
	const char *item, *name;
	void (*breaks)(void);
} rules[] = {
	{ "A-32", "a head out of range", head_out_of_range },
	{ "A-32", "a successor out of range", next_out_of_range },
	{ "A-32", "an index that jumps", index_jump },
	{ "A-32", "a loop", loop },
	{ "LG-173", "a buffer past RAM", past_ram },
	{ "LG-173", "a buffer that wraps", wrapping },
	{ "LG-173", "a buffer above 4 GiB", above_four_gib },
	{ "A-32", "buffers of 4 GiB together", four_gib_at_once },
	{ "A-32", "readable after writable", readable_after_writable },
	{ "A-32", "a short header", short_header },
	{ "A-32", "no room for an answer", no_answer },
	{ "A-32", "too many segments", too_many_segments },
	{ "A-32", "an indirect table without the feature", indirect_refused },
	{ "A-32", "an indirect table in itself", indirect_nested },
	{ "A-32", "the same behind a header", indirect_nested_later },
	{ "A-32", "a loop in an indirect table", indirect_loop },
	{ "A-32", "a successor outside the table", indirect_next_out_of_range },
	{ "A-32", "an indirect table with a successor", indirect_with_next },
	{ "A-32", "17 bytes of indirect table", indirect_odd_length },
	{ "A-32", "an empty indirect table", indirect_empty },
	{ "LG-173", "an indirect table past RAM", indirect_past_ram },
	{ "A-32", "a queue that is not there", no_such_queue },
	{ "A-33", "a queue moved while it runs", moved_while_running },
	{ "A-33", "features written while it runs", features_while_running },
	{ "A-33", "status bits cleared", bits_cleared },
	{ "A-36", "a notification of four bytes", wide_notification },
	{ "A-33", "a queue that is not enabled", not_enabled },
	{ "A-33", "a queue of 3", odd_size },
	{ "A-33", "a queue of 512", large_size },
	{ "A-33", "enabled with 2", enabled_with_two },
	{ "A-33", "a misaligned table", misaligned },
	{ "LG-173", "a ring past RAM", ring_past_ram },
	{ "LG-173", "a ring above 4 GiB", ring_above_four_gib },
	{ "A-33", "ready before the features are", ready_too_early },
};

void guest_main(void)
{
	u32 wrong = 0;

	guest_init();
	interrupts_init();
	slot = find_device(BLOCK, 0);
	for (u32 i = 0; i < sizeof rules / sizeof *rules; i++) {
		/* The log takes so many lines a second. */
		if (i % 8 == 0)
			sleep(1000000000);
		about(rules[i].name);
		start(0);
		rules[i].breaks();
		check(rules[i].item, "needs a reset", needs_reset(slot), 1);
		start(0);
		check("A-33", "works after it", works(), 1);
	}
	about("");
	sleep(1000000000);
	for (u32 i = 0; i < BREACHES_OF_A_FLOOD; i++) {
		start(0);
		head_out_of_range();
		wrong += !needs_reset(slot);
	}
	check("A-32", "a thousand in a row", wrong, 0);
	start(0);
	check("A-33", "works after them", works(), 1);
}
