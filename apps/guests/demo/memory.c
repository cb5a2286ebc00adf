/* Page frames: a list of the free ones, and for the others how many page tables use them. */

#include "kernel.h"

/* Behind the boot page tables, one for each frame. */
static u16 *users;
static u32 total, kernel_count, free_count;
/* A free frame's first word is the next one's address. */
static u32 first;

u32 ram_end;

void copy(void *to, const void *from, u32 bytes)
{
	asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
}

static void zero_page(void *page)
{
	u32 words = PAGE / 4;

	asm volatile("rep stosl" : "+D"(page), "+c"(words) : "a"(0) : "memory");
}

void memory_init(u32 first_free)
{
	u32 frame;

	total = ram_end / PAGE;
	users = VIRTUAL(first_free);
	first_free = (first_free + total * sizeof *users + PAGE - 1) & -PAGE;
	kernel_count = first_free / PAGE;
	/* The kernel's own frames count as used, so that sharing the program image never frees it. */
	for (frame = 0; frame < first_free; frame += PAGE)
		users[frame / PAGE] = 1;
	/* From the top down, so that the lowest frame is the first to go. */
	for (frame = total * PAGE - PAGE; frame >= first_free; frame -= PAGE) {
		users[frame / PAGE] = 1;
		frame_release(frame);
	}
}

u32 frame_allocate(void)
{
	u32 frame = first;

	if (!frame)
		return 0;
	first = *(u32 *)VIRTUAL(frame);
	free_count--;
	users[frame / PAGE] = 1;
	zero_page(VIRTUAL(frame));
	return frame;
}

void frame_share(u32 frame)
{
	users[frame / PAGE]++;
}

void frame_release(u32 frame)
{
	if (--users[frame / PAGE])
		return;
	*(u32 *)VIRTUAL(frame) = first;
	first = frame;
	free_count++;
}

u32 frame_users(u32 frame)
{
	return users[frame / PAGE];
}

u32 frames_total(void)
{
	return total;
}

u32 frames_kernel(void)
{
	return kernel_count;
}

u32 frames_free(void)
{
	return free_count;
}
