/* expect: stop="guest powered off" status=0 */
/*
 * A-09, LG-183: whatever arrives for the host between any two instructions, the guest notices nothing.
 * Each round takes every kind of exit with known values in all registers, and looks at them after it.
 * With case=endless on the command line the rounds have no end.
 */

#include "guest.h"

#define ROUNDS 20000

/* EAX only where the exit has no use for it. */
#define EAX_VALUE 0xa0a1a2a3
#define EBX_VALUE 0xb0b1b2b3
#define ECX_VALUE 0xc0c1c2c3
#define EDX_VALUE 0xd0d1d2d3
#define ESI_VALUE 0xe0e1e2e3
#define EDI_VALUE 0xf0f1f2f3
#define EBP_VALUE 0x90919293
/* CF, PF, AF, ZF, SF, DF, OF. */
#define FLAGS 0xcd5

#define STRING(x) #x
#define VALUE(x) STRING(x)

/*
 * u32 <name>(u32 eax): loads all registers, runs the instruction, and returns 0 if all but EAX are as
 * before, flags included.
 */
#define EXIT(name, section, instruction)                                     \
	asm(".section " section ", \"ax\"\n" #name ":\n"                     \
	    "pushl %ebp\n pushl %ebx\n pushl %esi\n pushl %edi\n"            \
	    "movl 20(%esp), %eax\n"                                          \
	    "movl $" VALUE(EBX_VALUE) ", %ebx\n"                             \
	    "movl $" VALUE(ECX_VALUE) ", %ecx\n"                             \
	    "movl $" VALUE(EDX_VALUE) ", %edx\n"                             \
	    "movl $" VALUE(ESI_VALUE) ", %esi\n"                             \
	    "movl $" VALUE(EDI_VALUE) ", %edi\n"                             \
	    "movl $" VALUE(EBP_VALUE) ", %ebp\n"                             \
	    "pushl $" VALUE(FLAGS) "\n popfl\n"                              \
	    instruction "\n"                                                 \
	    "pushfl\n cld\n"                                                 \
	    "xorl $" VALUE(EBX_VALUE) ", %ebx\n"                             \
	    "xorl $" VALUE(ECX_VALUE) ", %ecx\n orl %ecx, %ebx\n"            \
	    "xorl $" VALUE(EDX_VALUE) ", %edx\n orl %edx, %ebx\n"            \
	    "xorl $" VALUE(ESI_VALUE) ", %esi\n orl %esi, %ebx\n"            \
	    "xorl $" VALUE(EDI_VALUE) ", %edi\n orl %edi, %ebx\n"            \
	    "xorl $" VALUE(EBP_VALUE) ", %ebp\n orl %ebp, %ebx\n"            \
	    "popl %ecx\n andl $" VALUE(FLAGS) ", %ecx\n"                     \
	    "xorl $" VALUE(FLAGS) ", %ecx\n orl %ecx, %ebx\n"                \
	    "movl %ds, %ecx\n movl %es, %edx\n xorl %edx, %ecx\n"            \
	    "orl %ecx, %ebx\n"                                               \
	    "movl %ebx, %eax\n"                                              \
	    "popl %edi\n popl %esi\n popl %ebx\n popl %ebp\n ret\n .text\n"); \
	extern u32 name(u32 eax);

EXIT(call_exit, ".text", "int $0x1f")
EXIT(fault_exit, ".text", "movl (%eax), %eax")
EXIT(port_exit, ".text", "inb $0x80, %al")
EXIT(trap_exit, ".text", "int3")
EXIT(no_exit, ".text",
     "movl $200, %ecx\n1: leal -1(%ecx), %ecx\n jecxz 2f\n jmp 1b\n2: movl $" VALUE(ECX_VALUE) ", %ecx")
EXIT(system_call, ".user.text", "int $0x80")

static u32 user_changed USER_DATA;
static u32 handled, system_calls;

static void USER_TEXT user(void)
{
	user_changed |= system_call(EAX_VALUE);
}

static void handle(struct frame *frame)
{
	(void)frame;
	handled++;
}

/* Returns to the first one; the next, which ends the run, is nobody's. */
static void system_call_hook(struct frame *frame)
{
	(void)frame;
	system_calls++;
	trap_hooks[SYSCALL_VECTOR] = 0;
}

static const u32 xmm_values[8][4] __attribute__((aligned(16))) = {
	{ 1, 2, 3, 4 }, { 5, 6, 7, 8 }, { 9, 10, 11, 12 }, { 13, 14, 15, 16 },
	{ 17, 18, 19, 20 }, { 21, 22, 23, 24 }, { 25, 26, 27, 28 }, { 29, 30, 31, 32 },
};

static void load_xmm(void)
{
	asm volatile("movaps 0x00(%0), %%xmm0\n\tmovaps 0x10(%0), %%xmm1\n\t"
		     "movaps 0x20(%0), %%xmm2\n\tmovaps 0x30(%0), %%xmm3\n\t"
		     "movaps 0x40(%0), %%xmm4\n\tmovaps 0x50(%0), %%xmm5\n\t"
		     "movaps 0x60(%0), %%xmm6\n\tmovaps 0x70(%0), %%xmm7"
		     : : "r"(xmm_values));
}

static u32 xmm_changed(void)
{
	static u32 now[8][4] __attribute__((aligned(16)));
	u32 changed = 0;

	asm volatile("movaps %%xmm0, 0x00(%0)\n\tmovaps %%xmm1, 0x10(%0)\n\t"
		     "movaps %%xmm2, 0x20(%0)\n\tmovaps %%xmm3, 0x30(%0)\n\t"
		     "movaps %%xmm4, 0x40(%0)\n\tmovaps %%xmm5, 0x50(%0)\n\t"
		     "movaps %%xmm6, 0x60(%0)\n\tmovaps %%xmm7, 0x70(%0)"
		     : : "r"(now) : "memory");
	for (u32 i = 0; i < 8; i++)
		for (u32 j = 0; j < 4; j++)
			changed |= now[i][j] ^ xmm_values[i][j];
	return changed;
}

void guest_main(void)
{
	u32 calls = 0, faults = 0, ports = 0, traps = 0, none = 0, xmm = 0, counted = 0;
	u32 page, endless = command_line_case()[0] == 'e';

	guest_init();
	page = allocate_page();
	trap_hooks[3] = handle;
	load_xmm();
	print("counting\n");
	for (u32 i = 0; endless || i < ROUNDS; i++) {
		calls |= call_exit(LHCALL_FLUSH_ASYNC);
		/* Announced as absent first, so that the read is a demand fault every time. */
		set_pte(kernel_root, USER_WINDOW, 0);
		*leaf(kernel_root, USER_WINDOW) = page | PTE_P | PTE_RW;
		faults |= fault_exit(USER_WINDOW);
		ports |= port_exit(EAX_VALUE);
		traps |= trap_exit(EAX_VALUE);
		none |= no_exit(EAX_VALUE);
		trap_hooks[SYSCALL_VECTOR] = system_call_hook;
		run_user(user);
		xmm |= xmm_changed();
		counted++;
	}
	check("A-09", "hypercalls", calls, 0);
	check("A-09", "demand faults", faults, 0);
	check("A-09", "port accesses", ports, 0);
	check("A-09", "reflected traps", traps, 0);
	check("A-09", "no exit at all", none, 0);
	check("A-09", "system calls of ring 3", user_changed, 0);
	check("A-09", "XMM registers", xmm, 0);
	check("LG-183", "rounds", counted, ROUNDS);
	check("LG-183", "reflected traps, each once", handled, ROUNDS);
	check("LG-183", "system calls, each once", system_calls, ROUNDS);
}
