/* Devices of G1: a page above RAM says where they are, and they are used by DMA (lguest-abi 9.4). */
#ifndef DMA_H
#define DMA_H

#include "guest.h"

#define DMA_CONSOLE 1
#define DMA_NET 2
#define DMA_BLOCK 3

/* The interrupt that guests want for what is in their buffers. */
#define DMA_IRQ 7

struct lguest_dma {
	u32 used_len, address[16];
	u16 length[16];
};

/* Interrupts so far. */
extern u32 dma_interrupts;

/* Maps the pages above RAM, hooks the interrupt, and lets it in. */
void dma_init(void);
/* Key of the first device of this type: where its page is. Without one the guest ends. */
u32 dma_find(u32 type);
/* Where a device's page is mapped. */
volatile void *dma_page(u32 key);
/* Sections for `length` bytes: no section is longer than a page. Nothing of them is used. */
void dma_cover(volatile struct lguest_dma *dma, void *bytes, u32 length);

#endif
