/* expect: stop="guest powered off" status=0 */
/*
 * one page as root, lguest_data, ring and stack at once. The host writes the time, CR2 and irq_pending into
 * what the processor's tables are made of; the guest's own memory is all that changes.
 */

#include "guest.h"

#define TIMER FIRST_IRQ_VECTOR

/* Entries 0x100 on of the root are lguest_data, 0x280 on the stack for traps from ring 3. */
#define DATA ((volatile struct lguest_data *)((u32)kernel_root + 0x400))
#define STACK_TOP ((u32)kernel_root + 0xbf0)
/* The slot that is due after rounds(), and still is when whole rings were drained. */
#define DUE (ROUNDS % RING_SLOTS)
#define ROUNDS 200
#define INSIDE_DATA 0x40000000 /* entry 0x100 is irq_enabled */

static void init(void)
{
	for (u32 slot = 0; slot < RING_SLOTS; slot++)
		DATA->hcall_status[slot] = SLOT_EMPTY;
	DATA->blocked_interrupts = 0;
	DATA->noirq_iret = (u32)noirq_iret;
	DATA->kernel_address = KERNEL_WINDOW;
	DATA->syscall_vec = SYSCALL_VECTOR;
	hypercall(LHCALL_LGUEST_INIT, (u32)DATA, 0, 0, 0);
}

/* A page of the image's that tables, root and all else use, and no memory of its own. */
static void map_all(void)
{
	for (u32 page = 0; page < 0x800000; page += PAGE)
		*leaf(kernel_root, page) = page | PTE_P | PTE_RW | PTE_US;
	leaf(kernel_root, KERNEL_WINDOW);
	switch_root(kernel_root);
	hypercall(LHCALL_SET_STACK, KERNEL_DS, STACK_TOP, 1, 0);
}

static void queue(u32 slot, u32 call, u32 a1, u32 a2)
{
	DATA->hcalls[slot].eax = call;
	DATA->hcalls[slot].ebx = a1;
	DATA->hcalls[slot].ecx = a2;
	DATA->hcall_status[slot] = SLOT_READY;
}

static u32 user_ran USER_DATA;

static void USER_TEXT user(void)
{
	user_ran++;
}

static void rounds(void)
{
	u32 returned = 0, page = allocate_page();

	poke(page, 0x1dea);
	for (u32 round = 0; round < ROUNDS; round++) {
		returned += run_user(user) == SYSCALL_VECTOR;
		/* From the ring in the root, calls about the root. */
		queue(round % RING_SLOTS, LHCALL_SET_PGD, (u32)kernel_root, 0x100 + round);
		hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0, 0);
	}
	check("A-17", "ring 3 returned through a stack in the root", returned, ROUNDS);
	check("A-17", "and ran", user_ran, ROUNDS);
	for (u32 round = 0; round < 20; round++) {
		hypercall(LHCALL_FLUSH_TLB, round & 1, 0, 0, 0);
		switch_root(kernel_root);
	}
	check("A-17", "memory is where it was", peek(page), 0x1dea);
	check("A-17", "the time went into the root", DATA->time_sec != 0, 1);
}

/* Where lguest_data is the top level, the addresses lead to what its words say, or fault, or end the guest; a few
   words are known. */
static void read_as_tables(void)
{
	DATA->irq_enabled = 0;
	check("A-17", "an absent word of lguest_data", read_traps(INSIDE_DATA), 1);
	/* irq_enabled as an entry that names the stack's own page. */
	DATA->irq_enabled = allocate_page() | PTE_P | PTE_RW;
	check("A-17", "irq_enabled as a table", read_traps(INSIDE_DATA), 1);
	DATA->irq_enabled = 0;
	hypercall(LHCALL_FLUSH_TLB, 1, 0, 0, 0);
	check("A-17", "CR2 is a word of the root", DATA->cr2, INSIDE_DATA);
}

/* The ring is full, for ever: each call refills it. */
static void ring_in_table(void)
{
	u32 calls = 0;

	for (u32 round = 0; round < 50; round++) {
		for (u32 slot = 0; slot < RING_SLOTS; slot++)
			queue(slot, slot % 2 ? LHCALL_TS : LHCALL_SET_CLOCKEVENT, 0, 0);
		hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0, 0);
		for (u32 slot = 0; slot < RING_SLOTS; slot++)
			calls += DATA->hcall_status[slot] == SLOT_EMPTY;
	}
	check("A-28", "a ring in the root, always full", calls, 50 * RING_SLOTS);
}

/* The host finds the ring by its physical address, whatever the guest unmaps. Its leaf table is still mapped. */
static void ring_unmapped(void)
{
	volatile pte *entry = leaf(kernel_root, (u32)kernel_root);
	u32 page = *entry;

	/* The stack is in the same page, and would have to stay. */
	hypercall(LHCALL_SET_STACK, KERNEL_DS, trap_stack_top(), 2, 0);
	queue(DUE, LHCALL_TS, 0, 0);
	*entry = 0;
	hypercall(LHCALL_FLUSH_TLB, 1, 0, 0, 0);
	hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0, 0);
	*entry = page;
	check("A-28", "a ring whose page is unmapped", DATA->hcall_status[DUE], SLOT_EMPTY);
}

void guest_main(void)
{
	init();
	traps_init();
	segments_init();
	map_all();
	rounds();
	read_as_tables();
	ring_in_table();
	ring_unmapped();
	/* power_off() knows nothing of this guest's own lguest_data. */
	shutdown("Power down", SHUTDOWN_POWEROFF);
}
