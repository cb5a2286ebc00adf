/* expect: stop="guest powered off" status=0 */
/* Where frames go, what EFLAGS they hold, and what the gate's type does to irq_enabled. */

#include "guest.h"

/* Runs ud2 with ESP = `esp`. */
static void trap_on_stack(u32 esp)
{
	asm volatile("movl %0, %%esp\n\tud2" : : "r"(esp) : "memory");
}

static void ring1_frame(void)
{
	u32 stack = allocate_page() + 0x800;

	lguest_data.irq_enabled = EFLAGS_IF;
	attempt(trap_on_stack, stack);
	check("LG-119", "three words below ESP", trap.frame, stack - 12);
	check("LG-119", "CS in its word", peek(stack - 8), KERNEL_CS);
	check("LG-119", "ud2 at the saved EIP", *(u16 *)peek(stack - 12), 0x0b0f);
}

/* Going down from the upper page in guest-physical memory would end in `neighbour`. */
static void frame_over_two_pages(void)
{
	u32 neighbour = allocate_page(), high = allocate_page(), low = allocate_page();
	u32 esp = USER_WINDOW + PAGE + 4;

	*leaf(kernel_root, USER_WINDOW) = low | PTE_P | PTE_RW;
	*leaf(kernel_root, USER_WINDOW + PAGE) = high | PTE_P | PTE_RW;
	lguest_data.irq_enabled = EFLAGS_IF;
	attempt(trap_on_stack, esp);
	check("LG-130", "EFLAGS on the upper page", peek(high) & EFLAGS_ONE, EFLAGS_ONE);
	check("LG-130", "CS on the lower page", peek(low + PAGE - 4), KERNEL_CS);
	check("LG-130", "EIP on the lower page", *(u16 *)peek(low + PAGE - 8), 0x0b0f);
	check("LG-130", "the physical neighbour is untouched", peek(neighbour + PAGE - 4), 0);
	check("LG-081", "the stack's leaf is dirty", (u32)*leaf(kernel_root, USER_WINDOW) & (PTE_A | PTE_D),
	      PTE_A | PTE_D);
}

static void raise_ud2(u32 unused)
{
	(void)unused;
	asm volatile("ud2");
}

static void gate_types(void)
{
	lguest_data.irq_enabled = EFLAGS_IF;
	attempt(raise_ud2, 0);
	check("LG-122", "IF follows irq_enabled: on", trap.eflags & EFLAGS_IF, EFLAGS_IF);
	check("LG-123", "0xE turns irq_enabled off", trap.irq_enabled, 0);

	lguest_data.irq_enabled = 0;
	attempt(raise_ud2, 0);
	check("LG-122", "IF follows irq_enabled: off", trap.eflags & EFLAGS_IF, 0);

	/* A whole EFLAGS word without bit 9 is off. */
	lguest_data.irq_enabled = 0x46;
	attempt(raise_ud2, 0);
	check("LG-122", "only bit 9 counts", trap.eflags & EFLAGS_IF, 0);

	load_gate(6, stub(6), TRAP_GATE);
	lguest_data.irq_enabled = EFLAGS_IF | 0x46;
	attempt(raise_ud2, 0);
	check("LG-124", "0xF leaves irq_enabled alone", trap.irq_enabled, EFLAGS_IF | 0x46);
	check("LG-122", "0xF: IF in the frame", trap.eflags & EFLAGS_IF, EFLAGS_IF);
	lguest_data.irq_enabled = 0;
	attempt(raise_ud2, 0);
	check("LG-124", "0xF leaves irq_enabled off", trap.irq_enabled, 0);
	load_gate(6, stub(6), INTERRUPT_GATE);
}

static u32 user_result USER_DATA;
static u32 user_esp USER_DATA;

static void USER_TEXT user_syscall(void)
{
	asm volatile("movl %%esp, %1\n\tmovl $0x1234, %%eax\n\tint $0x80\n\tmovl %%eax, %0"
		     : "=m"(user_result), "=m"(user_esp) : : "eax", "memory");
}

static u32 calls;

/* The first int 0x80 is answered; the second is the way back out of ring 3. */
static void answer(struct frame *frame)
{
	calls++;
	check("LG-131", "EAX arrives", frame->eax, 0x1234);
	check("LG-131", "CS", frame->cs, USER_CS);
	check("LG-131", "SS", frame->ss, USER_DS);
	check("LG-131", "ESP", frame->esp, user_esp);
	check("LG-131", "EIP is behind the instruction", *(u16 *)(frame->eip - 2), 0x80cd);
	check("LG-131", "frame at the top of esp1", (u32)&frame->eip, trap_stack_top() - 20);
	check("LG-131", "irq_enabled unchanged", lguest_data.irq_enabled, EFLAGS_IF);
	frame->eax = 0x5678;
	trap_hooks[SYSCALL_VECTOR] = 0;
}

static void system_call(u32 gate, const char *name)
{
	about(name);
	load_gate(SYSCALL_VECTOR, stub(SYSCALL_VECTOR), gate);
	lguest_data.irq_enabled = EFLAGS_IF;
	trap_hooks[SYSCALL_VECTOR] = answer;
	check("LG-131", "comes back to ring 3", run_user(user_syscall), SYSCALL_VECTOR);
	check("LG-131", "EAX on return", user_result, 0x5678);
	about("");
}

/* C7: later kernels load 0x80 as an interrupt gate, which turns irq_enabled off. */
static void interrupt_gate_system_call(void)
{
	load_gate(SYSCALL_VECTOR, stub(SYSCALL_VECTOR), USER_INTERRUPT_GATE);
	lguest_data.irq_enabled = EFLAGS_IF;
	check("LG-123", "int 0x80 through 0xE", run_user(user_syscall), SYSCALL_VECTOR);
	check("LG-123", "irq_enabled is off", trap.irq_enabled, 0);
	check("LG-122", "IF in its frame", trap.eflags & EFLAGS_IF, EFLAGS_IF);
	load_gate(SYSCALL_VECTOR, stub(SYSCALL_VECTOR), USER_TRAP_GATE);
}

void guest_main(void)
{
	guest_init();
	ring1_frame();
	frame_over_two_pages();
	gate_types();
	system_call(USER_TRAP_GATE, "0xF");
	check("LG-131", "answered", calls, 1);
	interrupt_gate_system_call();
}
