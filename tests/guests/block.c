/* expect: stop="guest powered off" status=0 */
/*
 * A disk, with a driver of our own, by both ways to its registers: reads, writes, flushes, what it says
 * of itself, and requests that must fail.
 */

#include "pci.h"

#define DISK 2
#define SECTOR 512
#define SECTORS 128
#define NONE 0xee

#define READ 0
#define WRITE 1
#define FLUSH 4
#define GET_ID 8
#define F_NEXT 1
#define F_WRITE 2

struct descriptor {
	u32 address, address_high, length;
	u16 flags, next;
};

static struct {
	u32 type, reserved, sector, sector_high;
} header;
static volatile u8 status;
static u8 data[SECTORS * SECTOR] __attribute__((aligned(16)));

static const struct access *by;
static struct descriptor *descriptors;
static volatile u16 *avail, *used;

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

static void start(void)
{
	by->write(DISK, DEVICE_STATUS, 1, 0);
	check("A34", "status after reset", by->read(DISK, DEVICE_STATUS, 1), 0);
	by->write(DISK, DEVICE_STATUS, 1, ACKNOWLEDGE);
	by->write(DISK, DEVICE_STATUS, 1, ACKNOWLEDGE | DRIVER);
	by->write(DISK, DRIVER_FEATURE_SELECT, 4, 1);
	by->write(DISK, DRIVER_FEATURE, 4, 1);
	by->write(DISK, DEVICE_STATUS, 1, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	for (u32 i = 0; i < PAGE / 2; i++)
		avail[i] = used[i] = 0;
	by->write(DISK, QUEUE_SELECT, 2, 0);
	by->write(DISK, QUEUE_DESC, 4, (u32)descriptors);
	by->write(DISK, QUEUE_AVAIL, 4, (u32)avail);
	by->write(DISK, QUEUE_USED, 4, (u32)used);
	by->write(DISK, QUEUE_ENABLE, 2, 1);
	by->write(DISK, DEVICE_STATUS, 1, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
}

static void put(u32 index, void *address, u32 length, u16 flags)
{
	descriptors[index] = (struct descriptor){ (u32)address, 0, length, flags, index + 1 };
}

/* Makes the chain at descriptor 0 available, and waits until it comes back or the device gives up; whether it
 * came back. */
static u32 submit(void)
{
	u16 before = used[1];

	avail[2 + avail[1] % 256] = 0;
	avail[1]++;
	by->write(DISK, NOTIFY, 2, 0);
	while (used[1] == before && !(by->read(DISK, DEVICE_STATUS, 1) & NEEDS_RESET))
		;
	return used[1] != before;
}

/* The request's status byte. The data is two segments of different lengths. */
static u32 request(u32 type, u32 sector, u32 length)
{
	u16 direction = type == WRITE ? 0 : F_WRITE;
	u32 first = length / 3;

	header.type = type;
	header.sector = sector;
	status = NONE;
	put(0, &header, sizeof header, F_NEXT);
	put(1, data, first, F_NEXT | direction);
	put(2, data + first, length - first, F_NEXT | direction);
	put(3, (void *)&status, 1, F_WRITE);
	submit();
	return status;
}

static u32 used_length(void)
{
	return ((volatile u32 *)used)[1 + (used[1] - 1) % 256 * 2 + 1];
}

static void disk_works(u32 seed)
{
	u32 want, at_first;

	check("LG-158", "capacity", by->read(DISK, DEVICE_CONFIG, 4), SECTORS);
	fill(seed);
	want = checksum(data, sizeof data);
	for (u32 i = 0; i < sizeof data; i++)
		data[i] = 0;
	check("LG-161", "the whole disk is read", request(READ, 0, sizeof data), 0);
	check("LG-161", "checksum", checksum(data, sizeof data), want);
	check("LG-161", "length in the used ring", used_length(), sizeof data + 1);
	check("LG-162", "ISR", by->read(DISK, ISR, 1), 1);
	check("LG-162", "ISR after the read", by->read(DISK, ISR, 1), 0);

	fill(seed + 1);
	want = checksum(data, 5 * SECTOR);
	at_first = checksum(data + 5 * SECTOR, SECTOR);
	check("LG-161", "five sectors are written", request(WRITE, 7, 5 * SECTOR), 0);
	check("LG-161", "flush", request(FLUSH, 0, 0), 0);
	for (u32 i = 0; i < 5 * SECTOR; i++)
		data[i] = 0;
	check("LG-161", "they are read back", request(READ, 7, 5 * SECTOR), 0);
	check("LG-161", "checksum", checksum(data, 5 * SECTOR), want);
	check("LG-161", "and nothing else", checksum(data + 5 * SECTOR, SECTOR), at_first);

	check("A39", "identifier", request(GET_ID, 0, 20), 0);
	check("A39", "its first word", *(u32 *)data, 0x6862696c);
}

static void bad_requests_fail(void)
{
	check("A-34", "past the end", request(READ, SECTORS, SECTOR), 1);
	check("A-34", "across the end", request(WRITE, SECTORS - 1, 2 * SECTOR), 1);
	check("A-34", "half a sector", request(READ, 0, SECTOR / 2), 1);
	check("A-34", "no such type", request(77, 0, SECTOR), 2);

	put(0, &header, 4, F_NEXT);
	put(1, (void *)&status, 1, F_WRITE);
	check("A-32", "a short header is not answered", submit(), 0);
	check("A-32", "the device needs a reset", by->read(DISK, DEVICE_STATUS, 1) & NEEDS_RESET, NEEDS_RESET);
	start();
	put(0, (void *)(ram_bytes() - 8), 16, 0);
	check("LG-173", "a buffer past RAM is not answered", submit(), 0);
	check("LG-173", "the device needs a reset", by->read(DISK, DEVICE_STATUS, 1) & NEEDS_RESET, NEEDS_RESET);
	start();
	check("A-33", "and works after it", request(READ, 0, SECTOR), 0);
}

void guest_main(void)
{
	static const struct access *const ways[] = { &window_access, &memory_access };

	guest_init();
	check("LG-158", "a disk", config_read(DISK, 0), 0x10421af4);
	descriptors = (struct descriptor *)allocate_page();
	avail = (u16 *)allocate_page();
	used = (u16 *)allocate_page();
	for (u32 i = 0; i < 2; i++) {
		by = ways[i];
		about(by->name);
		start();
		/* What the disk holds at first; later, that again. */
		if (i != 0) {
			fill(1);
			request(WRITE, 0, sizeof data);
		}
		disk_works(1);
		bad_requests_fail();
	}
}
