/* expect: stop="guest powered off" status=0 */
/*
 * configuration space, device memory and ports, at every offset, of every width, unaligned, and across
 * pages. All ports of the machine are the host's: none of them may be reached.
 */

#include "pci.h"

#define CONSOLE 1
#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA 0xcfc

static u32 port, value;

/* ---- configuration space --------------------------------------------------------------- */

static u32 in(u32 width)
{
	u32 result = 0;

	switch (width) {
	case 1: asm volatile("inb %w1, %b0" : "+a"(result) : "d"(port)); break;
	case 2: asm volatile("inw %w1, %w0" : "+a"(result) : "d"(port)); break;
	default: asm volatile("inl %w1, %0" : "+a"(result) : "d"(port)); break;
	}
	return result;
}

static void out(u32 width)
{
	switch (width) {
	case 1: asm volatile("outb %b0, %w1" : : "a"(value), "d"(port)); break;
	case 2: asm volatile("outw %w0, %w1" : : "a"(value), "d"(port)); break;
	default: asm volatile("outl %0, %w1" : : "a"(value), "d"(port)); break;
	}
}

static u32 identity(u32 slot)
{
	return config_read(slot, 0);
}

/* Writes ones everywhere, with every width at every byte, and puts the BAR back. */
static void configuration(u32 slot)
{
	u32 before = identity(slot), bar = config_read(slot, 0x10), differs = 0;

	for (u32 offset = 0; offset < 0x100; offset += 4)
		for (u32 byte = 0; byte < 4; byte++)
			for (u32 width = 1; width <= 4; width *= 2) {
				out32(CONFIG_ADDRESS, 0x80000000 | slot << 11 | offset);
				port = CONFIG_DATA + byte;
				value = 0xffffffff;
				out(width);
				in(width);
			}
	differs += identity(slot) != before;
	out32(CONFIG_ADDRESS, 0x80000000 | slot << 11 | 0x10);
	out32(CONFIG_DATA, bar);
	check("A-36", "it is who it was", differs, 0);
}

/* Functions, buses and slots that are not there, and addresses that are none. */
static void nobody(void)
{
	u32 found = 0;

	for (u32 slot = 0; slot < 32; slot++)
		for (u32 function = 1; function < 8; function++) {
			out32(CONFIG_ADDRESS, 0x80000000 | slot << 11 | function << 8);
			found += in32(CONFIG_DATA) != ~0u;
		}
	for (u32 bus = 1; bus < 256; bus++) {
		out32(CONFIG_ADDRESS, 0x80000000 | bus << 16 | CONSOLE << 11);
		found += in32(CONFIG_DATA) != ~0u;
	}
	check("A-36", "devices where none are", found, 0);
}

/* ---- device memory ---------------------------------------------------------------------- */

static u32 at, width_of_access, direction;

static void access(u32 unused)
{
	(void)unused;
	switch (width_of_access | direction << 4) {
	case 1: value = *(volatile u8 *)at; break;
	case 2: value = *(volatile u16 *)at; break;
	case 4: value = *(volatile u32 *)at; break;
	case 0x11: *(volatile u8 *)at = 0xff; break;
	case 0x12: *(volatile u16 *)at = 0xffff; break;
	case 0x14: *(volatile u32 *)at = 0xffffffff; break;
	}
}

static void device_memory(u32 slot)
{
	u32 page = bar_memory(slot) & -PAGE, others = 0, before = identity(slot);

	/* The page behind is not mapped: accesses across its start fault. */
	for (u32 offset = 0; offset < PAGE; offset++)
		for (u32 width = 1; width <= 4; width *= 2)
			for (direction = 0; direction < 2; direction++) {
				at = page + offset;
				width_of_access = width;
				reset_trap();
				attempt(access, 0);
				others += trap.count && trap.vector != 14;
			}
	check("A-36", "traps other than page faults", others, 0);
	check("A-36", "it is who it was", identity(slot), before);
}

/* Instructions of all kinds on one register, in all forms: ModRM with every register, SIB with every one. */
u8 code[16];

static void run_code(u32 unused)
{
	(void)unused;
	asm volatile("pushal\n\t"
		     "movl %0, %%eax\n\tmovl %%eax, %%ecx\n\tmovl %%eax, %%edx\n\tmovl %%eax, %%ebx\n\t"
		     "movl %%eax, %%esi\n\tmovl %%eax, %%edi\n\tmovl %%eax, %%ebp\n\t"
		     "call code\n\t"
		     "popal" : : "m"(at) : "memory", "cc");
}

static void every_form(u32 slot)
{
	static const u8 opcodes[] = { 0x00, 0x01, 0x02, 0x03, 0x08, 0x11, 0x1b, 0x21, 0x29, 0x31, 0x38, 0x39, 0x3b, 0x63, 0x69,
		0x6b, 0x80, 0x81, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b, 0x8c, 0x8e, 0x8f, 0xc0, 0xc1, 0xc6,
		0xc7, 0xd0, 0xd1, 0xd3, 0xd9, 0xdd, 0xf6, 0xf7, 0xfe };
	u32 others = 0, runs = 0;

	at = bar_memory(slot);
	/* A processor that was reset has x87 exceptions unmasked (Intel SDM 3A, table 9-1). */
	asm volatile("fninit");
	for (u32 i = 0; i < sizeof opcodes; i++)
		for (u32 modrm = 0; modrm < 0x100; modrm += modrm == 0xbf ? 0x41 : 1) {
			/* Those that would load ESP or jump are the guest's own affair. */
			if ((opcodes[i] == 0xfe && (modrm >> 3 & 7) > 1) || (modrm >> 3 & 7) == 4)
				continue;
			code[0] = opcodes[i];
			code[1] = modrm;
			/* A SIB byte without an index, or part of a displacement. */
			code[2] = (modrm & 7) == 4 ? 0x20 : 0;
			for (u32 byte = 3; byte < 12; byte++)
				code[byte] = 0x90;
			if (modrm >> 6 == 2 || (modrm & 0xc7) == 5)
				for (u32 byte = 2; byte < 7; byte++)
					code[byte] = byte == 2 && (modrm & 7) == 4 ? 0x20 : 0;
			code[12] = 0xc3;
			reset_trap();
			attempt(run_code, 0);
			others += trap.count && trap.vector > 14 && trap.vector != 17;
			runs++;
		}
	check("A-36", "forms", runs > 5000, 1);
	check("A-36", "traps that none of them has", others, 0);
	/* Whatever was written into its registers: a reset ends it. */
	memory_access.write(slot, DEVICE_STATUS, 1, 0);
	check("A-36", "the device answers", memory_access.read(slot, DEVICE_STATUS, 1), 0);
}

/* ---- rights on device memory ------------------------------------------------------------ */

static void move_in_place(u32 unused)
{
	u32 esi = at, edi = at;

	(void)unused;
	asm volatile("cld\n\tmovsl" : "+S"(esi), "+D"(edi) : : "memory");
}

static void USER_TEXT user_moves_in_place(void)
{
	u32 esi = KERNEL_WINDOW + 0x10000000 + CONSOLE * PAGE, edi = esi;

	asm volatile("cld\n\tmovsl" : "+S"(esi), "+D"(edi) : : "memory");
}

/* movs reads first, and its fault is one of reading: what it writes needs a right of its own. */
static void read_only(void)
{
	at = bar_memory(CONSOLE);
	*leaf(kernel_root, at) = (*leaf(kernel_root, at) & ~PTE_RW) | PTE_US;
	hypercall(LHCALL_FLUSH_TLB, 1, 0, 0, 0);
	check("A-40", "a read-only register is read", read_traps(at), 0);
	check("A-40", "movs onto itself, in ring 1, traps", attempt(move_in_place, 0), 1);
	check("A-40", "by a page fault", trap.vector, 14);
	check("A-40", "movs onto itself, in ring 3", run_user(user_moves_in_place), 14);
	*leaf(kernel_root, at) = (*leaf(kernel_root, at) & ~PTE_US) | PTE_RW;
	hypercall(LHCALL_FLUSH_TLB, 1, 0, 0, 0);
}

/* ---- the machine's ports ------------------------------------------------------------------ */

static void use_port(u32 write)
{
	for (u32 width = 1; width <= 4; width *= 2)
		if (write)
			out(width);
		else
			in(width);
}

/* QEMU would end at port 0xf4, reset at 0xcf9 and 0x64, lose its interrupts at 0x20, its serial ports at 0x3f8. */
static void every_port(u32 first, u32 step)
{
	u32 traps = 0;

	for (port = first; port < 0x10000; port += step) {
		/* The guest's own bus, and its console. */
		if (port >= CONFIG_ADDRESS - 3 && port < CONFIG_DATA + 4)
			continue;
		for (u32 bits = 0; bits < 2; bits++) {
			value = bits ? 0xffffffff : 0;
			traps += attempt(use_port, 1);
		}
		traps += attempt(use_port, 0);
	}
	check("A-38", "ports that are not simply nothing", traps, 0);
}

static void USER_TEXT user_out(void)
{
	asm volatile("movl $0xf4, %%edx\n\tmovl $0x33, %%eax\n\toutl %%eax, %%dx" : : : "eax", "edx");
}

void guest_main(void)
{
	guest_init();
	for (u32 slot = 0; slot < 3; slot++)
		configuration(slot);
	nobody();
	for (u32 slot = 1; slot < 3; slot++) {
		device_memory(slot);
		every_form(slot);
	}
	read_only();
	every_port(0, 1);
	check("A-38", "ring 3 is refused", run_user(user_out), 13);
	check("A-38", "and its error code", trap.error, 0);
}
