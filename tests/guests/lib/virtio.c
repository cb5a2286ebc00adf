#include "virtio.h"

#define SLOTS 9
#define IDS_FROM 0x1040
#define VENDOR 0x1af4

u32 find_device(u32 type, u32 after)
{
	for (u32 slot = after + 1; slot < SLOTS; slot++)
		if (config_read(slot, 0) == ((IDS_FROM + type) << 16 | VENDOR))
			return slot;
	return 0;
}

u32 register_read(u32 slot, u32 offset, u32 width)
{
	return memory_access.read(slot, offset, width);
}

void register_write(u32 slot, u32 offset, u32 width, u32 value)
{
	memory_access.write(slot, offset, width, value);
}

u32 offered_features(u32 slot)
{
	register_write(slot, DEVICE_FEATURE_SELECT, 4, 0);
	return register_read(slot, DEVICE_FEATURE, 4);
}

u32 needs_reset(u32 slot)
{
	return (register_read(slot, DEVICE_STATUS, 1) & NEEDS_RESET) != 0;
}

void device_start(u32 slot, u32 features)
{
	register_write(slot, DEVICE_STATUS, 1, 0);
	register_write(slot, DEVICE_STATUS, 1, ACKNOWLEDGE);
	register_write(slot, DEVICE_STATUS, 1, ACKNOWLEDGE | DRIVER);
	register_write(slot, DRIVER_FEATURE_SELECT, 4, 0);
	register_write(slot, DRIVER_FEATURE, 4, features);
	register_write(slot, DRIVER_FEATURE_SELECT, 4, 1);
	register_write(slot, DRIVER_FEATURE, 4, 1);
	register_write(slot, DEVICE_STATUS, 1, ACKNOWLEDGE | DRIVER | FEATURES_OK);
}

void queue_start(struct queue *queue, u32 slot, u32 index)
{
	if (!queue->descriptors) {
		queue->descriptors = (struct descriptor *)allocate_page();
		queue->avail = (u16 *)allocate_page();
		queue->used = (u16 *)allocate_page();
	}
	queue->slot = slot;
	queue->index = index;
	queue->taken = 0;
	for (u32 i = 0; i < PAGE / 2; i++)
		queue->avail[i] = queue->used[i] = 0;
	register_write(slot, QUEUE_SELECT, 2, index);
	register_write(slot, QUEUE_DESC, 4, (u32)queue->descriptors);
	register_write(slot, QUEUE_AVAIL, 4, (u32)queue->avail);
	register_write(slot, QUEUE_USED, 4, (u32)queue->used);
	register_write(slot, QUEUE_ENABLE, 2, 1);
}

void device_ready(u32 slot)
{
	register_write(slot, DEVICE_STATUS, 1, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
}

void put_descriptor(struct descriptor *descriptor, const volatile void *address, u32 length, u16 flags, u16 next)
{
	*descriptor = (struct descriptor){ (u32)address, 0, length, flags, next };
}

void put(struct queue *queue, u32 index, const volatile void *address, u32 length, u16 flags)
{
	put_descriptor(&queue->descriptors[index], address, length, flags, index + 1);
}

void make_available(struct queue *queue, u32 head)
{
	queue->avail[2 + queue->avail[1] % QUEUE_DESCRIPTORS] = head;
	asm volatile("" : : : "memory");
	queue->avail[1]++;
}

void notify(struct queue *queue)
{
	asm volatile("" : : : "memory");
	register_write(queue->slot, NOTIFY, 2, queue->index);
}

void submit(struct queue *queue, u32 head)
{
	make_available(queue, head);
	notify(queue);
}

u32 has_used(struct queue *queue)
{
	return queue->used[1] != queue->taken;
}

struct used take_used(struct queue *queue)
{
	volatile struct used *ring = (volatile struct used *)(queue->used + 2);
	struct used used = { BROKEN, 0 };

	while (!has_used(queue)) {
		if (needs_reset(queue->slot))
			return used;
		wait_for_interrupt();
	}
	used.head = ring[queue->taken % QUEUE_DESCRIPTORS].head;
	used.length = ring[queue->taken % QUEUE_DESCRIPTORS].length;
	queue->taken++;
	asm volatile("" : : : "memory");
	return used;
}

volatile u32 device_interrupts;

static void count(struct frame *frame)
{
	(void)frame;
	device_interrupts++;
}

void interrupts_init(void)
{
	for (u32 slot = 1; slot < SLOTS; slot++)
		trap_hooks[FIRST_IRQ_VECTOR + slot] = count;
}

void wait_for_interrupt(void)
{
	hypercall(LHCALL_HALT, 0, 0, 0, 0);
	lguest_data.irq_enabled = 0;
}

static volatile u32 woken;

static void wake(struct frame *frame)
{
	(void)frame;
	woken = 1;
}

void sleep(u32 nanoseconds)
{
	trap_hooks[FIRST_IRQ_VECTOR] = wake;
	lguest_data.blocked_interrupts = 0;
	woken = 0;
	hypercall(LHCALL_SET_CLOCKEVENT, nanoseconds, 0, 0, 0);
	while (!woken)
		wait_for_interrupt();
}

u32 checksum(u32 sum, const void *bytes, u32 length)
{
	const u8 *at = bytes;

	while (length--)
		sum = (sum ^ *at++) * 0x01000193;
	return sum;
}

u32 next_word(u32 word)
{
	return word * 0x4c957f2d + 1;
}

void fill(void *words, u32 bytes, u32 seed)
{
	u32 *word = words;

	for (u32 i = 0; i < bytes / 4; i++) {
		word[i] = seed;
		seed = next_word(seed);
	}
}

u32 command_line_number(const char *name)
{
	for (const char *at = (const char *)BOOT_COMMAND_LINE; *at; at++) {
		u32 i = 0, number = 0;

		while (name[i] && at[i] == name[i])
			i++;
		if (name[i] || at[i] != '=')
			continue;
		for (at += i + 1; *at >= '0' && *at <= '9'; at++)
			number = number * 10 + *at - '0';
		return number;
	}
	return 0;
}
