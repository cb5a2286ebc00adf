/* expect: stop="guest powered off" status=0 */
/* What a guest finds at its first instruction: registers, boot page, command line, memory. */

#include "guest.h"

#ifdef LINUX_VERSION
/* What is mapped before the first call, a host can know from here only. */
static const char banner[] __attribute__((used)) = "Linux version " LINUX_VERSION " (micro guest)";
#endif

static u8 boot_byte(u32 offset)
{
	return peek(offset) & 0xff;
}

static void registers(void)
{
	const struct entry_state *at = &entry_state;

	/* The image's first bytes are a ud2: being here means that the entry point was honoured. */
	check("LG-001", "entered at e_entry", at->cs != 0, 1);
	check("LG-002", "CS", at->cs, KERNEL_CS);
	check("LG-002", "DS", at->ds, KERNEL_DS);
	check("LG-002", "ES", at->es, KERNEL_DS);
	check("LG-002", "SS", at->ss, KERNEL_DS);
	check("LG-003", "FS", at->fs, 0);
	check("LG-003", "GS", at->gs, 0);
	check("LG-003", "general registers",
	      at->eax | at->ebx | at->ecx | at->edx | at->esi | at->edi | at->ebp | at->esp, 0);
	check("LG-004", "EFLAGS", at->eflags, EFLAGS_ONE | EFLAGS_IF);
}

static void boot_page(void)
{
	const char *text = (const char *)BOOT_COMMAND_LINE;
	u32 length = 0;

	check("LG-005", "hardware_subarch", peek(BOOT_HARDWARE_SUBARCH), 1);
	check("LG-006", "version", peek(BOOT_VERSION) & 0xffff, 0x207);
	check("LG-006", "KEEP_SEGMENTS", boot_byte(BOOT_LOADFLAGS) >> 6 & 1, 1);
	check("LG-007", "e820 entries", boot_byte(BOOT_E820_ENTRIES), 1);
	check("LG-007", "address, low word", peek(BOOT_E820_MAP), 0);
	check("LG-007", "address, high word", peek(BOOT_E820_MAP + 4), 0);
	check("LG-007", "size is whole pages", peek(BOOT_E820_MAP + 8) % PAGE, 0);
	check("LG-007", "size is not zero", peek(BOOT_E820_MAP + 8) != 0, 1);
	check("LG-007", "size, high word", peek(BOOT_E820_MAP + 12), 0);
	check("LG-007", "type", peek(BOOT_E820_MAP + 16), 1);
	check("LG-008", "cmd_line_ptr", peek(BOOT_CMD_LINE_PTR), BOOT_COMMAND_LINE);
	while (length < 2048 && text[length])
		length++;
	check("LG-008", "terminated", length < 2048, 1);
}

static u32 nonzero_words(u32 from, u32 to)
{
	u32 count = 0;

	for (u32 at = from; at < to; at += 4)
		count += peek(at) != 0;
	return count;
}

#if HAS_BOOT_TABLES

extern u32 entry_low_entry;

/* The root is the last page of RAM, the leaf tables are right below it, and with PAE a page directory below them. */
static void mapped_memory(void)
{
	u32 top = ram_bytes(), leaves = top - PAGE - top / PDE_SPAN * PAGE;
	volatile pte *root = (volatile pte *)(top - PAGE);
#if PAE
	u32 lowest = leaves - PAGE, top_entry = lowest | PTE_P;
#else
	u32 lowest = leaves, top_entry = leaves | PDE_FLAGS;
#endif

	check("LG-019", "unused RAM in the middle", nonzero_words(0x700000, 0x710000), 0);
	check("LG-019", "RAM below the boot tables", nonzero_words(lowest - PAGE, lowest), 0);
	/* The host has set A and D where the guest has been. */
	check("LG-014", "first leaf entry", peek(leaves) & ~0x60u, 0x007);
	check("LG-014", "last leaf entry", (u32)root[-1] & ~0x60u, (u32)root | 0x007);
	poke(0x700000, 0x600d600d);
	check("LG-014", "middle of RAM", peek(0x700000), 0x600d600d);
#if STARTS_AT_PAGE_OFFSET
	check("LG-013", "address 0 is not mapped", entry_low_entry, 0);
#else
	check("LG-014", "address 0 is mapped", (u32)root[0], top_entry);
	check("LG-014", "its page-directory entry", (u32)*pde(root, 0), leaves | PDE_FLAGS);
#endif
#if HAS_RAM_AT_PAGE_OFFSET
	check("LG-015", "entry of PAGE_OFFSET", (u32)root[PAGE_OFFSET >> TOP_SHIFT], top_entry);
	check("LG-015", "RAM at PAGE_OFFSET", peek(PAGE_OFFSET + 0x700000), 0x600d600d);
	check("LG-015", "last word of RAM there", peek(PAGE_OFFSET + top - 4), 0);
#else
	check("LG-014", "nothing at PAGE_OFFSET", (u32)root[PAGE_OFFSET >> TOP_SHIFT], 0);
#endif
}

#else

static void mapped_memory(void)
{
	u32 top = ram_bytes();

	check("LG-019", "unused RAM in the middle", nonzero_words(0x700000, 0x710000), 0);
	check("LG-019", "last page of RAM", nonzero_words(top - PAGE, top), 0);
	poke(0x700000, 0x600d600d);
	check("LG-016", "middle of RAM", peek(0x700000), 0x600d600d);
	poke(top - 4, 0x0ddba115);
	check("LG-016", "last word of RAM", peek(top - 4), 0x0ddba115);
}

#endif

void guest_main(void)
{
	registers();
	boot_page();
	mapped_memory();
}
