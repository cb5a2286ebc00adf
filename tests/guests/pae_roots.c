/* expect: stop="guest powered off" status=0 */
/* Several three-level page tables, all in one page: copy-on-write, reuse, more than any cache holds. */

#include "guest.h"

#define MANY 100

static volatile pte *cow_root;
static u32 copies;

static void copy_on_write(struct frame *frame)
{
	u32 gva = trap.cr2 & 0xfffff000;
	u32 from = FRAME(*leaf(cow_root, gva)), to = allocate_page();

	check("R8", "error code of a write to a shared page", frame->error, 3);
	for (u32 i = 0; i < PAGE; i += 4)
		poke(to + i, peek(from + i));
	set_pte(cow_root, gva, to | PTE_P | PTE_RW);
	copies++;
}

static void copy_on_write_between_two(void)
{
	volatile pte *parent = new_root(), *child = new_root();
	u32 shared = allocate_page();

	check("R8", "both roots lie in one page", (u32)parent >> 12, (u32)child >> 12);
	poke(shared, 0x5eed);
	*leaf(parent, USER_WINDOW) = shared | PTE_P | PTE_RW;
	switch_root(parent);
	poke(USER_WINDOW + 4, 0x5eed);

	/* fork: both sides read-only, the parent's change announced. */
	set_pte(parent, USER_WINDOW, shared | PTE_P | PTE_A | PTE_D);
	*leaf(child, USER_WINDOW) = shared | PTE_P;
	trap_hooks[14] = copy_on_write;
	switch_root(child);
	cow_root = child;
	poke(USER_WINDOW, 0xc41d);
	check("R8", "one copy", copies, 1);
	check("R8", "the child reads its own", peek(USER_WINDOW), 0xc41d);
	check("R8", "the rest was copied", peek(USER_WINDOW + 4), 0x5eed);
	switch_root(parent);
	cow_root = parent;
	check("R8", "the parent still reads the old", peek(USER_WINDOW), 0x5eed);
	poke(USER_WINDOW, 0xfa7e);
	check("R8", "a second copy", copies, 2);
	switch_root(child);
	check("R8", "the child is not disturbed", peek(USER_WINDOW), 0xc41d);
	trap_hooks[14] = 0;
	switch_root(kernel_root);
}

static void reach_of_set_pte(void)
{
	volatile pte *a = new_root(), *b = new_root();
	u32 one = allocate_page(), two = allocate_page();

	poke(one, 1);
	poke(two, 2);
	*leaf(a, USER_WINDOW) = one | PTE_P | PTE_RW;
	*leaf(b, USER_WINDOW) = one | PTE_P | PTE_RW;
	switch_root(b);
	check("LG-099", "b before", peek(USER_WINDOW), 1);
	switch_root(a);
	check("LG-099", "a before", peek(USER_WINDOW), 1);
	set_pte(a, USER_WINDOW, two | PTE_P | PTE_RW | PTE_A);
	check("LG-099", "the named root changes", peek(USER_WINDOW), 2);
	switch_root(b);
	check("LG-099", "the other root does not", peek(USER_WINDOW), 1);
	set_pte(a, USER_WINDOW, one | PTE_P | PTE_RW);
	switch_root(a);
	check("LG-112", "changed while away", peek(USER_WINDOW), 1);
	switch_root(b);
	*pde(a, USER_WINDOW) = 0;
	announce_pde(a, USER_WINDOW);
	switch_root(a);
	check("LG-111", "table removed while away", read_traps(USER_WINDOW), 1);
	switch_root(kernel_root);
}

/*
 * An address space ends, and its empty page directory is freed without a word. The next one at the same
 * address uses it for another gigabyte, and announces its top entries first (R8).
 */
static void reused_root(void)
{
	volatile pte *root = new_root();
	u32 one = allocate_page(), two = allocate_page(), other = 0x80000000, directory;

	poke(one, 1);
	poke(two, 2);
	*leaf(root, USER_WINDOW) = one | PTE_P | PTE_RW;
	switch_root(root);
	check("R8", "first life", peek(USER_WINDOW), 1);
	switch_root(kernel_root);
	*pde(root, USER_WINDOW) = 0;
	announce_pde(root, USER_WINDOW);
	directory = (u32)root[USER_WINDOW >> TOP_SHIFT] & 0xfffff000;
	root[USER_WINDOW >> TOP_SHIFT] = 0;
	root[other >> TOP_SHIFT] = directory | PTE_P;
	hypercall(LHCALL_SET_PGD, (u32)root, USER_WINDOW >> TOP_SHIFT, 0, 0);
	hypercall(LHCALL_SET_PGD, (u32)root, other >> TOP_SHIFT, 0, 0);
	*leaf(root, other) = two | PTE_P | PTE_RW;
	switch_root(root);
	check("R8", "second life", peek(other), 2);
	check("R8", "the first is over", read_traps(USER_WINDOW), 1);
	switch_root(kernel_root);
}

static void many_roots(void)
{
	static volatile pte *roots[MANY];
	u32 wrong = 0;

	for (u32 i = 0; i < MANY; i++) {
		u32 page = allocate_page();

		roots[i] = new_root();
		poke(page, i);
		*leaf(roots[i], USER_WINDOW) = page | PTE_P | PTE_RW;
	}
	for (u32 round = 0; round < 3; round++) {
		for (u32 i = 0; i < MANY; i++) {
			/* 37 has no factor in common with 100: every root comes once a round. */
			u32 n = i * 37 % MANY;

			switch_root(roots[n]);
			wrong += peek(USER_WINDOW) != n + 1000 * round;
			poke(USER_WINDOW, n + 1000 * (round + 1));
		}
	}
	check("LG-113", "100 roots, three rounds: wrong words", wrong, 0);
	switch_root(roots[0]);
	check("LG-113", "the first root", peek(USER_WINDOW), 3000);
	check("LG-082", "its leaf is dirty", (u32)*leaf(roots[0], USER_WINDOW) & PTE_D, PTE_D);
	switch_root(kernel_root);
}

void guest_main(void)
{
	guest_init();
	copy_on_write_between_two();
	reach_of_set_pte();
	reused_root();
	many_roots();
}
