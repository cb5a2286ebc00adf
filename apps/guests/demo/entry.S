/* The first instructions, at physical addresses; then the jump to where the kernel is linked. */

#define KERNEL_BASE 0xc0000000

	.text
	.globl _start
_start:
	/* The host gives no stack; the idle process's is free, at its physical address. */
	movl $idle_stack_top - KERNEL_BASE, %esp
	cld
	call boot
	movl $idle_stack_top, %esp
	pushl %eax
	movl $kernel_main, %ecx
	call *%ecx
	ud2
