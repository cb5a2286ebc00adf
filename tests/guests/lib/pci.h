/* The PCI bus of the host's devices: configuration mechanism #1, and BAR0 by two ways. */
#ifndef PCI_H
#define PCI_H

#include "guest.h"

u32 config_read(u32 slot, u32 offset);

/* How BAR0 is reached: through the window in configuration space, or as memory. */
struct access {
	const char *name;
	u32 (*read)(u32 slot, u32 offset, u32 width);
	void (*write)(u32 slot, u32 offset, u32 width, u32 value);
};
extern const struct access window_access, memory_access;

/* Where memory_access has mapped a slot's BAR0. Maps it at the first call. */
u32 bar_memory(u32 slot);

/* Offsets in BAR0 (virtio 1.0, 4.1.4). */
#define DEVICE_FEATURE_SELECT 0
#define DEVICE_FEATURE 4
#define DRIVER_FEATURE_SELECT 8
#define DRIVER_FEATURE 12
#define NUM_QUEUES 18
#define DEVICE_STATUS 20
#define QUEUE_SELECT 22
#define QUEUE_SIZE 24
#define QUEUE_ENABLE 28
#define QUEUE_DESC 32
#define QUEUE_AVAIL 40
#define QUEUE_USED 48
#define NOTIFY 0x38
#define ISR 0x3a
#define DEVICE_CONFIG 0x3c

#define ACKNOWLEDGE 1
#define DRIVER 2
#define DRIVER_OK 4
#define FEATURES_OK 8
#define NEEDS_RESET 64

#endif
