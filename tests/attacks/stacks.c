/* a trap of every kind, on a stack that cannot take its frame. A run for each line of stacks.txt. */

#include "cases.h"

#define NOWHERE 0x7ffff000
#define TIMER FIRST_IRQ_VECTOR

/* Stacks. The last two have a good page above a bad one. */

static u32 at_zero(void) { return 0; }
static u32 at_top(void) { return 0xffffffff; }
static u32 unmapped(void) { return NOWHERE + 0x800; }

static u32 read_only(void)
{
	*leaf(kernel_root, USER_WINDOW) = allocate_page() | PTE_P;
	return USER_WINDOW + 0x800;
}

static u32 into_unmapped(void)
{
	*leaf(kernel_root, USER_WINDOW + PAGE) = allocate_page() | PTE_P | PTE_RW;
	return USER_WINDOW + PAGE + 6;
}

static u32 into_read_only(void)
{
	*leaf(kernel_root, USER_WINDOW) = allocate_page() | PTE_P;
	return into_unmapped();
}

/* Traps, with ESP as it is told. */

static void ud2(u32 esp) { asm volatile("movl %0, %%esp\n\tud2" : : "r"(esp)); }
static void int3(u32 esp) { asm volatile("movl %0, %%esp\n\tint3" : : "r"(esp)); }
static void page_fault(u32 esp) { asm volatile("movl %0, %%esp\n\tmovl 0x60000000, %%eax" : : "r"(esp)); }
static void protection(u32 esp) { asm volatile("movl %0, %%esp\n\tlidt 0x1000" : : "r"(esp)); }
static void syscall(u32 esp) { asm volatile("movl %0, %%esp\n\tint $0x80" : : "r"(esp)); }

static void step(u32 esp)
{
	asm volatile("pushfl\n\torl $0x100, (%%esp)\n\tpopfl\n\tmovl %0, %%esp\n\tnop" : : "r"(esp));
}

/* The interrupt comes while it spins. */
static void interrupt(u32 esp)
{
	lguest_data.blocked_interrupts = 0;
	hypercall(LHCALL_SET_CLOCKEVENT, 1000000, 0, 0, 0);
	asm volatile("movl %0, %%esp\n\tmovl $0x200, %1\n1:\tjmp 1b" : : "r"(esp), "m"(lguest_data));
}

static void USER_TEXT user_nothing(void)
{
}

static void USER_TEXT user_ud2(void)
{
	asm volatile("ud2");
}

static void from_user(u32 esp, void (*function)(void))
{
	hypercall(LHCALL_SET_STACK, KERNEL_DS, esp, 0, 0);
	run_user(function);
}

static void user_syscall(u32 esp) { from_user(esp, user_nothing); }
static void user_trap(u32 esp) { from_user(esp, user_ud2); }

#define ON(stack, trap)                       \
	static void trap##_##stack(void)      \
	{                                     \
		guest_init();                 \
		trap(stack());                \
	}
#define ON_ALL(trap)                                                                      \
	ON(at_zero, trap) ON(at_top, trap) ON(unmapped, trap) ON(read_only, trap)         \
	ON(into_unmapped, trap) ON(into_read_only, trap)
#define NAME(stack, trap) { #trap "_" #stack, trap##_##stack }
#define NAMES(trap)                                                                       \
	NAME(at_zero, trap), NAME(at_top, trap), NAME(unmapped, trap), NAME(read_only, trap), \
	NAME(into_unmapped, trap), NAME(into_read_only, trap)

ON_ALL(ud2) ON_ALL(int3) ON_ALL(page_fault) ON_ALL(protection) ON_ALL(syscall) ON_ALL(step)
ON_ALL(interrupt) ON_ALL(user_syscall) ON_ALL(user_trap)

static const struct attack attacks[] = {
	NAMES(ud2), NAMES(int3), NAMES(page_fault), NAMES(protection), NAMES(syscall), NAMES(step),
	NAMES(interrupt), NAMES(user_syscall), NAMES(user_trap),
};

void guest_main(void)
{
	run_attack(attacks, sizeof attacks / sizeof *attacks);
}
