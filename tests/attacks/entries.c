/* expect: stop="guest powered off" status=0 */
/*
 * leaf entries with every combination of flags that does not end the guest, at every combination of the
 * top level's rights, and frames at the ends of RAM. What each access does is what the entries say, and no more.
 */

#include "guest.h"

#define PAT 0x80

static u32 wrong_read, wrong_write, wrong_user_read, wrong_user_write, wrong_bits, wrong_value;

static void one(u32 frame, u32 flags, u32 rights)
{
	volatile pte *entry = leaf(kernel_root, USER_WINDOW);
	u32 present = flags & PTE_P, writable = flags & rights & PTE_RW, user = flags & rights & PTE_US;
	u32 bits = flags;

	*entry = frame | flags;
	hypercall(LHCALL_FLUSH_TLB, 0, 0, 0, 0);
	wrong_read += read_traps(USER_WINDOW) != !present;
	if (present)
		bits |= PTE_A;
	wrong_bits += (*entry & 0xfff) != bits;
	wrong_write += write_traps(USER_WINDOW) != !(present && writable);
	if (present && writable) {
		bits |= PTE_D;
		wrong_value += peek(frame) != 0x11223344;
		poke(frame, 0);
	}
	wrong_bits += (*entry & 0xfff) != bits;
	/* Ring 3 costs more time: only where the answer depends on it. */
	if ((flags & 0xe18) == 0) {
		wrong_user_read += user_read_traps(USER_WINDOW) != !(present && user);
		wrong_user_write += user_write_traps(USER_WINDOW) != !(present && user && writable);
	}
}

static void every_flag(void)
{
	static const u32 rights[] = { 0, PTE_RW, PTE_US, PTE_RW | PTE_US };
	u32 page = allocate_page(), table;

	leaf(kernel_root, USER_WINDOW);
	table = FRAME(kernel_root[USER_WINDOW >> 22]);
	for (u32 i = 0; i < 4; i++) {
		kernel_root[USER_WINDOW >> 22] = table | PTE_P | rights[i];
		for (u32 flags = 0; flags < 4096; flags++)
			if (!(flags & PAT))
				one(page, flags, rights[i]);
	}
	kernel_root[USER_WINDOW >> 22] = table | PDE_FLAGS;
	check("A-16", "wrong reads in ring 1", wrong_read, 0);
	check("A-16", "wrong writes in ring 1", wrong_write, 0);
	check("A-16", "wrong reads in ring 3", wrong_user_read, 0);
	check("A-16", "wrong writes in ring 3", wrong_user_write, 0);
	check("A-16", "writes that went elsewhere", wrong_value, 0);
	check("A-19", "entries with other bits than A and D added", wrong_bits, 0);
}

static void ends_of_ram(void)
{
	u32 last = ram_bytes() - PAGE, gap = ram_bytes();

	*leaf(kernel_root, USER_WINDOW) = last | PTE_P | PTE_RW;
	check("A-16", "the last frame of RAM is written", write_traps(USER_WINDOW), 0);
	check("A-16", "and read", peek(USER_WINDOW), 0x11223344);
	check("A-16", "its last word", read_traps(USER_WINDOW + PAGE - 4), 0);
	check("A-16", "behind it nothing is mapped", read_traps(USER_WINDOW + PAGE), 1);
	*leaf(kernel_root, USER_WINDOW) = gap | PTE_P | PTE_RW;
	hypercall(LHCALL_FLUSH_TLB, 1, 0, 0, 0);
	check("A-16", "the frame behind RAM is not read", read_traps(USER_WINDOW), 1);
	check("A-16", "nor written", write_traps(USER_WINDOW), 1);
	check("A-16", "nor in ring 3", user_read_traps(USER_WINDOW), 1);
	*leaf(kernel_root, USER_WINDOW) = 0;
}

/* Entries that are not present may hold anything. */
static void absent(void)
{
	u32 traps = 0;

	for (u32 bit = 1; bit < 32; bit++) {
		*leaf(kernel_root, USER_WINDOW) = 1u << bit;
		kernel_root[(USER_WINDOW >> 22) + 1] = 1u << bit;
		traps += read_traps(USER_WINDOW) + read_traps(USER_WINDOW + 0x400000);
		announce_pte((u32)kernel_root, USER_WINDOW, 1u << bit);
		announce_pde(kernel_root, USER_WINDOW + 0x400000);
	}
	check("A-19", "absent entries with any bit", traps, 62);
	*leaf(kernel_root, USER_WINDOW) = 0xfffffffe & ~PAT;
	check("A-19", "absent with nearly all", read_traps(USER_WINDOW), 1);
	*leaf(kernel_root, USER_WINDOW) = 0;
	kernel_root[(USER_WINDOW >> 22) + 1] = 0;
}

/* The window that is the host's to give: it gives none of its own. */
static void reserved_window(void)
{
	u32 page = allocate_page(), seen = 0;

	poke(page, 0x0dd);
	*leaf(kernel_root, 0xffc00000) = page | PTE_P | PTE_RW | PTE_US;
	hypercall(LHCALL_FLUSH_TLB, 1, 0, 0, 0);
	for (u32 gva = 0xffc00000; gva; gva += PAGE)
		if (!read_traps(gva))
			seen += peek(gva) != 0x0dd;
	check("A-16", "pages of another's in the reserved window", seen, 0);
}

void guest_main(void)
{
	guest_init();
	every_flag();
	ends_of_ram();
	absent();
	reserved_window();
}
