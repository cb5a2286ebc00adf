#include "dma.h"

#if HAS_DMA

#define DESCRIPTORS 16
/* Pages above RAM. */
#define SHARED_PAGES 49

struct descriptor {
	u16 type, features, status, pages;
	u32 page;
};

static u32 ram_end;
u32 dma_interrupts;

static void arrive(struct frame *frame)
{
	(void)frame;
	dma_interrupts++;
}

void dma_init(void)
{
	ram_end = ram_bytes();
	for (u32 page = 0; page < SHARED_PAGES; page++)
		*leaf(kernel_root, KERNEL_WINDOW + page * PAGE) = (ram_end + page * PAGE) | PTE_P | PTE_RW;
	trap_hooks[FIRST_IRQ_VECTOR + DMA_IRQ] = arrive;
	lguest_data.blocked_interrupts = 0;
}

u32 dma_find(u32 type)
{
	volatile struct descriptor *descriptor = (volatile struct descriptor *)KERNEL_WINDOW;

	check("9.4", "the console", descriptor[0].type, DMA_CONSOLE);
	for (u32 i = 0; i < DESCRIPTORS; i++)
		if (descriptor[i].type == type) {
			check("9.4", "its pages", descriptor[i].pages, 1);
			return descriptor[i].page * PAGE;
		}
	shutdown("no such device", SHUTDOWN_POWEROFF);
}

volatile void *dma_page(u32 key)
{
	return (volatile void *)(KERNEL_WINDOW + key - ram_end);
}

void dma_cover(volatile struct lguest_dma *dma, void *bytes, u32 length)
{
	for (u32 i = 0; i < 16; i++) {
		u32 part = length < PAGE ? length : PAGE;

		dma->address[i] = (u32)bytes + i * PAGE;
		dma->length[i] = part;
		length -= part;
	}
	dma->used_len = 0;
}

#endif
