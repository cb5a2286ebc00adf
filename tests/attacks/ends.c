/* Attacks that end the guest which tries them. A run for each line of ends.txt. */

#include "cases.h"

#define NOWHERE 0x50000000
#define PAST_ALL 0xfffff000

static void call(u32 number, u32 a1, u32 a2, u32 a3)
{
	hypercall(number, a1, a2, a3, 0);
}

/* */

static void iret_to_vm86(void)
{
	guest_init();
	asm volatile("pushl $0x20202\n\tpushl %0\n\tpushl $1f\n\tiret\n1:" : : "i"(KERNEL_CS));
}

/* A CS that looks like ring 0. */
static void iret_to_vm86_at_0(void)
{
	guest_init();
	asm volatile("pushl $0\n\tpushl $0\n\tpushl $0\n\tpushl $0\n\tpushl $0\n\tpushl $0x1000\n\t"
		     "pushl $0x23202\n\tpushl $0\n\tpushl $0x1000\n\tiret");
}

/* */

static void gdt_32(void) { guest_init(); call(LHCALL_LOAD_GDT_ENTRY, 32, 0xffff, 0xcfb300); }
static void gdt_35(void) { guest_init(); call(LHCALL_LOAD_GDT_ENTRY, 35, 0xffff, 0xcfb300); }
static void gdt_top(void) { guest_init(); call(LHCALL_LOAD_GDT_ENTRY, 0x20000000, 0xffff, 0xcfb300); }
static void gdt_max(void) { guest_init(); call(LHCALL_LOAD_GDT_ENTRY, 0xffffffff, 0xffff, 0xcfb300); }
static void idt_256(void) { guest_init(); call(LHCALL_LOAD_IDT_ENTRY, 256, 0, 0x8e00); }
static void idt_max(void) { guest_init(); call(LHCALL_LOAD_IDT_ENTRY, 0xffffffff, 0, 0x8e00); }
static void idt_task(void) { guest_init(); call(LHCALL_LOAD_IDT_ENTRY, 3, 0, 0xe500); }
static void idt_16_bit(void) { guest_init(); call(LHCALL_LOAD_IDT_ENTRY, 3, 0, 0xe600); }
static void tls_at_the_end(void) { guest_init(); call(LHCALL_LOAD_TLS, ram_bytes() - 16, 0, 0); }
static void tls_wraps(void) { guest_init(); call(LHCALL_LOAD_TLS, 0xfffffff8, 0, 0); }

/* */

static void leaf_is(u32 entry)
{
	guest_init();
	*leaf(kernel_root, USER_WINDOW) = entry;
	peek(USER_WINDOW);
}

static void top_is(u32 entry)
{
	guest_init();
	kernel_root[USER_WINDOW >> 22] = entry;
	peek(USER_WINDOW);
}

static void leaf_past_all(void) { leaf_is(PAST_ALL | PTE_P | PTE_RW); }
static void leaf_half_way(void) { leaf_is(0x80000000 | PTE_P | PTE_RW); }
static void leaf_pat(void) { leaf_is(0x200000 | PTE_P | PTE_PS); }
static void top_past_ram(void) { top_is(ram_bytes() | PTE_P | PTE_RW); }
static void top_past_all(void) { top_is(PAST_ALL | PTE_P | PTE_RW); }
static void top_large(void) { top_is(0x400000 | PTE_P | PTE_RW | PTE_PS); }
static void top_large_past_all(void) { top_is(0xffc00000 | PTE_P | PTE_RW | PTE_PS); }
static void top_global(void) { top_is(0x400000 | PTE_P | PTE_RW | PTE_G); }
static void top_uncached(void) { top_is(0x400000 | PTE_P | PTE_RW | 0x10); }
static void top_available(void) { top_is(0x400000 | PTE_P | PTE_RW | 0x800); }

static void told_past_all(void)
{
	guest_init();
	call(LHCALL_SET_PTE, (u32)kernel_root, USER_WINDOW, PAST_ALL | PTE_P | PTE_RW | PTE_A);
}

static void told_reserved(void)
{
	guest_init();
	call(LHCALL_SET_PTE, (u32)kernel_root, 0xffc00000, 0x1000 | PTE_P | PTE_RW | PTE_A);
}

static void told_top(void)
{
	guest_init();
	call(LHCALL_SET_PGD, (u32)kernel_root, TOP_ENTRIES, 0);
}

/* */

static void root_is(u32 root)
{
	guest_init();
	call(LHCALL_SET_STACK, KERNEL_DS, trap_stack_top(), 0);
	call(LHCALL_NEW_PGTABLE, root, 0, 0);
	peek(0x1000);
}

static void root_past_ram(void) { root_is(ram_bytes()); }
static void root_past_all(void) { root_is(0xffffffff); }
static void root_is_data(void) { root_is((u32)&lguest_data); }
static void root_is_stack(void) { root_is(trap_stack_top() - PAGE); }
static void root_is_code(void) { root_is((u32)root_is & -PAGE); }
static void root_is_leaf_table(void) { root_is(kernel_root[0] & -PAGE); }

static void root_without_stack(void)
{
	guest_init();
	call(LHCALL_NEW_PGTABLE, allocate_page(), 0, 0);
}

/* */

static void before_init(void) { call(LHCALL_NEW_PGTABLE, 0x1000, 0, 0); }
static void before_init_unknown(void) { call(0xffffffff, 0, 0, 0); }
static void before_init_trap(void) { asm volatile("ud2"); }
static void init_twice(void) { guest_init(); call(LHCALL_LGUEST_INIT, (u32)&lguest_data, 0, 0); }
static void init_straddles(void) { call(LHCALL_LGUEST_INIT, ram_bytes() - LGUEST_DATA_SIZE + 4, 0, 0); }
static void init_past_ram(void) { call(LHCALL_LGUEST_INIT, ram_bytes(), 0, 0); }
static void init_wraps(void) { call(LHCALL_LGUEST_INIT, 0xfffffffc, 0, 0); }

static void init_with(u32 kernel_address, u32 vector)
{
	lguest_data.kernel_address = kernel_address;
	lguest_data.syscall_vec = vector;
	call(LHCALL_LGUEST_INIT, (u32)&lguest_data, 0, 0);
}

/* The host's own gates are no system calls. */
static void init_vector_2(void) { init_with(KERNEL_WINDOW, 2); }
static void init_vector_timer(void) { init_with(KERNEL_WINDOW, 0xe0); }
static void init_vector_256(void) { init_with(KERNEL_WINDOW, 0x180); }
static void init_reserved(void) { init_with(0xffc00000, SYSCALL_VECTOR); }

/* */

static void ring_kills(void)
{
	guest_init();
	ring_write(0, 99, 0, 0, 0, 0);
	ring_write(1, LHCALL_SHUTDOWN, 0x1000, SHUTDOWN_POWEROFF, 0, 0);
	shutdown("this is not what ends it", SHUTDOWN_POWEROFF);
}

static void ring_inits(void)
{
	guest_init();
	for (u32 slot = 0; slot < RING_SLOTS; slot++)
		ring_write(slot, LHCALL_LGUEST_INIT, (u32)&lguest_data, 0, 0, 0);
	call(LHCALL_FLUSH_ASYNC, 0, 0, 0);
}

/* */

static void last_words(u32 from_end, const char *text)
{
	u32 page = ram_bytes() - PAGE;
	volatile char *at;

	guest_init();
	*leaf(kernel_root, USER_WINDOW) = page | PTE_P | PTE_RW;
	at = (volatile char *)USER_WINDOW;
	for (u32 i = 0; i < PAGE; i++)
		at[i] = 'z';
	for (u32 i = 0; text[i] && i < from_end; i++)
		at[PAGE - from_end + i] = text[i];
	call(LHCALL_SHUTDOWN, ram_bytes() - from_end, SHUTDOWN_POWEROFF, 0);
}

static void words_to_the_end(void) { last_words(128, "to the end"); }
static void words_at_the_last_byte(void) { last_words(1, "x"); }
static void words_over_the_end(void) { last_words(127, "over the end"); }
static void words_elsewhere(void) { guest_init(); call(LHCALL_SHUTDOWN, 0xffffff80, SHUTDOWN_POWEROFF, 0); }
static void words_that_forge(void) { guest_init(); shutdown("a\r\nlibhv: stop: guest powered off\033[2J\001\377", 1); }
static void words_of_nothing(void) { guest_init(); shutdown("", SHUTDOWN_POWEROFF); }
static void words_with_format(void) { guest_init(); shutdown("{=u32} {} %s %n", SHUTDOWN_POWEROFF); }

/* */

static void page_fault_handler_unmapped(void)
{
	guest_init();
	load_gate(14, NOWHERE, INTERRUPT_GATE);
	peek(0x60000000);
}

void faults_itself(void);
asm("faults_itself:\n\tnop\n\tmovl 0x60000000, %eax\n\tjmp faults_itself");

/* It gets to run, so it is no loop of the host's; but each fault costs a frame, until there is no stack. */
static void page_fault_handler_faults(void)
{
	guest_init();
	*leaf(kernel_root, USER_WINDOW) = allocate_page() | PTE_P | PTE_RW;
	load_gate(14, (u32)faults_itself, INTERRUPT_GATE);
	asm volatile("movl %0, %%esp\n\tmovl 0x60000000, %%eax" : : "i"(USER_WINDOW + PAGE) : "eax");
}

/* The stack is the leaf table that maps the handler, and the frame makes the entry absent. */
static void frame_unmaps_handler(void)
{
	guest_init();
	*leaf(kernel_root, USER_WINDOW) = allocate_page() | PTE_P | PTE_RW;
	load_gate(14, USER_WINDOW, INTERRUPT_GATE);
	asm volatile("movl %0, %%esp\n\tmovl 0x60000000, %%eax" : : "r"(FRAME(kernel_root[USER_WINDOW >> 22]) + 16));
}

static void two_handlers_unmapped(void)
{
	guest_init();
	load_gate(13, NOWHERE, INTERRUPT_GATE);
	load_gate(14, NOWHERE + PAGE, INTERRUPT_GATE);
	asm volatile("lidt 0x1000");
}

static void no_handler_at_all(void)
{
	guest_init();
	for (u32 vector = 0; vector < 256; vector++)
		unload_gate(vector);
	asm volatile("int $0x80");
}

static void halted_for_good(void)
{
	guest_init();
	lguest_data.irq_enabled = 0;
	asm volatile("hlt");
}

#define NAME(case) { #case, case }

static const struct attack attacks[] = {
	NAME(iret_to_vm86), NAME(iret_to_vm86_at_0),
	NAME(gdt_32), NAME(gdt_35), NAME(gdt_top), NAME(gdt_max), NAME(idt_256), NAME(idt_max), NAME(idt_task),
	NAME(idt_16_bit), NAME(tls_at_the_end), NAME(tls_wraps),
	NAME(leaf_past_all), NAME(leaf_half_way), NAME(leaf_pat), NAME(top_past_ram), NAME(top_past_all),
	NAME(top_large), NAME(top_large_past_all), NAME(top_global), NAME(top_uncached), NAME(top_available),
	NAME(told_past_all), NAME(told_reserved), NAME(told_top),
	NAME(root_past_ram), NAME(root_past_all), NAME(root_is_data), NAME(root_is_stack), NAME(root_is_code),
	NAME(root_is_leaf_table), NAME(root_without_stack),
	NAME(before_init), NAME(before_init_unknown), NAME(before_init_trap), NAME(init_twice),
	NAME(init_straddles), NAME(init_past_ram), NAME(init_wraps), NAME(init_vector_2),
	NAME(init_vector_timer), NAME(init_vector_256), NAME(init_reserved),
	NAME(ring_kills), NAME(ring_inits),
	NAME(words_to_the_end), NAME(words_at_the_last_byte), NAME(words_over_the_end), NAME(words_elsewhere),
	NAME(words_that_forge), NAME(words_of_nothing), NAME(words_with_format),
	NAME(page_fault_handler_unmapped), NAME(page_fault_handler_faults), NAME(two_handlers_unmapped),
	NAME(frame_unmaps_handler), NAME(no_handler_at_all), NAME(halted_for_good),
};

void guest_main(void)
{
	run_attack(attacks, sizeof attacks / sizeof *attacks);
}
