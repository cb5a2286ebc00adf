/* Three-level page tables: the same address space as paging.c makes of two levels. */

#include "pae.h"

#define IDENTITY_END 0x800000
#define MOST_ROOTS 126
#define FRAME(entry) ((u32)(entry) & 0xfffff000)

/* One page. No root is at its start, so that a host that takes roots for pages is found out. */
static struct {
	struct pae_root unused, kernel, others[MOST_ROOTS];
} roots __attribute__((aligned(PAGE)));

static u32 used;
struct pae_root *const pae_kernel_root = &roots.kernel;

extern char user_start[], user_end[];

volatile u64 *pae_middle(struct pae_root *root, u32 gva)
{
	volatile u64 *top = &root->entry[gva >> 30];

	if (!(*top & PTE_P))
		*top = allocate_page() | PTE_P;
	return (volatile u64 *)FRAME(*top) + (gva >> 21 & 0x1ff);
}

volatile u64 *pae_leaf(struct pae_root *root, u32 gva)
{
	volatile u64 *middle = pae_middle(root, gva);

	if (!(*middle & PTE_P))
		*middle = allocate_page() | PTE_P | PTE_RW | PTE_US;
	return (volatile u64 *)FRAME(*middle) + (gva >> 12 & 0x1ff);
}

void pae_set_pte(struct pae_root *root, u32 gva, u64 entry)
{
	*pae_leaf(root, gva) = entry;
	hypercall(LHCALL_SET_PTE, (u32)root, gva, (u32)entry, (u32)(entry >> 32));
}

void pae_set_pmd(struct pae_root *root, u32 gva)
{
	hypercall(LHCALL_SET_PMD, FRAME(root->entry[gva >> 30]), gva >> 21 & 0x1ff, 0, 0);
}

void pae_switch_root(struct pae_root *root)
{
	hypercall(LHCALL_NEW_PGTABLE, (u32)root, 0, 0, 0);
}

static void map_identity(struct pae_root *root)
{
	for (u32 page = 0; page < IDENTITY_END; page += PAGE) {
		u32 user = page >= (u32)user_start && page < (u32)user_end;

		*pae_leaf(root, page) = page | PTE_P | PTE_RW | (user ? PTE_US : 0);
	}
}

/* Page directories and leaf tables below the kernel window belong to one root only, as in Linux. */
struct pae_root *pae_new_root(void)
{
	struct pae_root *root = &roots.others[used++];

	if (used > MOST_ROOTS)
		shutdown("out of roots", SHUTDOWN_POWEROFF);
	root->entry[KERNEL_WINDOW >> 30] = pae_kernel_root->entry[KERNEL_WINDOW >> 30];
	map_identity(root);
	return root;
}

void pae_init(void)
{
	lguest_init();
	traps_init();
	segments_init();
	map_identity(pae_kernel_root);
	/* All roots share the kernel window's tables, so they have to be there before the first copy. */
	pae_leaf(pae_kernel_root, KERNEL_WINDOW);
	pae_switch_root(pae_kernel_root);
	hypercall(LHCALL_SET_STACK, KERNEL_DS, trap_stack_top(), 2, 0);
}
