/* expect: stop="guest powered off" status=0 */
/* A disk of G1: found in the page above RAM, used by DMA, its data compared. */

#include "dma.h"

#define SECTOR 512
#define SECTORS 128
#define READ 0
#define WRITE 1
#define DONE 1
#define FAILED 2
struct disk_page {
	u32 type, sector, bytes, result, sectors;
};

static volatile struct disk_page *disk;
static u32 key;
static struct lguest_dma sent;
static volatile struct lguest_dma bound;
static u8 data[4 * PAGE] __attribute__((aligned(PAGE)));

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

/* The outcome. */
static u32 request(u32 type, u32 sector, u32 length)
{
	u32 before = dma_interrupts;

	disk->type = type;
	disk->sector = sector;
	disk->bytes = length;
	disk->result = 0;
	dma_cover(&sent, data, type == WRITE ? length : 0);
	dma_cover(&bound, data, type == WRITE ? 0 : length);
	hypercall(LHCALL_SEND_DMA, key, (u32)&sent, 0, 0);
	while (!disk->result)
		hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0, 0);
	lguest_data.irq_enabled = EFLAGS_IF;
	hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0, 0);
	hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0, 0);
	lguest_data.irq_enabled = 0;
	check("9.4", "an interrupt for the answer", dma_interrupts - before, 1);
	return disk->result;
}

void guest_main(void)
{
	u32 want;

	guest_init();
	dma_init();
	key = dma_find(DMA_BLOCK);
	disk = dma_page(key);
	check("9.4", "sectors", disk->sectors, SECTORS);
	check("LG-171", "a buffer for answers", hypercall(LHCALL_BIND_DMA, key, (u32)&bound, 1 << 8 | DMA_IRQ, 0), 1);

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
