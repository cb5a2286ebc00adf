/* expect: stop="guest powered off" status=0 */
/*
 * The async ring. Its effects are watched through LSL: a slot loads a descriptor whose limit says
 * which slot it was.
 */

#include "guest.h"

#define WATCHED 27
#define OTHER 26

/* Slot `slot` gives descriptor `index` the limit `limit`. */
static void load_later(u32 slot, u32 index, u32 limit)
{
	load_descriptor_later(slot % RING_SLOTS, index, limit, DATA_DPL3);
}

static u32 limit_of(u32 index)
{
	return segment_limit(index * 8 + 3);
}

static u32 ready_slots(void)
{
	u32 count = 0;

	for (u32 slot = 0; slot < RING_SLOTS; slot++)
		count += lguest_data.hcall_status[slot] != SLOT_EMPTY;
	return count;
}

static void drain(void)
{
	hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0, 0);
}

/* Slots 0 to 2; the host's cursor is 3 afterwards. */
static void first_slots(void)
{
	load_later(0, WATCHED, 0x100);
	check("LG-043", "nothing runs before a call", limit_of(WATCHED), ~0u);
	/* The direct call has the last word: the ring ran before it. */
	load_descriptor(WATCHED, 0x101, DATA_DPL3);
	check("LG-043", "the ring runs before the call", limit_of(WATCHED), 0x101);
	check("LG-044", "slot 0 is the first", lguest_data.hcall_status[0], SLOT_EMPTY);

	load_later(1, WATCHED, 0x110);
	load_later(2, WATCHED, 0x111);
	drain();
	check("LG-044", "later slots run later", limit_of(WATCHED), 0x111);
	check("LG-045", "both are empty again", ready_slots(), 0);
	check("LG-049", "FLUSH_ASYNC drains", limit_of(WATCHED), 0x111);
	check("LG-053", "the words are in the generation's order", access_rights(WATCHED * 8 + 3) >> 8 & 0xff, 0xf3);
}

/* Slot 4 is ready but 3 is empty. */
static void gap(void)
{
	load_later(4, WATCHED, 0x140);
	drain();
	check("LG-046", "an empty slot ends the draining", limit_of(WATCHED), 0x111);
	check("LG-046", "the slot behind stays ready", lguest_data.hcall_status[4], SLOT_READY);
	load_later(3, OTHER, 0x130);
	drain();
	check("LG-046", "both run when the gap is filled", limit_of(WATCHED), 0x140);
	check("LG-046", "and are empty", ready_slots(), 0);
}

/* From cursor 5 all the way round to 4. */
static void full_ring(void)
{
	for (u32 i = 0; i < RING_SLOTS; i++)
		load_later(5 + i, WATCHED, 0x200 + i);
	check("LG-048", "the ring is full", ready_slots(), RING_SLOTS);
	load_descriptor(OTHER, 0x300, DATA_DPL3);
	check("LG-047", "the cursor wraps; slot 4 ran last", limit_of(WATCHED), 0x200 + RING_SLOTS - 1);
	check("LG-048", "64 slots ran in one call", ready_slots(), 0);
	check("LG-050", "the direct call ran as well", limit_of(OTHER), 0x300);

	load_later(5, OTHER, 0x301);
	load_descriptor(OTHER, 0x302, DATA_DPL3);
	check("LG-050", "the direct call ran after the ring", limit_of(OTHER), 0x302);
}

/* Any status but 0xff means ready. */
static void odd_status(void)
{
	load_later(6, WATCHED, 0x601);
	lguest_data.hcall_status[6] = 0x5a;
	drain();
	check("LG-046", "status 0x5a is ready", limit_of(WATCHED), 0x601);
	check("LG-045", "and ends as empty", lguest_data.hcall_status[6], SLOT_EMPTY);
}

/* Two loads of one page-table entry in the ring: the second must win (R9). */
static void page_table_order(void)
{
	u32 first = allocate_page(), second = allocate_page();

	poke(first, 0x11);
	poke(second, 0x22);
	*leaf(kernel_root, USER_WINDOW) = first | PTE_P | PTE_RW;
	check("LG-043", "mapped", peek(USER_WINDOW), 0x11);
	ring_write(7, LHCALL_SET_PTE, (u32)kernel_root, USER_WINDOW, 0, 0);
	*leaf(kernel_root, USER_WINDOW) = second | PTE_P | PTE_RW;
	ring_write(8, LHCALL_SET_PTE, (u32)kernel_root, USER_WINDOW, second | PTE_P | PTE_RW, 0);
	drain();
	check("LG-044", "queued SET_PTEs apply in order", peek(USER_WINDOW), 0x22);
}

void guest_main(void)
{
	guest_init();
	first_slots();
	gap();
	full_ring();
	odd_status();
	page_table_order();
}
