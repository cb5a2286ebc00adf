/* expect: stop="guest powered off" status=0 */
/*
 * Ways into code: every software interrupt, far jumps through every selector, iret to bad ones.
 * What lands must be the guest's own code, in the ring it came from, in 32-bit mode.
 */

#include "guest.h"

/* A stub of four bytes for each vector: int n; ret. */
asm(".section .user.text, \"ax\"\n"
    ".balign 4\n"
    "int_table:\n"
    ".set n, 0\n"
    ".rept 256\n"
    ".byte 0xcd, n, 0xc3, 0x90\n"
    ".set n, n + 1\n"
    ".endr\n"
    /*
     * 0x40 is inc %eax in 32-bit code and a prefix in 64-bit code: EAX tells where we are. The far
     * return goes back to the selector that far_jump came with.
     */
    "landing:\n"
    "xorl %eax, %eax\n"
    ".byte 0x40\n"
    "nop\n"
    "movl %eax, landed_mode\n"
    "movl %cs, %eax\n"
    "movl %eax, landed_cs\n"
    "lret\n"
    "far_jump:\n"
    "pushl %cs\n"
    "pushl $far_back\n"
    "ljmp *far_pointer\n"
    "far_back:\n"
    "ret\n"
    ".section .user.data, \"aw\"\n"
    "far_pointer: .long landing, 0\n"
    ".globl landed_mode, landed_cs\n"
    "landed_mode: .long 0\n"
    "landed_cs: .long 0\n"
    ".text\n");

extern char int_table[], landing[];
extern u32 far_pointer[2], landed_mode, landed_cs;
void far_jump(void);

static void call_address(u32 address)
{
	((void (*)(void))address)();
}

static u32 open_to_software(u32 n)
{
	return n == 3 || n == 4 || n == SYSCALL_VECTOR;
}

static u32 refused(u32 n)
{
	return trap.vector == 13 && trap.error == n * 8 + 2 && trap.eip == (u32)int_table + 4 * n;
}

/* EAX is 0 (FLUSH_ASYNC) or harmless by then: int 0x1f from ring 1 is a hypercall. */
static void software_interrupts(void)
{
	u32 wrong1 = 0, wrong3 = 0, last1 = 0, last3 = 0;

	for (u32 n = 0; n < 256; n++) {
		u32 ok;

		reset_trap();
		if (n == HYPERCALL_VECTOR) {
			asm volatile("int $0x1f" : : "a"(LHCALL_FLUSH_ASYNC));
			ok = trap.count == 0;
		} else {
			attempt(call_address, (u32)int_table + 4 * n);
			ok = open_to_software(n) ? trap.vector == n : refused(n);
		}
		if (!ok) {
			wrong1++;
			last1 = n;
		}
		run_user((void (*)(void))((u32)int_table + 4 * n));
		ok = open_to_software(n) ? trap.vector == n : refused(n);
		if (!ok) {
			wrong3++;
			last3 = n;
		}
	}
	check("A-10", "int n from ring 1: wrong ones", wrong1, 0);
	check("A-10", "the last of them", last1, 0);
	check("A-10", "int n from ring 3: wrong ones", wrong3, 0);
	check("A-10", "the last of them", last3, 0);
}

static void jump(u32 unused)
{
	(void)unused;
	far_jump();
}

/* From ring 1 only 0x60 and 0x61 are 32-bit code of that ring, from ring 3 only 0x70 to 0x73. */
static void far_jumps(u32 ring)
{
	u32 landed = 0, wrong_mode = 0, wrong_ring = 0, odd_fault = 0;

	for (u32 selector = 0; selector < 0x10000; selector++) {
		far_pointer[1] = selector;
		landed_mode = ~0u;
		reset_trap();
		u32 trapped = ring == 3 ? run_user(far_jump) != SYSCALL_VECTOR : attempt(jump, 0);
		if (trapped) {
			odd_fault += (trap.vector != 13 && trap.vector != 11) || trap.error != (selector & 0xfffc);
			continue;
		}
		landed++;
		wrong_mode += landed_mode != 1;
		wrong_ring += (landed_cs & 3) != ring;
	}
	check("A-10", "selectors that lead to code", landed, ring == 3 ? 4 : 2);
	check("A-10", "landed in 64-bit mode", wrong_mode, 0);
	check("A-10", "landed in another ring", wrong_ring, 0);
	check("A-10", "faults other than #GP or #NP of the selector", odd_fault, 0);
}

/*
 * Every access byte with every flag nibble that a 32-bit landing can survive (16-bit code would
 * run `landing` as something else). Far jumps through S = 0 or L = 1 must not work.
 */
static void every_descriptor(void)
{
	u32 system = 0, mode = 0, ring = 0;

	for (u32 access = 0; access < 256; access++) {
		for (u32 nibble = 0; nibble < 16; nibble++) {
			if (!(nibble & 6))
				continue;
			load_descriptor(18, 0xfffff, nibble << 12 | access);
			far_pointer[1] = 18 * 8 + 1;
			landed_mode = ~0u;
			if (attempt(jump, 0))
				continue;
			system += !(access & 0x10);
			mode += landed_mode != 1;
			ring += (landed_cs & 3) != 1;
		}
	}
	load_descriptor(18, 0, 0);
	check("LG-063", "system descriptors that lead to code", system, 0);
	check("A-12", "descriptors that lead to 64-bit mode", mode, 0);
	check("A-12", "descriptors that lead to another ring", ring, 0);
}

static void iret_to(u32 selector)
{
	asm volatile("pushfl\n\tpushl %0\n\tpushl $1f\n\tiret\n1:" : : "r"(selector) : "memory");
}

/* To ring 3, with a stack selector of our choice. */
static void iret_with_stack(u32 selector)
{
	asm volatile("pushl %0\n\tpushl $0x1000\n\tpushfl\n\tpushl %1\n\tpushl $1f\n\tiret\n1:"
		     : : "r"(selector), "i"(USER_CS) : "memory");
}

static void bad_iret(const char *name, void (*iret)(u32), u32 selector, u32 vector, u32 error)
{
	about(name);
	reset_trap();
	check("A-01", "traps", attempt(iret, selector), 1);
	check("A-01", "vector", trap.vector, vector);
	check("A-01", "error code", trap.error, error);
	check("A-01", "CS in the frame", trap.cs, KERNEL_CS);
	about("");
}

static void bad_irets(void)
{
	load_descriptor(20, 0xfffff, 0xc01a); /* code, not present */
	load_descriptor(21, 0xfffff, 0x0089); /* TSS */
	bad_iret("iret to null", iret_to, 0, 13, 0);
	bad_iret("iret to null with RPL 1", iret_to, 1, 13, 0);
	bad_iret("iret to absent code", iret_to, 20 * 8 + 1, 11, 20 * 8);
	bad_iret("iret to a system descriptor", iret_to, 21 * 8 + 1, 13, 21 * 8);
	bad_iret("iret to data", iret_to, KERNEL_DS, 13, KERNEL_DS & ~3);
	bad_iret("iret to ring 0", iret_to, KERNEL_CS & ~3, 13, KERNEL_CS & ~3);
	bad_iret("iret past the table", iret_to, 0xfff9, 13, 0xfff8);
	bad_iret("iret to the LDT", iret_to, 0x0f, 13, 0x0c);
	bad_iret("iret to ring 3 with a null stack", iret_with_stack, 3, 13, 0);
	bad_iret("iret to ring 3 with the kernel's stack", iret_with_stack, KERNEL_DS, 13, KERNEL_DS & ~3);
	bad_iret("iret to ring 3 with a code stack", iret_with_stack, USER_CS, 13, USER_CS & ~3);
}

void guest_main(void)
{
	guest_init();
	software_interrupts();
	about("far jump from ring 1");
	far_jumps(1);
	about("far jump from ring 3");
	far_jumps(3);
	about("");
	every_descriptor();
	bad_irets();
}
