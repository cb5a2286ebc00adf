/* expect: stop="guest powered off" status=0 */
/* Several page tables: copy-on-write, which roots a call reaches, more roots than any cache holds. */

#include "guest.h"

#define MANY 100

static volatile pte *cow_root;
static u32 copies;

/* What a kernel does: copy the page for the root that wrote, and try again. */
static void copy_on_write(struct frame *frame)
{
	u32 gva = trap.cr2 & 0xfffff000;
	u32 from = FRAME(*leaf(cow_root, gva)), to = allocate_page();

	check("COW", "error code", frame->error, 3);
	for (u32 i = 0; i < PAGE; i += 4)
		poke(to + i, peek(from + i));
	set_pte(cow_root, gva, to | PTE_P | PTE_RW);
	copies++;
}

static void copy_on_write_between_two(void)
{
	volatile pte *parent = new_root(), *child = new_root();
	u32 shared = allocate_page();

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
	check("COW", "one copy", copies, 1);
	check("COW", "the child reads its own", peek(USER_WINDOW), 0xc41d);
	check("COW", "the rest was copied", peek(USER_WINDOW + 4), 0x5eed);
	switch_root(parent);
	cow_root = parent;
	check("COW", "the parent still reads the old", peek(USER_WINDOW), 0x5eed);
	poke(USER_WINDOW, 0xfa7e);
	check("COW", "a second copy", copies, 2);
	switch_root(child);
	check("COW", "the child is not disturbed", peek(USER_WINDOW), 0xc41d);
	check("COW", "the page itself never changed", peek(shared), 0x5eed);
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
	*leaf(kernel_root, KERNEL_WINDOW) = one | PTE_P | PTE_RW;
	switch_root(b);
	check("LG-099", "b before", peek(USER_WINDOW) + peek(KERNEL_WINDOW), 2);
	switch_root(a);
	check("LG-099", "a before", peek(USER_WINDOW) + peek(KERNEL_WINDOW), 2);
	set_pte(a, USER_WINDOW, two | PTE_P | PTE_RW | PTE_A);
	check("LG-099", "the named root changes", peek(USER_WINDOW), 2);
	/* What is named here is no root at all. */
	*leaf(kernel_root, KERNEL_WINDOW) = two | PTE_P | PTE_RW | PTE_A;
	announce_pte(one, KERNEL_WINDOW, two | PTE_P | PTE_RW | PTE_A);
	check("LG-100", "kernel address in the current root", peek(KERNEL_WINDOW), 2);
	switch_root(b);
	check("LG-099", "the other root does not", peek(USER_WINDOW), 1);
	check("LG-100", "kernel address in the other root", peek(KERNEL_WINDOW), 2);

	/* Announced for a root that is not current. */
	set_pte(a, USER_WINDOW, one | PTE_P | PTE_RW);
	set_pte(a, USER_WINDOW + PAGE, two | PTE_P | PTE_RW);
	switch_root(a);
	check("LG-112", "changed while away", peek(USER_WINDOW), 1);
	check("LG-112", "added while away", peek(USER_WINDOW + PAGE), 2);
	switch_root(b);
	set_pte(a, USER_WINDOW, 0);
	switch_root(a);
	check("LG-112", "removed while away", read_traps(USER_WINDOW), 1);
	switch_root(b);
	*pde(a, USER_WINDOW) = 0;
	announce_pde(a, USER_WINDOW);
	switch_root(a);
	check(LG_PDE, "table removed while away", read_traps(USER_WINDOW + PAGE), 1);

	/* An address below kernel_address that only b's user tables hold: FLUSH_TLB(0) for the current. */
	switch_root(b);
	*leaf(b, USER_WINDOW) = two | PTE_P | PTE_RW;
	hypercall(LHCALL_FLUSH_TLB, 0, 0, 0, 0);
	check("LG-115", "current root", peek(USER_WINDOW), 2);
	switch_root(kernel_root);
}

static void fresh_root_keeps_kernel(void)
{
	u32 page = allocate_page();
	volatile pte *root;

	poke(page, 0xcafe);
	set_pte(kernel_root, KERNEL_WINDOW + PAGE, page | PTE_P | PTE_RW);
	check("LG-114", "before", peek(KERNEL_WINDOW + PAGE), 0xcafe);
	root = new_root();
	switch_root(root);
	check("LG-114", "kernel address", peek(KERNEL_WINDOW + PAGE), 0xcafe);
	check("LG-114", "kernel stack", read_traps(0x60000000), 1);
	check("LG-114", "ring 3 and its stack", user_read_traps(0x60000000), 1);
	check("LG-114", "frame at esp1", trap.frame, trap_stack_top() - 20);
	switch_root(kernel_root);
}

/* A root's page becomes data, then a root again with other contents (R6). */
static void reused_root(void)
{
	volatile pte *root = new_root();
	u32 one = allocate_page(), two = allocate_page(), table, first_word = (u32)root[0];

	poke(one, 1);
	poke(two, 2);
	*leaf(root, USER_WINDOW) = one | PTE_P | PTE_RW;
	switch_root(root);
	check("R6", "first life", peek(USER_WINDOW), 1);
	switch_root(kernel_root);
	set_pte(root, USER_WINDOW, 0);
	table = FRAME(*pde(root, USER_WINDOW));
	*pde(root, USER_WINDOW) = 0;
	announce_pde(root, USER_WINDOW);
	poke((u32)root, 0x12345678);
	check("R6", "the root's page is memory", peek((u32)root), 0x12345678);
	poke((u32)root, first_word);
	poke(table, 0);
	*leaf(root, USER_WINDOW) = two | PTE_P | PTE_RW;
	switch_root(root);
	check("R6", "second life", peek(USER_WINDOW), 2);
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
	switch_root(kernel_root);
	check("LG-113", "100 roots, three rounds: wrong words", wrong, 0);
	/* The last one of the last round again, and the first. */
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
	fresh_root_keeps_kernel();
	reused_root();
	many_roots();
}
