/* expect: stop="guest powered off" status=0 */
/*
 * Calls from ring 3 that need nothing of the host but `irq_enabled`, whatever the guest's page tables say about the page
 * that it is in.
 */

#include "guest.h"

#define DATA ((u32)&lguest_data)

static u32 result USER_DATA;

static void USER_TEXT call(void)
{
	asm volatile("movl $0x1234, %%eax\n\tint $0x80\n\tmovl %%eax, %0" : "=m"(result) : : "eax");
	/* The way back: this trap is reflected by the host. */
	asm volatile("ud2");
}

/* What the handler found. */
static u32 flags, word, calls;
/* What puts the tables in order again. */
static void (*restore)(void);

/* Nothing reads or writes `lguest_data` by its address before the tables are in order. */
void answered(u32 eflags)
{
	if (restore)
		restore();
	flags = eflags;
	word = lguest_data.irq_enabled;
	calls++;
}

extern char handler[];
asm("handler:\n"
    "pushal\n"
    "pushl 40(%esp)\n"
    "call answered\n"
    "addl $4, %esp\n"
    "popal\n"
    "movl $0x5678, %eax\n"
    "iret\n");

static void nothing(void)
{
}

static void map_data(u32 entry)
{
	set_pte(kernel_root, DATA, entry);
}

static void mapped(void)
{
	map_data(DATA | PTE_P | PTE_RW);
}

static void read_only(void)
{
	map_data(DATA | PTE_P);
}

static void absent(void)
{
	map_data(0);
}

static u32 other;

static void elsewhere(void)
{
	map_data(other | PTE_P | PTE_RW | PTE_A | PTE_D);
	/* The processor has it too. */
	poke(DATA, EFLAGS_IF);
}

static void elsewhere_and_off(void)
{
	map_data(other | PTE_P | PTE_RW | PTE_A | PTE_D);
	poke(DATA, 0);
}

static void flushed(void)
{
	hypercall(LHCALL_FLUSH_TLB, 1, 0, 0, 0);
}

static volatile pte *other_root;

static void other_space(void)
{
	switch_root(other_root);
}

static void own_space(void)
{
	switch_root(kernel_root);
}

static void one_call(const char *name, u32 gate, u32 enabled, void (*prepare)(void), void (*back)(void))
{
	about(name);
	load_gate(SYSCALL_VECTOR, (u32)handler, gate);
	restore = back;
	calls = result = 0;
	lguest_data.irq_enabled = enabled;
	prepare();
	check("LG-131", "the way back", run_user(call), 6);
	check("LG-131", "answered once", calls, 1);
	check("LG-131", "EAX on return", result, 0x5678);
	check("LG-122", "IF in its frame", flags & EFLAGS_IF, enabled & EFLAGS_IF);
	if (gate == USER_INTERRUPT_GATE)
		check("LG-123", "irq_enabled is off", word, 0);
	else
		check("LG-124", "irq_enabled as it was", word, enabled);
	about("");
}

static void all_calls(const char *name, void (*prepare)(void), void (*back)(void))
{
	one_call(name, USER_TRAP_GATE, EFLAGS_IF | 0x46, prepare, back);
	one_call(name, USER_INTERRUPT_GATE, EFLAGS_IF | 0x46, prepare, back);
	one_call(name, USER_TRAP_GATE, 0x46, prepare, back);
	one_call(name, USER_INTERRUPT_GATE, 0x46, prepare, back);
}

/* A stack that the host has not been told to keep mapped, and whose page nobody has touched yet. */
static void fresh_stack(void)
{
	set_pte(kernel_root, KERNEL_WINDOW, allocate_page() | PTE_P | PTE_RW);
	hypercall(LHCALL_SET_STACK, KERNEL_DS, KERNEL_WINDOW + PAGE, 0, 0);
}

static void usual_stack(void)
{
	hypercall(LHCALL_SET_STACK, KERNEL_DS, trap_stack_top(), 2, 0);
}

void guest_main(void)
{
	guest_init();
	/* What comes between the call and the end of its case leaves irq_enabled alone. */
	load_gate(6, stub(6), TRAP_GATE);
	other = allocate_page();
	all_calls("as ever", nothing, 0);
	all_calls("a data page that is read-only", read_only, mapped);
	all_calls("a data page that is not mapped", absent, mapped);
	all_calls("its address is another page's, on", elsewhere, mapped);
	check("LG-123", "that page is as it was", *(u32 *)other, EFLAGS_IF);
	all_calls("its address is another page's, off", elsewhere_and_off, mapped);
	check("LG-123", "that page is as it was", *(u32 *)other, 0);
	all_calls("everything was flushed", flushed, 0);

	other_root = new_root();
	*leaf(other_root, DATA) = other | PTE_P | PTE_RW;
	*(u32 *)other = EFLAGS_IF;
	all_calls("another address space", other_space, own_space);
	check("LG-123", "that page is as it was", *(u32 *)other, EFLAGS_IF);

	/* The frame cannot be written before the host has repaired a fault. */
	all_calls("a stack that nobody has touched", fresh_stack, usual_stack);
	all_calls("as ever, again", nothing, 0);
}
