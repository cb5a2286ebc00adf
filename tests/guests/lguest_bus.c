/* expect: stop="guest powered off" status=0 */
/*
 * The page of descriptors above RAM, and the devices that it describes, with drivers of our own: a disk, whose data is
 * compared; the console; and what becomes of a driver that breaks the rules.
 */

#include "legacy.h"

#define READ 0
#define WRITE 1
#define SECTOR 512
#define SECTORS 128
#define NONE 0xee

static u32 interrupts[32];

/* ---- disk -------------------------------------------------------------------------------- */

static struct {
	u32 type, reserved, sector, sector_high;
} header;
static volatile u8 answer;
static u8 data[SECTORS * SECTOR] __attribute__((aligned(16)));

static u32 request(struct legacy_device *disk, u32 type, u32 sector, u32 length)
{
	struct legacy_queue *queue = &disk->queues[0];
	u16 direction = type == WRITE ? 0 : LEGACY_WRITE;

	header.type = type;
	header.sector = sector;
	answer = NONE;
	legacy_put(queue, 0, &header, sizeof header, LEGACY_NEXT);
	legacy_put(queue, 1, data, length / 3, LEGACY_NEXT | direction);
	legacy_put(queue, 2, data + length / 3, length - length / 3, LEGACY_NEXT | direction);
	legacy_put(queue, 3, &answer, 1, LEGACY_WRITE);
	legacy_submit(disk, queue);
	return answer;
}

/* Adler's checksum, which no all-zero or shifted buffer passes. */
static u32 checksum(const u8 *bytes, u32 length)
{
	u32 a = 1, b = 0;

	while (length--) {
		a = (a + *bytes++) % 65521;
		b = (b + a) % 65521;
	}
	return b << 16 | a;
}

/* The words that the disk holds at first, or others. */
static void fill(u32 seed)
{
	for (u32 i = 0; i < sizeof data / 4; i++) {
		((u32 *)data)[i] = seed;
		seed = seed * 0x4c957f2d + 1;
	}
}

static void disk_works(struct legacy_device *disk)
{
	struct legacy_queue *queue = &disk->queues[0];
	u32 want;

	check("LG-164", "capacity", disk->capacity, SECTORS);
	legacy_start(disk);
	fill(1);
	want = checksum(data, sizeof data);
	for (u32 i = 0; i < sizeof data; i++)
		data[i] = 0;
	check("LG-165", "the whole disk is read", request(disk, READ, 0, sizeof data), 0);
	check("LG-165", "checksum", checksum(data, sizeof data), want);
	check("LG-169", "index in the used ring", queue->used[1], 1);
	check("LG-169", "length in the used ring", ((volatile u32 *)queue->used)[2], sizeof data + 1);

	fill(2);
	want = checksum(data, 5 * SECTOR);
	check("LG-165", "five sectors are written", request(disk, WRITE, 7, 5 * SECTOR), 0);
	for (u32 i = 0; i < 5 * SECTOR; i++)
		data[i] = 0;
	check("LG-165", "they are read back", request(disk, READ, 7, 5 * SECTOR), 0);
	check("LG-165", "checksum", checksum(data, 5 * SECTOR), want);
	check("A-34", "past the end", request(disk, READ, SECTORS, SECTOR), 1);
	check("A39", "no such type", request(disk, 77, 0, SECTOR), 2);
}

/* ---- interrupts -------------------------------------------------------------------------- */

static void arrive(struct frame *frame)
{
	interrupts[frame->vector - FIRST_IRQ_VECTOR]++;
}

/* Lets in what is pending. */
static u32 arrivals(u32 irq)
{
	u32 before = interrupts[irq];

	lguest_data.irq_enabled = EFLAGS_IF;
	hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0, 0);
	hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0, 0);
	lguest_data.irq_enabled = 0;
	return interrupts[irq] - before;
}

static void interrupts_arrive(struct legacy_device *disk)
{
	struct legacy_queue *queue = &disk->queues[0];

	arrivals(queue->irq);
	check("LG-168", "a request", request(disk, READ, 0, SECTOR), 0);
	check("LG-168", "its interrupt", arrivals(queue->irq), 1);
	check("LG-168", "only once", arrivals(queue->irq), 0);
	queue->avail[0] = LEGACY_NO_INTERRUPT;
	check("LG-168", "a request without interrupt", request(disk, READ, 0, SECTOR), 0);
	check("LG-168", "no interrupt", arrivals(queue->irq), 0);
	queue->avail[0] = 0;
	check("LG-168", "a request with interrupt", request(disk, READ, 0, SECTOR), 0);
	check("LG-168", "its interrupt", arrivals(queue->irq), 1);
}

/* ---- console ----------------------------------------------------------------------------- */

static void console_works(struct legacy_device *console)
{
	struct legacy_queue *transmit = &console->queues[1];
	static char text[] = "LG-165 pass text through the queue\n";

	check("LG-164", "the console has two queues", console->queue_count, 2);
	check("LG-164", "with an interrupt each", transmit->irq - console->queues[0].irq, 1);
	/* Without a word about its status: the first use of a queue says enough. */
	legacy_put(transmit, 0, text, 20, LEGACY_NEXT);
	legacy_put(transmit, 1, text + 20, sizeof text - 21, 0);
	check("LG-165", "the text is taken", legacy_submit(console, transmit), 1);
	check("LG-168", "the queue's own interrupt", arrivals(transmit->irq), 1);
	check("LG-168", "not the other queue's", interrupts[console->queues[0].irq], 0);
}

/* ---- resets ------------------------------------------------------------------------------ */

static void resets(struct legacy_device *disk)
{
	struct legacy_queue *queue = &disk->queues[0];

	if (disk->accepted)
		*disk->accepted = disk->features;
	legacy_set_status(disk, 0);
	check("LG-166", "accepted features", disk->accepted ? *disk->accepted : 0, 0);
	check("LG-166", "available index", queue->avail[1], 0);
	check("LG-166", "used index", queue->used[1], 0);
	check("LG-166", "a descriptor", queue->descriptors[0].address, 0);
	check("LG-166", "the disk works again", request(disk, READ, 0, SECTOR), 0);
	check("LG-166", "from index 0 on", queue->used[1], 1);

	legacy_put(queue, 0, (void *)(legacy_ram_end + LEGACY_PAGES * PAGE), 16, 0);
	check("LG-173", "a buffer past all memory is not answered", legacy_submit(disk, queue), 0);
	check("LG-173", "the device needs a reset", *disk->status & LEGACY_NEEDS_RESET, LEGACY_NEEDS_RESET);
	legacy_set_status(disk, 0);
	check("A-33", "and works after it", request(disk, READ, 0, SECTOR), 0);
}

void guest_main(void)
{
	struct legacy_device *disk;

	guest_init();
	for (u32 irq = 0; irq < 32; irq++)
		trap_hooks[FIRST_IRQ_VECTOR + irq] = arrive;
	lguest_data.blocked_interrupts = 0;

	check("LG-164", "records end with type 0", legacy_init(), 0);
	check("LG-164", "the console comes last", legacy_devices[legacy_count - 1].type, LEGACY_CONSOLE);
	disk = legacy_find(LEGACY_DISK);
	disk_works(disk);
	interrupts_arrive(disk);
	console_works(legacy_find(LEGACY_CONSOLE));
	resets(disk);
}
