/* expect: stop="guest powered off" status=0 */
/* far calls through every selector, from both rings, and the instructions that are traps of their own. */

#include "guest.h"

/* As in selectors.c: 0x40 is inc %eax in 32-bit code and a prefix in 64-bit code. */
asm(".section .user.text, \"ax\"\n"
    "landing:\n"
    "xorl %eax, %eax\n"
    ".byte 0x40\n"
    "nop\n"
    "movl %eax, landed_mode\n"
    "movl %cs, %eax\n"
    "movl %eax, landed_cs\n"
    "lret\n"
    "far_call:\n"
    "lcall *far_pointer\n"
    "ret\n"
    "icebp: .byte 0xf1; ret\n"
    "overflow: movb $0x7f, %al; addb $1, %al; into; ret\n"
    "bounds: pushl $1; pushl $0; movl $2, %eax; bound %eax, (%esp); addl $8, %esp; ret\n"
    "undefined: ud2; ret\n"
    "undefined1: .byte 0x0f, 0xb9, 0xc0; ret\n"
    "far_syscall: syscall; ret\n"
    "far_sysenter: sysenter; ret\n"
    "far_sysret: .byte 0x0f, 0x07; ret\n"
    "far_sysretq: .byte 0x48, 0x0f, 0x07; ret\n"
    "far_sysexit: .byte 0x0f, 0x35; ret\n"
    "enclave: movl $4, %eax; .byte 0x0f, 0x01, 0xd7; ret\n"
    "monitor_wait: .byte 0x0f, 0x01, 0xc9; ret\n"
    "vm_launch: .byte 0x0f, 0x01, 0xc2; ret\n"
    "svm_run: .byte 0x0f, 0x01, 0xd8; ret\n"
    "write_xcr: xorl %ecx, %ecx; .byte 0x0f, 0x01, 0xd1; ret\n"
    "lret_null: pushl $0; pushl $1f; lret; 1: ret\n"
    "lret_host: pushl $0x100; pushl $1f; lret; 1: ret\n"
    ".section .user.data, \"aw\"\n"
    "far_pointer: .long landing, 0\n"
    ".globl landed_mode, landed_cs\n"
    "landed_mode: .long 0\n"
    "landed_cs: .long 0\n"
    ".text\n");

extern u32 far_pointer[2], landed_mode, landed_cs;
void far_call(void), icebp(void), overflow(void), bounds(void), undefined(void), undefined1(void),
	far_syscall(void), far_sysenter(void), far_sysret(void), far_sysretq(void), far_sysexit(void),
	enclave(void), monitor_wait(void), vm_launch(void), svm_run(void), write_xcr(void), lret_null(void),
	lret_host(void);

static void call(u32 function)
{
	((void (*)(void))function)();
}

static void far_calls(u32 ring)
{
	u32 landed = 0, wrong_mode = 0, wrong_ring = 0, odd_fault = 0;

	for (u32 selector = 0; selector < 0x10000; selector++) {
		far_pointer[1] = selector;
		landed_mode = ~0u;
		reset_trap();
		u32 trapped = ring == 3 ? run_user(far_call) != SYSCALL_VECTOR : attempt(call, (u32)far_call);
		if (trapped) {
			odd_fault += (trap.vector != 13 && trap.vector != 11) || trap.error != (selector & 0xfffc);
			continue;
		}
		landed++;
		wrong_mode += landed_mode != 1;
		wrong_ring += (landed_cs & 3) != ring;
	}
	about(ring == 3 ? "far call from ring 3" : "far call from ring 1");
	/* The RPL of a call is not looked at, but must not be above the ring: 0x60 and 0x61, 0x70 to 0x73. */
	check("A-10", "selectors that lead to code", landed, ring == 3 ? 4 : 2);
	check("A-10", "landed in 64-bit mode", wrong_mode, 0);
	check("A-10", "landed in another ring", wrong_ring, 0);
	check("A-10", "faults other than #GP or #NP of the selector", odd_fault, 0);
	about("");
}

static void trap_of_its_own(const char *name, void (*function)(void), u32 vectors)
{
	about(name);
	reset_trap();
	attempt(call, (u32)function);
	check("A-10", "from ring 1", vectors >> (trap.vector & 31) & 1, 1);
	check("A-10", "CS in the frame", trap.cs, KERNEL_CS);
	run_user(function);
	check("A-10", "from ring 3", vectors >> (trap.vector & 31) & 1, 1);
	check("A-10", "CS in the frame", trap.cs, USER_CS);
	about("");
}

#define DB (1 << 1)
#define OF (1 << 4)
#define BR (1 << 5)
#define UD (1 << 6)
#define GP (1 << 13)

void guest_main(void)
{
	guest_init();
	far_calls(1);
	far_calls(3);
	/* A processor that has it traps; others do not know it. */
	trap_of_its_own("INT1", icebp, DB | UD);
	trap_of_its_own("INTO", overflow, OF);
	trap_of_its_own("BOUND", bounds, BR);
	trap_of_its_own("UD2", undefined, UD);
	trap_of_its_own("UD1", undefined1, UD);
	trap_of_its_own("SYSCALL", far_syscall, UD | GP);
	trap_of_its_own("SYSENTER", far_sysenter, UD | GP);
	trap_of_its_own("SYSRET", far_sysret, UD | GP);
	trap_of_its_own("SYSRET behind dec", far_sysretq, UD | GP);
	trap_of_its_own("SYSEXIT", far_sysexit, UD | GP);
	trap_of_its_own("ENCLU", enclave, UD | GP);
	trap_of_its_own("MWAIT", monitor_wait, UD | GP);
	trap_of_its_own("VMLAUNCH", vm_launch, UD | GP);
	trap_of_its_own("VMRUN", svm_run, UD | GP);
	trap_of_its_own("XSETBV", write_xcr, UD | GP);
	trap_of_its_own("far return to null", lret_null, GP);
	trap_of_its_own("far return to the host", lret_host, GP);
}
