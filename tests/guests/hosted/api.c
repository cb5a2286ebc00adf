/*
 * The other side of tests/hosts/api: says how far it has come by writing to a port that the host
 * claimed, and finds out what the host did there.
 */

#include "guest.h"

#define STEP_PORT 0x400
#define READ_PORT 0x404
#define WRITE_PORT 0x408

/* Steps; see the same names in the host. */
#define BEFORE_INIT 0x01
#define PORTS 0x02
#define REGISTERS 0x03
#define INJECTED 0x04
#define RAISE_ALL 0x05
#define RAISE_9 0x06
#define RAISE_5 0x07
#define KICKS 0x08
#define MEMORY 0x09
#define KILL 0xe1
#define CRASH 0xe2
#define POWER_OFF 0xe3
#define RESTART 0xe4
#define INJECT 0x100
#define REFUSE 0x200

#define TIMER FIRST_IRQ_VECTOR
#define IRQS 32

static void step(u32 value)
{
	out32(STEP_PORT, value);
}

/* ---- interrupts -------------------------------------------------------------------------- */

static u32 order[64], arrivals;

static void arrive(struct frame *frame)
{
	if (arrivals < sizeof order / sizeof order[0])
		order[arrivals] = frame->vector;
	arrivals++;
}

/* Enough calls to have every interrupt delivered, one a call. */
static void send(void)
{
	arrivals = 0;
	for (u32 i = 0; i < IRQS + 8; i++) {
		lguest_data.irq_enabled = EFLAGS_IF;
		hypercall(LHCALL_SEND_INTERRUPTS, 0, 0, 0, 0);
	}
	lguest_data.irq_enabled = 0;
}

/* The host raised irq 3 before there was anything to deliver it to. */
static void raised_before_init(void)
{
	check("LG-150", "nothing came during LGUEST_INIT", arrivals, 0);
	send();
	check("LG-150", "it comes when it can", arrivals, 1);
	check("LG-133", "irq 3 is vector 35", order[0], FIRST_IRQ_VECTOR + 3);
}

static void interrupts(void)
{
	u32 wrong = 0;

	lguest_data.blocked_interrupts = 1;
	step(RAISE_ALL);
	send();
	check("LG-145", "31 irqs, one raised twice", arrivals, IRQS - 1);
	for (u32 n = 1; n < IRQS; n++)
		wrong += order[n - 1] != FIRST_IRQ_VECTOR + n;
	check("LG-133", "irqs 1 to 31 at a wrong vector", wrong, 0);
	check("LG-134", "irqs out of order", wrong, 0);

	lguest_data.blocked_interrupts = 1 | 1 << 9;
	step(RAISE_9);
	send();
	check("LG-135", "blocked irq 9 is not delivered", arrivals, 0);
	lguest_data.blocked_interrupts = 1;
	send();
	check("LG-135", "... until it is unblocked", arrivals, 1);
	check("LG-135", "its vector", order[0], FIRST_IRQ_VECTOR + 9);
}

/* A pending irq that is blocked is no reason to wake. */
static void halt(void)
{
	lguest_data.blocked_interrupts = 1 << 5;
	step(RAISE_5);
	arrivals = 0;
	hypercall(LHCALL_SET_CLOCKEVENT, 2000000, 0, 0, 0);
	hypercall(LHCALL_HALT, 0, 0, 0, 0);
	check("LG-141", "one irq ended HALT", arrivals, 1);
	check("LG-141", "the one that is not blocked", order[0], TIMER);
	lguest_data.blocked_interrupts = 0;
	send();
	check("LG-141", "the blocked one came later", order[0], FIRST_IRQ_VECTOR + 5);
}

/* ---- ports ------------------------------------------------------------------------------- */

#define EAX_AFTER(instruction, port)                                  \
	({                                                            \
		u32 eax = 0x12345678;                                 \
		asm volatile(instruction : "+a"(eax) : "d"(port));    \
		eax;                                                  \
	})

static void ports(void)
{
	step(PORTS);
	check("LG-182", "in al: the answer", EAX_AFTER("inb %%dx, %%al", READ_PORT), 0x1234565a);
	check("LG-182", "in ax: the answer", EAX_AFTER("inw %%dx, %%ax", READ_PORT), 0x12345a5b);
	check("LG-182", "in eax: the answer", EAX_AFTER("inl %%dx, %%eax", READ_PORT), 0x5a5b5c5d);
	check("LG-182", "in without an answer", EAX_AFTER("inl %%dx, %%eax", READ_PORT), 0xffffffff);
	/* The host sees each write once, and the guest goes on behind it. */
	check("LG-182", "out al", EAX_AFTER("outb %%al, %%dx\n\tincl %%eax", WRITE_PORT), 0x12345679);
	check("LG-182", "out ax", EAX_AFTER("outw %%ax, %%dx\n\tincl %%eax", WRITE_PORT), 0x12345679);
	check("LG-182", "out eax", EAX_AFTER("outl %%eax, %%dx\n\tincl %%eax", WRITE_PORT), 0x12345679);
}

/* ---- registers --------------------------------------------------------------------------- */

static struct {
	u32 eax, ebx, ecx, edx, ebp, esp, cs, ss, ds, eflags;
} after;
static u32 saved_esp, other_stack[16];

/* The host finds these registers at the step, and sends the guest past the ud2 with others. */
static void registers(void)
{
	asm volatile("pushal\n\t"
		     "movl %%esp, %[saved]\n\t"
		     "movl %[step], %%eax\n\t"
		     "movl %[port], %%edx\n\t"
		     "movl $0x1b, %%ebx\n\t"
		     "movl $0x1c, %%ecx\n\t"
		     "movl $0x1e, %%ebp\n\t"
		     "movl $1f, %%esi\n\t"
		     "movl %[stack], %%edi\n\t"
		     "stc\n\t"
		     "outl %%eax, %%dx\n\t"
		     "ud2\n"
		     "1:\tmovl %%eax, %[eax]\n\t"
		     "movl %%ebx, %[ebx]\n\t"
		     "movl %%ecx, %[ecx]\n\t"
		     "movl %%edx, %[edx]\n\t"
		     "movl %%ebp, %[ebp]\n\t"
		     "movl %%esp, %[esp]\n\t"
		     "movl %%cs, %%eax\n\t"
		     "movl %%eax, %[cs]\n\t"
		     "movl %%ss, %%eax\n\t"
		     "movl %%eax, %[ss]\n\t"
		     "movl %%ds, %%eax\n\t"
		     "movl %%eax, %[ds]\n\t"
		     /* mov leaves the flags alone. */
		     "movl %[saved], %%esp\n\t"
		     "pushfl\n\t"
		     "popl %[eflags]\n\t"
		     "popal"
		     : [saved] "+m"(saved_esp), [eax] "=m"(after.eax), [ebx] "=m"(after.ebx),
		       [ecx] "=m"(after.ecx), [edx] "=m"(after.edx), [ebp] "=m"(after.ebp),
		       [esp] "=m"(after.esp), [cs] "=m"(after.cs), [ss] "=m"(after.ss), [ds] "=m"(after.ds),
		       [eflags] "=m"(after.eflags)
		     : [step] "i"(REGISTERS), [port] "i"(STEP_PORT), [stack] "i"(other_stack)
		     : "memory", "cc");
	check("LG-180", "EAX", after.eax, 0xa0);
	check("LG-180", "EBX", after.ebx, 0xb0);
	check("LG-180", "ECX", after.ecx, 0xc0);
	check("LG-180", "EDX", after.edx, 0xd0);
	check("LG-180", "EBP", after.ebp, 0xe0);
	check("LG-180", "ESP", after.esp, (u32)other_stack);
	check("LG-180", "CS is the guest's", after.cs, KERNEL_CS);
	check("LG-180", "SS is the guest's", after.ss, KERNEL_DS);
	check("LG-180", "DS is the guest's", after.ds, KERNEL_DS);
	check("LG-180", "CF, IF and IOPL are the guest's",
	      after.eflags & (1 | EFLAGS_IF | EFLAGS_IOPL), 1 | EFLAGS_IF);
}

/* ---- injected traps ---------------------------------------------------------------------- */

void ask_for_trap(u32 request);
extern char asked[];
asm("ask_for_trap:\n\t"
    "movl 4(%esp), %eax\n\t"
    "movl $0x400, %edx\n\t"
    "outl %eax, %dx\n"
    "asked:\n\t"
    "ret");

/* An error code too many or too few, and EIP and CS would not be where they are looked for. */
static u32 wrong_frames(const u8 *vectors, u32 count)
{
	u32 wrong = 0;

	for (u32 i = 0; i < count; i++) {
		reset_trap();
		wrong += !attempt(ask_for_trap, INJECT | vectors[i]) || trap.vector != vectors[i] ||
			 trap.eip != (u32)asked || trap.cs != KERNEL_CS;
	}
	return wrong;
}

static void injected_traps(void)
{
	/* No instruction of a guest raises 10 or 17 in long mode with CR0.AM clear. */
	static const u8 with_code[] = { 10, 11, 12, 13, 14, 17 };
	static const u8 without[] = { 0, 1, 3, 4, 5, 6, 7, 9, 16, 18, 19, 20, 30, 0x80 };
	static const u8 ignored[] = { 2, 8, 15, 31 };

	check("LG-121", "wrong frames of vectors with an error code",
	      wrong_frames(with_code, sizeof with_code), 0);
	check("LG-121", "wrong frames of vectors without", wrong_frames(without, sizeof without), 0);

	/* traps_init() loaded these as well. */
	for (u32 i = 0; i < sizeof ignored; i++)
		check("LG-064", "a vector that cannot be loaded", attempt(ask_for_trap, REFUSE | ignored[i]), 0);
	unload_gate(6);
	check("LG-181", "the guest goes on without the trap", attempt(ask_for_trap, REFUSE | 6), 0);
	load_gate(6, stub(6), INTERRUPT_GATE);
	check("LG-067", "with the handler back there is a trap", attempt(ask_for_trap, INJECT | 6), 1);
	step(INJECTED);
}

/* ---- kicks and memory -------------------------------------------------------------------- */

static void kicks(void)
{
	u32 value = 1, expected = 1;

	for (u32 i = 0; i < 100; i++) {
		/* In registers over the exit. */
		asm volatile("imull $31, %0\n\toutl %1, %2\n\tincl %0"
			     : "+r"(value) : "a"(KICKS), "d"((u16)STEP_PORT));
		expected = expected * 31 + 1;
	}
	check("LG-179", "100 kicks left no trace", value, expected);
}

static void memory(void)
{
	static char text[] = "from the guest";
	static const char changed[] = "from the host!";
	u32 wrong = 0;

	step(MEMORY);
	out32(WRITE_PORT, (u32)text);
	asm volatile("" : : : "memory");
	for (u32 i = 0; i < sizeof text; i++)
		wrong += text[i] != changed[i];
	check("API", "what the host wrote", wrong, 0);
}

/* ---- the end ----------------------------------------------------------------------------- */

static void end(const char *how)
{
	static char message[200];

	for (u32 i = 0; i < sizeof message; i++)
		message[i] = 'x';
	switch (how[0]) {
	case 'k':
		step(KILL);
		hypercall(99, 0, 0, 0, 0);
		break;
	case 'c':
		step(CRASH);
		hypercall(LHCALL_SHUTDOWN, (u32)message, SHUTDOWN_POWEROFF, 0, 0);
		break;
	case 'r':
		step(RESTART);
		shutdown("again", SHUTDOWN_RESTART);
		break;
	default:
		step(POWER_OFF);
	}
}

extern char _start[];

void guest_main(void)
{
	step(BEFORE_INIT);
	out32(WRITE_PORT, (u32)_start);
	guest_init();
	for (u32 vector = FIRST_IRQ_VECTOR; vector < FIRST_IRQ_VECTOR + IRQS; vector++)
		trap_hooks[vector] = arrive;
	raised_before_init();
	ports();
	registers();
	injected_traps();
	interrupts();
	halt();
	kicks();
	memory();
	end(command_line_case());
}
