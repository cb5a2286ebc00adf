/*
 * Stubs for the exceptions and the first interrupt that note the time, then go on as those of traps.S do.
 */

#include "lguest.h"

	.text
	.balign 32
	.globl timed_stubs
timed_stubs:
	.set vector, 0
	.rept FIRST_IRQ_VECTOR + 1
	.balign 32
	pushl %eax
	pushl %edx
	rdtsc
	movl %eax, %ss:trapped_at
	popl %edx
	popl %eax
	jmp trap_stubs + 16 * vector
	.set vector, vector + 1
	.endr

	.section .bss
	.balign 4
	.globl trapped_at
trapped_at:
	.skip 4
