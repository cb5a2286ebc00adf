/*
 * Keeps its registers full and looks at them all the time, in ring 1 and in ring 3, while interrupts of
 * the host's own come. A dot says that the next round begins.
 */

#include "guest.h"

#define ROUNDS 8

static u32 disturbed USER_DATA;

/* One round: some 40 million instructions. */
void watch_registers(void);
asm(".section .user.text, \"ax\"\n"
    "watch_registers:\n\t"
    "pushal\n\t"
    "movl $0x0badf00d, %ebx\n\t"
    "movl $0x51515151, %esi\n\t"
    "movl $0x0d1d1d1d, %edi\n\t"
    "movl $0x0b0b0b0b, %ebp\n\t"
    "movl $0x0dedbeef, %edx\n\t"
    "movl %edx, -4(%esp)\n\t"
    "movss -4(%esp), %xmm0\n\t"
    "movss -4(%esp), %xmm7\n\t"
    "movl %esp, %eax\n\t"
    "movl $2000000, %ecx\n"
    "1:\tcmpl $0x0badf00d, %ebx\n\t"
    "jne 2f\n\t"
    "cmpl $0x51515151, %esi\n\t"
    "jne 2f\n\t"
    "cmpl $0x0d1d1d1d, %edi\n\t"
    "jne 2f\n\t"
    "cmpl $0x0b0b0b0b, %ebp\n\t"
    "jne 2f\n\t"
    "cmpl $0x0dedbeef, %edx\n\t"
    "jne 2f\n\t"
    "cmpl %esp, %eax\n\t"
    "jne 2f\n\t"
    "movss %xmm0, -8(%esp)\n\t"
    "cmpl -8(%esp), %edx\n\t"
    "jne 2f\n\t"
    "movss %xmm7, -8(%esp)\n\t"
    "cmpl -8(%esp), %edx\n\t"
    "jne 2f\n\t"
    "decl %ecx\n\t"
    "jnz 1b\n\t"
    "jmp 3f\n"
    "2:\tincl disturbed\n"
    "3:\tpopal\n\t"
    "ret\n\t"
    ".text");

void guest_main(void)
{
	u32 unexpected = 0;

	guest_init();
	for (u32 round = 0; round < ROUNDS; round++) {
		print(".");
		if (round % 2)
			unexpected += run_user(watch_registers) != SYSCALL_VECTOR;
		else
			watch_registers();
	}
	print("\n");
	check("LG-183", "rounds in which a register changed", disturbed, 0);
	check("LG-183", "traps of the guest's own", unexpected, 0);
	check("LG-183", "interrupts of the host's that reached the guest", trap.vector, SYSCALL_VECTOR);
}
