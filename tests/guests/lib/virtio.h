/* A driver's side of virtio 1.0: start-up, and split queues of 256 descriptors. */
#ifndef VIRTIO_H
#define VIRTIO_H

#include "pci.h"

/* Device types (virtio 1.0, 5). */
#define NET 1
#define BLOCK 2
#define CONSOLE 3
#define ENTROPY 4

#define QUEUE_DESCRIPTORS 256

/* Flags of descriptors (2.4.5). */
#define F_NEXT 1
#define F_WRITE 2
#define F_INDIRECT 4
/* The low word of the features that every device may offer (6). */
#define RING_INDIRECT_DESC (1u << 28)

struct descriptor {
	u32 address, address_high, length;
	u16 flags, next;
};

struct queue {
	u32 slot, index;
	struct descriptor *descriptors;
	volatile u16 *avail, *used;
	/* The used ring's index as far as it has been looked at. */
	u16 taken;
};

/* The slot of the first device of this type behind `after`, or 0. */
u32 find_device(u32 type, u32 after);
u32 register_read(u32 slot, u32 offset, u32 width);
void register_write(u32 slot, u32 offset, u32 width, u32 value);
/* The low word of what the device offers. */
u32 offered_features(u32 slot);
u32 needs_reset(u32 slot);

/* Reset, and all steps up to FEATURES_OK with VERSION_1 and these; then the queues; then DRIVER_OK. */
void device_start(u32 slot, u32 features);
/* Tells the device where an empty queue is. The first call finds room for it. */
void queue_start(struct queue *queue, u32 slot, u32 index);
void device_ready(u32 slot);

/* Descriptor `index`, whose successor is the next one if it has F_NEXT. */
void put(struct queue *queue, u32 index, const volatile void *address, u32 length, u16 flags);
void put_descriptor(struct descriptor *descriptor, const volatile void *address, u32 length, u16 flags, u16 next);
/* The chain from `head` on is the device's once it is notified. */
void make_available(struct queue *queue, u32 head);
void notify(struct queue *queue);
/* make_available and notify. */
void submit(struct queue *queue, u32 head);

/* A chain that came back. */
struct used {
	u32 head, length;
};
/* No chain: the device needs a reset. */
#define BROKEN 0xffffffff
/* Whether one came back that has not been taken. */
u32 has_used(struct queue *queue);
/* Sleeps until a chain comes back or the device breaks. The device has to interrupt for both. */
struct used take_used(struct queue *queue);

/* Sleeps until an interrupt comes. One that came before, with interrupts off, counts. */
void wait_for_interrupt(void);
/* Interrupts of devices so far. */
extern volatile u32 device_interrupts;
/* Hooks the interrupts of all slots. */
void interrupts_init(void);
/* Sleeps that long; a second at most, or the clock event would not hold it. */
void sleep(u32 nanoseconds);

/* FNV-1a, 32 bits: goes on from `sum`, which is FNV_START at first. */
#define FNV_START 0x811c9dc5
u32 checksum(u32 sum, const void *bytes, u32 length);
/* Words, each the next of a linear congruential generator (Knuth's MMIX multiplier, cut to 32 bits). */
u32 next_word(u32 word);
void fill(void *words, u32 bytes, u32 seed);

/* The number after "<name>=" on the command line, or 0. */
u32 command_line_number(const char *name);

#endif
