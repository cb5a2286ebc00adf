/*
 * What a kernel does to the page tables of its processes, call for call as Linux 4.4 does it, without its own work: pages are
 * handed out unread, never copied or cleared, for that costs the same everywhere.
 */

#include "paravirt.h"

/* A process has pages at the start of this many tables: program, data, stack. */
#define PARTS 3
#define PAGES 64
#define WRITTEN 8
#define ROUNDS 9

struct process {
	volatile pte *root;
};

static struct process parent, child;
/* A program that takes the place of another has a root of its own. */
static volatile pte *roots_of_child[2];
static struct process *current;
static u32 no_descriptors[6];

/* ---- frames ------------------------------------------------------------------------------ */

#define POOL 256

static u32 pool[POOL], next_frame;

static u32 take_frame(void)
{
	return pool[next_frame++ % POOL];
}

/* ---- the kernel's part ------------------------------------------------------------------- */

/* In one lazy section, as Linux has it. */
static void switch_to(struct process *process)
{
	current = process;
	call_lazily(LHCALL_NEW_PGTABLE, (u32)process->root, 0, 0, 0);
	call_lazily(LHCALL_SET_STACK, KERNEL_DS, trap_stack_top(), 2, 0);
	call_lazily(LHCALL_LOAD_TLS, (u32)no_descriptors, 0, 0, 0);
	leave_lazy();
}

/* An absent page gets a frame, one that is read-only a frame of its own. */
static void page_fault(struct frame *frame)
{
	u32 gva = fault_address() & -PAGE;
	volatile pte *entry = leaf(current->root, gva);

	(void)frame;
	if (*entry & PTE_P) {
		*entry = 0;
		announce_pte((u32)current->root, gva, 0);
		flush_page(current->root, gva);
	}
	*entry = take_frame() | USED_PAGE;
	announce_pte((u32)current->root, gva, *entry);
}

/* Takes pages away, in a lazy section. The flush is for the caller to choose. */
static void unmap(struct process *process, u32 gva, u32 pages)
{
	for (u32 i = 0; i < pages; i++, gva += PAGE) {
		volatile pte *entry = leaf(process->root, gva);

		if (!(*entry & PTE_P))
			continue;
		*entry = 0;
		announce_pte_lazily(process->root, gva, 0);
	}
	leave_lazy();
}

static void protect(struct process *process, u32 gva, pte flags)
{
	volatile pte *entry = leaf(process->root, gva);

	*entry = FRAME(*entry) | flags;
	announce_pte_lazily(process->root, gva, *entry);
	leave_lazy();
}

static void fork(void)
{
	for (u32 part = 0; part < PARTS; part++) {
		volatile pte *from = leaf(parent.root, USER_TABLE(part)), *to = leaf(child.root, USER_TABLE(part));

		call_lazily(LHCALL_SET_PGD, (u32)child.root, USER_TABLE(part) >> TOP_SHIFT, 0, 0);
		for (u32 i = 0; i < PAGES; i++) {
			u32 gva = USER_TABLE(part) + i * PAGE;

			if (!(from[i] & PTE_P))
				continue;
			if (from[i] & PTE_RW) {
				from[i] &= ~PTE_RW;
				announce_pte_lazily(parent.root, gva, from[i]);
			}
			to[i] = from[i];
			announce_pte_lazily(child.root, gva, to[i]);
		}
	}
	leave_lazy();
	flush_user();
}

/* All pages and tables of a process that does not run; its root and tables stay where they are, for the next one. */
static void destroy(struct process *process)
{
	static pte kept[PARTS];

	for (u32 part = 0; part < PARTS; part++)
		unmap(process, USER_TABLE(part), PAGES);
	for (u32 part = 0; part < PARTS; part++) {
		volatile pte *entry = pde(process->root, USER_TABLE(part));

		kept[part] = *entry;
		*entry = 0;
		announce_pde(process->root, USER_TABLE(part));
	}
	for (u32 part = 0; part < PARTS; part++)
		*pde(process->root, USER_TABLE(part)) = kept[part];
}

/* ---- the processes' part ----------------------------------------------------------------- */

static u32 touch_from USER_DATA, touch_count USER_DATA;

static void USER_TEXT touch_in_ring_3(void)
{
	for (u32 i = 0; i < touch_count; i++)
		poke(touch_from + i * PAGE, i);
}

static void writes(u32 gva, u32 count)
{
	touch_from = gva;
	touch_count = count;
	if (run_user(touch_in_ring_3) != SYSCALL_VECTOR)
		shutdown("a process trapped", SHUTDOWN_POWEROFF);
}

/* ---- sequences --------------------------------------------------------------------------- */

/* The child writes some pages, which it gets copies of, and ends; so does the parent. */
static void fork_and_exit(void)
{
	fork();
	switch_to(&child);
	writes(USER_TABLE(1), WRITTEN);
	switch_to(&parent);
	destroy(&child);
	writes(USER_TABLE(1), WRITTEN);
}

/* The child becomes another program, which starts with nothing and faults its pages in. */
static void fork_and_exec(void)
{
	static struct process vacated;

	fork();
	switch_to(&child);
	writes(USER_TABLE(2), 2);
	vacated = child;
	child.root = child.root == roots_of_child[0] ? roots_of_child[1] : roots_of_child[0];
	switch_to(&child);
	destroy(&vacated);
	for (u32 part = 0; part < PARTS; part++)
		writes(USER_TABLE(part), WRITTEN);
	switch_to(&parent);
	destroy(&child);
	writes(USER_TABLE(1), WRITTEN);
}

static void map_touch_unmap(void)
{
	writes(USER_TABLE(PARTS), 1);
	unmap(&parent, USER_TABLE(PARTS), 1);
	flush_page(parent.root, USER_TABLE(PARTS));
}

static void mprotect_pair(void)
{
	u32 gva = USER_TABLE(1);

	protect(&parent, gva, USED_PAGE & ~PTE_RW);
	flush_page(parent.root, gva);
	protect(&parent, gva, USED_PAGE);
	flush_page(parent.root, gva);
	writes(gva, 1);
}

/* Kernels before and after 4.4 flush everything instead. */
static void mprotect_pair_with_flushes(void)
{
	u32 gva = USER_TABLE(1);

	protect(&parent, gva, USED_PAGE & ~PTE_RW);
	flush_user();
	protect(&parent, gva, USED_PAGE);
	flush_user();
	writes(gva, 1);
}

/* Ring 3 there and back, which is part of all that is measured here. */
static void visit_ring_3(void)
{
	writes(USER_WINDOW, 0);
}

static void switch_back_and_forth(void)
{
	switch_to(&child);
	switch_to(&parent);
}

static void populate(struct process *process)
{
	for (u32 part = 0; part < PARTS; part++)
		for (u32 i = 0; i < PAGES; i++)
			*leaf(process->root, USER_TABLE(part) + i * PAGE) = take_frame() | USED_PAGE;
}

void guest_main(void)
{
	guest_init();
	measure_init();
	for (u32 i = 0; i < POOL; i++)
		pool[i] = allocate_page();
	parent.root = new_root();
	for (u32 i = 0; i < 2; i++) {
		roots_of_child[i] = new_root();
		for (u32 part = 0; part < PARTS; part++)
			leaf(roots_of_child[i], USER_TABLE(part));
	}
	child.root = roots_of_child[0];
	populate(&parent);
	trap_hooks[14] = page_fault;
	switch_to(&parent);
	for (u32 part = 0; part < PARTS; part++)
		writes(USER_TABLE(part), PAGES);

	MEASURE("ring3_visit", ROUNDS, visit_ring_3());
	MEASURE("context_switch_pair", ROUNDS, switch_back_and_forth());
	MEASURE_AFTER("anonymous_faults_8", ROUNDS, unmap(&parent, USER_TABLE(3), WRITTEN); flush_user(); writes(USER_TABLE(3) + WRITTEN * PAGE, 1),
		      writes(USER_TABLE(3), WRITTEN));
	MEASURE("map_touch_unmap", ROUNDS, map_touch_unmap());
	MEASURE("mprotect_pair", ROUNDS, mprotect_pair());
	MEASURE("mprotect_pair_with_flushes", ROUNDS, mprotect_pair_with_flushes());
	MEASURE("fork_exit", ROUNDS, fork_and_exit());
	MEASURE("fork_exec_exit", ROUNDS, fork_and_exec());
}
