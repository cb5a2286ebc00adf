/* expect: stop="guest powered off" status=0 */
/*
 * The page of descriptors above RAM, and the devices that it describes, with drivers of our own: a disk, whose data is
 * compared; the console; and what becomes of a driver that breaks the rules.
 */

#include "guest.h"

#define NET 1
#define DISK 2
#define CONSOLE 3

#define ACKNOWLEDGE 1
#define DRIVER 2
#define DRIVER_OK 4
#define NEEDS_RESET 0x40

#define F_NEXT 1
#define F_WRITE 2
#define NO_INTERRUPT 1

#define READ 0
#define WRITE 1
#define SECTOR 512
#define SECTORS 128
#define NONE 0xee

/* Pages above RAM, and where they are mapped. */
#define SHARED_PAGES 49
#define WINDOW KERNEL_WINDOW

struct descriptor {
	u32 address, address_high, length;
	u16 flags, next;
};

struct queue {
	u32 size, irq, gpa;
	volatile struct descriptor *descriptors;
	volatile u16 *avail, *used;
};

struct device {
	u32 type, gpa;
	volatile u8 *status;
	volatile u32 *accepted; /* 0 in records that have none */
	u32 features, capacity;
	u32 queue_count;
	struct queue queues[2];
};

static struct device devices[8];
static u32 device_count;

static u32 ram_end;
static u32 interrupts[32];

static u16 get16(const volatile u8 *at)
{
	return at[0] | at[1] << 8;
}

static u32 get32(const volatile u8 *at)
{
	return get16(at) | (u32)get16(at + 2) << 16;
}

/* Where a guest-physical address above RAM is mapped. */
static volatile u8 *shared(u32 gpa)
{
	return (volatile u8 *)WINDOW + (gpa - ram_end);
}

static void add_queue(struct device *device, const volatile u8 *at)
{
	struct queue *queue = &device->queues[device->queue_count++];

	queue->size = get16(at);
	queue->irq = get16(at + 2);
	queue->gpa = get32(at + 4) * PAGE;
	queue->descriptors = (volatile struct descriptor *)shared(queue->gpa);
	queue->avail = (volatile u16 *)shared(queue->gpa + 16 * queue->size);
	/* Behind the ring comes one word more, and then the next page. */
	queue->used = (volatile u16 *)shared(queue->gpa + ((16 * queue->size + 2 * (3 + queue->size) + PAGE - 1) & ~(PAGE - 1)));
}

#if HAS_TAGGED_RECORDS

static u32 read_record(struct device *device, const volatile u8 *at)
{
	u32 size = at[1];

	device->status = (volatile u8 *)at + 2;
	for (u32 i = 3; i < 3 + size; i += 2 + at[i + 1]) {
		if (at[i] == 2)
			add_queue(device, &at[i + 2]);
		if (at[i] == 0x41)
			device->capacity = get32(&at[i + 2]);
	}
	return 3 + size;
}

#else

static u32 read_record(struct device *device, const volatile u8 *at)
{
	u32 queues = at[1], feature_bytes = at[2], config_bytes = at[3], next = 5;

	device->status = (volatile u8 *)at + 4;
	for (u32 i = 0; i < queues; i++, next += 8)
		add_queue(device, &at[next]);
	device->features = get32(&at[next]);
	device->accepted = (volatile u32 *)&at[next + feature_bytes];
	next += 2 * feature_bytes;
	device->capacity = config_bytes >= 8 ? get32(&at[next]) : 0;
	return next + config_bytes;
}

#endif

/* As the kernel does it: type 0 ends them. */
static void find_devices(void)
{
	u32 at = 0;

	while (shared(ram_end)[at]) {
		struct device *device = &devices[device_count++];

		device->type = shared(ram_end)[at];
		device->gpa = ram_end + at;
		at += read_record(device, &shared(ram_end)[at]);
		if (device_count == 8 || at > PAGE)
			break;
	}
	check("LG-164", "records end with type 0", shared(ram_end)[at], 0);
}

static struct device *find(u32 type)
{
	for (u32 i = 0; i < device_count; i++)
		if (devices[i].type == type)
			return &devices[i];
	shutdown("no such device", SHUTDOWN_POWEROFF);
}

static void notify(u32 gpa)
{
	hypercall(LHCALL_NOTIFY, gpa, 0, 0, 0);
}

static void set_status(struct device *device, u8 status)
{
	*device->status = status;
	notify(device->gpa);
}

static void put(struct queue *queue, u32 index, const volatile void *address, u32 length, u16 flags)
{
	volatile struct descriptor *descriptor = &queue->descriptors[index];

	descriptor->address = (u32)address;
	descriptor->address_high = 0;
	descriptor->length = length;
	descriptor->flags = flags;
	descriptor->next = index + 1;
}

/* Makes the chain at descriptor 0 available; whether it came back before the device gave up. */
static u32 submit(struct device *device, struct queue *queue)
{
	u16 before = queue->used[1];

	queue->avail[2 + queue->avail[1] % queue->size] = 0;
	queue->avail[1]++;
	notify(queue->gpa);
	while (queue->used[1] == before && !(*device->status & NEEDS_RESET))
		hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0, 0);
	return queue->used[1] != before;
}

/* ---- disk -------------------------------------------------------------------------------- */

static struct {
	u32 type, reserved, sector, sector_high;
} header;
static volatile u8 answer;
static u8 data[SECTORS * SECTOR] __attribute__((aligned(16)));

static u32 request(struct device *disk, u32 type, u32 sector, u32 length)
{
	struct queue *queue = &disk->queues[0];
	u16 direction = type == WRITE ? 0 : F_WRITE;

	header.type = type;
	header.sector = sector;
	answer = NONE;
	put(queue, 0, &header, sizeof header, F_NEXT);
	put(queue, 1, data, length / 3, F_NEXT | direction);
	put(queue, 2, data + length / 3, length - length / 3, F_NEXT | direction);
	put(queue, 3, &answer, 1, F_WRITE);
	submit(disk, queue);
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

static void disk_works(struct device *disk)
{
	struct queue *queue = &disk->queues[0];
	u32 want;

	check("LG-164", "capacity", disk->capacity, SECTORS);
	set_status(disk, ACKNOWLEDGE);
	set_status(disk, ACKNOWLEDGE | DRIVER);
	set_status(disk, ACKNOWLEDGE | DRIVER | DRIVER_OK);
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

static void interrupts_arrive(struct device *disk)
{
	struct queue *queue = &disk->queues[0];

	arrivals(queue->irq);
	check("LG-168", "a request", request(disk, READ, 0, SECTOR), 0);
	check("LG-168", "its interrupt", arrivals(queue->irq), 1);
	check("LG-168", "only once", arrivals(queue->irq), 0);
	queue->avail[0] = NO_INTERRUPT;
	check("LG-168", "a request without interrupt", request(disk, READ, 0, SECTOR), 0);
	check("LG-168", "no interrupt", arrivals(queue->irq), 0);
	queue->avail[0] = 0;
	check("LG-168", "a request with interrupt", request(disk, READ, 0, SECTOR), 0);
	check("LG-168", "its interrupt", arrivals(queue->irq), 1);
}

/* ---- console ----------------------------------------------------------------------------- */

static void console_works(struct device *console)
{
	struct queue *transmit = &console->queues[1];
	static char text[] = "LG-165 pass text through the queue\n";

	check("LG-164", "the console has two queues", console->queue_count, 2);
	check("LG-164", "with an interrupt each", transmit->irq - console->queues[0].irq, 1);
	/* Without a word about its status: the first use of a queue says enough. */
	put(transmit, 0, text, 20, F_NEXT);
	put(transmit, 1, text + 20, sizeof text - 21, 0);
	check("LG-165", "the text is taken", submit(console, transmit), 1);
	check("LG-168", "the queue's own interrupt", arrivals(transmit->irq), 1);
	check("LG-168", "not the other queue's", interrupts[console->queues[0].irq], 0);
}

/* ---- resets ------------------------------------------------------------------------------ */

static void resets(struct device *disk)
{
	struct queue *queue = &disk->queues[0];

	if (disk->accepted)
		*disk->accepted = disk->features;
	set_status(disk, 0);
	check("LG-166", "accepted features", disk->accepted ? *disk->accepted : 0, 0);
	check("LG-166", "available index", queue->avail[1], 0);
	check("LG-166", "used index", queue->used[1], 0);
	check("LG-166", "a descriptor", queue->descriptors[0].address, 0);
	check("LG-166", "the disk works again", request(disk, READ, 0, SECTOR), 0);
	check("LG-166", "from index 0 on", queue->used[1], 1);

	put(queue, 0, (void *)(ram_end + SHARED_PAGES * PAGE), 16, 0);
	check("LG-173", "a buffer past all memory is not answered", submit(disk, queue), 0);
	check("LG-173", "the device needs a reset", *disk->status & NEEDS_RESET, NEEDS_RESET);
	set_status(disk, 0);
	check("A-33", "and works after it", request(disk, READ, 0, SECTOR), 0);
}

void guest_main(void)
{
	struct device *disk;

	guest_init();
	ram_end = ram_bytes();
	for (u32 page = 0; page < SHARED_PAGES; page++)
		*leaf(kernel_root, WINDOW + page * PAGE) = (ram_end + page * PAGE) | PTE_P | PTE_RW;
	for (u32 irq = 0; irq < 32; irq++)
		trap_hooks[FIRST_IRQ_VECTOR + irq] = arrive;
	lguest_data.blocked_interrupts = 0;

	find_devices();
	check("LG-164", "the console comes last", devices[device_count - 1].type, CONSOLE);
	disk = find(DISK);
	disk_works(disk);
	interrupts_arrive(disk);
	console_works(find(CONSOLE));
	resets(disk);
}
