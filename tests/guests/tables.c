/* expect: stop="guest powered off" status=0 */
/* Page tables that no sane kernel builds: shared, self-referring, too many, reused, changed in silence. */

#include "guest.h"

#define SELF 0x80000000
#define ALIAS 0x84000000
#define MANY_TABLES 500
#define FIRST_OF_MANY 0x40400000
#define TABLE_SPAN 0x400000

static u32 page_of(u32 value)
{
	u32 page = allocate_page();

	poke(page, value);
	return page;
}

/* The root as its own leaf table: the window at SELF shows every page table. */
static void self_map(void)
{
	u32 first = page_of(1), second = page_of(2);
	u32 window_leaf = SELF + (USER_WINDOW >> 22) * PAGE;

	*leaf(kernel_root, USER_WINDOW) = first | PTE_P | PTE_RW;
	kernel_root[SELF >> 22] = (u32)kernel_root | PTE_P | PTE_RW;
	check("A-17", "a table read through the root", peek(window_leaf) & 0xfffff000, first);
	check("A-17", "mapped", peek(USER_WINDOW), 1);
	poke(window_leaf, second | PTE_P | PTE_RW);
	hypercall(LHCALL_SET_PTE, (u32)kernel_root, USER_WINDOW, second | PTE_P | PTE_RW, 0);
	check("A-17", "changed through the root", peek(USER_WINDOW), 2);
	check("A-17", "the root read through itself",
	      peek(SELF + (SELF >> 22) * PAGE + (SELF >> 22) * 4) & 0xfffff000, (u32)kernel_root);
	kernel_root[SELF >> 22] = 0;
	hypercall(LHCALL_SET_PGD, (u32)kernel_root, SELF >> 22, 0, 0);
	check("A-17", "gone", read_traps(window_leaf), 1);
}

/* A leaf table used as a root: its entries are top-level entries then. */
static void leaf_table_as_root(void)
{
	volatile pte *root = new_root();
	u32 table = kernel_root[USER_WINDOW >> 22] & 0xfffff000;
	u32 *entries = (u32 *)table;
	u32 marker = page_of(42);

	for (u32 i = 0; i < 1024; i++)
		entries[i] = root[i];
	hypercall(LHCALL_FLUSH_TLB, 1, 0, 0, 0);
	switch_root(entries);
	check("A-17", "a leaf table as root", peek(marker), 42);
	/* Still a leaf table of kernel_root: entry n maps what root's entry n names, leaf tables here. */
	switch_root(kernel_root);
	check("A-17", "the same page as leaf table", peek(USER_WINDOW), peek(entries[0] & 0xfffff000));
	for (u32 i = 0; i < 1024; i++)
		entries[i] = 0;
	hypercall(LHCALL_FLUSH_TLB, 1, 0, 0, 0);
	check("A-17", "emptied", read_traps(USER_WINDOW), 1);
}

/* One leaf table under two top entries, one of which denies writing. */
static void two_ways_to_a_leaf(void)
{
	volatile u32 *entry = leaf(kernel_root, USER_WINDOW);
	u32 page = page_of(7);

	*entry = page | PTE_P | PTE_RW;
	kernel_root[ALIAS >> 22] = (kernel_root[USER_WINDOW >> 22] & 0xfffff000) | PTE_P;
	check("A-23", "read by the read-only way", peek(ALIAS), 7);
	check("A-23", "A but not D", *entry & (PTE_A | PTE_D), PTE_A);
	check("A-23", "write by that way traps", write_traps(ALIAS), 1);
	check("A-23", "error code", trap.error, 3);
	check("A-23", "D still clear", *entry & PTE_D, 0);
	check("A-23", "write by the other way traps", write_traps(USER_WINDOW), 0);
	check("A-23", "D set", *entry & PTE_D, PTE_D);
	check("A-23", "write by the read-only way still traps", write_traps(ALIAS), 1);
	check("A-23", "read by it", peek(ALIAS), 0x11223344);
	/* LG-081: D cleared by the guest and announced for one of the addresses only. */
	set_pte(kernel_root, USER_WINDOW, page | PTE_P | PTE_RW | PTE_A);
	poke(USER_WINDOW, 8);
	check("A-23", "D set again", *entry & PTE_D, PTE_D);
	kernel_root[ALIAS >> 22] = 0;
	hypercall(LHCALL_SET_PGD, (u32)kernel_root, ALIAS >> 22, 0, 0);
	check("A-23", "one way less", read_traps(ALIAS), 1);
	check("A-23", "the other is left", peek(USER_WINDOW), 8);
}

/* The first two kernels were not to use PWT. */
#if KERNEL < 20625
#define CACHE_BITS 0x10
#else
#define CACHE_BITS 0x18
#endif

/* PWT, PCD and the bits that software may use, in leaves. */
static void odd_bits(void)
{
	u32 page = page_of(9);

	set_pte(kernel_root, USER_WINDOW, page | PTE_P | PTE_RW | CACHE_BITS | 0xe00);
	check("A-19", "read", peek(USER_WINDOW), 9);
	check("A-19", "write traps", write_traps(USER_WINDOW), 0);
	check("A-19", "bits kept, A and D added", *leaf(kernel_root, USER_WINDOW) & 0xfff,
	      PTE_P | PTE_RW | PTE_A | PTE_D | CACHE_BITS | 0xe00);
	check("A-19", "write arrived", peek(page), 0x11223344);
}

/* More leaf tables than the budget for shadows is likely to hold; each access must still be right. */
static void many_tables(void)
{
	u32 page = page_of(0), wrong = 0;

	for (u32 i = 0; i < MANY_TABLES; i++)
		*leaf(kernel_root, FIRST_OF_MANY + i * TABLE_SPAN) = page | PTE_P | PTE_RW;
	for (u32 round = 1; round <= 3; round++) {
		for (u32 i = 0; i < MANY_TABLES; i++) {
			u32 gva = FIRST_OF_MANY + i * TABLE_SPAN;

			poke(page, i * round);
			wrong += peek(gva) != i * round;
			poke(gva, ~i);
			wrong += peek(page) != ~i;
		}
	}
	check("A-21", "wrong words over many tables", wrong, 0);
}

/* the guest may see old or new before the flush, and only the new after it. */
static void silent_changes(void)
{
	u32 old = page_of(0x01d), new = page_of(0x4e3), value;

	set_pte(kernel_root, USER_WINDOW, old | PTE_P | PTE_RW);
	check("A-18", "before", peek(USER_WINDOW), 0x01d);
	*leaf(kernel_root, USER_WINDOW) = new | PTE_P | PTE_RW;
	value = peek(USER_WINDOW);
	check("A-18", "old or new", value == 0x01d || value == 0x4e3, 1);
	hypercall(LHCALL_FLUSH_TLB, 1, 0, 0, 0);
	check("A-18", "new after the flush", peek(USER_WINDOW), 0x4e3);

	/* A lie: what is announced is not what the table holds. */
	hypercall(LHCALL_SET_PTE, (u32)kernel_root, USER_WINDOW, old | PTE_P | PTE_RW | PTE_A | PTE_D, 0);
	value = peek(USER_WINDOW);
	check("A-18", "a lie shows one or the other", value == 0x01d || value == 0x4e3, 1);
	hypercall(LHCALL_FLUSH_TLB, 1, 0, 0, 0);
	check("A-18", "the table is right after the flush", peek(USER_WINDOW), 0x4e3);
}

/* R1: not-present is never remembered. */
static void present_in_silence(void)
{
	u32 gva = USER_WINDOW + 5 * PAGE, empty = 0xbf000000;

	check("R1", "leaf not present", read_traps(gva), 1);
	*leaf(kernel_root, gva) = page_of(5) | PTE_P;
	check("R1", "leaf present", peek(gva), 5);
	check("R1", "top entry not present", read_traps(empty), 1);
	*leaf(kernel_root, empty) = page_of(6) | PTE_P;
	check("R1", "top entry present", peek(empty), 6);
	*leaf(kernel_root, gva) |= PTE_RW;
	check("R1", "rights added in silence", write_traps(gva), 0);
}

void guest_main(void)
{
	guest_init();
	self_map();
	leaf_table_as_root();
	two_ways_to_a_leaf();
	odd_bits();
	many_tables();
	silent_changes();
	present_in_silence();
}
