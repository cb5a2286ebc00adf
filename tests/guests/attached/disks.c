/* expect: stop="guest powered off" status=0 */
/*
 * All disks of the machine, one after the other: what they hold, requests of every shape with many under way,
 * what must fail, and what is there afterwards. Whoever started this guest knows what the sums have to be.
 *
 * The command line says disks=<number>, and lost=1 for a guest that waits for its end after a
 * flush, or bad=<sector> for a disk that cannot read that one.
 */

#include "virtio.h"

#define SECTOR 512
#define READ 0
#define WRITE 1
#define FLUSH 4
#define GET_ID 8
#define DISCARD 11
#define WRITE_ZEROES 13
#define OK 0
#define IO_ERROR 1
#define UNSUPPORTED 2
#define NONE 0xee
#define READ_ONLY (1u << 5)

/* Requests under way, each with four descriptors; more than the host has buffers. */
#define REQUESTS 32
#define DESCRIPTORS 4
/* Sectors of the largest of them. */
#define MOST 24
#define SEGMENTS 126

struct header {
	u32 type, reserved, sector, sector_high;
};

static struct request {
	struct header header;
	u32 sectors, first;
	volatile u8 status;
	u8 data[MOST * SECTOR];
} requests[REQUESTS];

static struct queue queue;
static u32 slot, capacity;

/* Hands a request with its data in two buffers to the device, without telling it. */
static void prepare(u32 index, u32 type, u32 sector, u32 bytes)
{
	struct request *request = &requests[index];
	u16 direction = type == WRITE ? 0 : F_WRITE;
	u32 first = DESCRIPTORS * index, cut = bytes / 3;

	request->header = (struct header){ type, 0, sector, 0 };
	request->status = NONE;
	put(&queue, first, &request->header, sizeof request->header, F_NEXT);
	put(&queue, first + 1, request->data, cut, F_NEXT | direction);
	put(&queue, first + 2, request->data + cut, bytes - cut, F_NEXT | direction);
	put(&queue, first + 3, &request->status, 1, F_WRITE);
	make_available(&queue, first);
}

static u32 one(u32 type, u32 sector, u32 bytes)
{
	prepare(0, type, sector, bytes);
	notify(&queue);
	return take_used(&queue).head == BROKEN ? BROKEN : requests[0].status;
}

/* Different lengths, all of them odd or even by turns. */
static u32 length_of(u32 number)
{
	return 1 + number * 7 % MOST;
}

/*
 * The whole disk in pieces, with all requests under way. `type` says which way; words start again from `seed`
 * in each piece, so that one in the wrong place is seen. Returns the wrong answers.
 */
static u32 whole_disk(u32 type, u32 seed)
{
	u32 next = 0, number = 0, under_way = 0, wrong = 0;
	u32 free[REQUESTS], free_count = REQUESTS;

	for (u32 i = 0; i < REQUESTS; i++)
		free[i] = i;
	while (next < capacity || under_way) {
		struct used used;
		struct request *request;

		while (next < capacity && free_count) {
			u32 index = free[--free_count], count = length_of(number++);

			if (count > capacity - next)
				count = capacity - next;
			request = &requests[index];
			request->first = next;
			request->sectors = count;
			if (type == WRITE)
				fill(request->data, count * SECTOR, seed + next);
			else
				for (u32 i = 0; i < count * SECTOR; i++)
					request->data[i] = 0;
			prepare(index, type, next, count * SECTOR);
			next += count;
			under_way++;
		}
		notify(&queue);
		used = take_used(&queue);
		if (used.head == BROKEN || used.head % DESCRIPTORS)
			return BROKEN;
		request = &requests[used.head / DESCRIPTORS];
		if (request->status != OK)
			wrong++;
		if (type == READ) {
			u32 word = seed + request->first;

			if (used.length != request->sectors * SECTOR + 1)
				wrong++;
			for (u32 i = 0; i < request->sectors * SECTOR / 4; i++, word = next_word(word))
				wrong += ((u32 *)request->data)[i] != word;
		}
		free[free_count++] = used.head / DESCRIPTORS;
		under_way--;
	}
	return wrong;
}

/* What the disk holds, sector by sector. */
static u32 sum_of_disk(void)
{
	u32 sum = FNV_START;

	for (u32 sector = 0; sector < capacity; sector += MOST) {
		u32 count = capacity - sector < MOST ? capacity - sector : MOST;

		if (one(READ, sector, count * SECTOR) != OK)
			return 0;
		sum = checksum(sum, requests[0].data, count * SECTOR);
	}
	return sum;
}

/* One descriptor in the queue, and behind it a table with as many segments as the device allows. */
static u32 indirect(u32 type, u32 sector, u32 bytes)
{
	static struct descriptor table[SEGMENTS + 2] __attribute__((aligned(16)));
	struct request *request = &requests[0];
	u16 direction = type == WRITE ? 0 : F_WRITE;
	u32 at = 0;

	request->header = (struct header){ type, 0, sector, 0 };
	request->status = NONE;
	put_descriptor(&table[0], &request->header, sizeof request->header, F_NEXT, 1);
	for (u32 i = 0; i < SEGMENTS; i++) {
		/* Odd lengths, and the rest in the last. */
		u32 length = i + 1 < SEGMENTS ? 2 * (i % 8) + 1 : bytes - at;

		put_descriptor(&table[i + 1], request->data + at, length, F_NEXT | direction, i + 2);
		at += length;
	}
	put_descriptor(&table[SEGMENTS + 1], &request->status, 1, F_WRITE, 0);
	put(&queue, 0, table, sizeof table, F_INDIRECT);
	submit(&queue, 0);
	return take_used(&queue).head == BROKEN ? BROKEN : request->status;
}

static void many_segments(void)
{
	u32 want;

	fill(requests[0].data, 8 * SECTOR, 77);
	want = checksum(FNV_START, requests[0].data, 8 * SECTOR);
	check("A-32", "126 segments in an indirect table are written", indirect(WRITE, 3, 8 * SECTOR), OK);
	fill(requests[0].data, 8 * SECTOR, 78);
	check("A-32", "and read", indirect(READ, 3, 8 * SECTOR), OK);
	check("A-32", "checksum", checksum(FNV_START, requests[0].data, 8 * SECTOR), want);
}

static void what_fails(void)
{
	check("A-34", "the last sector", one(READ, capacity - 1, SECTOR), OK);
	check("A-34", "the one behind it", one(READ, capacity, SECTOR), IO_ERROR);
	check("A-34", "across the end", one(READ, capacity - 1, 2 * SECTOR), IO_ERROR);
	check("A-34", "the last number there is", one(READ, 0xffffffff, SECTOR), IO_ERROR);
	check("A-34", "no bytes", one(READ, 0, 0), OK);
	check("A-34", "no bytes behind the end", one(READ, capacity + 1, 0), IO_ERROR);
	check("A-34", "a sector and a byte", one(READ, 0, SECTOR + 1), IO_ERROR);
	check("A-34", "discard", one(DISCARD, 0, 16), UNSUPPORTED);
	check("A-34", "write zeroes", one(WRITE_ZEROES, 0, 16), UNSUPPORTED);
	check("A-34", "a type with all bits", one(0xffffffff, 0, SECTOR), UNSUPPORTED);
}

static void identifier(void)
{
	char text[21];

	for (u32 i = 0; i < 20; i++)
		requests[0].data[i] = NONE;
	check("A39", "identifier", one(GET_ID, 0, 20), OK);
	for (u32 i = 0; i < 20; i++)
		text[i] = requests[0].data[i];
	text[20] = 0;
	print("serial ");
	print(text);
	print("\n");
}

static void start(void)
{
	device_start(slot, RING_INDIRECT_DESC | 1u << 9);
	queue_start(&queue, slot, 0);
	device_ready(slot);
	capacity = register_read(slot, DEVICE_CONFIG, 4);
}

static void say_sum(const char *when)
{
	u32 sum = sum_of_disk();

	print("slot ");
	print_decimal(slot);
	print(": ");
	print_decimal(capacity);
	print(" sectors, ");
	print(when);
	print(" ");
	print_hex(sum);
	print("\n");
}

static void writable_disk(void)
{
	check("LG-161", "written from end to end, 32 requests under way", whole_disk(WRITE, slot), 0);
	check("LG-161", "flush", one(FLUSH, 0, 0), OK);
	check("LG-161", "and read back", whole_disk(READ, slot), 0);
	many_segments();
	check("A-34", "written across the end", one(WRITE, capacity - 1, 2 * SECTOR), IO_ERROR);
}

static void read_only_disk(void)
{
	check("A-34", "a write is refused", one(WRITE, 0, SECTOR), IO_ERROR);
	check("A-34", "and so is one from an indirect table", indirect(WRITE, 0, 8 * SECTOR), IO_ERROR);
	check("LG-161", "a flush is not", one(FLUSH, 0, 0), OK);
}

/* In the middle of requests the device is reset; what it had it must not answer, nor write, any more. */
static void reset_in_between(void)
{
	u32 wrong = 0;

	for (u32 i = 0; i < REQUESTS; i++)
		prepare(i, READ, 0, MOST * SECTOR);
	notify(&queue);
	register_write(slot, DEVICE_STATUS, 1, 0);
	for (u32 i = 0; i < REQUESTS; i++)
		fill(requests[i].data, sizeof requests[i].data, i);
	start();
	check("A-33", "works after a reset with 32 requests under way", one(FLUSH, 0, 0), OK);
	/* The first is the flush's. */
	for (u32 i = 1; i < REQUESTS; i++) {
		u32 word = i;

		for (u32 j = 0; j < sizeof requests[i].data / 4; j++, word = next_word(word))
			wrong += ((u32 *)requests[i].data)[j] != word;
	}
	check("A-33", "and nothing of those comes", wrong, 0);
	check("A-33", "nor is anything given back twice", queue.used[1], 1);
}

static void power_is_lost(void)
{
	check("LG-161", "written", whole_disk(WRITE, slot), 0);
	check("LG-161", "flush", one(FLUSH, 0, 0), OK);
	print("flushed\n");
	for (;;)
		wait_for_interrupt();
}

static void medium_fails(u32 bad)
{
	u32 failed = 0, others = 0;

	for (u32 sector = 0; sector < capacity; sector++) {
		u32 result = one(READ, sector, SECTOR);

		failed += sector == bad && result == IO_ERROR;
		others += sector != bad && result != OK;
	}
	check("A-34", "a bad sector is an error", failed, 1);
	check("A-34", "others are none", others, 0);
}

void guest_main(void)
{
	u32 disks = 0, bad = command_line_number("bad");

	guest_init();
	interrupts_init();
	for (slot = 0; (slot = find_device(BLOCK, slot)) != 0;) {
		disks++;
		start();
		if (command_line_number("lost"))
			power_is_lost();
		if (bad) {
			medium_fails(bad);
			continue;
		}
		say_sum("at first");
		identifier();
		if (offered_features(slot) & READ_ONLY)
			read_only_disk();
		else
			writable_disk();
		what_fails();
		reset_in_between();
		say_sum("at last");
	}
	check("LG-157", "disks", disks, command_line_number("disks"));
}
