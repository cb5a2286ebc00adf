/* expect: stop="guest powered off" status=0 */
/* Descriptors, gates and the stack that ring-3 traps arrive on. */

#include "guest.h"

#define TLS_FIRST 6

static u32 selector(u32 index)
{
	return index * 8 + 3;
}

static void descriptors(void)
{
	u32 before[4], after[4];
	static const u32 ignored[4] = { 10, 11, 16, 31 };

	load_descriptor(18, 0x55, 0x4092);
	check("LG-055", "DPL 0 becomes usable in ring 1", segment_limit(18 * 8 + 1), 0x55);
	check("LG-056", "accessed bit, DPL 1", access_rights(18 * 8 + 1) >> 8 & 0xff, 0xb3);

	for (u32 i = 0; i < 4; i++) {
		before[i] = segment_limit(selector(ignored[i]));
		load_descriptor(ignored[i], 0x77, DATA_DPL3);
		after[i] = segment_limit(selector(ignored[i]));
	}
	check("LG-057", "entry 10", after[0], before[0]);
	check("LG-057", "entry 11", after[1], before[1]);
	check("LG-057", "entry 16", after[2], before[2]);
	check("LG-057", "entry 31", after[3], before[3]);
}

static void thread_local(void)
{
	static u32 table[6];

	for (u32 i = 0; i < 3; i++) {
		load_descriptor(TLS_FIRST + i, 0x10 + i, DATA_DPL3);
		table[2 * i] = DESCRIPTOR_LOW(0, 0x20 + i);
		table[2 * i + 1] = DESCRIPTOR_HIGH(0, 0x20 + i, DATA_DPL3);
	}
	load_descriptor(5, 0x15, DATA_DPL3);
	load_descriptor(9, 0x19, DATA_DPL3);
	hypercall(LHCALL_LOAD_TLS, (u32)table, 0x12345678, 0, 0);
	check("LG-060", "entry 5 stays", segment_limit(selector(5)), 0x15);
	check("LG-060", "entry 6", segment_limit(selector(6)), 0x20);
	check("LG-060", "entry 7", segment_limit(selector(7)), 0x21);
	check("LG-060", "entry 8", segment_limit(selector(8)), 0x22);
	check("LG-060", "entry 9 stays", segment_limit(selector(9)), 0x19);
	check("LG-061", "the second argument did not matter", segment_limit(selector(6)), 0x20);
}

/* S = 0 (system) types 0 to 15, and 64-bit code, both data-like enough for LAR to tell. */
static void forbidden(void)
{
	u32 usable = 0;

	for (u32 type = 0; type < 16; type++) {
		load_descriptor(19, 0xfffff, 0xc0e0 | type);
		usable += access_rights(selector(19)) != ~0u;
	}
	check("LG-063", "system descriptors that LAR sees", usable, 0);

	usable = 0;
	for (u32 type = 8; type < 16; type++) {
		load_descriptor(19, 0xfffff, 0xa0f0 | type);
		u32 rights = access_rights(selector(19));
		/* Bit 21 is L; not usable at all is as good as usable without it. */
		usable += rights != ~0u && (rights >> 21 & 1);
	}
	check("LG-063", "code descriptors with L = 1", usable, 0);
	load_descriptor(19, 0, 0);
}

static void USER_TEXT user_breakpoint(void)
{
	asm volatile("int3");
}

static void USER_TEXT user_int_32(void)
{
	asm volatile("int $32");
}

static void USER_TEXT user_nothing(void)
{
}

static void gates(void)
{
	/* Were 31 taken, the next hypercall would land in the stub and not come back. */
	static const u32 ignored[] = { 2, 8, 15, 31 };

	for (u32 i = 0; i < 4; i++)
		load_gate(ignored[i], stub(ignored[i]), USER_INTERRUPT_GATE);
	reset_trap();
	hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0, 0);
	check("LG-064", "vector 31 stays the hypercall", trap.count, 0);

	/* Selector 0x08 in the gate. */
	hypercall(LHCALL_LOAD_IDT_ENTRY, 3, 0x08 << 16 | (stub(3) & 0xffff),
		  (stub(3) & 0xffff0000) | USER_INTERRUPT_GATE, 0);
	check("LG-070", "int3 from ring 3", run_user(user_breakpoint), 3);
	check("LG-068", "handlers run with CS 0x61", trap.handler_cs, KERNEL_CS);

	check("LG-069", "int 32 from ring 3", run_user(user_int_32), 13);
	check("LG-069", "error code", trap.error, 32 * 8 + 2);

	/* With the handler for 3 gone the int3 is refused, or its absence would kill. */
	load_gate(3, stub(3), INTERRUPT_GATE);
	check("LG-069", "int3 with a DPL 0 gate", run_user(user_breakpoint), 13);
	check("LG-069", "error code", trap.error, 3 * 8 + 2);
	load_gate(3, stub(3), USER_INTERRUPT_GATE);
}

static void stacks(void)
{
	u32 other = allocate_page() + PAGE;

	run_user(user_nothing);
	check("LG-120", "the frame ends at esp1", trap.frame, trap_stack_top() - 20);
	hypercall(LHCALL_SET_STACK, KERNEL_DS, other, 1, 0);
	run_user(user_nothing);
	check("LG-075", "the latest SET_STACK counts", trap.frame, other - 20);
	hypercall(LHCALL_SET_STACK, KERNEL_DS, trap_stack_top(), 2, 0);

	/* Not mapped, and no page of it is looked at. */
	hypercall(LHCALL_SET_STACK, KERNEL_DS, 0x50000000, 0, 0);
	hypercall(LHCALL_SET_STACK, KERNEL_DS, trap_stack_top(), 2, 0);
	survived("LG-074", "SET_STACK with 0 pages");
}

void guest_main(void)
{
	guest_init();
	descriptors();
	thread_local();
	forbidden();
	gates();
	stacks();
}
