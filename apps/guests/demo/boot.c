/* Linear mode, where virtual is physical: meets the host and builds the kernel's page tables. */

#include "kernel.h"
#include "page_table.h"

/* More RAM than this has no place between KERNEL_BASE and what the host reserves at the top. */
#define MOST_RAM 0x38000000u

extern char image_end[], noirq_iret[];

static void meet_host(volatile struct lguest_data *data)
{
	for (u32 slot = 0; slot < RING_SLOTS; slot++)
		data->hcall_status[slot] = SLOT_EMPTY;
	/* Nothing may come before there are gates. */
	data->blocked_interrupts = ~0u;
	data->noirq_iret = (u32)noirq_iret;
	data->kernel_address = KERNEL_BASE;
	data->syscall_vec = SYSCALL_VECTOR;
	hypercall(LHCALL_LGUEST_INIT, (u32)data, 0, 0);
}

static u32 ram_bytes(void)
{
	u32 bytes;

	/* Assembly, for the compiler takes an address that low for a null pointer. */
	asm volatile("movl (%1), %0" : "=r"(bytes) : "r"(BOOT_RAM_BYTES) : "memory");
	return bytes < MOST_RAM ? bytes : MOST_RAM;
}

static void clear_page(u32 page)
{
	for (u32 i = 0; i < PAGE / 4; i++)
		((u32 *)page)[i] = 0;
}

/* Returns the physical address behind the tables, where free memory starts. */
u32 boot(void)
{
	u32 *root = (u32 *)PHYSICAL(image_end);
	u32 free = (u32)root + PAGE, ram;

	meet_host((struct lguest_data *)PHYSICAL(&lguest_data));
	ram = ram_bytes();
	clear_page((u32)root);
	for (u32 page = 0; page < ram; page += PAGE) {
		u32 *top = &root[TOP_INDEX(KERNEL_BASE + page)];

		if (!*top) {
			clear_page(free);
			*top = free | PTE_P | PTE_RW;
			free += PAGE;
		}
		((u32 *)FRAME(*top))[LEAF_INDEX(page)] = page | PTE_P | PTE_RW;
	}
	/* These instructions stay where they are until the jump; paging_init() takes this back. */
	root[0] = root[TOP_INDEX(KERNEL_BASE)];
	*(u32 **)PHYSICAL(&kernel_root) = VIRTUAL(root);
	*(u32 *)PHYSICAL(&ram_end) = ram;
	hypercall(LHCALL_NEW_PGTABLE, (u32)root, 0, 0);
	return free;
}
