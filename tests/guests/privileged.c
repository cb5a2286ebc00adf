/* expect: stop="guest powered off" status=0 */
/* privileged instructions. Ring 3 always faults; ring 1 faults or gets a virtual meaning. */

#include "guest.h"

#define GP 13
#define UD 6

struct instruction {
	const char *name;
	void (*run)(void);
	enum { REFLECTED, VIRTUAL } ring1; /* VIRTUAL: the host may carry it out in ring 1 */
};

/* EAX and ECX hold zero and (%esp) a word of the stack; what is written there is of no use. */
#define INSTRUCTION(symbol, text)                                      \
	asm(".section .user.text, \"ax\"\n" #symbol ":\n"              \
	    "xorl %eax, %eax\n xorl %ecx, %ecx\n xorl %edx, %edx\n"    \
	    text "\n ret\n .text\n");                                  \
	extern void symbol(void);

INSTRUCTION(p_lgdt, "lgdt -8(%esp)")
INSTRUCTION(p_lidt, "lidt -8(%esp)")
INSTRUCTION(p_lldt, "lldt %ax")
INSTRUCTION(p_ltr, "ltr %ax")
INSTRUCTION(p_lmsw, "lmsw %ax")
INSTRUCTION(p_clts, "clts")
INSTRUCTION(p_invd, "invd")
INSTRUCTION(p_wbinvd, "wbinvd")
INSTRUCTION(p_invlpg, "invlpg (%esp)")
INSTRUCTION(p_read_cr0, "movl %cr0, %ebx")
INSTRUCTION(p_read_cr2, "movl %cr2, %ebx")
INSTRUCTION(p_read_cr3, "movl %cr3, %ebx")
INSTRUCTION(p_read_cr4, "movl %cr4, %ebx")
INSTRUCTION(p_write_cr0, "movl %eax, %cr0")
INSTRUCTION(p_write_cr3, "movl %eax, %cr3")
INSTRUCTION(p_write_cr4, "movl %eax, %cr4")
INSTRUCTION(p_read_dr7, "movl %dr7, %ebx")
INSTRUCTION(p_write_dr7, "movl %eax, %dr7")
INSTRUCTION(p_rdmsr, "movl $0x1b, %ecx\n rdmsr")
INSTRUCTION(p_wrmsr, "movl $0x1b, %ecx\n wrmsr")
INSTRUCTION(p_wrmsr_efer, "movl $0xc0000080, %ecx\n wrmsr")
INSTRUCTION(p_hlt, "hlt")
INSTRUCTION(p_cli, "cli")
INSTRUCTION(p_sti, "sti")
INSTRUCTION(p_ins, "insb")
INSTRUCTION(p_outs, "outsb")
INSTRUCTION(p_sysexit, "sysexit")
INSTRUCTION(p_sysenter, "sysenter")
INSTRUCTION(p_syscall, "syscall")
INSTRUCTION(p_sysret, "sysret")
INSTRUCTION(p_vmcall, ".byte 0x0f, 0x01, 0xc1")
INSTRUCTION(p_rsm, "rsm")
INSTRUCTION(p_ud0, ".byte 0x0f, 0xff, 0xc0")
INSTRUCTION(p_swapgs, ".byte 0x0f, 0x01, 0xf8")

static const struct instruction instructions[] = {
	{ "lgdt", p_lgdt, REFLECTED },
	{ "lidt", p_lidt, REFLECTED },
	{ "lldt", p_lldt, REFLECTED },
	{ "ltr", p_ltr, REFLECTED },
	{ "lmsw", p_lmsw, REFLECTED },
	{ "clts", p_clts, VIRTUAL },
	{ "invd", p_invd, VIRTUAL },
	{ "wbinvd", p_wbinvd, VIRTUAL },
	{ "invlpg", p_invlpg, VIRTUAL },
	{ "mov from cr0", p_read_cr0, VIRTUAL },
	{ "mov from cr2", p_read_cr2, VIRTUAL },
	{ "mov from cr3", p_read_cr3, VIRTUAL },
	{ "mov from cr4", p_read_cr4, VIRTUAL },
	{ "mov to cr0", p_write_cr0, VIRTUAL },
	{ "mov to cr3", p_write_cr3, VIRTUAL },
	{ "mov to cr4", p_write_cr4, VIRTUAL },
	{ "mov from dr7", p_read_dr7, VIRTUAL },
	{ "mov to dr7", p_write_dr7, VIRTUAL },
	{ "rdmsr", p_rdmsr, REFLECTED },
	{ "wrmsr", p_wrmsr, REFLECTED },
	{ "wrmsr EFER", p_wrmsr_efer, REFLECTED },
	{ "cli", p_cli, VIRTUAL },
	{ "sti", p_sti, VIRTUAL },
	{ "ins", p_ins, REFLECTED },
	{ "outs", p_outs, REFLECTED },
};

static void call(u32 index)
{
	instructions[index].run();
}

static void privileged(u32 index)
{
	const struct instruction *i = &instructions[index];
	u32 trapped;

	about(i->name);
	check("A-11", "ring 3: vector", run_user(i->run), GP);
	check("A-11", "ring 3: error code", trap.error, 0);
	reset_trap();
	trapped = attempt(call, index);
	if (i->ring1 == REFLECTED)
		check("LG-155", "ring 1: traps", trapped, 1);
	check("A-11", "ring 1: #GP(0) or a virtual meaning", !trapped || (trap.vector == GP && trap.error == 0), 1);
	check("LG-128", "ring 1: real IF and IOPL", read_eflags() & (EFLAGS_IF | EFLAGS_IOPL), EFLAGS_IF);
	about("");
}

/* Not the same vector on all processors, but always a fault of the guest's (LG-132). */
static void fast_calls(const char *name, void (*run)(void))
{
	u32 vector = run_user(run);

	about(name);
	check("LG-132", "ring 3: #UD or #GP", vector == UD || vector == GP, 1);
	reset_trap();
	attempt((void (*)(u32))run, 0);
	check("LG-132", "ring 1: #UD or #GP", trap.vector == UD || trap.vector == GP, 1);
	about("");
}

static void halt(u32 unused)
{
	(void)unused;
	p_hlt();
}

static void tick(struct frame *frame)
{
	(void)frame;
}

/* A17: with interrupts on, hlt is HALT. The deadline is far enough to be still ahead at the hlt. */
static void hlt(void)
{
	about("hlt");
	check("A-11", "ring 3: vector", run_user(p_hlt), GP);
	lguest_data.blocked_interrupts = 0;
	lguest_data.irq_enabled = EFLAGS_IF;
	trap_hooks[FIRST_IRQ_VECTOR] = tick;
	hypercall(LHCALL_SET_CLOCKEVENT, 20000000, 0, 0, 0);
	reset_trap();
	check("A-11", "ring 1: traps", attempt(halt, 0), 0);
	check("A-11", "ring 1: woken by the timer", trap.vector, FIRST_IRQ_VECTOR);
	about("");
}

void guest_main(void)
{
	guest_init();
	for (u32 i = 0; i < sizeof instructions / sizeof instructions[0]; i++)
		privileged(i);
	hlt();
	fast_calls("syscall", p_syscall);
	fast_calls("sysret", p_sysret);
	fast_calls("sysenter", p_sysenter);
	fast_calls("sysexit", p_sysexit);
#if !HAS_VMCALL
	fast_calls("vmcall", p_vmcall);
#endif
	fast_calls("rsm", p_rsm);
	fast_calls("swapgs", p_swapgs);
	fast_calls("ud0", p_ud0);
}
