/* expect: stop="guest powered off" status=0 */
/* handlers in places where none should be, and storms of interrupts and faults. */

#include "guest.h"

#define TIMER FIRST_IRQ_VECTOR
#define ELSEWHERE 0x60000000

static void ud2(u32 unused)
{
	(void)unused;
	asm volatile("ud2");
}

/* The gate of #UD leads there; the page fault of its first instruction comes to a handler that works. */
static void handler_at(const char *name, u32 address)
{
	load_gate(6, address, INTERRUPT_GATE);
	reset_trap();
	about(name);
	check("A-14", "the attempt ends", attempt(ud2, 0), 1);
	check("A-14", "by a page fault", trap.vector, 14);
	check("A-14", "of the handler's first byte", trap.cr2, address);
	check("A-14", "in ring 1", trap.cs, KERNEL_CS);
	about("");
	load_gate(6, stub(6), INTERRUPT_GATE);
}

/* The stack is the leaf table that maps the handler: the frame's words become its entries. */
static void handler_in_own_frame(void)
{
	u32 table, stack;

	*leaf(kernel_root, USER_WINDOW) = allocate_page() | PTE_P | PTE_RW;
	table = FRAME(kernel_root[USER_WINDOW >> 22]);
	/* Handler: ud2 at the start of USER_WINDOW, whose entry is the table's first word. */
	poke(FRAME(*leaf(kernel_root, USER_WINDOW)), 0x0b0f0b0f);
	load_gate(14, USER_WINDOW, INTERRUPT_GATE);
	load_gate(6, stub(6), INTERRUPT_GATE);
	/* So that the shadow has it already: else the handler could never start, which is another attack. */
	peek(USER_WINDOW);
	/* A page fault pushes four words: the last lies on entry 0 and is the error code, which is not present. */
	stack = table + 16;
	reset_trap();
	asm volatile("pushl %%ebp\n\t"
		     "movl %%esp, %%ebp\n\t"
		     "movl $1f, %%eax\n\t"
		     "movl %0, %%esp\n\t"
		     "movl (%1), %%eax\n"
		     "1:\tmovl %%ebp, %%esp\n\t"
		     "popl %%ebp" : : "r"(stack), "r"(ELSEWHERE) : "eax", "memory");
}

/* What a handler that ends the attempt finds of itself. */
static void own_frame(u32 unused)
{
	(void)unused;
	handler_in_own_frame();
}

static void frames_on_tables(void)
{
	reset_trap();
	check("A-14", "a frame on the handler's own entry: ends", attempt(own_frame, 0), 1);
	check("A-14", "with a trap of the guest's", trap.vector == 6 || trap.vector == 14, 1);
	load_gate(14, stub(14), INTERRUPT_GATE);
	*leaf(kernel_root, USER_WINDOW) = 0;
	hypercall(LHCALL_FLUSH_TLB, 1, 0, 0, 0);
	check("A-14", "page faults arrive as before", read_traps(ELSEWHERE), 1);
}

/* ---- A-31 ----------------------------------------------------------------------------------- */

static volatile u32 ticks;

/* The next one is due at once. */
static void storm(struct frame *frame)
{
	(void)frame;
	if (++ticks < 2000)
		hypercall(LHCALL_SET_CLOCKEVENT, 1, 0, 0, 0);
}

static void interrupt_storm(void)
{
	u32 rounds = 0;

	trap_hooks[TIMER] = storm;
	lguest_data.blocked_interrupts = 0;
	lguest_data.irq_enabled = EFLAGS_IF;
	hypercall(LHCALL_SET_CLOCKEVENT, 1, 0, 0, 0);
	while (ticks < 2000)
		rounds++;
	lguest_data.irq_enabled = 0;
	check("A-31", "a storm of interrupts ends with its cause", ticks, 2000);
	check("A-31", "and lets the guest get on", rounds != 0, 1);
}

static u32 faults;

static void repair(struct frame *frame)
{
	(void)frame;
	faults++;
	/* A fault in the fault handler, of another page, and another in that. */
	if (faults % 3)
		peek(ELSEWHERE + faults * PAGE);
	else
		for (u32 page = 0; page < 3; page++)
			*leaf(kernel_root, ELSEWHERE + (faults - page) * PAGE) = 0x1000 | PTE_P;
	*leaf(kernel_root, lguest_data.cr2) = 0x1000 | PTE_P;
}

static void nested_faults(void)
{
	trap_hooks[14] = repair;
	for (u32 i = 0; i < 30; i++)
		peek(ELSEWHERE + 0x1000000 + i * PAGE);
	trap_hooks[14] = 0;
	check("A-31", "faults in fault handlers", faults >= 30, 1);
}

/* The same fault again and again: each is a trap of the guest's, none is a loop of the host's. */
static volatile u32 repeated;

static void ignore(struct frame *frame)
{
	if (++repeated == 5000)
		frame->eip += 2;
}

static void fault_for_ever(void)
{
	trap_hooks[6] = ignore;
	asm volatile("ud2");
	trap_hooks[6] = 0;
	check("A-31", "the same fault 5000 times", repeated, 5000);
}

void guest_main(void)
{
	guest_init();
	*leaf(kernel_root, 0) = 0;
	hypercall(LHCALL_FLUSH_TLB, 1, 0, 0, 0);
	handler_at("at 0", 0);
	handler_at("at the top", 0xffffffff);
	handler_at("in the last page", 0xfffff000);
	handler_at("unmapped", ELSEWHERE);
	frames_on_tables();
	interrupt_storm();
	nested_faults();
	fault_for_ever();
}
