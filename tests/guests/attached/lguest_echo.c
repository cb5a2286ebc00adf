/* expect: stop="guest powered off" status=0 */
/* The network device on the page above RAM: frames go out, and come back from the other end as they went. */

#include "echo.h"
#include "legacy.h"

/* virtio before 1.0: without the number of buffers. */
#define NET_HEADER 10

static u8 sent[NET_HEADER + ECHO_LARGEST], received[PAGE] __attribute__((aligned(PAGE)));

/* A buffer for the next frame. */
static void offer(struct legacy_queue *receive)
{
	legacy_put(receive, 0, received, NET_HEADER, LEGACY_NEXT | LEGACY_WRITE);
	legacy_put(receive, 1, received + NET_HEADER, PAGE - NET_HEADER, LEGACY_WRITE);
	legacy_offer(receive);
}

/* Length of the frame that came in the buffer. */
static u32 wait_for(struct legacy_queue *receive, u16 taken)
{
	volatile u32 *used = (volatile u32 *)(receive->used + 2);

	while (receive->used[1] == taken)
		hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0, 0);
	return used[2 * (taken % receive->size) + 1] - NET_HEADER;
}

void guest_main(void)
{
	struct legacy_device *net;
	struct legacy_queue *receive, *transmit;

	guest_init();
	check("LG-164", "records end with type 0", legacy_init(), 0);
	net = legacy_find(LEGACY_NET);
	check("LG-164", "queues of the network", net->queue_count, 2);
	receive = &net->queues[0];
	transmit = &net->queues[1];
	legacy_start(net);
	offer(receive);
	for (u32 number = 0; number < ECHOES; number++) {
		u32 length = echo_frame(number, sent + NET_HEADER);

		legacy_put(transmit, 0, sent, NET_HEADER, LEGACY_NEXT);
		legacy_put(transmit, 1, sent + NET_HEADER, length, 0);
		if (!legacy_submit(net, transmit))
			shutdown("the device needs a reset", SHUTDOWN_POWEROFF);
		length = wait_for(receive, number);
		echo_check("LG-165", number, received + NET_HEADER, length);
		offer(receive);
	}
	echo_report();
}
