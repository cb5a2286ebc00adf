/* The image's first instructions: keep what the host left in the registers, find a stack, go. */

	.section .text.boot, "ax"
	/* The entry point is not the start of the image, so that a host that ignores it is found out. */
	ud2

	.globl _start
_start:
	movl %eax, entry_state + 0
	movl %ebx, entry_state + 4
	movl %ecx, entry_state + 8
	movl %edx, entry_state + 12
	movl %esi, entry_state + 16
	movl %edi, entry_state + 20
	movl %ebp, entry_state + 24
	movl %esp, entry_state + 28
	/* mov leaves the flags alone, so the pushfl below still sees those of the entry. */
	movl %cs, %eax
	movl %eax, entry_state + 36
	movl %ds, %eax
	movl %eax, entry_state + 40
	movl %es, %eax
	movl %eax, entry_state + 44
	movl %fs, %eax
	movl %eax, entry_state + 48
	movl %gs, %eax
	movl %eax, entry_state + 52
	movl %ss, %eax
	movl %eax, entry_state + 56
	movl $boot_stack_top, %esp
	pushfl
	popl entry_state + 32

	cld
	call guest_main
	call power_off

	.section .bss
	.globl entry_state
	.balign 16
entry_state:
	.skip 60

	/* A page below stays unused, so that a stack that overflows does not end in the page tables. */
	.balign 4096
	.skip 4096
	.skip 4 * 4096
boot_stack_top:
