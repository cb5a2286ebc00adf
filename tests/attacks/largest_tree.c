/* expect: stop="guest powered off" status=0 */
/*
 * trees that take more shadow tables than there are, in many roots; and frames that are a leaf table, data,
 * a root and another leaf table in turn.
 */

#include "guest.h"

#define ROOTS 12
#define FIRST 0x01000000
#define LAST 0xbfe00000
#define SHADOW_SPAN 0x200000

static volatile pte *roots[ROOTS];

/* One leaf table, with the same entry everywhere, under all top-level entries: a shadow for each 2 MiB of addresses
   would be 1500 and more for each root. */
static void widest(void)
{
	u32 page = allocate_page(), table = allocate_page(), wrong = 0;

	for (u32 i = 0; i < TOP_ENTRIES; i++)
		((volatile pte *)table)[i] = page | PTE_P | PTE_RW;
	for (u32 i = 0; i < ROOTS; i++) {
		roots[i] = new_root();
		for (u32 top = FIRST >> 22; top <= LAST >> 22; top++)
			if (!(roots[i][top] & PTE_P))
				roots[i][top] = table | PDE_FLAGS;
	}
	for (u32 round = 0; round < 2; round++)
		for (u32 i = 0; i < ROOTS; i++) {
			switch_root(roots[i]);
			for (u32 gva = FIRST; gva < LAST; gva += SHADOW_SPAN) {
				poke(gva, gva ^ i);
				wrong += peek(gva + PAGE) != (gva ^ i);
			}
		}
	switch_root(kernel_root);
	check("A-21", "wrong words over 18 000 tables", wrong, 0);
}

/* The same with a table of its own for each address, as deep as memory allows. */
static void deepest(void)
{
	u32 wrong = 0, page = allocate_page();

	roots[0] = new_root();
	for (u32 gva = FIRST; gva < FIRST + 300 * 0x400000; gva += 0x400000)
		*leaf(roots[0], gva) = page | PTE_P | PTE_RW;
	switch_root(roots[0]);
	for (u32 round = 0; round < 3; round++)
		for (u32 gva = FIRST; gva < FIRST + 300 * 0x400000; gva += 0x400000) {
			poke(gva, gva + round);
			wrong += peek(page) != gva + round;
		}
	switch_root(kernel_root);
	check("A-21", "wrong words over 300 tables", wrong, 0);
}

/* Frame by frame, in silence between the uses, and flushed or announced as a kernel would before each. */
static void reused(void)
{
	u32 frame = allocate_page(), a = allocate_page(), b = allocate_page(), wrong = 0;
	volatile pte *table = (volatile pte *)frame, *other = new_root();

	for (u32 round = 0; round < 50; round++) {
		poke(a, 0xa0000 + round);
		poke(b, 0xb0000 + round);
		/* A leaf table of kernel_root. */
		for (u32 i = 0; i < TOP_ENTRIES; i++)
			table[i] = 0;
		table[5] = a | PTE_P | PTE_RW;
		kernel_root[USER_WINDOW >> 22] = frame | PDE_FLAGS;
		announce_pde(kernel_root, USER_WINDOW);
		wrong += peek(USER_WINDOW + 5 * PAGE) != 0xa0000 + round;
		kernel_root[USER_WINDOW >> 22] = 0;
		announce_pde(kernel_root, USER_WINDOW);
		wrong += !read_traps(USER_WINDOW + 5 * PAGE);
		/* Data that looks like entries. */
		for (u32 i = 0; i < TOP_ENTRIES; i++)
			table[i] = b | PTE_P | PTE_RW | PTE_US;
		/* A root: its upper half and identity are those of another. */
		for (u32 i = 0; i < TOP_ENTRIES; i++)
			table[i] = other[i];
		switch_root(table);
		wrong += peek(a) != 0xa0000 + round;
		switch_root(kernel_root);
		/* A leaf table at another address of another root. */
		for (u32 i = 0; i < TOP_ENTRIES; i++)
			table[i] = 0;
		table[7] = b | PTE_P | PTE_RW;
		other[(USER_WINDOW >> 22) + 3] = frame | PDE_FLAGS;
		announce_pde(other, USER_WINDOW + 3 * 0x400000);
		switch_root(other);
		wrong += peek(USER_WINDOW + 3 * 0x400000 + 7 * PAGE) != 0xb0000 + round;
		wrong += !read_traps(USER_WINDOW + 3 * 0x400000 + 5 * PAGE);
		other[(USER_WINDOW >> 22) + 3] = 0;
		announce_pde(other, USER_WINDOW + 3 * 0x400000);
		switch_root(kernel_root);
	}
	check("A-22", "wrong words or accesses", wrong, 0);
}

/* The same frame is all of it at once, and nothing is announced: the guest may see old or new, of its own. */
static void reused_in_silence(void)
{
	u32 frame = allocate_page(), a = allocate_page(), foreign = 0;
	volatile pte *table = (volatile pte *)frame;

	poke(a, 0xaaaa);
	for (u32 i = 0; i < TOP_ENTRIES; i++)
		table[i] = i < (KERNEL_WINDOW >> 22) ? kernel_root[i] : frame | PDE_FLAGS;
	table[USER_WINDOW >> 22] = frame | PDE_FLAGS;
	kernel_root[USER_WINDOW >> 22] = frame | PDE_FLAGS;
	for (u32 round = 0; round < 20; round++) {
		switch_root(round & 1 ? table : kernel_root);
		table[round * 7 % 256 + 512] = a | PTE_P | PTE_RW;
		foreign += peek(a) != 0xaaaa;
		read_traps(USER_WINDOW + round * PAGE);
		hypercall(LHCALL_FLUSH_TLB, round % 3 == 0, 0, 0, 0);
	}
	switch_root(kernel_root);
	check("A-22", "words that changed", foreign, 0);
}

void guest_main(void)
{
	guest_init();
	widest();
	deepest();
	reused();
	reused_in_silence();
}
