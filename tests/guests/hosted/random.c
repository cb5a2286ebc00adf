/*
 * Random hypercalls, table edits and instructions, in ring 1 and ring 3. The word case=N of the command line is
 * the seed. What is chosen is mostly what a guest survives, so that it lives long enough to be a danger.
 */

#include "guest.h"

#define ACTIONS 600
#define MOST_SPACES 4
#define POOL_PAGES 16

static u32 state;
static volatile pte *spaces[MOST_SPACES];
static u32 space_count, pool[POOL_PAGES];
static u8 user_code[PAGE] USER_DATA __attribute__((aligned(PAGE)));
static u8 kernel_code[PAGE] __attribute__((aligned(PAGE)));

/* xorshift32 (Marsaglia 2003): never 0. */
static u32 next(void)
{
	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return state;
}

static u32 below(u32 limit)
{
	return (next() >> 8) % limit;
}

static u32 one_in(u32 many)
{
	return below(many) == 0;
}

static u32 pool_page(void)
{
	return pool[below(POOL_PAGES)];
}

static volatile pte *space(void)
{
	return spaces[below(space_count)];
}

/* ---- what is worth naming ---------------------------------------------------------------- */

static u32 window(void)
{
	return (one_in(3) ? KERNEL_WINDOW : USER_WINDOW) + below(6) * PAGE;
}

/* Guest-virtual and guest-physical at the same time, mostly. */
static u32 place(void)
{
	switch (below(12)) {
	case 0:
		return (u32)&lguest_data + below(sizeof lguest_data);
	case 1:
	case 2:
		return window() + below(PAGE);
	case 3:
		return (u32)user_code + below(PAGE);
	case 4:
		return (u32)space() + 4 * below(PAGE / 4);
	case 5:
		return ram_bytes() - below(8);
	case 6:
		return one_in(2) ? 0xffc00000 - below(8) : -below(64);
	case 7:
		return next();
	default:
		return pool_page() + 4 * below(PAGE / 4) + (one_in(4) ? below(4) : 0);
	}
}

/* Mostly one that maps something: a page that is data, a table and code by turns. */
static pte random_entry(void)
{
	pte entry = pool_page() | PTE_P | (next() & (PTE_RW | PTE_US | PTE_A | PTE_D));

	if (one_in(10))
		entry &= ~(pte)PTE_P;
	/* Seldom one that ends the guest as soon as it is used. */
	switch (below(600)) {
	case 0:
		return next();
	case 1:
		entry |= 1u << below(12);
		break;
	case 2:
		entry = FRAME(ram_bytes()) + (below(3) - 1) * PAGE + PTE_P + PTE_RW;
		break;
	}
#if PAE
	if (one_in(8))
		entry |= PTE_NX;
	if (one_in(2000))
		entry |= 1ull << (32 + below(31));
#endif
	return entry;
}

/* ---- page tables -------------------------------------------------------------------------- */

static void edit_leaf(void)
{
	volatile pte *root = space();
	u32 gva = window();
	pte entry = random_entry();

	*leaf(root, gva) = entry;
	/* Some changes stay unsaid, and some of what is said is not true. */
	if (!one_in(4))
		announce_pte((u32)root, gva, one_in(6) ? random_entry() : entry);
}

/* A table of the pool in place of the window's own: it may map itself, or what another root has as data. */
static void edit_upper(void)
{
	volatile pte *root = space();
	u32 gva = window();
	volatile pte *entry = pde(root, gva);
	pte old = *entry;

	*entry = one_in(8) ? random_entry() : (pool_page() | PDE_FLAGS);
	if (!one_in(3))
		announce_pde(root, gva);
	if (one_in(2)) {
		read_traps(gva);
		*entry = old;
		announce_pde(root, gva);
	}
}

static void fill_table(void)
{
	volatile pte *table = (volatile pte *)pool_page();

	for (u32 i = 0; i < 8; i++)
		table[i] = random_entry();
}

static void change_space(void)
{
	if (space_count < MOST_SPACES && one_in(2))
		spaces[space_count++] = new_root();
	switch_root(space());
}

static void flush(void)
{
	hypercall(LHCALL_FLUSH_TLB, below(2), 0, 0, 0);
}

static void access_memory(void)
{
	u32 gva = one_in(3) ? place() : window() + 4 * below(PAGE / 4);

	switch (below(4)) {
	case 0:
		read_traps(gva);
		break;
	case 1:
		write_traps(gva);
		break;
	case 2:
		user_read_traps(gva);
		break;
	case 3:
		user_write_traps(gva);
		break;
	}
}

/* ---- calls -------------------------------------------------------------------------------- */

struct call {
	u32 number, a1, a2, a3, a4;
};

static u32 descriptor_high(void)
{
	/* Code and data of the two rings, and by times anything. */
	static const u32 usual[] = { 0xcff200, 0xcffa00, 0xcf9200, 0xcf9a00, 0x40f200, 0x00fa00 };
	u32 high = usual[below(sizeof usual / sizeof *usual)];

	if (one_in(3))
		high ^= 1u << below(32);
	return one_in(10) ? next() : high;
}

#if HAS_WHOLE_GDT
/* The kernel's own segments change only rarely: it would not come back. */
static u32 descriptor_table(void)
{
	static const u32 own[] = { 0xcf9a00, 0xcf9200, 0xcffa00, 0xcff200 };
	static u32 table[32][2];

	for (u32 i = 0; i < 32; i++) {
		table[i][0] = one_in(3) ? next() : 0xffff;
		table[i][1] = descriptor_high();
	}
	for (u32 i = 0; i < 4 && !one_in(100); i++) {
		table[12 + i][0] = 0xffff;
		table[12 + i][1] = own[i];
	}
	return (u32)table;
}
#endif

static struct call random_call(void)
{
	static const u8 survivable[] = {
		LHCALL_FLUSH_ASYNC, LHCALL_NEW_PGTABLE, LHCALL_FLUSH_TLB, LHCALL_LOAD_IDT_ENTRY, LHCALL_SET_STACK,
		LHCALL_TS, LHCALL_SET_CLOCKEVENT, LHCALL_SET_PTE, LHCALL_SET_PTE, LHCALL_SET_PGD,
#if PAE
		LHCALL_SET_PMD,
#endif
#if HAS_WHOLE_GDT
		LHCALL_LOAD_GDT, LHCALL_LOAD_GDT,
#else
		LHCALL_LOAD_GDT_ENTRY, LHCALL_LOAD_GDT_ENTRY,
#endif
#ifdef LHCALL_SEND_DMA
		LHCALL_SEND_DMA, LHCALL_BIND_DMA,
#endif
#ifdef LHCALL_SEND_INTERRUPTS
		LHCALL_SEND_INTERRUPTS,
#endif
		LHCALL_LOAD_TLS,
	};
	struct call call = { survivable[below(sizeof survivable)], place(), place(), place(), next() };
	pte entry = random_entry();

	if (one_in(800)) {
		call.number = one_in(2) ? below(24) : next();
		return call;
	}
	if (one_in(400))
		return call;
	switch (call.number) {
	case LHCALL_NEW_PGTABLE:
		call.a1 = (u32)space();
		break;
	case LHCALL_LOAD_IDT_ENTRY:
		call.a1 = below(256);
		/* Handlers that there are, and in most cases those that were there before. */
		call.a2 = KERNEL_CS << 16 | (stub(one_in(4) ? below(256) : call.a1) & 0xffff);
		call.a3 = (stub(call.a1) & 0xffff0000) | (one_in(2) ? INTERRUPT_GATE : TRAP_GATE) | below(4) << 13;
		break;
	case LHCALL_SET_STACK:
		call.a1 = KERNEL_DS;
		call.a2 = one_in(3) ? pool_page() + PAGE : trap_stack_top();
		call.a3 = below(3);
		break;
	case LHCALL_TS:
	case LHCALL_FLUSH_TLB:
		call.a1 = below(2);
		break;
	case LHCALL_SET_CLOCKEVENT:
		call.a1 = one_in(4) ? next() : below(200000);
		break;
	case LHCALL_SET_PTE:
		call.a1 = (u32)space();
		call.a2 = window();
		call.a3 = (u32)entry;
		call.a4 = (u32)((unsigned long long)entry >> 32);
		break;
	case LHCALL_SET_PGD:
		call.a1 = (u32)space();
		call.a2 = below(TOP_ENTRIES);
		break;
#if PAE
	case LHCALL_SET_PMD:
		call.a1 = pool_page();
		call.a2 = below(512);
		break;
#endif
#if HAS_WHOLE_GDT
	case LHCALL_LOAD_GDT:
		call.a1 = descriptor_table();
		call.a2 = one_in(400) ? below(64) : 32;
		break;
#else
	case LHCALL_LOAD_GDT_ENTRY:
		/* The kernel's own segments only rarely: it would not come back. */
		call.a1 = one_in(30) ? below(32) : 17 + below(14);
		call.a2 = one_in(3) ? next() : 0xffff;
		call.a3 = descriptor_high();
		break;
#endif
#ifdef LHCALL_SEND_DMA
	case LHCALL_SEND_DMA:
	case LHCALL_BIND_DMA:
		call.a1 = one_in(2) ? 0 : ram_bytes() + PAGE * below(6);
		call.a2 = pool_page();
		call.a3 = below(4) << 8 | below(32);
		break;
#endif
	case LHCALL_LOAD_TLS:
		call.a1 = pool_page();
		break;
	}
	return call;
}

static void make_call(void)
{
	struct call call = random_call();

	hypercall(call.number, call.a1, call.a2, call.a3, call.a4);
}

static void queue_calls(void)
{
	for (u32 i = below(8); i > 0; i--) {
		struct call call = random_call();

		ring_write(below(RING_SLOTS), call.number, call.a1, call.a2, call.a3, call.a4);
	}
	if (one_in(2))
		hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0, 0);
}

/* ---- instructions ------------------------------------------------------------------------- */

static u8 *code_at;

static void emit(u32 byte)
{
	*code_at++ = byte;
}

static void emit_word(u32 word)
{
	for (u32 i = 0; i < 4; i++)
		emit(word >> 8 * i);
}

/* An opcode with what a ModR/M byte can say of its operands. */
static void emit_operands(void)
{
	u32 mode = below(4), modrm = mode << 6 | below(64);
	u32 rm = modrm & 7;

	emit(modrm);
	if (mode != 3 && rm == 4)
		emit(next());
	if (mode == 1)
		emit(next());
	else if (mode == 2 || (mode == 0 && rm == 5))
		emit_word(place());
}

static void emit_instruction(void)
{
	static const u8 prefixes[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3 };
	/* Without operands in memory: cli sti cld std, strings, pushf popf, segments, ports, int3 into. */
	static const u8 plain[] = {
		0xfa, 0xfb, 0xfc, 0xfd, 0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0x9c, 0x9d, 0x06, 0x07,
		0x16, 0x17, 0x1e, 0x1f, 0x0e, 0xec, 0xed, 0xee, 0xef, 0x6c, 0x6e, 0xcc, 0xce, 0xcb, 0xcf, 0xf1, 0x9b,
	};
	/* After 0f, without operands: syscall clts sysret invd wbinvd ud2, MSRs, counters, sysenter sysexit, FS, GS,
	   cpuid, rsm. */
	static const u8 two_byte[] = {
		0x05, 0x06, 0x07, 0x08, 0x09, 0x0b, 0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0xa0, 0xa1, 0xa8, 0xa9, 0xa2, 0xaa,
	};
	/* After 0f, with ModR/M: descriptor tables, LAR, LSL, control and debug registers, cmpxchg8b, LSS, LFS, LGS. */
	static const u8 two_byte_operands[] = {
		0x00, 0x01, 0x02, 0x03, 0x20, 0x21, 0x22, 0x23, 0xc7, 0xb2, 0xb4, 0xb5, 0xae, 0xb6, 0xbf, 0xb1,
	};
	/* With ModR/M: arithmetic, moves, segments, exchanges, x87, far calls, bound, arpl. */
	static const u8 operands[] = {
		0x00, 0x01, 0x03, 0x31, 0x39, 0x88, 0x89, 0x8a, 0x8b, 0x8c, 0x8e, 0x86, 0x87, 0xd9, 0xdb, 0xdd, 0xdf, 0xff, 0xff,
		0x62, 0x63, 0xc4, 0xc5, 0x8f, 0xfe, 0xf6,
	};

	if (one_in(5))
		emit(prefixes[below(sizeof prefixes)]);
	switch (below(9)) {
	case 0:
	case 1:
		/* hlt with interrupts off is an end; after leave there is no stack. */
		emit(!one_in(100) ? plain[below(sizeof plain)] : one_in(2) ? 0xf4 : 0xc9);
		break;
	case 2:
		emit(0x0f);
		emit(two_byte[below(sizeof two_byte)]);
		break;
	case 3:
		emit(0x0f);
		emit(two_byte_operands[below(sizeof two_byte_operands)]);
		emit_operands();
		break;
	case 4:
	case 5:
		emit(operands[below(sizeof operands)]);
		emit_operands();
		break;
	case 6:
		/* int n */
		emit(0xcd);
		emit(one_in(2) ? next() : SYSCALL_VECTOR);
		break;
	case 7:
		/* A far jump, to any selector. */
		emit(one_in(2) ? 0xea : 0x9a);
		emit_word(place());
		emit(next());
		emit(one_in(2) ? 0 : next());
		break;
	case 8:
		for (u32 i = below(8); i > 0; i--)
			emit(next());
		break;
	}
}

/* A function that runs them on registers that mean something, and returns if they do. */
static void write_code(u8 *code)
{
	/* Of EAX, EBX, ECX, EDX, ESI, EDI: mov with an immediate operand. */
	static const u8 registers[] = { 0xb8, 0xbb, 0xb9, 0xba, 0xbe, 0xbf };

	code_at = code;
	emit(0x60);
	for (u32 i = 0; i < sizeof registers; i++) {
		emit(registers[i]);
		/* ECX is a count as well. */
		emit_word(i == 2 && !one_in(8) ? below(20) : place());
	}
	for (u32 i = 1 + below(5); i > 0; i--)
		emit_instruction();
	emit(0x61);
	emit(0xc3);
}

static void call_kernel_code(u32 unused)
{
	(void)unused;
	((void (*)(void))kernel_code)();
}

static void run_code(void)
{
	if (one_in(2)) {
		write_code(kernel_code);
		attempt(call_kernel_code, 0);
	} else {
		u32 flags = EFLAGS_ONE | EFLAGS_IF;

		write_code(user_code);
		if (one_in(4))
			flags |= next() & ~EFLAGS_VM;
		run_user_flags((void (*)(void))user_code, flags);
	}
	asm volatile("cld");
}

static void pop_flags(u32 flags)
{
	asm volatile("pushl %0; popfl; nop; pushl $2; popfl" : : "r"(flags) : "cc", "memory");
}

/* An iret to anywhere, or a stack that a trap cannot use. */
static void odd_frame(u32 kind)
{
	u32 selector = one_in(2) ? next() & 0xffff : USER_CS;
	u32 stack = place();

	if (kind == 0)
		asm volatile("pushl %0; pushl %1; pushl %2; pushl %3; pushl %4; iret"
			     : : "r"(USER_DS), "r"(stack), "r"(0x202), "r"(selector), "r"((u32)user_code) : "memory");
	else
		asm volatile("movl %%esp, %%esi; movl %0, %%esp; int3; movl %%esi, %%esp" : : "r"(stack) : "esi", "memory");
}

static void load_segment(u32 selector)
{
	asm volatile("pushl %%es; movl %0, %%fs; movl %0, %%gs; movl %0, %%es; movl %%es:0, %%eax; popl %%es"
		     : : "r"(selector) : "eax", "memory");
}

static void odd_state(void)
{
	switch (below(8)) {
	case 0:
	case 1:
	case 2:
		attempt(pop_flags, next() & ~EFLAGS_VM);
		break;
	case 3:
	case 4:
		attempt(odd_frame, 0);
		break;
	case 5:
		/* The stack of a frame that cannot be pushed ends the guest. */
		if (one_in(40))
			attempt(odd_frame, 1);
		break;
	default:
		attempt(load_segment, one_in(2) ? 8 * (6 + below(26)) + below(4) : next() & 0xffff);
		break;
	}
}

/* ---- devices and shared memory -------------------------------------------------------------- */

static void port(u32 address)
{
	if (one_in(2))
		out32(address, one_in(2) ? 0x80000000 | (next() & 0x3fff) : next());
	else
		in32(address);
}

static void use_devices(void)
{
	static const u16 ports[] = { 0xcf8, 0xcfc, 0xcfd, 0xcff, 0x64, 0x70 };
	u32 registers = ram_bytes() + (1 << 20) + below(0x88);

	if (one_in(2))
		attempt(port, one_in(8) ? next() & 0xffff : ports[below(sizeof ports / sizeof *ports)]);
	/* The console's registers, or the page of descriptors. */
	*leaf(kernel_root, KERNEL_WINDOW + 6 * PAGE) = FRAME(one_in(3) ? ram_bytes() : registers) | PTE_P | PTE_RW;
	announce_pte((u32)kernel_root, KERNEL_WINDOW + 6 * PAGE, 0);
	if (one_in(2))
		read_traps(KERNEL_WINDOW + 6 * PAGE + registers % PAGE);
	else
		write_traps(KERNEL_WINDOW + 6 * PAGE + registers % PAGE);
#ifdef LHCALL_NOTIFY
	if (!one_in(20))
		hypercall(LHCALL_NOTIFY, ram_bytes() + PAGE * below(4), 0, 0, 0);
#endif
}

static void scribble(void)
{
	if (one_in(3))
		((volatile u8 *)&lguest_data)[below(sizeof lguest_data)] = next();
	else
		poke(pool_page() + 4 * below(PAGE / 4), one_in(2) ? place() : next());
}

/* Time passes, or an interrupt comes. */
static void wait(void)
{
	lguest_data.blocked_interrupts = one_in(4) ? next() & ~1u : 0;
	hypercall(LHCALL_SET_CLOCKEVENT, 1 + below(20000), 0, 0, 0);
	if (one_in(2)) {
		lguest_data.irq_enabled = EFLAGS_IF;
		for (volatile u32 i = below(1000); i > 0; i--)
			;
		lguest_data.irq_enabled = 0;
	} else {
		hypercall(LHCALL_HALT, 0, 0, 0, 0);
	}
}

/* ---- a life --------------------------------------------------------------------------------- */

static void ignore(struct frame *frame)
{
	(void)frame;
}

static void act(u32 unused)
{
	static void (*const actions[])(void) = {
		edit_leaf, edit_leaf, edit_leaf, edit_upper, fill_table, change_space, flush, access_memory,
		access_memory, access_memory, make_call, make_call, queue_calls, run_code, run_code, run_code, odd_state,
		use_devices, scribble, wait,
	};

	(void)unused;
	actions[below(sizeof actions / sizeof *actions)]();
}

static u32 seed(void)
{
	u32 number = 0;

	for (const char *at = command_line_case(); *at >= '0' && *at <= '9'; at++)
		number = 10 * number + *at - '0';
	return number;
}

/*
 * Zeros are instructions. A wild jump would run through low memory up to the kernel's start, which makes it ask for
 * lguest_data again, and the translator takes a second for that: now it traps in the next page. Of two bytes one begins
 * an instruction.
 */
static void fence_low_memory(void)
{
	for (u32 page = 2 * PAGE; page < 0x100000; page += PAGE)
		*(volatile u16 *)page = 0xcccc;
}

void guest_main(void)
{
	/* Neighbouring seeds are to have nothing in common. */
	state = (seed() + 1) * 0x9e3779b9;
	guest_init();
	fence_low_memory();
	for (u32 irq = 0; irq < 32; irq++)
		trap_hooks[FIRST_IRQ_VECTOR + irq] = ignore;
	for (u32 i = 0; i < POOL_PAGES; i++)
		pool[i] = allocate_page();
	spaces[space_count++] = kernel_root;
	for (u32 done = 0; done < ACTIONS; done++)
		attempt(act, 0);
}
