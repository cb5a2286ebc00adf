/* expect: a run for each line of kills.txt, which names the case and the text */
/* Ways to be killed. The word case=NAME of the command line says which one this run is about. */

#include "guest.h"

#define RESERVED 0xffc00000
#define NOWHERE 0x50000000
#define BAD_FRAME 0xfffff000

/* A place that does not move when this file changes: kill texts hold addresses. */
#define FIXED 0x700000

static void run_bytes(const u8 *code, u32 length)
{
	for (u32 i = 0; i < length; i++)
		((u8 *)FIXED)[i] = code[i];
	((void (*)(void))FIXED)();
}

#define RUN(...)                                    \
	do {                                        \
		static const u8 code[] = { __VA_ARGS__ }; \
		run_bytes(code, sizeof code);       \
	} while (0)

static void call(u32 number, u32 a1, u32 a2, u32 a3)
{
	hypercall(number, a1, a2, a3, 0);
}

/* Before LGUEST_INIT. */

static void before_init_0(void) { call(LHCALL_FLUSH_ASYNC, 0, 0, 0); }
static void before_init_shutdown(void) { call(LHCALL_SHUTDOWN, 0x1000, SHUTDOWN_POWEROFF, 0); }
static void before_init_unknown(void) { call(0x7fffffff, 0, 0, 0); }
static void before_init_trap(void) { RUN(0x0f, 0x0b); }
static void guest_page_outside(void) { call(LHCALL_LGUEST_INIT, 0xfffff000, 0, 0); }
static void guest_page_straddles(void) { call(LHCALL_LGUEST_INIT, ram_bytes() - 0x400, 0, 0); }
static void linear_beyond_ram(void) { peek(0xe0000000); }

#if HAS_KERNEL_FIELDS

static void init_with(u32 kernel_address, u32 syscall_vector)
{
	lguest_data.kernel_address = kernel_address;
	lguest_data.syscall_vec = syscall_vector;
	call(LHCALL_LGUEST_INIT, (u32)&lguest_data, 0, 0);
}

static void syscall_vector(void) { init_with(KERNEL_WINDOW, 0x81); }
static void kernel_address(void) { init_with(RESERVED, SYSCALL_VECTOR); }

#endif

/* Calls. */

static void init_twice(void) { call(LHCALL_LGUEST_INIT, (u32)&lguest_data, 0, 0); }
static void call_3(void) { call(3, 0, 0, 0); }
static void call_11(void) { call(11, 0, 0, 0); }
static void call_13(void) { call(13, 0, 0, 0); }
static void call_17(void) { call(17, 0, 0, 0); }
static void call_20(void) { call(20, 0, 0, 0); }
static void call_max(void) { call(0xffffffff, 0, 0, 0); }
static void crash(void) { shutdown("out of coffee", SHUTDOWN_POWEROFF); }
static void message_outside(void) { call(LHCALL_SHUTDOWN, BAD_FRAME, SHUTDOWN_POWEROFF, 0); }
static void message_straddles(void) { call(LHCALL_SHUTDOWN, ram_bytes() - 64, SHUTDOWN_POWEROFF, 0); }

/* LG-177: no NUL within the 128 bytes. */
static void crash_long(void)
{
	u32 page = allocate_page();

	for (u32 i = 0; i < PAGE; i++)
		((u8 *)page)[i] = 'x';
	call(LHCALL_SHUTDOWN, page, SHUTDOWN_POWEROFF, 0);
}

/* the log stays one clean line. */
static void crash_control(void) { shutdown("line\nlibhv: stop: forged \033[2J", SHUTDOWN_POWEROFF); }
#if HAS_WHOLE_GDT
static void gdt_index(void) { call(LHCALL_LOAD_GDT, 0x1000, 33, 0); }
static void gdt_index_max(void) { call(LHCALL_LOAD_GDT, 0x1000, 0xffffffff, 0); }
#else
static void gdt_index(void) { call(LHCALL_LOAD_GDT_ENTRY, 32, 0, 0); }
static void gdt_index_max(void) { call(LHCALL_LOAD_GDT_ENTRY, 0xffffffff, 0, 0); }
#endif
static void tls_outside(void) { call(LHCALL_LOAD_TLS, BAD_FRAME, 0, 0); }
static void idt_index(void) { call(LHCALL_LOAD_IDT_ENTRY, 256, 0, 0x8e00); }
static void idt_index_max(void) { call(LHCALL_LOAD_IDT_ENTRY, 0xffffffff, 0, 0x8e00); }
static void idt_task_gate(void) { call(LHCALL_LOAD_IDT_ENTRY, 3, 0, 0x8500); }
static void idt_call_gate(void) { call(LHCALL_LOAD_IDT_ENTRY, 3, 0, 0x8c00); }
static void stack_segment(void) { call(LHCALL_SET_STACK, KERNEL_DS & ~3, trap_stack_top(), 1); }
static void stack_segment_user(void) { call(LHCALL_SET_STACK, USER_DS, trap_stack_top(), 1); }
static void stack_pages(void) { call(LHCALL_SET_STACK, KERNEL_DS, trap_stack_top(), 3); }
static void stack_unmapped(void) { call(LHCALL_SET_STACK, KERNEL_DS, NOWHERE + PAGE, 1); }

static void stack_second_page(void)
{
	*leaf(kernel_root, USER_WINDOW + PAGE) = allocate_page() | PTE_P | PTE_RW;
	call(LHCALL_SET_STACK, KERNEL_DS, USER_WINDOW + 2 * PAGE, 2);
}

static void stack_read_only(void)
{
	*leaf(kernel_root, USER_WINDOW) = allocate_page() | PTE_P;
	call(LHCALL_SET_STACK, KERNEL_DS, USER_WINDOW + PAGE, 1);
}

#if HAS_DMA

static void send_section(u32 address, u32 length)
{
	static struct {
		u32 used_len, address[16];
		u16 length[16];
	} dma;

	dma.address[0] = address;
	dma.length[0] = length;
	call(LHCALL_SEND_DMA, 0, (u32)&dma, 0);
}

static void dma_long(void) { send_section(FIXED, PAGE + 1); }
static void dma_over_two_pages(void) { send_section(FIXED + PAGE - 8, 16); }

#endif

static void set_pgd(void) { call(LHCALL_SET_PGD, (u32)kernel_root, TOP_ENTRIES + 1, 0); }

static void set_pte_frame(void)
{
	call(LHCALL_SET_PTE, (u32)kernel_root, USER_WINDOW, BAD_FRAME | PTE_P | PTE_RW | PTE_A);
}

static void set_pte_reserved(void) { call(LHCALL_SET_PTE, (u32)kernel_root, RESERVED, 0); }
static void root_outside(void) { call(LHCALL_NEW_PGTABLE, BAD_FRAME, 0, 0); }

/* LG-054, LG-176: the ring comes first, and the first reason is the one. */
static void ring_kill(void)
{
	ring_write(0, 99, 0, 0, 0, 0);
	crash();
}

/* Page tables. */

static void entry(pte value)
{
	*leaf(kernel_root, USER_WINDOW) = value;
	peek(USER_WINDOW);
}

static void top_entry(pte value)
{
	kernel_root[USER_WINDOW >> TOP_SHIFT] = value;
	peek(USER_WINDOW);
}

static void leaf_frame(void) { entry(BAD_FRAME | PTE_P | PTE_RW); }
static void leaf_large(void) { entry(0x200000 | PTE_P | PTE_RW | PTE_PS); }
static void top_large(void) { top_entry(0x400000 | PTE_P | PTE_RW | PTE_PS); }
static void top_cache_bits(void) { top_entry(0x400000 | PTE_P | PTE_RW | 0x18); }
static void top_frame(void) { top_entry(BAD_FRAME | PTE_P | PTE_RW); }

/* Traps. */

static void unload_all(void)
{
	for (u32 vector = 0; vector < 256; vector++)
		unload_gate(vector);
}

static void trap_6(void) { unload_all(); RUN(0x0f, 0x0b); }
/* mov 0x50000000, %eax */
static void trap_14(void) { unload_all(); RUN(0xa1, 0x00, 0x00, 0x00, 0x50); }
/* mov $0x33b, %eax; mov %eax, %ss: the error code is 0x338. */
static void trap_13(void) { unload_all(); RUN(0xb8, 0x3b, 0x03, 0x00, 0x00, 0x8e, 0xd0); }
/* int $0x80 without a gate: refused, and the #GP has no gate either. */
static void trap_int_80(void) { unload_all(); RUN(0xcd, 0x80); }

static void trap_on_stack(u32 esp)
{
	asm volatile("movl %0, %%esp\n\tud2" : : "r"(esp) : "memory");
}

static void frame_unmapped(void) { trap_on_stack(NOWHERE + 0x800); }
static void frame_at_zero(void) { trap_on_stack(0); }
static void frame_at_top(void) { trap_on_stack(0xffffffff); }

static void USER_TEXT user_nothing(void)
{
}

static void user_frame_unmapped(void)
{
	call(LHCALL_SET_STACK, KERNEL_DS, NOWHERE + 0x800, 0);
	run_user(user_nothing);
}

/* the handler of page faults is not mapped, nor is the one of anything it could raise. */
static void handler_unmapped(void)
{
	load_gate(14, NOWHERE, INTERRUPT_GATE);
	peek(0x60000000);
}

static void hlt_without_interrupts(void)
{
	lguest_data.irq_enabled = 0;
	asm volatile("hlt");
}

static void virtual_8086(void)
{
	asm volatile("pushl $0x20202\n\tpushl %0\n\tpushl %1\n\tiret" : : "i"(KERNEL_CS), "i"(FIXED));
}

/* A-02, LG-062: what is loaded becomes invalid, and the next entry finds out. */

#define LOAD_AND_INVALIDATE(segment)                                                   \
	static void invalid_##segment(void)                                            \
	{                                                                              \
		load_descriptor(27, 0xfffff, 0xc000 | 0xb2);                           \
		asm volatile("movl %0, %%" #segment : : "r"(27 * 8 + 1));              \
		load_descriptor(27, 0, 0);                                             \
	}

LOAD_AND_INVALIDATE(ds)
LOAD_AND_INVALIDATE(es)
LOAD_AND_INVALIDATE(fs)
LOAD_AND_INVALIDATE(gs)
LOAD_AND_INVALIDATE(ss)

static void invalid_cs(void) { load_descriptor(12, 0, 0); }

static void invalid_tls(void)
{
	load_descriptor(6, 0xfffff, DATA_DPL3);
	asm volatile("movl %0, %%gs" : : "r"(6 * 8 + 3));
	call(LHCALL_LOAD_TLS, allocate_page(), 0, 0);
}

enum stage { BEFORE_INIT, AFTER_INIT };

#define CASE(name) { #name, BEFORE_INIT, name }
#define CASE_AFTER_INIT(name) { #name, AFTER_INIT, name }

static const struct {
	const char *name;
	enum stage stage;
	void (*run)(void);
} cases[] = {
	CASE(before_init_0), CASE(before_init_shutdown), CASE(before_init_unknown), CASE(before_init_trap),
	CASE(guest_page_outside), CASE(guest_page_straddles), CASE(linear_beyond_ram),
#if HAS_KERNEL_FIELDS
	CASE(syscall_vector), CASE(kernel_address),
#endif
#if HAS_DMA
	CASE_AFTER_INIT(dma_long), CASE_AFTER_INIT(dma_over_two_pages),
#endif
	CASE_AFTER_INIT(init_twice), CASE_AFTER_INIT(call_3), CASE_AFTER_INIT(call_11), CASE_AFTER_INIT(call_13),
	CASE_AFTER_INIT(call_17), CASE_AFTER_INIT(call_20), CASE_AFTER_INIT(call_max), CASE_AFTER_INIT(crash),
	CASE_AFTER_INIT(crash_long), CASE_AFTER_INIT(crash_control), CASE_AFTER_INIT(message_outside),
	CASE_AFTER_INIT(message_straddles), CASE_AFTER_INIT(gdt_index), CASE_AFTER_INIT(gdt_index_max),
	CASE_AFTER_INIT(tls_outside), CASE_AFTER_INIT(idt_index), CASE_AFTER_INIT(idt_index_max),
	CASE_AFTER_INIT(idt_task_gate), CASE_AFTER_INIT(idt_call_gate), CASE_AFTER_INIT(stack_segment),
	CASE_AFTER_INIT(stack_segment_user), CASE_AFTER_INIT(stack_pages), CASE_AFTER_INIT(stack_unmapped),
	CASE_AFTER_INIT(stack_second_page), CASE_AFTER_INIT(stack_read_only), CASE_AFTER_INIT(set_pgd),
	CASE_AFTER_INIT(set_pte_frame), CASE_AFTER_INIT(set_pte_reserved), CASE_AFTER_INIT(root_outside),
	CASE_AFTER_INIT(ring_kill), CASE_AFTER_INIT(leaf_frame), CASE_AFTER_INIT(leaf_large),
	CASE_AFTER_INIT(top_large), CASE_AFTER_INIT(top_cache_bits), CASE_AFTER_INIT(top_frame),
	CASE_AFTER_INIT(trap_6), CASE_AFTER_INIT(trap_13), CASE_AFTER_INIT(trap_14), CASE_AFTER_INIT(trap_int_80),
	CASE_AFTER_INIT(frame_unmapped), CASE_AFTER_INIT(frame_at_zero), CASE_AFTER_INIT(frame_at_top),
	CASE_AFTER_INIT(user_frame_unmapped), CASE_AFTER_INIT(handler_unmapped),
	CASE_AFTER_INIT(hlt_without_interrupts), CASE_AFTER_INIT(virtual_8086), CASE_AFTER_INIT(invalid_ds),
	CASE_AFTER_INIT(invalid_es), CASE_AFTER_INIT(invalid_fs), CASE_AFTER_INIT(invalid_gs),
	CASE_AFTER_INIT(invalid_ss), CASE_AFTER_INIT(invalid_cs), CASE_AFTER_INIT(invalid_tls),
};

static u32 same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

/* Being here behind run() means that the host let it pass: a power-off, which is not what is expected. */
void guest_main(void)
{
	const char *wanted = command_line_case();

	for (u32 i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		if (!same(cases[i].name, wanted))
			continue;
		if (cases[i].stage == AFTER_INIT)
			guest_init();
		cases[i].run();
		print("survived\n");
		return;
	}
	print("no such case\n");
}
