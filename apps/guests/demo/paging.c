/*
 * Address spaces: every change of an entry is announced to the host, because the page tables that
 * the processor uses are the host's copy.
 */

#include "kernel.h"
#include "page_table.h"

#define USER_TOPS TOP_INDEX(KERNEL_BASE)

u32 *kernel_root;

extern char user_text[], user_text_end[], user_data_end[], user_physical[];

static void set_pte(u32 *root, u32 address, u32 *pte, u32 value)
{
	*pte = value;
	hypercall_later(LHCALL_SET_PTE, PHYSICAL(root), address, value);
}

/* Not queued: the table that was there may be freed next. */
static void set_top(u32 *root, u32 index, u32 value)
{
	root[index] = value;
	hypercall(LHCALL_SET_PGD, PHYSICAL(root), index, 0);
}

void paging_init(void)
{
	set_top(kernel_root, 0, 0);
}

/* The leaf entry of an address, or 0 when there is no table for it. */
static u32 *find(u32 *root, u32 address)
{
	u32 top = root[TOP_INDEX(address)];

	return top & PTE_P ? (u32 *)VIRTUAL(FRAME(top)) + LEAF_INDEX(address) : 0;
}

/* The same, making the table; 0 when memory ran out. */
static u32 *make(u32 *root, u32 address)
{
	if (!(root[TOP_INDEX(address)] & PTE_P)) {
		u32 table = frame_allocate();

		if (!table)
			return 0;
		set_top(root, TOP_INDEX(address), table | PTE_P | PTE_RW | PTE_US);
	}
	return find(root, address);
}

u32 *space_create(void)
{
	u32 frame = frame_allocate();
	u32 *root = VIRTUAL(frame);

	if (!frame)
		return 0;
	/* All the kernel's tables are there since boot(), so these entries never change. */
	copy(root + USER_TOPS, kernel_root + USER_TOPS, (1024 - USER_TOPS) * sizeof *root);
	return root;
}

/* Both sides may only read now; the first to write gets a copy. */
static int share(u32 *to, u32 *from, u32 address, u32 *pte)
{
	u32 *twin = make(to, address);

	if (!twin)
		return -1;
	if (*pte & PTE_RW)
		set_pte(from, address, pte, (*pte & ~PTE_RW) | PTE_COW);
	frame_share(FRAME(*pte));
	set_pte(to, address, twin, *pte);
	return 0;
}

int space_copy(u32 *to, u32 *from)
{
	for (u32 top = 0; top < USER_TOPS; top++) {
		u32 *table = find(from, top << 22);

		for (u32 i = 0; table && i < 1024; i++)
			if (table[i] & PTE_P && share(to, from, top << 22 | i << 12, &table[i]))
				return -1;
	}
	return 0;
}

void space_clear(u32 *root)
{
	for (u32 top = 0; top < USER_TOPS; top++) {
		u32 *table = find(root, top << 22);

		if (!table)
			continue;
		/* First the host forgets the table, then its frames may serve others. */
		set_top(root, top, 0);
		for (u32 i = 0; i < 1024; i++)
			if (table[i] & PTE_P)
				frame_release(FRAME(table[i]));
		frame_release(PHYSICAL(table));
	}
}

u32 space_pages(u32 *root)
{
	u32 pages = 0;

	for (u32 top = 0; top < USER_TOPS; top++) {
		u32 *table = find(root, top << 22);

		for (u32 i = 0; table && i < 1024; i++)
			pages += table[i] & PTE_P;
	}
	return pages;
}

int space_load_image(u32 *root)
{
	for (u32 page = (u32)user_text; page < (u32)user_data_end; page += PAGE) {
		u32 frame = (u32)user_physical + (page - (u32)user_text);
		u32 *pte = make(root, page);

		if (!pte)
			return -1;
		frame_share(frame);
		/* The image keeps its data as it was: even the first process writes to copies. */
		set_pte(root, page, pte, frame | PTE_P | PTE_US | (page < (u32)user_text_end ? 0 : PTE_COW));
	}
	return 0;
}

static enum page_in copy_on_write(struct process *process, u32 page, u32 *pte)
{
	u32 old = FRAME(*pte), frame = old;

	/* The last user of a shared page may have it as it is. */
	if (frame_users(old) > 1) {
		frame = frame_allocate();
		if (!frame)
			return PAGE_NO_MEMORY;
		copy(VIRTUAL(frame), VIRTUAL(old), PAGE);
		frame_release(old);
		process->pages_copied++;
	}
	set_pte(process->root, page, pte, frame | PTE_P | PTE_RW | PTE_US | PTE_A | PTE_D);
	return PAGE_READY;
}

/* Where a page comes into being by being touched. */
static int may_grow(struct process *process, u32 page)
{
	return (page >= USER_HEAP && page < USER_HEAP + process->heap_pages * PAGE) ||
	       (page >= USER_STACK_TOP - USER_STACK_PAGES * PAGE && page < USER_STACK_TOP);
}

enum page_in page_in(struct process *process, u32 address, enum access access)
{
	u32 page = FRAME(address), frame;
	u32 *pte = page < KERNEL_BASE ? find(process->root, page) : 0;

	if (pte && *pte & PTE_P) {
		if (access == ACCESS_READ || *pte & PTE_RW)
			return PAGE_READY;
		return *pte & PTE_COW ? copy_on_write(process, page, pte) : PAGE_READ_ONLY;
	}
	if (!may_grow(process, page))
		return PAGE_UNMAPPED;
	pte = make(process->root, page);
	frame = pte ? frame_allocate() : 0;
	if (!frame)
		return PAGE_NO_MEMORY;
	set_pte(process->root, page, pte, frame | PTE_P | PTE_RW | PTE_US | PTE_A | PTE_D);
	return PAGE_READY;
}
