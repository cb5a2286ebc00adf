/* Page tables of either format: the identity map of the kernel's part of RAM, two free windows. */

#include "guest.h"

#define FIRST_FREE_PAGE (KERNEL_BASE + 0x300000)
#define IDENTITY_END (KERNEL_BASE + IDENTITY_BYTES)

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

#if PAE

#define MOST_ROOTS 126

/* One page. No root is at its start, so that a host that takes roots for pages is found out. */
static struct {
	volatile pte unused[TOP_ENTRIES], kernel[TOP_ENTRIES], others[MOST_ROOTS][TOP_ENTRIES];
} roots __attribute__((aligned(PAGE)));

volatile pte *const kernel_root = roots.kernel;

static volatile pte *empty_root(void)
{
	static u32 used;

	if (used == MOST_ROOTS)
		shutdown("out of roots", SHUTDOWN_POWEROFF);
	return roots.others[used++];
}

volatile pte *pde(volatile pte *root, u32 gva)
{
	volatile pte *top = &root[gva >> TOP_SHIFT];

	if (!(*top & PTE_P))
		*top = allocate_page() | PTE_P;
	return (volatile pte *)FRAME(*top) + (gva >> 21 & 0x1ff);
}

void announce_pte(u32 root, u32 gva, pte entry)
{
	hypercall(LHCALL_SET_PTE, root, gva, (u32)entry, (u32)(entry >> 32));
}

void announce_pde(volatile pte *root, u32 gva)
{
	hypercall(LHCALL_SET_PMD, FRAME(root[gva >> TOP_SHIFT]), gva >> 21 & 0x1ff, 0, 0);
}

#else

static volatile pte kernel_directory[TOP_ENTRIES] __attribute__((aligned(PAGE)));

volatile pte *const kernel_root = kernel_directory;

static volatile pte *empty_root(void)
{
	return (volatile pte *)allocate_page();
}

volatile pte *pde(volatile pte *root, u32 gva)
{
	return &root[gva >> TOP_SHIFT];
}

void announce_pte(u32 root, u32 gva, pte entry)
{
	hypercall(LHCALL_SET_PTE, root, gva, entry, 0);
}

void announce_pde(volatile pte *root, u32 gva)
{
	hypercall(LHCALL_SET_PGD, (u32)root, gva >> TOP_SHIFT, 0, 0);
}

#endif

volatile pte *leaf(volatile pte *root, u32 gva)
{
	volatile pte *entry = pde(root, gva);

	if (!(*entry & PTE_P))
		*entry = allocate_page() | PDE_FLAGS;
	return (volatile pte *)FRAME(*entry) + gva / PAGE % (PAGE / sizeof(pte));
}

void set_pte(volatile pte *root, u32 gva, pte entry)
{
	*leaf(root, gva) = entry;
	announce_pte((u32)root, gva, entry);
}

void switch_root(volatile pte *root)
{
	hypercall(LHCALL_NEW_PGTABLE, (u32)root, 0, 0, 0);
}

static void map_identity(volatile pte *root)
{
	for (u32 page = KERNEL_BASE; page < IDENTITY_END; page += PAGE) {
		u32 user = page >= (u32)user_start && page < (u32)user_end;

		*leaf(root, page) = page | PTE_P | PTE_RW | (user ? PTE_US : 0);
	}
}

/* Tables below the kernel window belong to one root only, as in Linux: no sharing here. */
volatile pte *new_root(void)
{
	volatile pte *root = empty_root();

	for (u32 i = KERNEL_ADDRESS >> TOP_SHIFT; i < TOP_ENTRIES; i++)
		root[i] = kernel_root[i];
	if (KERNEL_BASE < KERNEL_ADDRESS)
		map_identity(root);
	return root;
}

void paging_init(void)
{
	map_identity(kernel_root);
	/* All roots share the kernel window's tables, so they have to be there before the first copy. */
	leaf(kernel_root, KERNEL_WINDOW);
#if BARE
	bare_devices_map();
#endif
	switch_root(kernel_root);
#if BARE
	bare_paging_on();
#endif
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
