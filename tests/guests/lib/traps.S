/* 256 entry stubs, the way back from a trap, and attempt(). */

#include "lguest.h"

	.text

	/* Vector 8, 10-14 and 17 come with an error code; the others get a zero, so that all frames are alike. */
	.balign 16
	.globl trap_stubs
trap_stubs:
	.set vector, 0
	.rept 256
	.balign 16
	.if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17)
	pushl $0
	.endif
	pushl $vector
	jmp trap_entry
	.set vector, vector + 1
	.endr

	/* The flags are those of the handler's first instruction: nothing above changes them. */
trap_entry:
	pushal
	pushl %ds
	pushl %es
	pushl %fs
	pushl %gs
	movl %esp, %ebx
	pushfl
	movl $KERNEL_DS, %eax
	movl %eax, %ds
	movl %eax, %es
	cld
	movl %cs, %eax
	pushl %eax
	pushl %ebx
	call trap_dispatch
	addl $12, %esp
	testl %eax, %eax
	jnz attempt_failed
	popl %gs
	popl %fs
	popl %es
	popl %ds
	popal
	addl $8, %esp
#if HAS_NOIRQ_IRET
	/* The virtual interrupt flag comes back with the frame. An interrupt between the two
	   instructions must not build a second frame: the host knows the address of the iret. */
#if !BARE
	pushl 8(%esp)
	popl %ss:lguest_data
#endif
	.globl noirq_iret
noirq_iret:
	iret

	/* void enable_and_iret(u32 esp): enables interrupts and takes the frame at esp, as above. */
	.globl enable_and_iret
enable_and_iret:
	movl 4(%esp), %esp
	movl $0x200, lguest_data
	jmp noirq_iret
#else
	/* The same, but the host stays away from a whole range, and the way there may need a register. */
	pushl %eax
	movl 12(%esp), %eax
	.globl noirq_start, noirq_end
noirq_start:
	movl %eax, %ss:lguest_data
	popl %eax
	iret

	/* u32 spin_in_range(u32 rounds): enables interrupts and counts down where none may come. The
	   result is what `ticks` is at the end of the range. */
	.globl spin_in_range
spin_in_range:
	movl 4(%esp), %ecx
	movl $0x200, lguest_data
1:	decl %ecx
	jnz 1b
	movl ticks_in_range, %eax
noirq_end:
	ret

	.section .bss
	.balign 4
	.globl ticks_in_range
ticks_in_range:
	.skip 4
	.text
#endif

	.globl attempt
attempt:
	pushl %ebp
	pushl %ebx
	pushl %esi
	pushl %edi
	pushl attempt_esp
	movl %esp, attempt_esp
	movl 24(%esp), %eax
	pushl 28(%esp)
	call *%eax
	addl $4, %esp
	xorl %eax, %eax
	jmp attempt_done

	/* The trap may have come from any ring, stack and segment: nothing of it is kept. */
attempt_failed:
	movl $KERNEL_DS, %eax
	movl %eax, %ss
	movl attempt_esp, %esp
	pushl $2
	popfl
	xorl %eax, %eax
	movl %eax, %fs
	movl %eax, %gs
	movl $1, %eax
attempt_done:
	popl attempt_esp
	popl %edi
	popl %esi
	popl %ebx
	popl %ebp
	ret

	/* void enter_user(u32 eip, u32 esp, u32 eflags) */
	.globl enter_user
enter_user:
	movl 4(%esp), %eax
	movl 8(%esp), %ecx
	movl 12(%esp), %edx
	pushl $USER_DS
	pushl %ecx
	pushl %edx
	pushl $USER_CS
	pushl %eax
	movl $USER_DS, %eax
	movl %eax, %ds
	movl %eax, %es
	iret

	/* Where a function that run_user() called returns to. */
	.section .user.text, "ax"
	.globl user_return
user_return:
	int $SYSCALL_VECTOR

	.section .bss
	.balign 4
	.globl attempt_esp
attempt_esp:
	.skip 4
