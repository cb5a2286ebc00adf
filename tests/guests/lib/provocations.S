/*
 * One function a trap, on pages that ring 3 may execute. <name>_eip is where the frame must point:
 * at the instruction for faults, behind it for traps (Intel SDM 3A 6.5).
 */

	.section .user.text, "ax"

	.macro provoke name
	.globl provoke_\name
provoke_\name:
	.endm

	.macro eip name
	.globl \name\()_eip
\name\()_eip:
	.endm

	provoke divide_by_zero
	xorl %edx, %edx
	movl $1, %eax
	xorl %ecx, %ecx
	eip divide_by_zero
	divl %ecx
	ret

	provoke divide_overflow
	movl $2, %edx
	movl $1, %ecx
	eip divide_overflow
	divl %ecx
	ret

	/* The step is taken after the instruction that follows popfl. */
	provoke single_step
	pushfl
	orl $0x100, (%esp)
	popfl
	nop
	eip single_step
	nop
	ret

	provoke breakpoint
	int3
	eip breakpoint
	ret

	provoke into
	movb $0x7f, %al
	addb $1, %al
	into
	eip into
	ret

	provoke bound
	pushl $1
	pushl $0
	movl $2, %eax
	eip bound
	bound %eax, (%esp)
	addl $8, %esp
	ret

	provoke ud2
	eip ud2
	ud2
	ret

	provoke fpu_with_ts
	eip fpu_with_ts
	fld1
	ret

	provoke sse_with_ts
	eip sse_with_ts
	xorps %xmm0, %xmm0
	ret

	provoke absent_segment
	movl $27 * 8 + 3, %eax
	eip absent_segment
	movl %eax, %fs
	ret

	/* SS wants the RPL of the running ring. */
	provoke absent_stack
	movl %cs, %eax
	andl $3, %eax
	orl $28 * 8, %eax
	eip absent_stack
	movl %eax, %ss
	ret

	provoke null_stack
	xorl %eax, %eax
	eip null_stack
	movl %eax, %ss
	ret

	provoke selector_past_table
	movl $0xfffb, %eax
	eip selector_past_table
	movl %eax, %fs
	ret

	provoke lidt
	eip lidt
	lidt (%esp)
	ret

	provoke read_unmapped
	eip read_unmapped
	movl 0x7ffff000, %eax
	ret

	provoke write_unmapped
	eip write_unmapped
	movl %eax, 0x7ffff000
	ret
