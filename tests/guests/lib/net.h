/* A driver for the network device: frames of Ethernet, each whole in one buffer. */
#ifndef NET_H
#define NET_H

#include "virtio.h"

/* The header before each frame, and the largest frame (virtio 1.0, 5.1.6). */
#define NET_HEADER 12
#define LARGEST_FRAME 1514
#define ETHERNET 14

extern u8 net_address[6];

/* Starts the network device, if there is one; whether there is. */
u32 net_start(void);
/*
 * Sends `length` bytes, which are copied. Sleeps while the device has all buffers. Longer ones than
 * LARGEST_FRAME too, up to a page: what becomes of them is for the device to say.
 */
void net_send(const void *frame, u32 length);
/* Sleeps until a frame comes, and returns its length. It stays where it is until the next call. */
u32 net_receive(const u8 **frame);

#endif
