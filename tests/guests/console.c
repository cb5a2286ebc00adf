/* expect: stop="guest powered off" status=0 */
/* The console that needs no driver, in generations that reach it by a hypercall; and G1's DMA. */

#include "guest.h"

#if HAS_NOTIFY

static void texts(void)
{
	static const char text[] = "a text of more than 16 characters\n";
	u32 top = ram_bytes();

	hypercall(LHCALL_NOTIFY, (u32)text, 0, 0, 0);
	hypercall(LHCALL_NOTIFY, 0, 0, 0, 0);
	survived("LG-167", "NOTIFY(0) means nothing");
	/* The text ends where RAM ends, without a NUL. */
	*leaf(kernel_root, USER_WINDOW) = (top - PAGE) | PTE_P | PTE_RW;
	for (u32 i = 0; i < 4; i++)
		((volatile char *)USER_WINDOW)[PAGE - 4 + i] = "end\n"[i];
	hypercall(LHCALL_NOTIFY, top - 4, 0, 0, 0);
	survived("LG-167", "a text that the end of RAM ends");
}

static void say_later(u32 slot, const char *text)
{
	ring_write(slot, LHCALL_NOTIFY, (u32)text, 0, 0, 0);
}

static void say_now(const char *text)
{
	hypercall(LHCALL_NOTIFY, (u32)text, 0, 0, 0);
}

#else

struct lguest_dma {
	u32 used_len, address[16];
	u16 length[16];
};

static struct lguest_dma buffers[2];
static char typed[64];

static u32 bind(u32 key, u32 array, u32 count, u32 irq)
{
	return hypercall(LHCALL_BIND_DMA, key, array, count << 8 | irq, 0);
}

static void texts(void)
{
	static struct lguest_dma text;
	const char *first = "two ", *second = "sections\n";

	text.used_len = 0;
	text.address[0] = (u32)first;
	text.length[0] = 4;
	text.address[1] = (u32)second;
	text.length[1] = 9;
	hypercall(LHCALL_SEND_DMA, 0, (u32)&text, 0, 0);
	check("LG-170", "used_len", text.used_len, 13);

	buffers[0].address[0] = (u32)typed;
	buffers[0].length[0] = sizeof typed;
	check("LG-171", "BIND_DMA", bind(0, (u32)buffers, 2, 5), 1);
	check("LG-171", "no such irq", bind(0, (u32)buffers, 2, 32), 0);
	check("LG-171", "irq 0 takes it back", bind(0, (u32)buffers, 2, 0), 1);
	check("LG-171", "only once", bind(0, (u32)buffers, 2, 0), 0);
	for (u32 i = 0; i < 32; i++)
		if (!bind(4 * i, (u32)buffers, 2, 5))
			check("LG-171", "one of 32", i, 32);
	check("LG-171", "a 33rd", bind(4 * 32, (u32)buffers, 2, 5), 0);
}

static struct lguest_dma *one_section(const char *text)
{
	static struct lguest_dma texts[4];
	static u32 next;
	struct lguest_dma *dma = &texts[next++ % 4];

	*dma = (struct lguest_dma){ .address[0] = (u32)text };
	while (text[dma->length[0]])
		dma->length[0]++;
	return dma;
}

static void say_later(u32 slot, const char *text)
{
	ring_write(slot, LHCALL_SEND_DMA, 0, (u32)one_section(text), 0, 0);
}

static void say_now(const char *text)
{
	hypercall(LHCALL_SEND_DMA, 0, (u32)one_section(text), 0, 0);
}

#endif

/*
 * What a launcher was needed for, the host does within the call: the slots behind it and the direct call
 * run all the same, once each and in order.
 */
static void work_in_the_ring(void)
{
	static char slot_text[] = "the slot's text\n", direct_text[] = "the direct call's text\n";

	say_later(0, slot_text);
	load_descriptor_later(1, 27, 0x51, DATA_DPL3);
	say_later(2, slot_text);
	load_descriptor_later(3, 26, 0x52, DATA_DPL3);
	say_now(direct_text);
	check("LG-051", "the slot behind work ran", segment_limit(27 * 8 + 3), 0x51);
	check("LG-051", "and the one behind more work", segment_limit(26 * 8 + 3), 0x52);
	for (u32 slot = 0; slot < 4; slot++)
		check("LG-051", "its slot is empty", lguest_data.hcall_status[slot], SLOT_EMPTY);
	/* A text that is there twice, or not, is not what this log should be. */
	survived("LG-052", "the direct call's text was printed once");
}

void guest_main(void)
{
	guest_init();
	texts();
	work_in_the_ring();
}
