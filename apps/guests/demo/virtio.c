/* A virtio 1.0 console: one page of buffers each way. */

#include "kernel.h"

/* struct virtio_pci_common_cfg, virtio 1.0 section 4.1.4.3. */
#define DEVICE_FEATURE_SELECT 0
#define DEVICE_FEATURE 4
#define DRIVER_FEATURE_SELECT 8
#define DRIVER_FEATURE 12
#define DEVICE_STATUS 20
#define QUEUE_SELECT 22
#define QUEUE_SIZE 24
#define QUEUE_ENABLE 28
#define QUEUE_DESC 32
#define QUEUE_AVAIL 40
#define QUEUE_USED 48

#define ACKNOWLEDGE 1
#define DRIVER 2
#define DRIVER_OK 4
#define FEATURES_OK 8
/* Bit 32: feature word 1, bit 0. */
#define VERSION_1_WORD 1
#define VERSION_1 1

#define DESCRIPTOR_WRITE 2
#define AVAIL_NO_INTERRUPT 1

#define RECEIVE 0
#define TRANSMIT 1
/* Of the receive queue; 256 bytes each. */
#define BUFFERS 16u
#define BUFFER_BYTES (PAGE / BUFFERS)

struct descriptor {
	u32 address, address_high, length;
	u16 flags, next;
};

struct queue {
	u32 index;
	u16 size;
	u16 taken; /* used entries that the driver has dealt with */
	struct descriptor *descriptors;
	volatile struct {
		u16 flags, index, ring[];
	} *avail;
	volatile struct {
		u16 flags, index;
		struct {
			u32 id, length;
		} ring[];
	} *used;
	char *buffers;
};

static struct queue receive = { .index = RECEIVE }, transmit = { .index = TRANSMIT };

/* What is left of the receive buffer that is being read. */
static u32 reading, read_at, read_end;

static void *page(void)
{
	u32 frame = frame_allocate();

	if (!frame)
		panic("no memory for the console");
	return VIRTUAL(frame);
}

static void common_write(u32 offset, u32 width, u32 value)
{
	bar_write(CAP_COMMON, offset, width, value);
}

static void queue_address(u32 offset, volatile void *part)
{
	common_write(offset, 4, PHYSICAL(part));
	common_write(offset + 4, 4, 0);
}

static int queue_init(struct queue *queue)
{
	common_write(QUEUE_SELECT, 2, queue->index);
	queue->size = bar_read(CAP_COMMON, QUEUE_SIZE, 2);
	/* Each part has to fit a page, and the receive queue all its buffers. */
	if (queue->size < BUFFERS || queue->size > PAGE / sizeof(struct descriptor))
		return -1;
	queue->descriptors = page();
	queue->avail = page();
	queue->used = page();
	queue->buffers = page();
	queue_address(QUEUE_DESC, queue->descriptors);
	queue_address(QUEUE_AVAIL, queue->avail);
	queue_address(QUEUE_USED, queue->used);
	common_write(QUEUE_ENABLE, 2, 1);
	return 0;
}

static void offer(struct queue *queue, u32 descriptor)
{
	queue->avail->ring[queue->avail->index % queue->size] = descriptor;
	/* The entry first: from the index on the device may read it. x86 keeps stores in order. */
	queue->avail->index++;
}

static void notify(struct queue *queue)
{
	bar_write(CAP_NOTIFY, 0, 2, queue->index);
}

static int negotiate(void)
{
	common_write(DEVICE_STATUS, 1, 0);
	common_write(DEVICE_STATUS, 1, ACKNOWLEDGE);
	common_write(DEVICE_STATUS, 1, ACKNOWLEDGE | DRIVER);
	common_write(DEVICE_FEATURE_SELECT, 4, VERSION_1_WORD);
	if (!(bar_read(CAP_COMMON, DEVICE_FEATURE, 4) & VERSION_1))
		return -1;
	common_write(DRIVER_FEATURE_SELECT, 4, 0);
	common_write(DRIVER_FEATURE, 4, 0);
	common_write(DRIVER_FEATURE_SELECT, 4, VERSION_1_WORD);
	common_write(DRIVER_FEATURE, 4, VERSION_1);
	common_write(DEVICE_STATUS, 1, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	return bar_read(CAP_COMMON, DEVICE_STATUS, 1) & FEATURES_OK ? 0 : -1;
}

int virtio_console_init(void)
{
	if (negotiate() || queue_init(&receive) || queue_init(&transmit))
		return -1;
	/* Writers wait for the device themselves. */
	transmit.avail->flags = AVAIL_NO_INTERRUPT;
	transmit.descriptors[0].address = PHYSICAL(transmit.buffers);
	common_write(DEVICE_STATUS, 1, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
	for (u32 i = 0; i < BUFFERS; i++) {
		receive.descriptors[i].address = PHYSICAL(receive.buffers) + i * BUFFER_BYTES;
		receive.descriptors[i].length = BUFFER_BYTES;
		receive.descriptors[i].flags = DESCRIPTOR_WRITE;
		offer(&receive, i);
	}
	notify(&receive);
	return 0;
}

void virtio_console_acknowledge(void)
{
	/* Reading it lowers the interrupt. */
	bar_read(CAP_ISR, 0, 1);
}

void virtio_console_write(const char *text, u32 length)
{
	while (length) {
		u32 part = length < PAGE ? length : PAGE;

		copy(transmit.buffers, text, part);
		transmit.descriptors[0].length = part;
		offer(&transmit, 0);
		notify(&transmit);
		/* There is one buffer: the device has to be through with it. */
		while (transmit.used->index != transmit.avail->index)
			asm volatile("pause");
		text += part;
		length -= part;
	}
}

/* A buffer stays ours until all of it was read, so bytes that nobody reads yet wait in the device. */
int virtio_console_read(void)
{
	while (read_at == read_end) {
		if (read_end) {
			offer(&receive, reading);
			notify(&receive);
			read_at = read_end = 0;
		}
		if (receive.taken == receive.used->index)
			return -1;
		reading = receive.used->ring[receive.taken % receive.size].id % BUFFERS;
		read_end = receive.used->ring[receive.taken % receive.size].length;
		read_end = read_end < BUFFER_BYTES ? read_end : BUFFER_BYTES;
		receive.taken++;
		if (!read_end)
			offer(&receive, reading);
	}
	return (u8)receive.buffers[reading * BUFFER_BYTES + read_at++];
}
