/* expect: stop="guest powered off" status=0 */
/* Three-level page tables: what paging.c asks of two levels, NX, and what only page directories have. */

#include "guest.h"

#define FAULT_PRESENT 1
#define FAULT_WRITE 2
#define FAULT_USER 4
#define FAULT_FETCH 16

#define RETURN 0xc3
/* Past the identity map, inside RAM. */
#define BEYOND_IDENTITY 0x900000

static u32 next_gva = USER_WINDOW;

/* A fresh address in the user window, mapped to `page`; silently, as not-present to present may be. */
static u32 map(pte page, pte flags)
{
	u32 gva = next_gva;

	next_gva += PAGE;
	*leaf(kernel_root, gva) = page | flags;
	return gva;
}

static u32 accessed_dirty(u32 gva)
{
	return *leaf(kernel_root, gva) & (PTE_A | PTE_D);
}

static void fault(const char *item, u32 traps, u32 gva, u32 error)
{
	check(item, "traps", traps, 1);
	check(item, "vector", trap.vector, 14);
	check(item, "error code", trap.error, error);
	check("LG-086", "cr2", trap.cr2, gva);
}

static void accessed_and_dirty(void)
{
	u32 page = allocate_page();
	u32 read_first = map(page, PTE_P | PTE_RW), write_first = map(page, PTE_P | PTE_RW);

	poke(page, 0x1234);
	check("LG-079", "first read traps", read_traps(read_first), 0);
	check("LG-079", "contents", peek(read_first), 0x1234);
	check("LG-080", "A and D after a read", accessed_dirty(read_first), PTE_A);
	check("LG-082", "write after a read traps", write_traps(read_first), 0);
	check("LG-082", "A and D after that write", accessed_dirty(read_first), PTE_A | PTE_D);
	check("LG-081", "first write traps", write_traps(write_first), 0);
	check("LG-081", "A and D after a write", accessed_dirty(write_first), PTE_A | PTE_D);
	check("LG-092", "the top entry stays as it was", (u32)kernel_root[1] & 0xfff, PTE_P);
	check("LG-093", "so does the middle one", (u32)*pde(kernel_root, read_first) & 0xfff,
	      PTE_P | PTE_RW | PTE_US);
}

static void not_present(void)
{
	u32 hole = map(0, 0);

	about("empty leaf");
	fault("LG-085", read_traps(hole), hole, 0);
	about("empty middle entry");
	fault("LG-085", write_traps(0x7fe00000), 0x7fe00000, FAULT_WRITE);
	about("empty top entry");
	fault("LG-085", user_read_traps(0x80000000), 0x80000000, FAULT_USER);
	about("reserved top window");
	fault("LG-096", read_traps(0xfffff000), 0xfffff000, 0);
	about("");
	*leaf(kernel_root, hole) = allocate_page() | PTE_P | PTE_RW;
	check("LG-079", "present later, in silence", read_traps(hole), 0);
}

/* Rights are those of the middle and the leaf entry together. */
static void rights(void)
{
	u32 page = allocate_page(), gva = 0x50000000;
	volatile pte *middle = pde(kernel_root, gva);

	for (u32 upper = 0; upper < 4; upper++) {
		for (u32 lower = 0; lower < 4; lower++) {
			u32 both = upper & lower, wrong = 0;

			*leaf(kernel_root, gva) = page | PTE_P | lower * PTE_RW;
			*middle = (*middle & ~6ull) | PTE_P | upper * PTE_RW;
			announce_pde(kernel_root, gva);
			wrong += read_traps(gva);
			wrong += write_traps(gva) != !(both & 1);
			wrong += trap.count && trap.error != (FAULT_PRESENT | FAULT_WRITE);
			wrong += user_read_traps(gva) != !(both & 2);
			wrong += !(both & 2) && trap.error != (FAULT_PRESENT | FAULT_USER);
			wrong += user_write_traps(gva) != (both != 3);
			wrong += both != 3 && trap.error != (FAULT_PRESENT | FAULT_WRITE | FAULT_USER);
			check("LG-095", "wrong outcomes for rights at two levels", wrong, 0);
		}
	}
}

static void call(u32 gva)
{
	((void (*)(void))gva)();
}

static u32 execute_traps(u32 gva)
{
	reset_trap();
	return attempt(call, gva);
}

static u32 user_execute_traps(u32 gva)
{
	return run_user((void (*)(void))gva) != SYSCALL_VECTOR;
}

static void no_execute(void)
{
	u32 page = allocate_page();
	u32 gva = map(page, PTE_P | PTE_RW | PTE_US | PTE_NX);

	poke(page, RETURN);
	about("NX, never touched");
	fault("LG-083", execute_traps(gva), gva, FAULT_PRESENT | FAULT_FETCH);
	fault("LG-083", user_execute_traps(gva), gva, FAULT_PRESENT | FAULT_FETCH | FAULT_USER);
	check("LG-080", "A stays clear", accessed_dirty(gva), 0);
	about("NX, in use");
	check("LG-079", "read traps", read_traps(gva), 0);
	check("LG-079", "ring 3 read traps", user_read_traps(gva), 0);
	fault("LG-083", execute_traps(gva), gva, FAULT_PRESENT | FAULT_FETCH);
	fault("LG-083", user_execute_traps(gva), gva, FAULT_PRESENT | FAULT_FETCH | FAULT_USER);
	about("executable");
	set_pte(kernel_root, gva, page | PTE_P | PTE_US);
	check("LG-079", "ring 1 traps", execute_traps(gva), 0);
	check("LG-079", "ring 3 traps", user_execute_traps(gva), 0);
	about("NX again, announced as in use");
	set_pte(kernel_root, gva, page | PTE_P | PTE_US | PTE_NX | PTE_A | PTE_D);
	fault("LG-083", user_execute_traps(gva), gva, FAULT_PRESENT | FAULT_FETCH | FAULT_USER);
	about("fetch from nowhere");
	set_pte(kernel_root, gva, 0);
	fault("LG-085", execute_traps(gva), gva, FAULT_FETCH);
	about("");
}

static void set_pte_call(void)
{
	u32 first = allocate_page(), second = allocate_page();
	u32 gva = map(first, PTE_P | PTE_RW);

	poke(first, 1);
	poke(second, 2);
	check("LG-101", "mapped", peek(gva), 1);
	set_pte(kernel_root, gva, 0);
	check("LG-101", "gone", read_traps(gva), 1);
	set_pte(kernel_root, gva, second | PTE_P | PTE_RW | PTE_A | PTE_D);
	check("LG-103", "with D: write traps", write_traps(gva), 0);
	check("LG-103", "the write arrived", peek(second), 0x11223344);
	set_pte(kernel_root, gva, first | PTE_P | PTE_RW | PTE_A);
	check("LG-104", "D before the write", accessed_dirty(gva), PTE_A);
	check("LG-104", "write traps", write_traps(gva), 0);
	check("LG-104", "D after the write", accessed_dirty(gva), PTE_A | PTE_D);
	hypercall(LHCALL_SET_PTE, (u32)kernel_root, gva, second | PTE_P | PTE_RW, 0xf);
	check("LG-106", "a bad frame without A and D is only forgotten", peek(gva), 0x11223344);
	hypercall(LHCALL_SET_PTE, (u32)kernel_root & 0xfffff000, gva,
		  second | PTE_P | PTE_RW | PTE_A | PTE_D, 0);
	check("R8", "the page of a root is not the root", peek(gva), 0x11223344);
}

/* A page directory changes: every path through it has to go, whoever uses it (LG-111). */
static void set_pmd_call(void)
{
	u32 gva = 0x48000000, first = allocate_page(), second = allocate_page(), old;
	volatile pte *middle = pde(kernel_root, gva);

	poke(first, 1);
	poke(second, 2);
	*leaf(kernel_root, gva) = first | PTE_P | PTE_RW;
	check("LG-111", "first table", peek(gva), 1);
	old = (u32)*middle & 0xfffff000;
	*middle = 0;
	*leaf(kernel_root, gva) = second | PTE_P | PTE_RW;
	announce_pde(kernel_root, gva);
	check("LG-111", "second table", peek(gva), 2);
	*(volatile u32 *)old = 0;
	peek(gva);
	poke(gva, 3);
	check("LG-111", "the old table is memory again", peek(old), 0);
	*middle = 0;
	announce_pde(kernel_root, gva);
	check("LG-111", "no table", read_traps(gva), 1);
	hypercall(LHCALL_SET_PMD, 0xfffff000, 0xffffffff, 0, 0);
	survived("LG-111", "a table that is not RAM");
}

static void set_pgd_call(void)
{
	volatile pte *root = new_root();
	u32 gva = 0x80000000, first = allocate_page(), second = allocate_page();

	poke(first, 1);
	poke(second, 2);
	*leaf(root, gva) = first | PTE_P | PTE_RW;
	switch_root(root);
	check("LG-108", "first directory", peek(gva), 1);
	root[gva >> TOP_SHIFT] = 0;
	*leaf(root, gva) = second | PTE_P | PTE_RW;
	hypercall(LHCALL_SET_PGD, (u32)root & ~31u, gva >> TOP_SHIFT, 0, 0);
	check("LG-108", "second directory", peek(gva), 2);
	hypercall(LHCALL_SET_PGD, (u32)kernel_root, gva >> TOP_SHIFT, 0, 0);
	check("LG-110", "of another root", peek(gva), 2);
	root[gva >> TOP_SHIFT] = 0;
	hypercall(LHCALL_SET_PGD, (u32)root, gva >> TOP_SHIFT, 0, 0);
	check("LG-108", "no directory", read_traps(gva), 1);
	*leaf(root, KERNEL_WINDOW + PAGE) = second | PTE_P | PTE_RW;
	check("LG-109", "a kernel page", peek(KERNEL_WINDOW + PAGE), 2);
	hypercall(LHCALL_SET_PGD, (u32)root, 3, 0, 0);
	check("LG-109", "after SET_PGD of the kernel's gigabyte", peek(KERNEL_WINDOW + PAGE), 2);
	switch_root(kernel_root);
}

static void flushes(void)
{
	u32 first = allocate_page(), second = allocate_page();
	u32 gva = map(first, PTE_P | PTE_RW), kernel = KERNEL_WINDOW;

	poke(first, 1);
	poke(second, 2);
	*leaf(kernel_root, kernel) = first | PTE_P | PTE_RW;
	check("LG-115", "mapped", peek(gva) + peek(kernel), 2);
	*leaf(kernel_root, gva) = second | PTE_P | PTE_RW;
	hypercall(LHCALL_FLUSH_TLB, 0, 0, 0, 0);
	check("LG-115", "user address after FLUSH_TLB(0)", peek(gva), 2);
	*leaf(kernel_root, gva) = first | PTE_P | PTE_RW;
	*leaf(kernel_root, kernel) = second | PTE_P | PTE_RW;
	hypercall(LHCALL_FLUSH_TLB, 1, 0, 0, 0);
	check("LG-116", "user address after FLUSH_TLB(1)", peek(gva), 1);
	check("LG-117", "kernel address after FLUSH_TLB(1)", peek(kernel), 2);
}

/* Page directories of kernel addresses are shared by all roots. */
static void kernel_sharing(void)
{
	volatile pte *other = new_root();
	u32 first = allocate_page(), second = allocate_page(), gva = KERNEL_WINDOW + 0x2000;
	u32 far = KERNEL_WINDOW + 0x600000;

	poke(first, 1);
	poke(second, 2);
	set_pte(kernel_root, gva, first | PTE_P | PTE_RW);
	check("LG-100", "before", peek(gva), 1);
	switch_root(other);
	check("LG-114", "in a fresh root", peek(gva), 1);
	set_pte(kernel_root, gva, second | PTE_P | PTE_RW | PTE_A);
	check("LG-100", "changed by another root", peek(gva), 2);
	/* A kernel leaf table appears in silence, and goes by SET_PMD. */
	*leaf(kernel_root, far) = first | PTE_P | PTE_RW;
	check("LG-079", "a new kernel table", peek(far), 1);
	switch_root(kernel_root);
	check("LG-100", "in the first root", peek(gva) + peek(far), 3);
	*pde(kernel_root, far) = 0;
	announce_pde(kernel_root, far);
	check("LG-111", "gone here", read_traps(far), 1);
	switch_root(other);
	check("LG-111", "gone there", read_traps(far), 1);
	check("LG-100", "the rest is still there", peek(gva), 2);
	switch_root(kernel_root);
}

void guest_main(void)
{
	poke(BEYOND_IDENTITY, 0x11ea4);
	check("LG-016", "linear mode", peek(BEYOND_IDENTITY), 0x11ea4);
	guest_init();
	check("LG-018", "identity ends with NEW_PGTABLE", read_traps(BEYOND_IDENTITY), 1);

	accessed_and_dirty();
	not_present();
	rights();
	no_execute();
	set_pte_call();
	set_pmd_call();
	set_pgd_call();
	flushes();
	kernel_sharing();
}
