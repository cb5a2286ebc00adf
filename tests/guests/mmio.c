/* expect: stop="guest powered off" status=0 */
/*
 * Instructions on device memory: the console's registers, of which one keeps whatever 32 bits are
 * written and others are constant. Results are compared with those of the same instruction on RAM.
 */

#include "pci.h"

#define CONSOLE 1
#define FLAGS 0x8d5 /* OF SF ZF AF PF CF; AF is left out where it is undefined */
#define ARITHMETIC 0x8d5
#define LOGIC 0x8c5

static u32 device; /* BAR0 */
static volatile u32 ram;

struct result {
	u32 value, flags, reg;
};

/* One instruction with an operand in memory at ECX, a register EAX, and flags. */
#define INSTRUCTION(name, text)                                                                  \
	static struct result name(u32 at, u32 reg)                                               \
	{                                                                                        \
		u32 flags;                                                                       \
		asm volatile("stc\n\t" text "\n\tpushfl\n\tpopl %1"                              \
			     : "+a"(reg), "=d"(flags) : "c"(at) : "memory", "cc");               \
		return (struct result){ peek(at), flags & FLAGS, reg };                          \
	}

INSTRUCTION(mov_store, "movl %%eax, (%%ecx)")
INSTRUCTION(mov_load, "movl (%%ecx), %%eax")
INSTRUCTION(mov_load_16, "movw (%%ecx), %%ax")
INSTRUCTION(mov_load_8, "movb 1(%%ecx), %%ah")
INSTRUCTION(mov_immediate, "movl $0x13579bdf, (%%ecx)")
INSTRUCTION(movzx_8, "movzbl 3(%%ecx), %%eax")
INSTRUCTION(movsx_8, "movsbl 3(%%ecx), %%eax")
INSTRUCTION(movzx_16, "movzwl 2(%%ecx), %%eax")
INSTRUCTION(movsx_16, "movswl 2(%%ecx), %%eax")
INSTRUCTION(add, "addl %%eax, (%%ecx)")
INSTRUCTION(adc, "adcl %%eax, (%%ecx)")
INSTRUCTION(sub, "subl %%eax, (%%ecx)")
INSTRUCTION(sbb, "sbbl %%eax, (%%ecx)")
INSTRUCTION(sbb_load, "sbbl (%%ecx), %%eax")
INSTRUCTION(and, "andl %%eax, (%%ecx)")
INSTRUCTION(or, "orl $0x55, (%%ecx)")
INSTRUCTION(xor, "xorl %%eax, (%%ecx)")
INSTRUCTION(xor_load, "xorl (%%ecx), %%eax")
INSTRUCTION(cmp, "cmpl %%eax, (%%ecx)")
INSTRUCTION(cmp_16, "cmpw (%%ecx), %%ax")
INSTRUCTION(test, "testl %%eax, (%%ecx)")
INSTRUCTION(test_8, "testb $0x80, 3(%%ecx)")
INSTRUCTION(inc, "incl (%%ecx)")
INSTRUCTION(dec, "decl (%%ecx)")
INSTRUCTION(neg, "negl (%%ecx)")
INSTRUCTION(not, "notl (%%ecx)")
INSTRUCTION(xchg, "xchgl %%eax, (%%ecx)")

static const struct {
	const char *name;
	struct result (*run)(u32, u32);
	u32 flags;
} instructions[] = {
	{ "mov to memory", mov_store, 0 }, { "mov", mov_load, 0 }, { "mov 16", mov_load_16, 0 },
	{ "mov 8 high", mov_load_8, 0 }, { "mov immediate", mov_immediate, 0 }, { "movzx 8", movzx_8, 0 },
	{ "movsx 8", movsx_8, 0 }, { "movzx 16", movzx_16, 0 }, { "movsx 16", movsx_16, 0 },
	{ "add", add, ARITHMETIC }, { "adc", adc, ARITHMETIC }, { "sub", sub, ARITHMETIC },
	{ "sbb", sbb, ARITHMETIC }, { "sbb to register", sbb_load, ARITHMETIC }, { "and", and, LOGIC },
	{ "or", or, LOGIC }, { "xor", xor, LOGIC }, { "xor to register", xor_load, LOGIC },
	{ "cmp", cmp, ARITHMETIC }, { "cmp 16", cmp_16, ARITHMETIC }, { "test", test, LOGIC },
	{ "test 8", test_8, LOGIC }, { "inc", inc, ARITHMETIC }, { "dec", dec, ARITHMETIC },
	{ "neg", neg, ARITHMETIC }, { "not", not, 0 }, { "xchg", xchg, 0 },
};

static const u32 values[] = { 0, 1, 0x7fffffff, 0x80000000, 0x80817f01, 0xffffffff };

static void compare(u32 which)
{
	u32 differences = 0;

	for (u32 i = 0; i < 36; i++) {
		u32 value = values[i / 6], reg = values[i % 6], mask = instructions[which].flags;
		struct result here, there;

		poke(device, value);
		ram = value;
		there = instructions[which].run(device, reg);
		here = instructions[which].run((u32)&ram, reg);
		differences += there.value != here.value || there.reg != here.reg ||
			       ((there.flags ^ here.flags) & mask) != 0;
	}
	check("LG-160", instructions[which].name, differences, 0);
}

/* The same register by every kind of address. */
static void forms(void)
{
	u32 value, at = device, half = device / 2 & ~3u;

	poke(device, 0xcafe0001);
	asm volatile("movl (%1), %0" : "=r"(value) : "S"(at));
	check("LG-160", "(base)", value, 0xcafe0001);
	asm volatile("movl 0x10(%1), %0" : "=r"(value) : "D"(at - 0x10));
	check("LG-160", "disp8(base)", value, 0xcafe0001);
	asm volatile("movl -0x12345(%1), %0" : "=r"(value) : "b"(at + 0x12345));
	check("LG-160", "disp32(base)", value, 0xcafe0001);
	asm volatile("movl (%1,%2,2), %0" : "=r"(value) : "b"(at - 2 * half), "S"(half));
	check("LG-160", "(base,index,2)", value, 0xcafe0001);
	asm volatile("movl -4(%1,%2,4), %0" : "=r"(value) : "d"(at), "c"(1));
	check("LG-160", "disp8(base,index,4)", value, 0xcafe0001);
	asm volatile("movl 0x8000(,%1,8), %0" : "=r"(value) : "c"((at - 0x8000) / 8));
	check("LG-160", "disp32(,index,8)", value, 0xcafe0001);
	asm volatile("pushl %%ebp; movl %1, %%ebp; movl (%%ebp), %0; popl %%ebp" : "=a"(value) : "r"(at));
	check("LG-160", "(ebp)", value, 0xcafe0001);
	asm volatile("movl %%ds:%c1, %0" : "=r"(value) : "i"(KERNEL_WINDOW + 0x10000000 + CONSOLE * PAGE));
	check("LG-160", "absolute", value, 0xcafe0001);
	asm volatile("movl %%ds:%c1, %%eax" : "=a"(value) : "i"(KERNEL_WINDOW + 0x10000000 + CONSOLE * PAGE));
	check("LG-160", "moffs", value, 0xcafe0001);
}

static void strings(void)
{
	static u32 source[4] = { 11, 22, 33, 44 }, copy[2];
	u32 esi = (u32)source, edi = device, ecx = 1;

	asm volatile("cld; rep movsl" : "+S"(esi), "+D"(edi), "+c"(ecx) : : "memory");
	check("LG-160", "rep movs to the device", peek(device), 11);
	check("LG-160", "its count", ecx, 0);
	check("LG-160", "its destination", edi, device + 4);
	/* The read-only word behind it takes the second one without effect. */
	esi = (u32)source, edi = device, ecx = 2;
	asm volatile("rep movsl" : "+S"(esi), "+D"(edi), "+c"(ecx) : : "memory");
	check("LG-160", "rep movs of two", edi, device + 8);
	edi = device;
	asm volatile("stosl" : "+D"(edi) : "a"(77) : "memory");
	check("LG-160", "stos", peek(device), 77);
	esi = device, edi = (u32)copy;
	asm volatile("movsl" : "+S"(esi), "+D"(edi) : : "memory");
	check("LG-160", "movs from the device", copy[0], 77);
}

static void store_selector(u32 at)
{
	asm volatile("movw %%ds, (%0)" : : "r"(at) : "memory");
}

/* 13.4: what is no device's, or no instruction that reaches one, is a page fault. */
static void others_fault(void)
{
	u32 gap = KERNEL_WINDOW + 0x20000000;

	check("LG-160", "an instruction without a meaning", attempt(store_selector, device), 1);
	check("LG-160", "vector", trap.vector, 14);
	check("LG-160", "error code: a write to nothing", trap.error, 2);
	check("LG-160", "cr2", trap.cr2, device);
	set_pte(kernel_root, gap, ram_bytes() | PTE_P | PTE_RW | PTE_A | PTE_D);
	check("LG-160", "between RAM and the devices", read_traps(gap), 1);
	check("LG-160", "vector", trap.vector, 14);
	check("LG-160", "across the page's end", read_traps(gap + PAGE - 2), 1);
	check("LG-160", "behind the last register", read_traps((device & -PAGE) + 0x80), 1);
	check("LG-160", "the entry is left alone", *leaf(kernel_root, device) & (PTE_A | PTE_D), PTE_A | PTE_D);
	*leaf(kernel_root, device) &= ~(PTE_A | PTE_D);
	poke(device, 5);
	check("LG-160", "without accessed and dirty bits", *leaf(kernel_root, device) & (PTE_A | PTE_D), 0);
	*leaf(kernel_root, device) &= ~PTE_RW;
	check("LG-160", "a read-only page is read", peek(device), 5);
	check("LG-160", "and not written", write_traps(device), 1);
	check("LG-160", "error code: refused", trap.error, 3);
	check("LG-160", "ring 3 is refused", user_read_traps(device), 1);
	check("LG-160", "error code: refused", trap.error, 5);
	*leaf(kernel_root, device) |= PTE_RW;
}

static volatile u32 steps, step_eip;

static void step(struct frame *frame)
{
	steps++;
	step_eip = frame->eip;
	frame->eflags &= ~EFLAGS_TF;
}

/* a single step of an instruction that the host carries out is the guest's. */
static void single_step(void)
{
	u32 after, value;

	trap_hooks[1] = step;
	asm volatile("pushfl; orl $0x100, (%%esp); popfl\n\t"
		     "movl (%2), %0\n"
		     "1:\tmovl $1b, %1"
		     : "=&r"(value), "=r"(after) : "r"(device) : "memory", "cc");
	check("A-04", "one step", steps, 1);
	check("A-04", "behind the instruction", step_eip, after);
	check("A-04", "which was carried out", value, 5);
}

void guest_main(void)
{
	guest_init();
	device = bar_memory(CONSOLE);
	check("LG-160", "16 bits", *(volatile u16 *)(device + NUM_QUEUES), 2);
	check("LG-160", "8 bits", *(volatile u8 *)(device + DEVICE_STATUS), 0);
	for (u32 i = 0; i < sizeof instructions / sizeof *instructions; i++)
		compare(i);
	forms();
	strings();
	others_fault();
	single_step();
}
