/* expect: stop="guest powered off" status=0 */
/* Demand faults, Accessed and Dirty, protection, and what the page-table calls make visible. */

#include "guest.h"

#define FAULT_PRESENT 1
#define FAULT_WRITE 2
#define FAULT_USER 4

/* Past the identity map of kernel_root, inside RAM. */
#define BEYOND_IDENTITY 0x900000

static u32 next_gva = USER_WINDOW;

/* A fresh address in the user window, mapped to `page`; silently, as not-present to present may be. */
static u32 map(u32 page, u32 flags)
{
	u32 gva = next_gva;

	next_gva += PAGE;
	*leaf(kernel_root, gva) = page | flags;
	return gva;
}

static u32 accessed_dirty(u32 gva)
{
	return (u32)*leaf(kernel_root, gva) & (PTE_A | PTE_D);
}

static void accessed_and_dirty(void)
{
	u32 page = allocate_page();
	u32 read_first = map(page, PTE_P | PTE_RW), write_first = map(page, PTE_P | PTE_RW);

	poke(page, 0x1234);
	lguest_data.cr2 = 0xabcd0000;
	check("LG-079", "first read traps", read_traps(read_first), 0);
	check("LG-079", "contents", peek(read_first), 0x1234);
	check("LG-080", "A and D after a read", accessed_dirty(read_first), PTE_A);
	check("LG-082", "write after a read traps", write_traps(read_first), 0);
	check("LG-082", "A and D after that write", accessed_dirty(read_first), PTE_A | PTE_D);
	check("LG-081", "first write traps", write_traps(write_first), 0);
	check("LG-081", "A and D after a write", accessed_dirty(write_first), PTE_A | PTE_D);
	check("LG-082", "the write arrived", peek(page), 0x11223344);
	check("LG-087", "cr2 after silent repairs", lguest_data.cr2, 0xabcd0000);
}

static void fault(const char *item, u32 traps, u32 gva, u32 error)
{
	check(item, "traps", traps, 1);
	check(item, "vector", trap.vector, 14);
	check(item, "error code", trap.error, error);
	check("LG-086", "cr2", trap.cr2, gva);
}

static void protection(void)
{
	u32 page = allocate_page();
	u32 read_only = map(page, PTE_P), user_read_only = map(page, PTE_P | PTE_US);
	u32 supervisor = map(page, PTE_P | PTE_RW), user = map(page, PTE_P | PTE_RW | PTE_US);

	about("write to read-only, never touched");
	fault("LG-083", write_traps(read_only), read_only, FAULT_PRESENT | FAULT_WRITE);
	check("LG-083", "D stays clear", accessed_dirty(read_only) & PTE_D, 0);
	about("write to read-only, read before");
	check("LG-083", "read traps", read_traps(read_only), 0);
	fault("LG-083", write_traps(read_only), read_only, FAULT_PRESENT | FAULT_WRITE);
	about("ring 1 write to a read-only user page");
	fault("LG-083", write_traps(user_read_only), user_read_only, FAULT_PRESENT | FAULT_WRITE);
	about("ring 3 write to read-only");
	fault("LG-083", user_write_traps(user_read_only), user_read_only, FAULT_PRESENT | FAULT_WRITE | FAULT_USER);
	about("ring 3 read of a supervisor page");
	fault("LG-084", user_read_traps(supervisor), supervisor, FAULT_PRESENT | FAULT_USER);
	about("ring 3 write to a supervisor page");
	fault("LG-084", user_write_traps(supervisor), supervisor, FAULT_PRESENT | FAULT_WRITE | FAULT_USER);
	about("ring 3 and a supervisor page in use by ring 1");
	poke(supervisor, 1);
	fault("LG-084", user_read_traps(supervisor), supervisor, FAULT_PRESENT | FAULT_USER);
	about("ring 3 and its own page");
	check("LG-084", "read traps", user_read_traps(user), 0);
	check("LG-084", "write traps", user_write_traps(user), 0);
	about("");
}

static void not_present(void)
{
	u32 hole = map(0, 0);

	about("empty leaf");
	fault("LG-085", read_traps(hole), hole, 0);
	fault("LG-085", write_traps(hole), hole, FAULT_WRITE);
	fault("LG-085", user_read_traps(hole), hole, FAULT_USER);
	about("empty page-directory entry");
	fault("LG-085", read_traps(0x60000000), 0x60000000, 0);
	about("empty top entry");
	fault("LG-085", read_traps(0x80000000), 0x80000000, 0);
	about("reserved top window");
	fault("LG-096", read_traps(0xfffff000), 0xfffff000, 0);
	fault("LG-096", write_traps(0xffc00000), 0xffc00000, FAULT_WRITE);
	about("");
	*leaf(kernel_root, hole) = allocate_page() | PTE_P | PTE_RW;
	check("LG-079", "present later, in silence", read_traps(hole), 0);
}

/* Rights are those of both levels together; a top entry of three has none. */
static void directory_rights(void)
{
	u32 gva = 0x50000000, page = allocate_page();
	volatile pte *directory = pde(kernel_root, gva);

	*leaf(kernel_root, gva) = page | PTE_P | PTE_RW | PTE_US;
	*directory &= ~PTE_RW;
	about("page-directory entry without RW");
	check("LG-095", "read traps", read_traps(gva), 0);
	fault("LG-095", write_traps(gva), gva, FAULT_PRESENT | FAULT_WRITE);
	fault("LG-095", user_write_traps(gva), gva, FAULT_PRESENT | FAULT_WRITE | FAULT_USER);
	*directory = (*directory | PTE_RW) & ~PTE_US;
	announce_pde(kernel_root, gva);
	about("page-directory entry without US");
	check("LG-095", "ring 1 write traps", write_traps(gva), 0);
	fault("LG-095", user_read_traps(gva), gva, FAULT_PRESENT | FAULT_USER);
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
	check("LG-104", "with A only: read", peek(gva), 1);
	check("LG-104", "D before the write", accessed_dirty(gva), PTE_A);
	check("LG-104", "write traps", write_traps(gva), 0);
	check("LG-104", "D after the write", accessed_dirty(gva), PTE_A | PTE_D);

	announce_pte((u32)kernel_root, gva, 0xfffff000 | PTE_P | PTE_RW);
	check("LG-106", "a bad frame without A and D is only forgotten", peek(gva), 0x11223344);
	announce_pte(second, gva, second | PTE_P | PTE_RW | PTE_A | PTE_D);
	check("LG-102", "unknown root", peek(gva), 0x11223344);
	announce_pte(0, gva, second | PTE_P | PTE_RW | PTE_A | PTE_D);
	check("LG-102", "root 0", peek(gva), 0x11223344);

	/* Swap entries have their own meaning for A and D. */
	set_pte(kernel_root, gva, 0xfffff000 | PTE_A | PTE_D);
	check("LG-101", "not present with A and D set", read_traps(gva), 1);
}

static void directory_call(void)
{
	u32 gva = 0x48000000, first = allocate_page(), second = allocate_page();
	volatile pte *directory = pde(kernel_root, gva);
	u32 old_table;

	poke(first, 1);
	poke(second, 2);
	*leaf(kernel_root, gva) = first | PTE_P | PTE_RW;
	check(LG_PDE, "first table", peek(gva), 1);
	old_table = FRAME(*directory);
	*directory = 0;
	*leaf(kernel_root, gva) = second | PTE_P | PTE_RW;
	announce_pde(kernel_root, gva);
	check(LG_PDE, "second table", peek(gva), 2);
	hypercall(LHCALL_SET_PGD, first, gva >> TOP_SHIFT, 0, 0);
	check("LG-110", "unknown root", peek(gva), 2);

	/* The freed table becomes data: nothing may write A or D into it any more. */
	poke(old_table, 0);
	peek(gva);
	poke(gva, 3);
	check(LG_PDE, "the old table is memory again", peek(old_table), 0);

	*directory = 0;
	announce_pde(kernel_root, gva);
	check(LG_PDE, "no table", read_traps(gva), 1);
	hypercall(LHCALL_SET_PGD, (u32)kernel_root, TOP_ENTRIES - 1, 0, 0);
	survived("LG-109", "the last index is harmless");
}

/* Changing a present entry in silence is the guest's fault; after the flush nothing old may show. */
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
	*leaf(kernel_root, gva) = first | PTE_P;
	hypercall(LHCALL_FLUSH_TLB, 0, 0, 0, 0);
	check("LG-117", "rights taken away", write_traps(gva), 1);
	*leaf(kernel_root, gva) = 0;
	hypercall(LHCALL_FLUSH_TLB, 0, 0, 0, 0);
	check("LG-117", "mapping taken away", read_traps(gva), 1);
}

static void global_bit(void)
{
	u32 first = allocate_page(), second = allocate_page();
	u32 gva = map(first, PTE_P | PTE_RW | PTE_G);

	poke(first, 1);
	poke(second, 2);
	check("LG-094", "G is accepted", peek(gva), 1);
	set_pte(kernel_root, gva, second | PTE_P | PTE_RW | PTE_G);
	check("LG-094", "and has no effect", peek(gva), 2);
}

void guest_main(void)
{
	poke(BEYOND_IDENTITY, 0x11ea4);
	check("LG-016", "linear mode", peek(BEYOND_IDENTITY), 0x11ea4);
	guest_init();
	check("LG-018", "identity ends with NEW_PGTABLE", read_traps(BEYOND_IDENTITY), 1);

	accessed_and_dirty();
	protection();
	not_present();
	directory_rights();
	set_pte_call();
	directory_call();
	flushes();
	global_bit();
}
