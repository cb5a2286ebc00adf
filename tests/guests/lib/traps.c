/* Recording traps, loading gates, and ring 3. */

#include "guest.h"

volatile struct trap trap;
trap_hook trap_hooks[256];

extern char trap_stubs[];
extern u32 attempt_esp;
extern char user_return[];

/* Ring-3 traps must not land on the stack of the attempt() that they end. */
static u8 trap_stack[2 * PAGE] __attribute__((aligned(PAGE)));
static u8 user_stack[PAGE] USER_DATA __attribute__((aligned(PAGE)));

void reset_trap(void)
{
	trap.vector = trap.error = trap.eip = trap.cr2 = ~0u;
	trap.count = 0;
}

static void unexpected(void)
{
	print("unexpected trap ");
	print_decimal(trap.vector);
	print(" error ");
	print_hex(trap.error);
	print(" at ");
	print_hex(trap.eip);
	print(" cr2 ");
	print_hex(trap.cr2);
	print("\n");
	shutdown("unexpected trap", SHUTDOWN_POWEROFF);
}

/* Non-zero: leave the interrupted code for good, back into attempt(). */
u32 trap_dispatch(struct frame *frame, u32 handler_cs, u32 live_eflags)
{
	u32 from_user = (frame->cs & 3) == 3;

	trap.vector = frame->vector;
	trap.error = frame->error;
	trap.eip = frame->eip;
	trap.cs = frame->cs;
	trap.eflags = frame->eflags;
	trap.esp = from_user ? frame->esp : (u32)&frame->esp;
	trap.ss = from_user ? frame->ss : KERNEL_DS;
	trap.frame = (u32)&frame->eip;
	trap.cr2 = fault_address();
	trap.irq_enabled = lguest_data.irq_enabled;
	trap.live_eflags = live_eflags;
	trap.handler_cs = handler_cs;
	trap.count++;

	if (trap_hooks[frame->vector]) {
		trap_hooks[frame->vector](frame);
		return 0;
	}
	if (!attempt_esp)
		unexpected();
	return 1;
}

u32 stub(u32 vector)
{
	return (u32)trap_stubs + 16 * vector;
}

void load_gate(u32 vector, u32 offset, u32 gate)
{
	hypercall(LHCALL_LOAD_IDT_ENTRY, vector, KERNEL_CS << 16 | (offset & 0xffff),
		  (offset & 0xffff0000) | gate, 0);
}

void unload_gate(u32 vector)
{
	hypercall(LHCALL_LOAD_IDT_ENTRY, vector, 0, 0, 0);
}

void traps_init(void)
{
	for (u32 vector = 0; vector < 256; vector++)
		load_gate(vector, stub(vector), INTERRUPT_GATE);
	load_gate(3, stub(3), USER_INTERRUPT_GATE);
	load_gate(4, stub(4), USER_INTERRUPT_GATE);
	load_gate(SYSCALL_VECTOR, stub(SYSCALL_VECTOR), USER_TRAP_GATE);
	reset_trap();
}

u32 trap_stack_top(void)
{
	return (u32)trap_stack + sizeof trap_stack;
}

static u32 user_function, user_eflags;

static void to_user(u32 unused)
{
	u32 *top = (u32 *)(user_stack + sizeof user_stack);

	(void)unused;
	*--top = (u32)user_return;
	enter_user(user_function, (u32)top, user_eflags);
}

u32 run_user_flags(void (*function)(void), u32 eflags)
{
	user_function = (u32)function;
	user_eflags = eflags;
	reset_trap();
	attempt(to_user, 0);
	return trap.vector;
}

u32 run_user(void (*function)(void))
{
	return run_user_flags(function, EFLAGS_ONE | EFLAGS_IF);
}
