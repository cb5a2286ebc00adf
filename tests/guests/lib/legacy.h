/*
 * A driver's side of virtio as it was before 1.0, on the page of descriptors above RAM (LG-164 and on). A queue has one chain at
 * a time, at its descriptor 0.
 */
#ifndef LEGACY_H
#define LEGACY_H

#include "guest.h"

#define LEGACY_NET 1
#define LEGACY_DISK 2
#define LEGACY_CONSOLE 3

#define LEGACY_ACKNOWLEDGE 1
#define LEGACY_DRIVER 2
#define LEGACY_DRIVER_OK 4
#define LEGACY_NEEDS_RESET 0x40

#define LEGACY_NEXT 1
#define LEGACY_WRITE 2
#define LEGACY_NO_INTERRUPT 1

/* Pages above RAM. */
#define LEGACY_PAGES 49

struct legacy_descriptor {
	u32 address, address_high, length;
	u16 flags, next;
};

struct legacy_queue {
	u32 size, irq, gpa;
	volatile struct legacy_descriptor *descriptors;
	volatile u16 *avail, *used;
};

struct legacy_device {
	u32 type, gpa;
	volatile u8 *status;
	volatile u32 *accepted; /* 0 in records that have none */
	u32 features, capacity;
	u32 queue_count;
	struct legacy_queue queues[2];
};

extern struct legacy_device legacy_devices[8];
extern u32 legacy_count, legacy_ram_end;

/* Maps the pages above RAM and reads the records; the type that ended them. */
u32 legacy_init(void);
/* The first device of this type; without one the guest ends. */
struct legacy_device *legacy_find(u32 type);
void legacy_set_status(struct legacy_device *device, u8 status);
/* All steps up to DRIVER_OK, with no features. */
void legacy_start(struct legacy_device *device);
/* Descriptor `index`, whose successor is the next one if it has LEGACY_NEXT. */
void legacy_put(struct legacy_queue *queue, u32 index, const volatile void *address, u32 length, u16 flags);
/* The chain is the device's. */
void legacy_offer(struct legacy_queue *queue);
/* Offers the chain; whether it came back before the device gave up. */
u32 legacy_submit(struct legacy_device *device, struct legacy_queue *queue);

#endif
