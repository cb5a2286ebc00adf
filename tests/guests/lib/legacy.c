#include "legacy.h"

#if HAS_NOTIFY

struct legacy_device legacy_devices[8];
u32 legacy_count, legacy_ram_end;

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
	return (volatile u8 *)KERNEL_WINDOW + (gpa - legacy_ram_end);
}

static void add_queue(struct legacy_device *device, const volatile u8 *at)
{
	struct legacy_queue *queue = &device->queues[device->queue_count++];

	queue->size = get16(at);
	queue->irq = get16(at + 2);
	queue->gpa = get32(at + 4) * PAGE;
	queue->descriptors = (volatile struct legacy_descriptor *)shared(queue->gpa);
	queue->avail = (volatile u16 *)shared(queue->gpa + 16 * queue->size);
	/* Behind the ring comes one word more, and then the next page. */
	queue->used = (volatile u16 *)shared(queue->gpa + ((16 * queue->size + 2 * (3 + queue->size) + PAGE - 1) & ~(PAGE - 1)));
}

#if HAS_TAGGED_RECORDS

static u32 read_record(struct legacy_device *device, const volatile u8 *at)
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

static u32 read_record(struct legacy_device *device, const volatile u8 *at)
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

u32 legacy_init(void)
{
	u32 at = 0;

	legacy_ram_end = ram_bytes();
	for (u32 page = 0; page < LEGACY_PAGES; page++)
		*leaf(kernel_root, KERNEL_WINDOW + page * PAGE) = (legacy_ram_end + page * PAGE) | PTE_P | PTE_RW;
	/* As the kernel does it: type 0 ends them. */
	while (shared(legacy_ram_end)[at]) {
		struct legacy_device *device = &legacy_devices[legacy_count++];

		device->type = shared(legacy_ram_end)[at];
		device->gpa = legacy_ram_end + at;
		at += read_record(device, &shared(legacy_ram_end)[at]);
		if (legacy_count == 8 || at > PAGE)
			break;
	}
	return shared(legacy_ram_end)[at];
}

struct legacy_device *legacy_find(u32 type)
{
	for (u32 i = 0; i < legacy_count; i++)
		if (legacy_devices[i].type == type)
			return &legacy_devices[i];
	shutdown("no such device", SHUTDOWN_POWEROFF);
}

static void notify_of(u32 gpa)
{
	hypercall(LHCALL_NOTIFY, gpa, 0, 0, 0);
}

void legacy_set_status(struct legacy_device *device, u8 status)
{
	*device->status = status;
	notify_of(device->gpa);
}

void legacy_start(struct legacy_device *device)
{
	legacy_set_status(device, LEGACY_ACKNOWLEDGE);
	legacy_set_status(device, LEGACY_ACKNOWLEDGE | LEGACY_DRIVER);
	legacy_set_status(device, LEGACY_ACKNOWLEDGE | LEGACY_DRIVER | LEGACY_DRIVER_OK);
}

void legacy_put(struct legacy_queue *queue, u32 index, const volatile void *address, u32 length, u16 flags)
{
	volatile struct legacy_descriptor *descriptor = &queue->descriptors[index];

	descriptor->address = (u32)address;
	descriptor->address_high = 0;
	descriptor->length = length;
	descriptor->flags = flags;
	descriptor->next = index + 1;
}

void legacy_offer(struct legacy_queue *queue)
{
	queue->avail[2 + queue->avail[1] % queue->size] = 0;
	queue->avail[1]++;
	notify_of(queue->gpa);
}

u32 legacy_submit(struct legacy_device *device, struct legacy_queue *queue)
{
	u16 before = queue->used[1];

	legacy_offer(queue);
	while (queue->used[1] == before && !(*device->status & LEGACY_NEEDS_RESET))
		hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0, 0);
	return queue->used[1] != before;
}

#endif
