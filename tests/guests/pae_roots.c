/* expect: stop="guest powered off" status=0 */
/* Several three-level page tables, all in one page: copy-on-write, reuse, more than any cache holds. */

#include "pae.h"

#define MANY 100

static struct pae_root *cow_root;
static u32 copies;

static void copy_on_write(struct frame *frame)
{
	u32 gva = trap.cr2 & 0xfffff000;
	u32 from = (u32)*pae_leaf(cow_root, gva) & 0xfffff000, to = allocate_page();

	check("R8", "error code of a write to a shared page", frame->error, 3);
	for (u32 i = 0; i < PAGE; i += 4)
		poke(to + i, peek(from + i));
	pae_set_pte(cow_root, gva, to | PTE_P | PTE_RW);
	copies++;
}

static void copy_on_write_between_two(void)
{
	struct pae_root *parent = pae_new_root(), *child = pae_new_root();
	u32 shared = allocate_page();

	check("R8", "both roots lie in one page", (u32)parent >> 12, (u32)child >> 12);
	poke(shared, 0x5eed);
	*pae_leaf(parent, USER_WINDOW) = shared | PTE_P | PTE_RW;
	pae_switch_root(parent);
	poke(USER_WINDOW + 4, 0x5eed);

	/* fork: both sides read-only, the parent's change announced. */
	pae_set_pte(parent, USER_WINDOW, shared | PTE_P | PTE_A | PTE_D);
	*pae_leaf(child, USER_WINDOW) = shared | PTE_P;
	trap_hooks[14] = copy_on_write;
	pae_switch_root(child);
	cow_root = child;
	poke(USER_WINDOW, 0xc41d);
	check("R8", "one copy", copies, 1);
	check("R8", "the child reads its own", peek(USER_WINDOW), 0xc41d);
	check("R8", "the rest was copied", peek(USER_WINDOW + 4), 0x5eed);
	pae_switch_root(parent);
	cow_root = parent;
	check("R8", "the parent still reads the old", peek(USER_WINDOW), 0x5eed);
	poke(USER_WINDOW, 0xfa7e);
	check("R8", "a second copy", copies, 2);
	pae_switch_root(child);
	check("R8", "the child is not disturbed", peek(USER_WINDOW), 0xc41d);
	trap_hooks[14] = 0;
	pae_switch_root(pae_kernel_root);
}

static void reach_of_set_pte(void)
{
	struct pae_root *a = pae_new_root(), *b = pae_new_root();
	u32 one = allocate_page(), two = allocate_page();

	poke(one, 1);
	poke(two, 2);
	*pae_leaf(a, USER_WINDOW) = one | PTE_P | PTE_RW;
	*pae_leaf(b, USER_WINDOW) = one | PTE_P | PTE_RW;
	pae_switch_root(b);
	check("LG-099", "b before", peek(USER_WINDOW), 1);
	pae_switch_root(a);
	check("LG-099", "a before", peek(USER_WINDOW), 1);
	pae_set_pte(a, USER_WINDOW, two | PTE_P | PTE_RW | PTE_A);
	check("LG-099", "the named root changes", peek(USER_WINDOW), 2);
	pae_switch_root(b);
	check("LG-099", "the other root does not", peek(USER_WINDOW), 1);
	pae_set_pte(a, USER_WINDOW, one | PTE_P | PTE_RW);
	pae_switch_root(a);
	check("LG-112", "changed while away", peek(USER_WINDOW), 1);
	pae_switch_root(b);
	*pae_middle(a, USER_WINDOW) = 0;
	pae_set_pmd(a, USER_WINDOW);
	pae_switch_root(a);
	check("LG-111", "table removed while away", read_traps(USER_WINDOW), 1);
	pae_switch_root(pae_kernel_root);
}

/*
 * An address space ends, and its empty page directory is freed without a word. The next one at the same
 * address uses it for another gigabyte, and announces its top entries first (R8).
 */
static void reused_root(void)
{
	struct pae_root *root = pae_new_root();
	u32 one = allocate_page(), two = allocate_page(), other = 0x80000000, directory;

	poke(one, 1);
	poke(two, 2);
	*pae_leaf(root, USER_WINDOW) = one | PTE_P | PTE_RW;
	pae_switch_root(root);
	check("R8", "first life", peek(USER_WINDOW), 1);
	pae_switch_root(pae_kernel_root);
	*pae_middle(root, USER_WINDOW) = 0;
	pae_set_pmd(root, USER_WINDOW);
	directory = (u32)root->entry[USER_WINDOW >> 30] & 0xfffff000;
	root->entry[USER_WINDOW >> 30] = 0;
	root->entry[other >> 30] = directory | PTE_P;
	hypercall(LHCALL_SET_PGD, (u32)root, USER_WINDOW >> 30, 0, 0);
	hypercall(LHCALL_SET_PGD, (u32)root, other >> 30, 0, 0);
	*pae_leaf(root, other) = two | PTE_P | PTE_RW;
	pae_switch_root(root);
	check("R8", "second life", peek(other), 2);
	check("R8", "the first is over", read_traps(USER_WINDOW), 1);
	pae_switch_root(pae_kernel_root);
}

static void many_roots(void)
{
	static struct pae_root *roots[MANY];
	u32 wrong = 0;

	for (u32 i = 0; i < MANY; i++) {
		u32 page = allocate_page();

		roots[i] = pae_new_root();
		poke(page, i);
		*pae_leaf(roots[i], USER_WINDOW) = page | PTE_P | PTE_RW;
	}
	for (u32 round = 0; round < 3; round++) {
		for (u32 i = 0; i < MANY; i++) {
			/* 37 has no factor in common with 100: every root comes once a round. */
			u32 n = i * 37 % MANY;

			pae_switch_root(roots[n]);
			wrong += peek(USER_WINDOW) != n + 1000 * round;
			poke(USER_WINDOW, n + 1000 * (round + 1));
		}
	}
	check("LG-113", "100 roots, three rounds: wrong words", wrong, 0);
	pae_switch_root(roots[0]);
	check("LG-113", "the first root", peek(USER_WINDOW), 3000);
	check("LG-082", "its leaf is dirty", (u32)*pae_leaf(roots[0], USER_WINDOW) & PTE_D, PTE_D);
	pae_switch_root(pae_kernel_root);
}

void guest_main(void)
{
	pae_init();
	copy_on_write_between_two();
	reach_of_set_pte();
	reused_root();
	many_roots();
}
