/* expect: stop="guest powered off" status=0 */
/* A disk of G1: found in the page above RAM, used by DMA, its data compared. */

#include "guest.h"

#define CONSOLE 1
#define BLOCK 3
#define DESCRIPTORS 16

#define SECTOR 512
#define SECTORS 128
#define READ 0
#define WRITE 1
#define DONE 1
#define FAILED 2
/* The interrupt that the guest wants for its answers. */
#define ANSWER_IRQ 7

/* Pages above RAM, and where they are mapped. */
#define SHARED_PAGES 49
#define WINDOW KERNEL_WINDOW

struct descriptor {
	u16 type, features, status, pages;
	u32 page;
};

struct lguest_dma {
	u32 used_len, address[16];
	u16 length[16];
};

struct disk_page {
	u32 type, sector, bytes, result, sectors;
};

static u32 ram_end, answers;
static volatile struct disk_page *disk;
static u32 key;
static struct lguest_dma sent;
static volatile struct lguest_dma bound;
static u8 data[4 * PAGE] __attribute__((aligned(PAGE)));

static void arrive(struct frame *frame)
{
	(void)frame;
	answers++;
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

/* The words that the disk holds from its start, or others. */
static void fill(u32 seed, u32 length)
{
	for (u32 i = 0; i < length / 4; i++) {
		((u32 *)data)[i] = seed;
		seed = seed * 0x4c957f2d + 1;
	}
}

/* Sections for `length` bytes of data: no section is longer than a page. */
static void cover(volatile struct lguest_dma *dma, u32 length)
{
	for (u32 i = 0; i < 16; i++) {
		u32 part = length < PAGE ? length : PAGE;

		dma->address[i] = (u32)data + i * PAGE;
		dma->length[i] = part;
		length -= part;
	}
	dma->used_len = 0;
}

/* The outcome. */
static u32 request(u32 type, u32 sector, u32 length)
{
	u32 before = answers;

	disk->type = type;
	disk->sector = sector;
	disk->bytes = length;
	disk->result = 0;
	cover(&sent, type == WRITE ? length : 0);
	cover(&bound, type == WRITE ? 0 : length);
	hypercall(LHCALL_SEND_DMA, key, (u32)&sent, 0, 0);
	while (!disk->result)
		hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0, 0);
	lguest_data.irq_enabled = EFLAGS_IF;
	hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0, 0);
	hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0, 0);
	lguest_data.irq_enabled = 0;
	check("9.4", "an interrupt for the answer", answers - before, 1);
	return disk->result;
}

static void find_disk(void)
{
	volatile struct descriptor *descriptor = (volatile struct descriptor *)WINDOW;

	check("9.4", "the console", descriptor[0].type, CONSOLE);
	for (u32 i = 0; i < DESCRIPTORS; i++)
		if (descriptor[i].type == BLOCK) {
			check("9.4", "its pages", descriptor[i].pages, 1);
			key = descriptor[i].page * PAGE;
			disk = (volatile struct disk_page *)(WINDOW + key - ram_end);
			return;
		}
	shutdown("no disk", SHUTDOWN_POWEROFF);
}

void guest_main(void)
{
	u32 want;

	guest_init();
	ram_end = ram_bytes();
	for (u32 page = 0; page < SHARED_PAGES; page++)
		*leaf(kernel_root, WINDOW + page * PAGE) = (ram_end + page * PAGE) | PTE_P | PTE_RW;
	trap_hooks[FIRST_IRQ_VECTOR + ANSWER_IRQ] = arrive;
	lguest_data.blocked_interrupts = 0;
	find_disk();
	check("9.4", "sectors", disk->sectors, SECTORS);
	check("LG-171", "a buffer for answers", hypercall(LHCALL_BIND_DMA, key, (u32)&bound, 1 << 8 | ANSWER_IRQ, 0), 1);

	fill(1, sizeof data);
	want = checksum(data, sizeof data);
	for (u32 i = 0; i < sizeof data; i++)
		data[i] = 0;
	check("9.4", "32 sectors are read", request(READ, 0, sizeof data), DONE);
	check("9.4", "checksum", checksum(data, sizeof data), want);
	check("9.4", "used_len", bound.used_len, sizeof data);

	fill(2, 5 * SECTOR);
	want = checksum(data, 5 * SECTOR);
	check("9.4", "five sectors are written", request(WRITE, 7, 5 * SECTOR), DONE);
	check("9.4", "all bytes were taken", sent.used_len, 5 * SECTOR);
	for (u32 i = 0; i < 5 * SECTOR; i++)
		data[i] = 0;
	check("9.4", "they are read back", request(READ, 7, 5 * SECTOR), DONE);
	check("9.4", "checksum", checksum(data, 5 * SECTOR), want);

	check("A-34", "past the end", request(READ, SECTORS, SECTOR), FAILED);
	check("A-34", "half a sector", request(READ, 0, SECTOR / 2), FAILED);
	check("A-33", "the disk still works", request(READ, 0, SECTOR), DONE);
}
