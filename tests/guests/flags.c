/* expect: stop="guest powered off" status=0 */
/* EFLAGS: what a guest may have of its own, what it never gets, and single-stepping. */

#include "guest.h"

/* Sets EFLAGS as far as ring 1 can, makes a call, and reads them. */
static u32 flags_across_call(u32 flags)
{
	u32 after;

	asm volatile("pushl %1\n\tpopfl\n\tint $0x1f\n\tpushfl\n\tpopl %0\n\tpushl $2\n\tpopfl"
		     : "=r"(after) : "r"(flags), "a"(LHCALL_FLUSH_ASYNC) : "cc", "memory");
	return after;
}

#define NOT_THE_GUESTS (EFLAGS_IOPL | EFLAGS_VM | EFLAGS_NT | 1 << 16 | 1 << 19 | 1 << 20)

static void hygiene(void)
{
	u32 own = 0x8d5 | EFLAGS_DF | EFLAGS_AC | 1 << 21;

	check("A-06", "DF over a call", flags_across_call(EFLAGS_DF) & EFLAGS_DF, EFLAGS_DF);
	check("A-03", "the guest's own flags survive", flags_across_call(own) & own, own);
	check("A-03", "and can be off", flags_across_call(0) & own, 0);
	check("A-03", "the others do not get through", flags_across_call(~(EFLAGS_TF)) & (NOT_THE_GUESTS), 0);
	check("LG-128", "IF stays on", flags_across_call(0) & EFLAGS_IF, EFLAGS_IF);
}

/* iret at ring 1 to the next instruction with these flags; VM has its own kill. */
static u32 flags_across_iret(u32 flags)
{
	u32 after;

	asm volatile("pushl %1\n\tpushl %2\n\tpushl $1f\n\tiret\n1:\tint $0x1f\n\t"
		     "pushfl\n\tpopl %0\n\tpushl $2\n\tpopfl"
		     : "=&r"(after) : "r"(flags), "i"(KERNEL_CS), "a"(LHCALL_FLUSH_ASYNC) : "cc", "memory");
	return after;
}

static void forged(void)
{
	check("A-03", "iret cannot raise IOPL", flags_across_iret(EFLAGS_IOPL) & EFLAGS_IOPL, 0);
	check("A-03", "iret cannot clear IF", flags_across_iret(0) & EFLAGS_IF, EFLAGS_IF);
	check("A-03", "iret with VIF, VIP, RF, NT",
	      flags_across_iret(1 << 20 | 1 << 19 | 1 << 16 | EFLAGS_NT) & NOT_THE_GUESTS, 0);
}

static void cli(u32 unused)
{
	(void)unused;
	asm volatile("cli");
}

static void sti(u32 unused)
{
	(void)unused;
	asm volatile("sti");
}

static void cli_and_sti(void)
{
	check("LG-129", "cli is skipped", attempt(cli, 0), 0);
	check("LG-129", "real IF after cli", read_eflags() & EFLAGS_IF, EFLAGS_IF);
	check("LG-129", "sti is skipped", attempt(sti, 0), 0);
	lguest_data.irq_enabled = 0;
}

/* A handler finds the host's choice of flags, not those of the code that trapped. */
static void trap_with_flags(u32 flags)
{
	asm volatile("pushl %0\n\tpopfl\n\tud2" : : "r"(flags) : "cc");
}

static void handlers(void)
{
	reset_trap();
	attempt(trap_with_flags, EFLAGS_DF | EFLAGS_AC | EFLAGS_NT | 0x8d5);
	check("LG-127", "NT and TF in the handler", trap.live_eflags & (EFLAGS_NT | EFLAGS_TF), 0);
	check("LG-122", "DF, AC in the frame", trap.eflags & (EFLAGS_DF | EFLAGS_AC), EFLAGS_DF | EFLAGS_AC);
	check("LG-128", "IF and IOPL in the handler", trap.live_eflags & (EFLAGS_IF | EFLAGS_IOPL), EFLAGS_IF);
}

#define STEPS 8
static u32 steps[STEPS], step_count;
extern char step_nop[], step_call[], step_in[], step_demand[], step_end[];

/* Logs where each step stopped; the last one ends the stepping. */
static void step(struct frame *frame)
{
	if (step_count < STEPS)
		steps[step_count] = frame->eip;
	if (step_count++ == STEPS || frame->eip == (u32)step_end)
		frame->eflags &= ~EFLAGS_TF;
}

/* each instruction is one step of the guest's, whether or not it took the host to do it. */
static void single_step(void)
{
	u32 page = allocate_page();

	*leaf(kernel_root, USER_WINDOW) = page | PTE_P | PTE_RW;
	trap_hooks[1] = step;
	asm volatile("pushfl\n\t"
		     "orl $0x100, (%%esp)\n\t"
		     "popfl\n\t"
		     "nop\n"
		     "step_nop:\n\t"
		     "int $0x1f\n"
		     "step_call:\n\t"
		     "inb $0x80, %%al\n"
		     "step_in:\n\t"
		     "movl (%1), %%eax\n"
		     "step_demand:\n\t"
		     "nop\n"
		     "step_end:\n\t"
		     "nop"
		     : : "a"(LHCALL_FLUSH_ASYNC), "r"(USER_WINDOW) : "memory", "cc");
	trap_hooks[1] = 0;
	check("A-04", "steps", step_count, 5);
	check("A-04", "behind nop", steps[0], (u32)step_nop);
	check("A-04", "behind the hypercall", steps[1], (u32)step_call);
	check("A-04", "behind an emulated in", steps[2], (u32)step_in);
	check("A-04", "behind a demand fault", steps[3], (u32)step_demand);
	check("A-04", "and on", steps[4], (u32)step_end);
}

static void hypercall_in_stack_shadow(u32 unused)
{
	(void)unused;
	asm volatile("movl %%ss, %%ecx\n\tmovl %%ecx, %%ss\n\tint $0x1f" : : "a"(LHCALL_FLUSH_ASYNC) : "ecx");
}

static void breakpoint_in_stack_shadow(u32 unused)
{
	(void)unused;
	asm volatile("movl %%ss, %%ecx\n\tpushl %%ecx\n\tpopl %%ss\n\tint3" : : : "ecx");
}

static void USER_TEXT user_syscall_in_stack_shadow(void)
{
	asm volatile("movl %%ss, %%ecx\n\tpushfl\n\torl $0x100, (%%esp)\n\tpopfl\n\t"
		     "movl %%ecx, %%ss\n\tint $0x80" : : : "ecx");
}

/* with an exception held back by a load of SS, the next instruction enters the host. */
static void stack_shadow(void)
{
	reset_trap();
	check("A-05", "int 0x1f behind mov ss", attempt(hypercall_in_stack_shadow, 0), 0);
	check("A-05", "int3 behind pop ss", attempt(breakpoint_in_stack_shadow, 0), 1);
	check("A-05", "vector", trap.vector, 3);
	/* Whether the step or the call is first depends on the processor; both are the guest's. */
	u32 vector = run_user(user_syscall_in_stack_shadow);
	check("A-05", "int 0x80 behind mov ss with TF", vector == 1 || vector == SYSCALL_VECTOR, 1);
}

void guest_main(void)
{
	guest_init();
	hygiene();
	forged();
	cli_and_sti();
	handlers();
	single_step();
	stack_shadow();
}
