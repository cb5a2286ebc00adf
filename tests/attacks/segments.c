/* expect: stop="guest powered off" status=0 */
/*
 * code and stacks of 16 bits in both rings, and code whose base plus EIP passes 4 GiB. The host reads
 * instructions and writes frames where the processor would have.
 */

#include "guest.h"

#define CODE16 26
#define STACK16 27
#define USER16 25
#define WRAPPED 24
#define FIXED 0x700000

/* Places bytes below 64 KiB of the segment's base, and runs them through `selector`; they end with a trap. */
static u32 far_pointer[2];

static void jump(u32 selector)
{
	far_pointer[0] = 0;
	far_pointer[1] = selector;
	asm volatile("movl $1, %%eax\n\tljmp *%0" : : "m"(far_pointer) : "eax", "memory");
}

static void place(const u8 *bytes, u32 length)
{
	for (u32 i = 0; i < length; i++)
		((volatile u8 *)FIXED)[i] = bytes[i];
	((volatile u8 *)FIXED)[length] = 0x0f;
	((volatile u8 *)FIXED)[length + 1] = 0x0b;
}

struct snippet {
	const char *name;
	u8 bytes[12];
	u32 length, vectors;
};

#define GP (1 << 13)
#define UD (1 << 6)
#define PF (1 << 14)
#define BP (1 << 3)

static const struct snippet snippets[] = {
	{ "ud2", {}, 0, UD },
	{ "int 0x1f", { 0x66, 0x31, 0xc0, 0xcd, 0x1f }, 5, UD },
	{ "int3", { 0xcc }, 1, BP },
	{ "in by DX", { 0xec }, 1, GP | UD },
	{ "out, 32 bits", { 0x66, 0xe7, 0x80 }, 3, GP | UD },
	{ "mov from cr0", { 0x0f, 0x20, 0xc0 }, 3, GP | UD },
	{ "mov to cr3", { 0x0f, 0x22, 0xd8 }, 3, GP | UD },
	{ "lgdt", { 0x0f, 0x01, 0x16, 0, 0 }, 5, GP | UD },
	{ "sgdt", { 0x0f, 0x01, 0x06, 0, 1 }, 5, GP | UD | PF },
	{ "hlt", { 0xf4 }, 1, GP },
	{ "cli", { 0xfa }, 1, GP | UD },
	{ "clts", { 0x0f, 0x06 }, 2, GP | UD },
	{ "lock clts", { 0xf0, 0x0f, 0x06 }, 3, GP | UD },
	{ "wrmsr", { 0x0f, 0x30 }, 2, GP },
	{ "int 0x21", { 0xcd, 0x21 }, 2, GP },
	{ "fifteen prefixes", { 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66 }, 11, GP | UD },
};

static void in_16_bit_code(void)
{
	load_descriptor_at(CODE16, FIXED, 0xffff, 0x00ba);
	for (u32 i = 0; i < sizeof snippets / sizeof *snippets; i++) {
		place(snippets[i].bytes, snippets[i].length);
		reset_trap();
		about(snippets[i].name);
		check("A-41", "16-bit code traps", attempt(jump, CODE16 * 8 + 1), 1);
		check("A-41", "as it should", snippets[i].vectors >> (trap.vector & 31) & 1, 1);
		check("A-41", "in its segment", trap.cs, CODE16 * 8 + 1);
		about("");
	}
}

u32 user_pointer16[2] USER_DATA;

static void USER_TEXT user_jump(void)
{
	asm volatile("ljmp *user_pointer16" : : : "memory");
}

static void in_user_16_bit_code(void)
{
	load_descriptor_at(USER16, FIXED, 0xffff, 0x00fa);
	*leaf(kernel_root, FIXED) |= PTE_US;
	hypercall(LHCALL_FLUSH_TLB, 1, 0, 0, 0);
	user_pointer16[1] = USER16 * 8 + 3;
	for (u32 i = 0; i < sizeof snippets / sizeof *snippets; i++) {
		place(snippets[i].bytes, snippets[i].length);
		about(snippets[i].name);
		run_user(user_jump);
		check("A-41", "in ring 3", trap.vector < 15, 1);
		check("A-41", "in its segment", trap.cs, USER16 * 8 + 3);
		about("");
	}
}

static void jump_wrapped(u32 offset)
{
	far_pointer[0] = offset;
	far_pointer[1] = WRAPPED * 8 + 1;
	asm volatile("ljmp *%0" : : "m"(far_pointer) : "memory");
}

static void emulated_at_wrapped_address(void)
{
	load_descriptor_at(WRAPPED, FIXED + 0x1000, 0xfffff, 0xc0ba);
	/* in $0x80, %al, and ud2 behind it. */
	place((const u8[]){ 0xe4, 0x80 }, 2);
	reset_trap();
	check("A-25", "an instruction of a wrapped address is carried out", attempt(jump_wrapped, 0xfffff000), 1);
	check("A-25", "up to the ud2 behind it", trap.vector, 6);
	check("A-25", "whose EIP is the offset", trap.eip, 0xfffff002);
}

static void on_16_bit_stack(u32 selector)
{
	asm volatile("movl %%esp, %%ebx\n\t"
		     "movl %%ss, %%ecx\n\t"
		     "movl %0, %%ss\n\t"
		     "int $0x1f\n\t"
		     "movl %%ecx, %%ss\n\t"
		     "movl %%ebx, %%esp" : : "r"(selector), "a"(LHCALL_FLUSH_ASYNC) : "ebx", "ecx", "memory");
}

/* Hypercalls work on any stack: they push nothing. */
static void stack_of_16_bits(void)
{
	load_descriptor_at(STACK16, 0, 0xffff, 0x00b2);
	check("A-41", "a hypercall on a 16-bit stack", attempt(on_16_bit_stack, STACK16 * 8 + 1), 0);
}

void guest_main(void)
{
	guest_init();
	in_16_bit_code();
	in_user_16_bit_code();
	emulated_at_wrapped_address();
	stack_of_16_bits();
}
