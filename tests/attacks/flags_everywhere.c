/* expect: stop="guest powered off" status=0 */
/* DF, TF and forged flags on every kind of exit; garbage in every FPU register; loads of SS before traps. */

#include "guest.h"

#define TIMER FIRST_IRQ_VECTOR

/* ---- DF ----------------------------------------------------------------------------- */

static u32 table[6];

/* DF is set by one instruction and the exit comes with the next; whether it still is set behind it. */
#define WITH_DF(name, text)                                                                      \
	static u32 name(u32 eax, u32 ebx, u32 ecx)                                               \
	{                                                                                        \
		u32 flags;                                                                       \
		asm volatile("std\n\t" text "\n\tpushfl\n\tcld\n\tpopl %0"                       \
			     : "=S"(flags), "+a"(eax), "+b"(ebx), "+c"(ecx) : : "memory", "cc", "edx"); \
		return flags & EFLAGS_DF;                                                        \
	}

WITH_DF(df_call, "int $0x1f")
WITH_DF(df_read, "movl (%%ebx), %%eax")
WITH_DF(df_write, "movl %%eax, (%%ebx)")
WITH_DF(df_in, "movl %%ebx, %%edx\n\tinl %%dx, %%eax")
WITH_DF(df_out, "movl %%ebx, %%edx\n\toutl %%eax, %%dx")
WITH_DF(df_cr0, "movl %%cr0, %%eax")

static void df_everywhere(void)
{
	u32 page = allocate_page();

	check("A-06", "FLUSH_ASYNC", df_call(LHCALL_FLUSH_ASYNC, 0, 0), EFLAGS_DF);
	check("A-06", "LOAD_TLS, which copies", df_call(LHCALL_LOAD_TLS, (u32)table, 0), EFLAGS_DF);
	check("A-06", "FLUSH_TLB, which frees and builds", df_call(LHCALL_FLUSH_TLB, 1, 0), EFLAGS_DF);
	for (u32 slot = 0; slot < RING_SLOTS; slot++)
		ring_write(slot, LHCALL_LOAD_TLS, (u32)table, 0, 0, 0);
	check("A-06", "a full ring", df_call(LHCALL_FLUSH_ASYNC, 0, 0), EFLAGS_DF);
	*leaf(kernel_root, USER_WINDOW) = page | PTE_P | PTE_RW;
	check("A-06", "a demand fault", df_read(0, USER_WINDOW, 0), EFLAGS_DF);
	check("A-06", "the first write", df_write(7, USER_WINDOW, 0), EFLAGS_DF);
	check("A-06", "it arrived", peek(page), 7);
	check("A-06", "in", df_in(0, 0xcf8, 0), EFLAGS_DF);
	check("A-06", "out", df_out(0x80000000, 0xcf8, 0), EFLAGS_DF);
	check("A-06", "mov from CR0", df_cr0(0, 0, 0), EFLAGS_DF);
}

static void trap_with_df(u32 address)
{
	asm volatile("std\n\tmovl (%0), %%eax" : : "r"(address) : "eax", "cc");
}

static u32 ticks, tick_flags;

static void tick(struct frame *frame)
{
	ticks++;
	tick_flags = frame->eflags;
}

static void spin_with_df(void)
{
	lguest_data.blocked_interrupts = 0;
	lguest_data.irq_enabled = EFLAGS_IF;
	trap_hooks[TIMER] = tick;
	hypercall(LHCALL_SET_CLOCKEVENT, 100000, 0, 0, 0);
	asm volatile("std\n1:\tcmpl $0, %0\n\tje 1b\n\tcld" : : "m"(ticks) : "cc");
	lguest_data.irq_enabled = 0;
}

static void df_in_frames(void)
{
	reset_trap();
	attempt(trap_with_df, 0x60000000);
	check("A-06", "in the frame of a page fault", trap.eflags & EFLAGS_DF, EFLAGS_DF);
	spin_with_df();
	check("A-06", "in the frame of an interrupt", tick_flags & EFLAGS_DF, EFLAGS_DF);
}

/* ---- forged flags in the frame that a folded iret would have popped ----------------- */

#define FORGED (EFLAGS_IOPL | EFLAGS_VM | EFLAGS_NT | 1 << 16 | 1 << 19 | 1 << 20)

static u32 folded_flags;

static void catch_fold(struct frame *frame)
{
	ticks++;
	folded_flags = trap.live_eflags;
	frame->eflags = EFLAGS_ONE;
}

/* Runs up to the iret at which interrupts are on already, with one that waits: the host takes it there. */
static void fold(u32 flags)
{
	ticks = 0;
	trap_hooks[TIMER] = catch_fold;
	lguest_data.irq_enabled = 0;
	hypercall(LHCALL_SET_CLOCKEVENT, 1000, 0, 0, 0);
	while (!(lguest_data.irq_pending & EFLAGS_IF))
		asm volatile("" : : : "memory");
	asm volatile("pushl %0\n\tpushl %1\n\tpushl $2f\n\t"
		     "movl $noirq_iret, %%eax\n\t"
		     "movl $0x200, %2\n\t"
		     "jmp *%%eax\n"
		     "2:" : : "r"(flags), "i"(KERNEL_CS), "m"(lguest_data) : "eax", "memory", "cc");
	lguest_data.irq_enabled = 0;
}

static void forged_in_fold(void)
{
	fold(EFLAGS_ONE | EFLAGS_IOPL | EFLAGS_NT | 1 << 16 | 1 << 19 | 1 << 20);
	check("A-03", "flags of a popped or folded frame", folded_flags & FORGED, 0);
	check("A-03", "and real IF", read_eflags() & EFLAGS_IF, EFLAGS_IF);
}

/* ---- TF ------------------------------------------------------------------------------ */

static u32 steps;

static void step(struct frame *frame)
{
	if (++steps > 100000 || !(frame->eflags & EFLAGS_TF))
		frame->eflags &= ~EFLAGS_TF;
}

static u32 syscalls, user_done USER_DATA;

static void syscall(struct frame *frame)
{
	(void)frame;
	syscalls++;
}

static void USER_TEXT user_steps(void)
{
	asm volatile("pushfl\n\torl $0x100, (%%esp)\n\tpopfl\n\t"
		     "movl $20, %%ecx\n"
		     "1:\tint $0x80\n\t"
		     "decl %%ecx\n\t"
		     "jnz 1b\n\t"
		     "movl $1, user_done\n\t"
		     "pushfl\n\tandl $~0x100, (%%esp)\n\tpopfl\n\tud2" : : : "ecx", "memory", "cc");
}

static void stepped(void)
{
	trap_hooks[1] = step;
	trap_hooks[SYSCALL_VECTOR] = syscall;
	check("A-04", "ring 3 under TF gets to its end", run_user(user_steps), 6);
	check("A-04", "it made its calls", syscalls, 20);
	check("A-04", "and was at the end", user_done, 1);
	check("A-04", "steps are its own: two or three a round and some", steps >= 40 && steps < 80, 1);
	trap_hooks[SYSCALL_VECTOR] = 0;
	steps = 0;
	for (u32 i = 0; i < 20; i++) {
		*leaf(kernel_root, USER_WINDOW + PAGE + i * PAGE) = 0x1000 | PTE_P;
		asm volatile("pushfl\n\torl $0x100, (%%esp)\n\tpopfl\n\tmovl (%0), %%eax\n\t"
			     "pushfl\n\tandl $~0x100, (%%esp)\n\tpopfl"
			     : : "r"(USER_WINDOW + PAGE + i * PAGE) : "eax", "memory", "cc");
	}
	check("A-04", "demand faults under TF are no steps", steps, 20 * 4);
	trap_hooks[1] = 0;
}

/* ---- a debug trap that waits behind a load of SS ------------------------------------- */

#define SHADOWED(name, load, trap)                                                               \
	static void USER_TEXT name(void)                                                         \
	{                                                                                        \
		asm volatile("movl %%ss, %%ecx\n\tpushl %%ecx\n\tpushfl\n\torl $0x100, (%%esp)\n\tpopfl\n\t" \
			     load "\n\t" trap : : "a"(LHCALL_FLUSH_ASYNC) : "ecx", "memory", "cc"); \
	}

SHADOWED(mov_syscall, "movl %%ecx, %%ss", "int $0x80")
SHADOWED(pop_syscall, "popl %%ss", "int $0x80")
SHADOWED(mov_int3, "movl %%ecx, %%ss", "int3")
SHADOWED(pop_int3, "popl %%ss", "int3")
SHADOWED(mov_call, "movl %%ecx, %%ss", "int $0x1f")
SHADOWED(pop_ud2, "popl %%ss", "ud2")
SHADOWED(mov_fault, "movl %%ecx, %%ss", "movl 0x60000000, %%eax")
SHADOWED(pop_in, "popl %%ss", "inb $0x80, %%al")

static void as_kernel(u32 function)
{
	((void (*)(void))function)();
}

static void in_shadow(const char *name, void (*function)(void))
{
	u32 vector;

	about(name);
	vector = run_user(function);
	check("A-05", "from ring 3, a trap of the guest's", vector < 15 || vector == SYSCALL_VECTOR, 1);
	check("A-05", "in its own code", trap.cs, USER_CS);
	reset_trap();
	attempt(as_kernel, (u32)function);
	check("A-05", "from ring 1", trap.vector < 15 || trap.vector == SYSCALL_VECTOR, 1);
	check("A-05", "in its own code", trap.cs, KERNEL_CS);
	check("A-05", "its stack is its own", trap.ss, KERNEL_DS);
	about("");
}

static void stack_shadows(void)
{
	in_shadow("mov, int 0x80", mov_syscall);
	in_shadow("pop, int 0x80", pop_syscall);
	in_shadow("mov, int3", mov_int3);
	in_shadow("pop, int3", pop_int3);
	in_shadow("mov, int 0x1f", mov_call);
	in_shadow("pop, ud2", pop_ud2);
	in_shadow("mov, page fault", mov_fault);
	in_shadow("pop, in", pop_in);
}

/* ---- A-07 ----------------------------------------------------------------------------------- */

static u8 image[512] __attribute__((aligned(16)));

/* Exceptions unmasked, and those of the x87 pending: whatever floating-point instruction the host came to would trap. */
static void poison(void)
{
	u32 mxcsr = 0x003f, control = 0x0040;

	for (u32 i = 0; i < sizeof image; i++)
		image[i] = 0xff;
	asm volatile("fninit\n\tfldcw %0\n\tldmxcsr %1" : : "m"(control), "m"(mxcsr));
	/* 0 / 0 with nothing masked: the exception waits for the next instruction that asks. */
	asm volatile("fldz\n\tfldz\n\tfdivrp\n\t");
	for (u32 i = 0; i < 8; i++)
		((u32 *)image)[i] = 0x7fbfffff;
	asm volatile("movups (%0), %%xmm0\n\tmovups (%0), %%xmm3\n\tmovups (%0), %%xmm7" : : "r"(image));
}

static void unmasked(void)
{
	u16 status;
	u32 mxcsr, word[4];

	poison();
	hypercall(LHCALL_FLUSH_TLB, 1, 0, 0, 0);
	hypercall(LHCALL_LOAD_TLS, (u32)table, 0, 0, 0);
	reset_trap();
	read_traps(0x60000000);
	check("A-07", "a page fault is a page fault", trap.vector, 14);
	print("(the console between poison and antidote)\n");
	asm volatile("fnstsw %0\n\tstmxcsr %1\n\tmovups %%xmm7, (%2)" : "=m"(status), "=m"(mxcsr) : "r"(word) : "memory");
	check("A-07", "the exception still waits", status & 0x81, 0x81);
	check("A-07", "MXCSR", mxcsr & 0xffbf, 0x003f);
	check("A-07", "an XMM register", word[1], 0x7fbfffff);
	asm volatile("fnclex\n\tfninit");
	mxcsr = 0x1f80;
	asm volatile("ldmxcsr %0" : : "m"(mxcsr));
}

void guest_main(void)
{
	guest_init();
	df_everywhere();
	df_in_frames();
	forged_in_fold();
	stepped();
	stack_shadows();
	unmasked();
}
