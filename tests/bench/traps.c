/*
 * Traps that the host reflects: from the instruction that provokes one to the first of its handler. And the system call,
 * there and back.
 */

#include "paravirt.h"
#include "provocations.h"

/* One provocation a vector; the names are those of provocations.S. */
static const struct {
	const char *provocation, *ring1, *ring3;
} kinds[] = {
	{ "divide_by_zero", "trap_de_ring1", "trap_de_ring3" },
	{ "single_step", "trap_db_ring1", "trap_db_ring3" },
	{ "breakpoint", "trap_bp_ring1", "trap_bp_ring3" },
	{ "into", "trap_of_ring1", "trap_of_ring3" },
	{ "bound", "trap_br_ring1", "trap_br_ring3" },
	{ "ud2", "trap_ud_ring1", "trap_ud_ring3" },
	{ "fpu_with_ts", "trap_nm_ring1", "trap_nm_ring3" },
	{ "absent_segment", "trap_np_ring1", "trap_np_ring3" },
	{ "absent_stack", "trap_ss_ring1", "trap_ss_ring3" },
	{ "selector_past_table", "trap_gp_ring1", "trap_gp_ring3" },
	{ "read_unmapped", "trap_pf_ring1", "trap_pf_ring3" },
};
#define KINDS (sizeof kinds / sizeof kinds[0])
#define ROUNDS 15

static void (*provoke)(void) USER_DATA;
static u32 started USER_DATA;

static void in_ring_1(u32 unused)
{
	(void)unused;
	started = read_tsc();
	provoke();
}

static void USER_TEXT in_ring_3(void)
{
	started = read_tsc();
	provoke();
}

static const struct provocation *named(const char *name)
{
	for (u32 i = 0; i < provocation_count; i++) {
		const char *a = provocations[i].name, *b = name;

		while (*a && *a == *b)
			a++, b++;
		if (*a == *b)
			return &provocations[i];
	}
	shutdown("no such provocation", SHUTDOWN_POWEROFF);
}

static void reflected(const char *name, u32 ring, u32 vector, void (*run)(void))
{
	provoke = run;
	load_gate(vector, timed_stub(vector), vector == 3 || vector == 4 ? USER_INTERRUPT_GATE : INTERRUPT_GATE);
	for (u32 i = 0; i < ROUNDS; i++) {
		if (ring == 3)
			run_user(in_ring_3);
		else
			attempt(in_ring_1, 0);
		if (trap.vector != vector)
			shutdown("not the trap that was provoked", SHUTDOWN_POWEROFF);
		samples[i] = trapped_at - started;
	}
	report(name, ROUNDS);
}

static void all_kinds(u32 ring)
{
	arm_provocations(ring);
	for (u32 kind = 0; kind < KINDS; kind++) {
		const struct provocation *provocation = named(kinds[kind].provocation);

		reflected(ring == 3 ? kinds[kind].ring3 : kinds[kind].ring1, ring, provocation->vector, provocation->run);
	}
	hypercall(LHCALL_TS, 0, 0, 0, 0);
}

static void USER_TEXT write_read_only(void)
{
	poke(USER_WINDOW, 0);
}

/* The page is there, and has been read: the shadow has it too. */
static void protected_page(void)
{
	set_pte(kernel_root, USER_WINDOW, allocate_page() | (USED_PAGE & ~PTE_RW));
	peek(USER_WINDOW);
	reflected("trap_pf_read_only_ring3", 3, 14, write_read_only);
}

/* The handler is a lone iret, so that only the way there and back is counted. */
static void USER_TEXT system_calls(void)
{
	for (u32 i = 0; i < SAMPLES; i++) {
		u32 start = read_tsc();

		asm volatile("int $0x80" : : : "memory");
		samples[i] = read_tsc() - start;
	}
	/* The way back, now that int 0x80 is a lone iret. */
	asm volatile("ud2");
}

asm("lone_iret: iret");
extern char lone_iret[];

static void system_call(const char *name, u32 gate)
{
	load_gate(SYSCALL_VECTOR, (u32)lone_iret, gate);
	run_user(system_calls);
	report(name, SAMPLES);
}

void guest_main(void)
{
	guest_init();
	measure_init();
	all_kinds(1);
	all_kinds(3);
	protected_page();
	system_call("int80_trap_gate", USER_TRAP_GATE);
	system_call("int80_interrupt_gate", USER_INTERRUPT_GATE);
}
