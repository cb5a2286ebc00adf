/* expect: stop="guest powered off" status=0 */
/*
 * NEW_PGTABLE over 2^20 different roots. Only roots of three levels are small enough to be so many: 32 bytes each.
 * All addresses are the kernel's, so that none of them costs a page fault, and the ring takes 64 at a time.
 */

#include "guest.h"

#define ROOTS (1u << 20)
#define FIRST 0x1000000

static volatile u32 *entry(u32 root)
{
	return (volatile u32 *)(FIRST + root * 32);
}

void guest_main(void)
{
	u32 wrong = 0, page;

	lguest_init();
	traps_init();
	segments_init();
	paging_init();
	/* 32 MiB for the roots, mapped where they are. */
	for (u32 gva = FIRST; gva < FIRST + ROOTS * 32; gva += PAGE)
		*leaf(kernel_root, gva) = gva | PTE_P | PTE_RW;
	for (u32 root = 0; root < ROOTS; root++)
		for (u32 word = 0; word < 8; word++)
			entry(root)[word] = ((volatile u32 *)kernel_root)[word];
	page = allocate_page();
	hypercall(LHCALL_SET_STACK, KERNEL_DS, trap_stack_top(), 0, 0);
	for (u32 root = 0; root < ROOTS; root += RING_SLOTS) {
		for (u32 slot = 0; slot < RING_SLOTS; slot++)
			ring_write((root + slot) % RING_SLOTS, LHCALL_NEW_PGTABLE, (u32)entry(root + slot), 0, 0, 0);
		hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0, 0);
		if (root % 0x8000 == 0) {
			poke(page, root);
			wrong += peek(page) != root;
		}
	}
	check("A-20", "2^20 roots: wrong words", wrong, 0);
	/* In turn over a few more than there are tables for. */
	for (u32 round = 0; round < 2; round++)
		for (u32 root = 0; root < 6000; root++) {
			switch_root((volatile pte *)entry(root * 170));
			poke(page, root);
			wrong += peek(page) != root;
		}
	check("A-20", "6000 roots in a loop: wrong words", wrong, 0);
}
