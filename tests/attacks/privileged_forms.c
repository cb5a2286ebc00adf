/* expect: stop="guest powered off" status=0 */
/*
 * privileged instructions with every ModRM byte, behind prefixes, and of every width, in rings 1 and 3. Registers
 * hold the address of a scratch page, so that an operand in memory is the guest's own or unmapped.
 */

#include "guest.h"

#define SCRATCH USER_WINDOW
#define GP 13
#define UD 6

static u8 code[64] USER_DATA;
u32 code_address USER_DATA;
static u32 tried, wrong_vector, last_wrong, wrong_ring, wrong_flags;

/* Registers but ESP hold SCRATCH. An instruction that loads ESP ends in a trap on the stack that it chose, so none
   does. */
void run_code(void);
asm(".section .user.text, \"ax\"\n"
    "run_code:\n\t"
    "pushal\n\t"
    "movl $0x40000000, %eax\n\t"
    "movl %eax, %ecx\n\tmovl %eax, %edx\n\tmovl %eax, %ebx\n\t"
    "movl %eax, %esi\n\tmovl %eax, %edi\n\tmovl %eax, %ebp\n\t"
    "call *code_address\n\t"
    "popal\n\t"
    "ret\n\t"
    ".text");

static void as_kernel(u32 unused)
{
	(void)unused;
	run_code();
}

static u32 is_expected(u32 vectors)
{
	return trap.vector < 32 && vectors >> trap.vector & 1;
}

static void wrong(u32 length)
{
	wrong_vector++;
	last_wrong = length > 3 ? code[1] << 16 | code[2] << 8 | code[3] : code[0] << 16 | code[1] << 8 | code[2];
}

/* What the guest may not have after it, whether it was refused or carried out. */
static void state(void)
{
	u32 cs;

	asm volatile("movl %%cs, %0" : "=r"(cs));
	wrong_ring += cs != KERNEL_CS;
	wrong_flags += (read_eflags() & (EFLAGS_IF | EFLAGS_IOPL | EFLAGS_NT | EFLAGS_VM)) != EFLAGS_IF;
}

#define NOTHING (1u << 31)
#define PF (1 << 14)
#define PROTECTED (1 << GP)
#define UNKNOWN (1 << UD)

/* `ring1` and `ring3`: vectors that may come; NOTHING for none. */
static void try_with_room(const u8 *bytes, u32 length, u32 room, u32 ring1, u32 ring3)
{
	for (u32 i = 0; i < length; i++)
		code[i] = bytes[i];
	for (u32 i = length; i < length + room; i++)
		code[i] = 0;
	code[length + room] = 0xc3;
	reset_trap();
	run_user(run_code);
	if (!(trap.vector == SYSCALL_VECTOR ? ring3 & NOTHING : is_expected(ring3)))
		wrong(length);
	reset_trap();
	if (!(attempt(as_kernel, 0) ? is_expected(ring1) : ring1 & NOTHING))
		wrong(length);
	state();
	tried++;
}

static void try(const u8 *bytes, u32 length, u32 ring1, u32 ring3)
{
	try_with_room(bytes, length, 0, ring1, ring3);
}

/* Behind an operand in memory stand zeros, as many as a SIB byte and a displacement can be; what is left of them is
   `addb %al, (%eax)`, which the scratch page takes. */
static void every_form(u32 prefix, u32 opcode, u32 group_mask, u32 ring1, u32 ring3)
{
	for (u32 modrm = 0; modrm < 256; modrm++) {
		u8 bytes[4] = { prefix, 0x0f, opcode, modrm };

		if (!(group_mask >> (modrm >> 3 & 7) & 1))
			continue;
		/* rdtscp, where there is one, is everybody's like rdtsc. */
		if (opcode == 0x01 && modrm == 0xf9)
			continue;
		if (prefix)
			try_with_room(bytes, 4, modrm < 0xc0 ? 5 : 0, ring1, ring3);
		else
			try_with_room(bytes + 1, 3, modrm < 0xc0 ? 5 : 0, ring1, ring3);
	}
}

/* A move from a control or debug register to ESP would lose the stack: those with rm = 4 are left out. */
static void moves(u32 opcode, u32 ring1)
{
	for (u32 modrm = 0; modrm < 256; modrm++) {
		u8 bytes[3] = { 0x0f, opcode, modrm };

		if ((modrm & 7) != 4)
			try(bytes, 3, ring1, PROTECTED | UNKNOWN);
	}
}

static void said(const char *what)
{
	about(what);
	check("A-11", "tried", tried != 0, 1);
	check("A-11", "other traps than there should be", wrong_vector, 0);
	check("A-11", "the last of them", last_wrong, 0);
	check("A-11", "out of ring 1", wrong_ring, 0);
	check("A-11", "real IF, IOPL, NT or VM changed", wrong_flags, 0);
	about("");
	tried = wrong_vector = last_wrong = wrong_ring = wrong_flags = 0;
}

static void bytes_1(u32 opcode, u32 ring1)
{
	static const u8 prefixes[] = { 0x66, 0xf2, 0xf3, 0x2e, 0x65, 0x67 };
	u8 bytes[2] = { opcode, 0 };

	try(bytes, 1, ring1, PROTECTED);
	for (u32 i = 0; i < sizeof prefixes; i++) {
		u8 both[2] = { prefixes[i], opcode };

		try(both, 2, ring1, PROTECTED);
	}
}

void guest_main(void)
{
	guest_init();
	code_address = (u32)code;
	*leaf(kernel_root, SCRATCH) = allocate_page() | PTE_P | PTE_RW | PTE_US;

	/* lldt, ltr and what has no meaning; sldt, str, verr and verw are nobody's secret. */
	every_form(0, 0x00, 0x0c, PROTECTED | UNKNOWN | PF, PROTECTED | UNKNOWN | PF);
	every_form(0x66, 0x00, 0x0c, PROTECTED | UNKNOWN | PF, PROTECTED | UNKNOWN | PF);
	said("group 6");
	/* lgdt, lidt, lmsw, invlpg, and in their place with a register VMX, SVM and others. */
	every_form(0, 0x01, 0xcc, PROTECTED | UNKNOWN | PF | NOTHING, PROTECTED | UNKNOWN | PF);
	every_form(0x66, 0x01, 0xcc, PROTECTED | UNKNOWN | PF | NOTHING, PROTECTED | UNKNOWN | PF);
	said("group 7");
	moves(0x20, PROTECTED | UNKNOWN | NOTHING);
	moves(0x22, PROTECTED | UNKNOWN | NOTHING);
	said("mov cr");
	moves(0x21, PROTECTED | UNKNOWN | NOTHING);
	moves(0x23, PROTECTED | UNKNOWN | NOTHING);
	said("mov dr");
	for (u32 opcode = 0x06; opcode <= 0x0b; opcode++) {
		u8 bytes[2] = { 0x0f, opcode };

		/* clts, sysret, invd, wbinvd, and two that do not exist. */
		try(bytes, 2, PROTECTED | UNKNOWN | NOTHING, PROTECTED | UNKNOWN);
	}
	said("0f 06 to 0f 0b");
	for (u32 opcode = 0x30; opcode <= 0x37; opcode++) {
		u8 bytes[2] = { 0x0f, opcode };

		/* wrmsr, rdtsc, rdmsr, rdpmc, sysenter, sysexit: only rdtsc is everybody's. */
		if (opcode != 0x31)
			try(bytes, 2, PROTECTED | UNKNOWN, PROTECTED | UNKNOWN);
	}
	said("0f 30 to 0f 37");
	bytes_1(0xfa, PROTECTED | NOTHING);
	bytes_1(0xfb, PROTECTED | NOTHING);
	said("cli and sti");
	for (u32 opcode = 0xec; opcode <= 0xef; opcode++)
		bytes_1(opcode, PROTECTED | NOTHING);
	said("in and out by DX");
	for (u32 opcode = 0x6c; opcode <= 0x6f; opcode++)
		bytes_1(opcode, PROTECTED | NOTHING);
	said("ins and outs");
}
