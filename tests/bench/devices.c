/*
 * Requests to devices, from the first word of the queue to the answer. What is behind the devices answers at once: a disk in
 * memory, a network link that leads back, a serial port that always has room.
 */

#include "net.h"
#include "paravirt.h"

#define TRANSMIT 1
#define SECTOR 512
#define MOST_SECTORS 128
#define ROUNDS 15
#define CONSOLE_BYTES 64

#define READ 0
#define WRITE 1

/* ---- the console ------------------------------------------------------------------------- */

#define CONFIG_DATA 0xcfc

static void console_byte(void)
{
	/* Leaves the window open on the emergency register. The report starts on a line of its own. */
	print("");
	MEASURE("console_byte", ROUNDS, out32(CONFIG_DATA, '\n'));
}

static void console_queue(void)
{
	static struct queue transmit;
	static u8 line[CONSOLE_BYTES];
	u32 slot = find_device(CONSOLE, 0);

	for (u32 i = 0; i < CONSOLE_BYTES; i++)
		line[i] = '.';
	line[CONSOLE_BYTES - 1] = '\n';
	device_start(slot, 0);
	queue_start(&transmit, slot, TRANSMIT);
	device_ready(slot);
	MEASURE("console_64_bytes", ROUNDS,
		put(&transmit, 0, line, CONSOLE_BYTES, 0); submit(&transmit, 0); take_used(&transmit));
}

/* ---- the disk ---------------------------------------------------------------------------- */

static struct queue requests;
static u8 data[MOST_SECTORS * SECTOR] __attribute__((aligned(PAGE)));

static u32 disk_request(u32 type, u32 sectors)
{
	static struct {
		u32 type, reserved, sector, sector_high;
	} header;
	static volatile u8 status;

	header.type = type;
	put(&requests, 0, &header, sizeof header, F_NEXT);
	put(&requests, 1, data, sectors * SECTOR, F_NEXT | (type == READ ? F_WRITE : 0));
	put(&requests, 2, &status, 1, F_WRITE);
	status = 0xff;
	submit(&requests, 0);
	take_used(&requests);
	return status;
}

static void disk(void)
{
	u32 slot = find_device(BLOCK, 0), failed = 0;

	device_start(slot, 0);
	queue_start(&requests, slot, 0);
	device_ready(slot);
	MEASURE("block_read_1_sector", ROUNDS, failed |= disk_request(READ, 1));
	MEASURE("block_write_1_sector", ROUNDS, failed |= disk_request(WRITE, 1));
	MEASURE("block_read_128_sectors", ROUNDS, failed |= disk_request(READ, MOST_SECTORS));
	if (failed)
		shutdown("a request failed", SHUTDOWN_POWEROFF);
}

/* ---- the network ------------------------------------------------------------------------- */

static u8 frame[LARGEST_FRAME];

/* Sent, and received back. */
static void round_trip(u32 length)
{
	const u8 *received;

	net_send(frame, length);
	if (net_receive(&received) != length)
		shutdown("another frame than was sent", SHUTDOWN_POWEROFF);
}

static void network(void)
{
	net_start();
	MEASURE("net_round_trip_64", ROUNDS, round_trip(64));
	MEASURE("net_round_trip_1514", ROUNDS, round_trip(LARGEST_FRAME));
}

void guest_main(void)
{
	guest_init();
	measure_init();
	interrupts_init();
	console_byte();
	disk();
	network();
	console_queue();
}
