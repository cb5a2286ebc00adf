/* expect: stop="guest powered off" status=0 */
/*
 * every descriptor that there is, but for base and low limit: 2^16 combinations of the type byte and of the
 * byte with the flag nibble. What the processor then lets the guest see of it must be on the allow-list.
 */

#include "guest.h"

#define OWN 27

/* As LAR shows it: bits 8 to 23 of the descriptor's second word. */
#define PRESENT 0x8000
#define NOT_SYSTEM 0x1000
#define CODE 0x0800
#define CONFORMING 0x0400
#define LONG 0x200000
#define DPL(rights) ((rights) >> 13 & 3)

static u32 user_selector, user_loads USER_DATA;

static void load_fs(u32 selector)
{
	asm volatile("movl %0, %%fs" : : "r"(selector));
}

static void load_ss(u32 selector)
{
	asm volatile("movl %%ss, %%ecx\n\tmovl %0, %%ss\n\tmovl %%ecx, %%ss" : : "r"(selector) : "ecx");
}

static void every_descriptor(void)
{
	u32 usable = 0, system = 0, wrong_dpl = 0, long_mode = 0, conforming = 0, loaded = 0, odd_trap = 0;

	for (u32 type = 0; type < 256; type++) {
		for (u32 flags = 0; flags < 256; flags++) {
			u32 rights;

			hypercall(LHCALL_LOAD_GDT_ENTRY, OWN, 0xffff, flags << 16 | type << 8, 0);
			rights = access_rights(OWN * 8 + 1);
			if (rights == ~0u)
				continue;
			usable++;
			system += !(rights & NOT_SYSTEM);
			wrong_dpl += DPL(rights) != 1 && DPL(rights) != 3;
			long_mode += (rights & LONG) != 0;
			conforming += (rights & (CODE | CONFORMING)) == (CODE | CONFORMING) && DPL(rights) != 3;
			/* LAR tells of absent ones as well. The low nibble is but a limit: one of it is enough to load. */
			if (flags & 0xf)
				continue;
			reset_trap();
			loaded += !attempt(load_fs, OWN * 8 + 1);
			odd_trap += trap.count && trap.vector != 13 && trap.vector != 11;
			load_fs(0);
			reset_trap();
			attempt(load_ss, OWN * 8 + 1);
			odd_trap += trap.count && trap.vector != 13 && trap.vector != 12;
		}
	}
	load_descriptor(OWN, 0, 0);
	check("A-12", "some are usable", usable, 0x2800);
	check("A-12", "and can be loaded", loaded, 0x100);
	check("A-12", "usable system descriptors", system, 0);
	check("A-12", "usable descriptors of rings 0 and 2", wrong_dpl, 0);
	check("A-12", "usable 64-bit descriptors", long_mode, 0);
	check("A-12", "usable conforming code of the kernel's", conforming, 0);
	check("A-12", "faults of a load other than its own", odd_trap, 0);
}

/* The null entry, the host's own, those that nobody has, and what lies behind the table: none is ever the guest's. */
static void entries_of_others(void)
{
	static const u8 others[] = { 0, 10, 11, 16, 31 };
	u32 seen = 0;

	for (u32 i = 0; i < sizeof others; i++) {
		load_descriptor(others[i], 0xfffff, 0xc0b3);
		seen += access_rights(others[i] * 8 + 1) != ~0u;
	}
	check("A-13", "entries that are not the guest's", seen, 0);
	seen = 0;
	for (u32 index = 32; index < 8192; index++)
		seen += access_rights(index * 8 + 3) != ~0u || segment_limit(index * 8 + 3) != ~0u;
	check("A-13", "entries behind the table", seen, 0);
	seen = 0;
	for (u32 index = 0; index < 8192; index++)
		seen += access_rights(index * 8 + 7) != ~0u;
	check("A-13", "entries of an LDT", seen, 0);
}

static void USER_TEXT user_looks(void)
{
	u32 selector = 0;

	/* LAR and VERR of the host's entries, in ring 3. */
	asm volatile("1:\tverr %w0\n\tjnz 2f\n\tincl user_loads\n2:\taddl $8, %0\n\tcmpl $0x10000, %0\n\tjb 1b"
		     : "+r"(selector) : : "memory", "cc");
}

static void ring_3(void)
{
	user_selector = run_user(user_looks);
	check("A-13", "ring 3 may read by its data segment alone, with RPL 0", user_loads <= 2, 1);
}

void guest_main(void)
{
	guest_init();
	every_descriptor();
	entries_of_others();
	ring_3();
	check("A-12", "the kernel's own segments are as before", access_rights(KERNEL_DS) >> 8 & 0xff, 0xb3);
}
