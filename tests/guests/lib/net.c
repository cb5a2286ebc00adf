#include "net.h"

#define RECEIVE 0
#define TRANSMIT 1
/* A page for the header and the frame of each. */
#define BUFFERS 64

u8 net_address[6];

static struct queue receive, transmit;
static u8 *receive_buffers[BUFFERS], *transmit_buffers[BUFFERS];
static u32 free_transmit[BUFFERS], free_count;
/* The buffer of the frame that net_receive() returned. */
static u32 lent;
#define NONE BUFFERS

/* Header and frame are two descriptors, as Linux has them. */
static void offer(u32 buffer)
{
	u8 *at = receive_buffers[buffer];

	put(&receive, 2 * buffer, at, NET_HEADER, F_NEXT | F_WRITE);
	put(&receive, 2 * buffer + 1, at + NET_HEADER, PAGE - NET_HEADER, F_WRITE);
	make_available(&receive, 2 * buffer);
}

u32 net_start(void)
{
	u32 slot = find_device(NET, 0);

	if (!slot)
		return 0;
	device_start(slot, 0);
	queue_start(&receive, slot, RECEIVE);
	queue_start(&transmit, slot, TRANSMIT);
	for (u32 i = 0; i < BUFFERS; i++) {
		if (!receive_buffers[i]) {
			receive_buffers[i] = (u8 *)allocate_page();
			transmit_buffers[i] = (u8 *)allocate_page();
		}
		offer(i);
		free_transmit[i] = i;
	}
	free_count = BUFFERS;
	lent = NONE;
	device_ready(slot);
	notify(&receive);
	for (u32 i = 0; i < 6; i++)
		net_address[i] = register_read(slot, DEVICE_CONFIG + i, 1);
	return 1;
}

void net_send(const void *frame, u32 length)
{
	const u8 *from = frame;
	u32 buffer;
	u8 *at;

	while (has_used(&transmit) || !free_count)
		free_transmit[free_count++] = take_used(&transmit).head / 2;
	buffer = free_transmit[--free_count];
	at = transmit_buffers[buffer];
	for (u32 i = 0; i < NET_HEADER; i++)
		at[i] = 0;
	for (u32 i = 0; i < length; i++)
		at[NET_HEADER + i] = from[i];
	put(&transmit, 2 * buffer, at, NET_HEADER, F_NEXT);
	put(&transmit, 2 * buffer + 1, at + NET_HEADER, length, 0);
	submit(&transmit, 2 * buffer);
}

u32 net_receive(const u8 **frame)
{
	struct used used;

	if (lent != NONE) {
		offer(lent);
		notify(&receive);
	}
	used = take_used(&receive);
	lent = used.head / 2;
	*frame = receive_buffers[lent] + NET_HEADER;
	return used.length - NET_HEADER;
}
