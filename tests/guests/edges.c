/* expect: stop="guest powered off" status=0 */
/* The ends of the address space, the tables that SGDT and SIDT report, CR0.WP. */

#include "guest.h"

static u32 seen;

static void read_through_fs(u32 offset)
{
	u32 value;

	asm volatile("movl %%fs:(%1), %0" : "=r"(value) : "r"(offset));
	seen = value;
}

/* A segment whose base lies near 4 GiB: the sum wraps to low memory. */
static void base_wraps(void)
{
	u32 base = 0xfffff000;

	load_descriptor_at(27, base, 0xfffff, 0xc0b2);
	asm volatile("movl %0, %%fs" : : "r"(27 * 8 + 1));
	check("A-25", "read at base + 0x2000 traps", attempt(read_through_fs, 0x2000), 0);
	check("A-25", "it is linear 0x1000", seen, peek(0x1000));
	asm volatile("movl %0, %%fs" : : "r"(27 * 8 + 1));
	reset_trap();
	check("A-25", "read at base + 0x100 traps", attempt(read_through_fs, 0x100), 1);
	check("A-25", "vector", trap.vector, 14);
	check("A-25", "cr2", trap.cr2, 0xfffff100);
	asm volatile("movl %0, %%fs" : : "r"(0));
}

static void top_of_memory(void)
{
	check("A-25", "word at 0xfffffffc", read_traps(0xfffffffc), 1);
	check("A-25", "word over the end", read_traps(0xfffffffe), 1);
	check("A-25", "vector", trap.vector, 14);
	check("A-25", "write over the end", write_traps(0xfffffffd), 1);
	check("A-25", "ring 3, word over the end", user_read_traps(0xfffffffe), 1);
	check("A-25", "vector", trap.vector, 14);
	/* Which byte of the access cr2 names is the processor's choice; it is no host address. */
	check("A-25", "cr2 is an end of memory", trap.cr2 >= 0xfffffffe || trap.cr2 < 4, 1);
}

/* With a present page on both sides of the end. */
static void over_the_end(void)
{
	*leaf(kernel_root, 0xfffff000) = allocate_page() | PTE_P | PTE_RW;
	/* Mapped or refused, as the host likes: the reserved window is its to give. */
	read_traps(0xfffff000);
	read_traps(0xfffffffe);
	write_traps(0xfffffffe);
	*pde(kernel_root, 0xfffff000) = 0;
	hypercall(LHCALL_FLUSH_TLB, 1, 0, 0, 0);
	check("LG-096", "gone after a flush", read_traps(0xfffff000), 1);
}

struct table_register {
	u16 limit;
	u32 base;
} __attribute__((packed));

static struct table_register reported USER_DATA;

static void read_tables(u32 which)
{
	if (which)
		asm volatile("sidt %0" : "=m"(reported));
	else
		asm volatile("sgdt %0" : "=m"(reported));
}

/* with UMIP the instruction faults; without it the number is of no use to a guest. */
static void tables(const char *name, u32 which)
{
	about(name);
	reported.base = 0x60000000;
	attempt(read_tables, which);
	/* Where the number happens to be an address of the guest's own, a write would prove nothing. */
	if (read_traps(reported.base)) {
		check("A-15", "ring 1 write traps", write_traps(reported.base), 1);
		check("A-15", "ring 3 write traps", user_write_traps(reported.base), 1);
	} else {
		check("A-15", "ring 1 write traps", 1, 1);
		check("A-15", "ring 3 write traps", 1, 1);
	}
	reset_trap();
	check("LG-097", "traps still arrive", read_traps(0x60000000), 1);
	check("LG-097", "vector", trap.vector, 14);
	check("LG-097", "segments are as before", access_rights(KERNEL_DS) >> 8 & 0xff, 0xb3);
	hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0, 0);
	about("");
}

/* ring 1 is held to read-only pages, as with CR0.WP = 1. */
static void write_protect(void)
{
	u32 page = allocate_page();

	poke(page, 0x0716);
	*leaf(kernel_root, USER_WINDOW) = page | PTE_P;
	*leaf(kernel_root, USER_WINDOW + PAGE) = page | PTE_P | PTE_US;
	check("A-24", "supervisor page", write_traps(USER_WINDOW), 1);
	check("A-24", "error code", trap.error, 3);
	check("A-24", "user page", write_traps(USER_WINDOW + PAGE), 1);
	check("A-24", "error code", trap.error, 3);
	check("A-24", "nothing was written", peek(page), 0x0716);
}

void guest_main(void)
{
	guest_init();
	base_wraps();
	top_of_memory();
	over_the_end();
	tables("sgdt", 0);
	tables("sidt", 1);
	write_protect();
}
