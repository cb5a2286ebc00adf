/* Two-level page tables: identity below 8 MiB, two free windows above. */

#include "guest.h"

#define FIRST_FREE_PAGE 0x300000
#define IDENTITY_END 0x800000
#define TOP_FLAGS (PTE_P | PTE_RW | PTE_US)

u32 kernel_root[1024] __attribute__((aligned(PAGE)));

extern char user_start[], user_end[];

static u32 next_page = FIRST_FREE_PAGE;

u32 allocate_page(void)
{
	u32 page = next_page;
	u8 *bytes = (u8 *)page;

	if (page == IDENTITY_END)
		shutdown("out of pages", SHUTDOWN_POWEROFF);
	next_page += PAGE;
	for (u32 i = 0; i < PAGE; i++)
		bytes[i] = 0;
	return page;
}

volatile u32 *leaf(u32 *root, u32 gva)
{
	u32 *top = &root[gva >> 22];

	if (!(*top & PTE_P))
		*top = allocate_page() | TOP_FLAGS;
	return (volatile u32 *)(*top & 0xfffff000) + (gva >> 12 & 0x3ff);
}

void set_pte(u32 *root, u32 gva, u32 entry)
{
	*leaf(root, gva) = entry;
	hypercall(LHCALL_SET_PTE, (u32)root, gva, entry, 0);
}

void switch_root(u32 *root)
{
	hypercall(LHCALL_NEW_PGTABLE, (u32)root, 0, 0, 0);
}

static void map_identity(u32 *root)
{
	for (u32 page = 0; page < IDENTITY_END; page += PAGE) {
		u32 user = page >= (u32)user_start && page < (u32)user_end;

		*leaf(root, page) = page | PTE_P | PTE_RW | (user ? PTE_US : 0);
	}
}

/* Leaf tables below the kernel window belong to one root only, as in Linux: no sharing here. */
u32 *new_root(void)
{
	u32 *root = (u32 *)allocate_page();

	for (u32 i = KERNEL_WINDOW >> 22; i < 1024; i++)
		root[i] = kernel_root[i];
	map_identity(root);
	return root;
}

void paging_init(void)
{
	map_identity(kernel_root);
	/* All roots share the kernel window's table, so it has to be there before the first copy. */
	leaf(kernel_root, KERNEL_WINDOW);
	switch_root(kernel_root);
	hypercall(LHCALL_SET_STACK, KERNEL_DS, trap_stack_top(), 2, 0);
}

static void read_word(u32 gva)
{
	peek(gva);
}

static void write_word(u32 gva)
{
	poke(gva, 0x11223344);
}

u32 read_traps(u32 gva)
{
	reset_trap();
	return attempt(read_word, gva);
}

u32 write_traps(u32 gva)
{
	reset_trap();
	return attempt(write_word, gva);
}

static u32 user_address USER_DATA;

static void USER_TEXT user_read(void)
{
	u32 value;

	asm volatile("movl (%1), %0" : "=r"(value) : "r"(user_address));
}

static void USER_TEXT user_write(void)
{
	asm volatile("movl $0x11223344, (%0)" : : "r"(user_address) : "memory");
}

u32 user_read_traps(u32 gva)
{
	user_address = gva;
	return run_user(user_read) != SYSCALL_VECTOR;
}

u32 user_write_traps(u32 gva)
{
	user_address = gva;
	return run_user(user_write) != SYSCALL_VECTOR;
}
