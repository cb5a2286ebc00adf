/* expect: stop="guest powered off" status=0 */
/*
 * what a driver may do to the disk and its queue. After each attack the disk is reset, and a good request
 * has to work.
 */

#include "pci.h"

#define DISK 2
#define SECTOR 512
#define SECTORS 128
#define SIZE 256 /* of the queue */

#define READ 0
#define WRITE 1
#define F_NEXT 1
#define F_WRITE 2
#define F_INDIRECT 4
#define INDIRECT_DESC (1u << 28)

struct descriptor {
	u32 address, address_high, length;
	u16 flags, next;
};

static struct {
	u32 type, reserved, sector, sector_high;
} header;
static volatile u8 status;
static u8 data[8 * SECTOR] __attribute__((aligned(16)));
static volatile struct descriptor *descriptors;
static volatile u16 *avail, *used;
static u32 features;

static void write(u32 offset, u32 width, u32 value)
{
	memory_access.write(DISK, offset, width, value);
}

static u32 read(u32 offset, u32 width)
{
	return memory_access.read(DISK, offset, width);
}

static void negotiate(void)
{
	write(DEVICE_STATUS, 1, 0);
	write(DEVICE_STATUS, 1, ACKNOWLEDGE | DRIVER);
	write(DRIVER_FEATURE_SELECT, 4, 0);
	write(DRIVER_FEATURE, 4, features);
	write(DRIVER_FEATURE_SELECT, 4, 1);
	write(DRIVER_FEATURE, 4, 1);
	write(DEVICE_STATUS, 1, ACKNOWLEDGE | DRIVER | FEATURES_OK);
}

static void set_up(u32 desc, u32 desc_high, u32 avail_at, u32 used_at, u32 size)
{
	negotiate();
	write(QUEUE_SELECT, 2, 0);
	write(QUEUE_SIZE, 2, size);
	write(QUEUE_DESC, 4, desc);
	write(QUEUE_DESC + 4, 4, desc_high);
	write(QUEUE_AVAIL, 4, avail_at);
	write(QUEUE_USED, 4, used_at);
	write(QUEUE_ENABLE, 2, 1);
	write(DEVICE_STATUS, 1, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
}

static void start(void)
{
	for (u32 i = 0; i < PAGE / 2; i++)
		avail[i] = used[i] = 0;
	set_up((u32)descriptors, 0, (u32)avail, (u32)used, SIZE);
}

static void put(u32 index, u32 address, u32 length, u16 flags, u16 next)
{
	descriptors[index].address = address;
	descriptors[index].address_high = 0;
	descriptors[index].length = length;
	descriptors[index].flags = flags;
	descriptors[index].next = next;
}

/* Makes the chain at `head` available and lets the device look for a while; whether it came back. */
static u32 submit_head(u16 head, u16 step)
{
	u16 before = used[1];

	avail[2 + avail[1] % SIZE] = head;
	avail[1] += step;
	write(NOTIFY, 2, 0);
	for (u32 i = 0; i < 50 && used[1] == before && !(read(DEVICE_STATUS, 1) & NEEDS_RESET); i++)
		;
	return used[1] != before;
}

static void chain(u32 type, u32 sector, u32 length)
{
	header.type = type;
	header.sector = sector;
	header.sector_high = 0;
	status = 0xee;
	put(0, (u32)&header, sizeof header, F_NEXT, 1);
	put(1, (u32)data, length, F_NEXT | (type == WRITE ? 0 : F_WRITE), 2);
	put(2, (u32)&status, 1, F_WRITE, 0);
}

static u32 request(u32 type, u32 sector, u32 length)
{
	chain(type, sector, length);
	submit_head(0, 1);
	return status;
}

/* The words of the disk that block_guest.rs makes. */
static void works(const char *item, const char *what)
{
	start();
	about(what);
	check(item, "reads after a reset", request(READ, 0, SECTOR), 0);
	check(item, "what is there", *(u32 *)data, 1);
	about("");
}

/* ---- A-32 ------------------------------------------------------------------------------------ */

static void malformed(void)
{
	static const struct {
		const char *name;
		u32 address, address_high, length;
		u16 flags, next;
	} second[] = {
		{ "a loop of one", (u32)data, 0, SECTOR, F_NEXT | F_WRITE, 1 },
		{ "a loop of two", (u32)data, 0, SECTOR, F_NEXT | F_WRITE, 0 },
		{ "next past the queue", (u32)data, 0, SECTOR, F_NEXT | F_WRITE, SIZE },
		{ "next at its largest", (u32)data, 0, SECTOR, F_NEXT | F_WRITE, 0xffff },
		{ "a length that wraps", 0xfffff000, 0, 0x2000, F_NEXT | F_WRITE, 2 },
		{ "the largest length", (u32)data, 0, 0xffffffff, F_NEXT | F_WRITE, 2 },
		{ "4 GiB from 0", 0, 0, 0xffffffff, F_NEXT | F_WRITE, 2 },
		{ "above 4 GiB", (u32)data, 1, SECTOR, F_NEXT | F_WRITE, 2 },
		{ "at the top of all", 0xffffffff, 0xffffffff, SECTOR, F_NEXT | F_WRITE, 2 },
		{ "in device memory", 0x4100000, 0, SECTOR, F_NEXT | F_WRITE, 2 },
		{ "readable behind writable", (u32)data, 0, SECTOR, F_NEXT, 2 },
		{ "an indirect table that was not agreed on", (u32)data, 0, SECTOR, F_INDIRECT, 0 },
		{ "all flags", (u32)data, 0, SECTOR, 0xffff, 2 },
		{ "no status byte", (u32)data, 0, SECTOR, F_WRITE, 0 },
	};

	for (u32 i = 0; i < sizeof second / sizeof *second; i++) {
		start();
		chain(READ, 0, SECTOR);
		put(1, second[i].address, second[i].length, second[i].flags, second[i].next);
		descriptors[1].address_high = second[i].address_high;
		submit_head(0, 1);
		works("A-32", second[i].name);
	}
}

static void indirect(void)
{
	volatile struct descriptor *table = (volatile struct descriptor *)allocate_page();
	static const u32 lengths[] = { 0, 1, 15, 16, 17, 32, PAGE, 0xfffffff0, 0xffffffff };

	features = INDIRECT_DESC;
	for (u32 i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		start();
		chain(READ, 0, SECTOR);
		for (u32 entry = 0; entry < 256; entry++) {
			table[entry] = descriptors[entry % 3];
			table[entry].flags = F_NEXT | F_WRITE;
			table[entry].next = entry + 1;
		}
		put(0, (u32)table, lengths[i], F_INDIRECT, 0);
		submit_head(0, 1);
		/* A table in a table, and one that is its own. */
		start();
		table[0].address = (u32)table;
		table[0].flags = F_INDIRECT | (i & 1 ? F_NEXT : 0);
		table[0].length = PAGE;
		put(0, (u32)table, PAGE, F_INDIRECT | (i & 2 ? F_NEXT : 0), 1);
		submit_head(0, 1);
	}
	features = 0;
	works("A-32", "indirect tables");
}

/* As long as the queue has descriptors, of nothing each. */
static void longest(void)
{
	start();
	header.type = READ;
	put(0, (u32)&header, sizeof header, F_NEXT, 1);
	for (u32 i = 1; i < SIZE - 1; i++)
		put(i, (u32)data, i % 3 ? 0 : 1, F_NEXT | F_WRITE, i + 1);
	put(SIZE - 1, (u32)&status, 1, F_WRITE, 0);
	submit_head(0, 1);
	works("A-32", "the longest chain");
	start();
	for (u32 i = 0; i < SIZE; i++)
		put(i, (u32)data, 0, F_NEXT | F_WRITE, (i + 1) % SIZE);
	submit_head(0, 1);
	works("A-32", "a chain without end");
}

static void jumps(void)
{
	static const u16 steps[] = { SIZE, SIZE + 1, 0x7fff, 0x8000, 0xffff };

	for (u32 i = 0; i < sizeof steps / sizeof *steps; i++) {
		start();
		chain(READ, 0, SECTOR);
		submit_head(0, steps[i]);
	}
	works("A-32", "an index that jumps");
	start();
	submit_head(SIZE, 1);
	start();
	submit_head(0xffff, 1);
	works("A-32", "heads past the queue");
}

/* Where the queue's parts are: in the page tables that map them, past RAM, in device memory, on each other. */
static void places(void)
{
	u32 table = FRAME(*pde(kernel_root, USER_WINDOW)), end = ram_bytes();
	static const u32 sizes[] = { 0, 1, 3, 255, 257, 0x8000, 0xffff };

	start();
	chain(READ, 0, SECTOR);
	leaf(kernel_root, USER_WINDOW);
	table = FRAME(*pde(kernel_root, USER_WINDOW));
	set_up((u32)descriptors, 0, (u32)avail, table, SIZE);
	write(NOTIFY, 2, 0);
	set_up(table, 0, (u32)avail, (u32)used, SIZE);
	submit_head(0, 1);
	set_up((u32)descriptors, 0, table, (u32)used, SIZE);
	write(NOTIFY, 2, 0);
	set_up((u32)kernel_root, 0, (u32)kernel_root, (u32)descriptors, SIZE);
	write(NOTIFY, 2, 0);
	for (u32 i = 0; i < TOP_ENTRIES; i++)
		((volatile pte *)table)[i] = 0;
	hypercall(LHCALL_FLUSH_TLB, 1, 0, 0, 0);
	works("A-32", "queues in page tables");

	set_up(end, 0, (u32)avail, (u32)used, SIZE);
	submit_head(0, 1);
	set_up(end - 16, 0, end - 4, end - 4, SIZE);
	write(NOTIFY, 2, 0);
	set_up(0xfffffff0, 0xffffffff, 0xfffffffe, 0xfffffffc, SIZE);
	write(NOTIFY, 2, 0);
	set_up((u32)descriptors + 1, 0, (u32)avail + 1, (u32)used + 1, SIZE);
	write(NOTIFY, 2, 0);
	set_up(bar_memory(DISK), 0, config_read(DISK, 0x10), config_read(DISK, 0x10), SIZE);
	write(NOTIFY, 2, 0);
	set_up((u32)&lguest_data, 0, (u32)&lguest_data, (u32)descriptors, SIZE);
	write(NOTIFY, 2, 0);
	works("A-32", "queues past RAM and in wrong places");
	for (u32 i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		set_up((u32)descriptors, 0, (u32)avail, (u32)used, sizes[i]);
		submit_head(0, 1);
	}
	works("A-32", "sizes that no queue has");
}

/* Buffers are page tables: the disk's words become entries, and the guest's are written to the disk. */
static void buffers_in_tables(void)
{
	u32 table;

	leaf(kernel_root, USER_WINDOW);
	table = FRAME(*pde(kernel_root, USER_WINDOW));
	start();
	chain(READ, 0, SECTOR);
	put(1, table, SECTOR, F_NEXT | F_WRITE, 2);
	submit_head(0, 1);
	/* The first word is 1: a present entry for frame 0. */
	hypercall(LHCALL_FLUSH_TLB, 1, 0, 0, 0);
	check("A-32", "an entry from the disk maps what it says", read_traps(USER_WINDOW), 0);
	for (u32 i = 0; i < TOP_ENTRIES; i++)
		((volatile pte *)table)[i] = 0;
	hypercall(LHCALL_FLUSH_TLB, 1, 0, 0, 0);
	works("A-32", "buffers in page tables");
}

/* ---- A-33 ------------------------------------------------------------------------------------ */

static void in_the_middle(void)
{
	pte before = kernel_root[0];

	for (u32 i = 0; i < 20; i++) {
		start();
		chain(READ, 0, sizeof data);
		avail[2] = 0;
		avail[1] = 1;
		write(NOTIFY, 2, 0);
		write(DEVICE_STATUS, 1, 0);
		for (u32 byte = 0; byte < sizeof data; byte++)
			data[byte] = 0x5a;
		check("A-33", "status after a reset", read(DEVICE_STATUS, 1), 0);
		for (u32 wait = 0; wait < 10; wait++)
			read(DEVICE_STATUS, 1);
		check("A-33", "nothing arrives after it", data[0] == 0x5a && data[sizeof data - 1] == 0x5a, 1);
	}
	works("A-33", "resets");
	start();
	chain(READ, 0, SECTOR);
	write(QUEUE_DESC, 4, 0xfffff000);
	write(QUEUE_USED, 4, (u32)kernel_root);
	write(QUEUE_SIZE, 2, 1);
	write(DRIVER_FEATURE, 4, 0xffffffff);
	submit_head(0, 1);
	check("A-33", "a queue in use is not moved", kernel_root[0], before);
	write(DEVICE_STATUS, 1, ACKNOWLEDGE);
	write(DEVICE_STATUS, 1, 0xff);
	negotiate();
	write(NOTIFY, 2, 0);
	works("A-33", "renegotiations");
	for (u32 queue = 1; queue < 0x10000; queue = queue * 3 + 1) {
		write(QUEUE_SELECT, 2, queue);
		write(QUEUE_ENABLE, 2, 1);
		write(NOTIFY, 2, queue);
	}
	works("A-33", "queues that there are not");
}

/* ---- A-34 ------------------------------------------------------------------------------------ */

static void requests(void)
{
	static const u32 types[] = { 16, 64, 0x80, 0x10000, 0x80000000, 0xfffffff0 };
	static const u32 sectors[] = { SECTORS, SECTORS - 1, 0x7fffff, 0x800000, 0x80000000, 0xffffffff };

	start();
	for (u32 i = 0; i < sizeof sectors / sizeof *sectors; i++) {
		check("A-34", "a read past the end", request(READ, sectors[i], 2 * SECTOR), 1);
		check("A-34", "a write past the end", request(WRITE, sectors[i], 2 * SECTOR), 1);
	}
	chain(READ, 0, SECTOR);
	header.sector_high = 0x00800000;
	submit_head(0, 1);
	check("A-34", "a sector whose byte wraps", status, 1);
	check("A-34", "a read of nothing is none of more", request(READ, 0, 0) <= 1, 1);
	for (u32 i = 0; i < sizeof types / sizeof *types; i++)
		check("A-34", "an unknown type", request(types[i], 0, SECTOR), 2);
	works("A-34", "other types");
	start();
	request(READ, 0, 0xfffffe00);
	start();
	request(WRITE, 0, 0xfffffe00);
	works("A-34", "requests of 4 GiB");
}

void guest_main(void)
{
	guest_init();
	descriptors = (volatile struct descriptor *)allocate_page();
	avail = (volatile u16 *)allocate_page();
	used = (volatile u16 *)allocate_page();
	works("A-32", "at first");
	malformed();
	indirect();
	longest();
	jumps();
	places();
	buffers_in_tables();
	in_the_middle();
	requests();
}
