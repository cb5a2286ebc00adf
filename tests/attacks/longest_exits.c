/* expect: stop="guest powered off" status=0 */
/*
 * exits that take as long as a guest can make them: everything there is to free, for as many roots as the
 * ring has slots, 64 times from the ring. The host measures every exit; that it stays below its bound is looked at by the
 * harness.
 */

#include "guest.h"

#define ROOTS RING_SLOTS
/* Roots with all the tables that they can have: more than the host has, so that each drops an older one. */
#define LARGE 4
#define QUARTER 0x40000000u
#define LEAF_SPAN 0x200000u

static volatile pte *roots[ROOTS];
static volatile pte *large[LARGE];
static u32 page, table;

/* The last 2 MiB of a quarter: whoever looks for entries looks at all of them. */
static u32 end_of(u32 quarter)
{
	return (quarter + 1) * QUARTER - LEAF_SPAN;
}

static void build(void)
{
	page = allocate_page();
	table = allocate_page();
	for (u32 i = 0; i < PAGE / sizeof(pte); i++)
		((volatile pte *)table)[i] = page | PTE_P | PTE_RW;
	for (u32 i = 0; i < LARGE; i++)
		large[i] = new_root();
	for (u32 i = 0; i < ROOTS; i++) {
		roots[i] = new_root();
		for (u32 quarter = 0; quarter < 3; quarter++)
			*pde(roots[i], end_of(quarter)) = table | PDE_FLAGS;
	}
}

/* Every root gets the most that it can have of what is slow to free. */
static void fill_roots(void)
{
	for (u32 i = 0; i < ROOTS; i++) {
		switch_root(roots[i]);
		for (u32 quarter = 0; quarter < 3; quarter++)
			peek(end_of(quarter));
	}
}

/* A leaf table of its own, in RAM that is mapped nowhere: what it has is all one page. */
static u32 new_table(void)
{
	static u32 next = IDENTITY_BYTES;
	volatile pte *entries = (volatile pte *)KERNEL_WINDOW;
	u32 frame = next;

	next += PAGE;
	set_pte(kernel_root, KERNEL_WINDOW, frame | PTE_P | PTE_RW);
	for (u32 i = 0; i < PAGE / sizeof(pte); i += LEAF_SPAN / PAGE)
		entries[i] = page | PTE_P | PTE_RW;
	return frame | PDE_FLAGS;
}

/* One root with nearly all the tables that there are for user addresses. */
static void fill_one(volatile pte *root)
{
	switch_root(kernel_root);
	for (u32 gva = QUARTER / 4; gva < 3 * QUARTER; gva += LEAF_SPAN)
		if (!(*pde(root, gva) & PTE_P))
			*pde(root, gva) = new_table();
	switch_root(root);
	for (u32 gva = QUARTER / 4; gva < 3 * QUARTER; gva += LEAF_SPAN)
		peek(gva);
}

static void queue_all(u32 call, u32 (*argument)(u32), u32 second, u32 third)
{
	static u32 due;

	for (u32 i = 0; i < RING_SLOTS; i++) {
		ring_write(due, call, argument(i), second, third, 0);
		due = (due + 1) % RING_SLOTS;
	}
	hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0, 0);
}

static u32 one(u32 i) { (void)i; return 1; }
static u32 zero(u32 i) { (void)i; return 0; }
static u32 a_root(u32 i) { return (u32)roots[i % ROOTS]; }
static u32 in_turn(u32 i) { return (u32)(i & 1 ? roots[i % ROOTS] : kernel_root); }

static void said(const char *what)
{
	switch_root(kernel_root);
	poke(page, 0x51de);
	check("A-39", what, peek(page), 0x51de);
}

void guest_main(void)
{
	guest_init();
	build();

	fill_one(kernel_root);
	hypercall(LHCALL_FLUSH_TLB, 0, 0, 0, 0);
	said("the user's part of one root, flushed");
	fill_one(kernel_root);
	hypercall(LHCALL_FLUSH_TLB, 1, 0, 0, 0);
	said("all of one root, flushed");
	for (u32 i = 0; i < LARGE; i++)
		fill_one(large[i]);
	fill_roots();
	said("large roots that go for others");

	fill_roots();
	queue_all(LHCALL_FLUSH_TLB, one, 0, 0);
	said("64 full flushes from the ring");
	fill_roots();
	queue_all(LHCALL_FLUSH_TLB, zero, 0, 0);
	said("64 flushes of the user's part");
	fill_roots();
	queue_all(LHCALL_NEW_PGTABLE, a_root, 0, 0);
	said("64 roots from the ring");
	fill_roots();
	fill_one(kernel_root);
	queue_all(LHCALL_NEW_PGTABLE, in_turn, 0, 0);
	said("64 roots, each the second the large one");
	fill_roots();
	queue_all(LHCALL_SET_PGD, a_root, end_of(1) >> TOP_SHIFT, 0);
	said("64 changes of roots");
	fill_roots();
	queue_all(LHCALL_SET_PGD, a_root, KERNEL_WINDOW >> TOP_SHIFT, 0);
	said("64 changes of all roots");
	fill_roots();
	queue_all(LHCALL_SET_PTE, a_root, KERNEL_WINDOW, page | PTE_P | PTE_RW | PTE_A);
	said("64 entries of all roots");
#if PAE
	fill_roots();
	for (u32 i = 0; i < ROOTS; i++)
		hypercall(LHCALL_SET_PMD, FRAME(roots[i][1]), 0, 0, 0);
	said("a change in each page directory");
	fill_one(large[0]);
	hypercall(LHCALL_SET_PMD, FRAME(large[0][1]), 0, 0, 0);
	said("a change in a full one");
	/* In silence, and both have to be emptied. */
	fill_one(large[0]);
	fill_one(large[1]);
	*pde(large[1], end_of(1)) = table | PDE_FLAGS;
	switch_root(large[0]);
	large[0][1] = large[1][1];
	peek(end_of(1) + PAGE);
	said("a full one in the place of another");
#endif
	queue_all(LHCALL_LOAD_IDT_ENTRY, zero, 0, 0);
	said("64 gates");
	for (u32 i = 0; i < RING_SLOTS; i++)
		ring_write(i, LHCALL_LOAD_TLS, page, 0, 0, 0);
	hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0, 0);
	said("64 times three descriptors");
}
