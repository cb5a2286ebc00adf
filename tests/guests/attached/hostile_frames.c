/* expect: stop="guest powered off" status=0 */
/*
 * frames that are none, headers that lie, buffers that hold nothing, floods both ways. After each attack the device
 * is started again, and a frame has to come back from the other end of the wire.
 */

#include "net.h"

#define RECEIVE 0
#define TRANSMIT 1

/* Ethernet types, as the peer knows them: it answers a question with the same frame, and floods who asks for it. */
#define QUESTION 0x88b7
#define FLOOD 0x88b6

static struct queue receive, transmit;
static u8 header[NET_HEADER], frame[PAGE];
static u32 slot, asked;

static void address_frame(u32 type)
{
	for (u32 i = 0; i < 6; i++) {
		frame[i] = 0xff;
		frame[6 + i] = net_address[i];
	}
	frame[12] = type >> 8;
	frame[13] = type;
	*(u32 *)(frame + 16) = ++asked;
}

static void works(const char *after)
{
	const u8 *got;
	u32 number;

	about(after);
	check("A-35", "the device starts again", net_start(), 1);
	address_frame(QUESTION);
	number = asked;
	net_send(frame, 60);
	do
		net_receive(&got);
	while ((got[12] << 8 | got[13]) != QUESTION || *(const u32 *)(got + 16) != number);
	survived("A-35", "a frame goes and comes");
	about("");
}

static void start(void)
{
	device_start(slot, 0);
	queue_start(&receive, slot, RECEIVE);
	queue_start(&transmit, slot, TRANSMIT);
	device_ready(slot);
}

/* Lets the device look; it takes the chain, or finds that it is broken. */
static void give(struct queue *queue)
{
	submit(queue, 0);
	for (u32 i = 0; i < 50 && !has_used(queue) && !needs_reset(slot); i++)
		;
}

/* ---- what is sent ----------------------------------------------------------------------------- */

static void send_chain(const char *what, u32 header_length, u32 at, u32 length, u16 flags)
{
	start();
	put(&transmit, 0, header, header_length, F_NEXT);
	put(&transmit, 1, (void *)at, length, flags);
	give(&transmit);
	works(what);
}

static void lengths(void)
{
	u32 data = (u32)frame, end = ram_bytes();

	address_frame(FLOOD + 0x100);
	send_chain("a frame of 0 bytes", NET_HEADER, data, 0, 0);
	send_chain("a frame of 1 byte", NET_HEADER, data, 1, 0);
	send_chain("a frame of 13 bytes", NET_HEADER, data, ETHERNET - 1, 0);
	send_chain("a frame of 65535 bytes", NET_HEADER, PAGE, 65535, 0);
	send_chain("a frame of 4 GiB", NET_HEADER, data, ~0u, 0);
	send_chain("no header", 0, data, 60, 0);
	send_chain("a header of 1 byte", 1, data, 0, 0);
	send_chain("a header of 11 bytes", NET_HEADER - 1, data, 0, 0);
	send_chain("a header and a frame in one", 1, data, 60, 0);
	send_chain("a frame past the end of RAM", NET_HEADER, end - 30, 60, 0);
	send_chain("a frame in device memory", NET_HEADER, end + (1 << 20), 60, 0);
	send_chain("a frame that the device is to write", NET_HEADER, data, 60, F_WRITE);
	send_chain("a frame that goes on for ever", NET_HEADER, data, 60, F_NEXT);
}

/* As many pieces as the queue has descriptors, which are 64 KiB together. */
static void pieces(void)
{
	start();
	put(&transmit, 0, header, NET_HEADER, F_NEXT);
	for (u32 i = 1; i < QUEUE_DESCRIPTORS; i++)
		put(&transmit, i, frame, 257, i + 1 < QUEUE_DESCRIPTORS ? F_NEXT : 0);
	give(&transmit);
	works("65535 bytes in pieces");
	start();
	put(&transmit, 0, header, NET_HEADER, F_NEXT);
	for (u32 i = 1; i < QUEUE_DESCRIPTORS; i++)
		put(&transmit, i, frame, 0, i + 1 < QUEUE_DESCRIPTORS ? F_NEXT : 0);
	give(&transmit);
	works("254 pieces of nothing");
}

/* Checksums and segmentation that were not agreed on, with offsets behind the frame: each bit of the header. */
static void lies(void)
{
	for (u32 byte = 0; byte < NET_HEADER; byte++) {
		start();
		header[byte] = 0xff;
		address_frame(FLOOD + 0x100);
		put(&transmit, 0, header, NET_HEADER, F_NEXT);
		put(&transmit, 1, frame, 60, 0);
		give(&transmit);
		header[byte] = 0;
	}
	for (u32 byte = 0; byte < NET_HEADER; byte++)
		header[byte] = 0xff;
	send_chain("a header that lies", NET_HEADER, (u32)frame, 60, 0);
	for (u32 byte = 0; byte < NET_HEADER; byte++)
		header[byte] = 0;
}

/* ---- what is received --------------------------------------------------------------------------- */

/* The peer sends frames of all lengths; there is nothing but this buffer for them. */
static void take_flood(const char *what, u32 at, u32 length, u16 flags)
{
	start();
	for (u32 i = 0; i < QUEUE_DESCRIPTORS; i++) {
		put(&receive, i, (void *)at, length, flags);
		make_available(&receive, i);
	}
	notify(&receive);
	address_frame(FLOOD);
	put(&transmit, 0, header, NET_HEADER, F_NEXT);
	put(&transmit, 1, frame, 60, 0);
	give(&transmit);
	for (u32 i = 0; i < 50 && !needs_reset(slot); i++)
		sleep(1000000);
	works(what);
}

static void buffers(void)
{
	static u8 room[PAGE];
	u32 data = (u32)room, end = ram_bytes();

	take_flood("buffers of 0 bytes", data, 0, F_WRITE);
	take_flood("buffers of 1 byte", data, 1, F_WRITE);
	take_flood("buffers without room for the header", data, NET_HEADER - 1, F_WRITE);
	take_flood("buffers with room for the header alone", data, NET_HEADER, F_WRITE);
	take_flood("buffers that end in the middle", data, NET_HEADER + 30, F_WRITE);
	take_flood("buffers of 4 GiB", data, ~0u, F_WRITE);
	take_flood("buffers across the end of RAM", end - 20, PAGE, F_WRITE);
	take_flood("buffers that are not to be written", data, PAGE, 0);
	take_flood("chains that go through all buffers", data, 1, F_WRITE | F_NEXT);
	take_flood("buffers that are the queue itself", (u32)receive.descriptors, PAGE, F_WRITE);
	take_flood("buffers that are page tables", (u32)*pde(kernel_root, USER_WINDOW) & -PAGE, 0, F_WRITE);
}

static void floods(void)
{
	net_start();
	for (u32 i = 0; i < 5000; i++) {
		address_frame(FLOOD + 0x100);
		net_send(frame, i % 2 ? 60 : LARGEST_FRAME);
	}
	works("5000 frames sent at once");
	net_start();
	for (u32 i = 0; i < 20; i++) {
		address_frame(FLOOD);
		net_send(frame, 60);
	}
	works("floods from outside");
}

void guest_main(void)
{
	guest_init();
	interrupts_init();
	slot = find_device(NET, 0);
	check("A-35", "there is a network device", slot != 0, 1);
	works("at first");
	lengths();
	pieces();
	lies();
	buffers();
	floods();
}
