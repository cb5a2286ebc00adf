/* The gates' stubs, the way back from a trap, and the switch of kernel stacks. */

#include "lguest.h"

	.text

	/* Exceptions, then the 32 irqs. Some exceptions have an error code; a zero makes the others alike. */
	.balign 16
	.globl trap_stubs
trap_stubs:
	.set vector, 0
	.rept 64
	.balign 16
	.if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17)
	pushl $0
	.endif
	pushl $vector
	jmp trap_entry
	.set vector, vector + 1
	.endr

	.globl syscall_stub
syscall_stub:
	pushl $0
	pushl $SYSCALL_VECTOR

trap_entry:
	pushal
	pushl %ds
	pushl %es
	pushl %fs
	pushl %gs
	movl $KERNEL_DS, %eax
	movl %eax, %ds
	movl %eax, %es
	cld
	pushl %esp
	call trap
	addl $4, %esp

	.globl trap_return
trap_return:
	popl %gs
	popl %fs
	popl %es
	popl %ds
	popal
	addl $8, %esp
	/* The virtual interrupt flag comes back with the frame's EFLAGS; DS is the process's already. An
	   interrupt between the two instructions builds no second frame: the host knows the iret. */
	pushl 8(%esp)
	popl %ss:lguest_data
	.globl noirq_iret
noirq_iret:
	iret

	/* void switch_stack(u32 *save_esp, u32 esp): returns where the other stack called it. */
	.globl switch_stack
switch_stack:
	movl 4(%esp), %eax
	movl 8(%esp), %edx
	pushl %ebp
	pushl %ebx
	pushl %esi
	pushl %edi
	movl %esp, (%eax)
	movl %edx, %esp
	popl %edi
	popl %esi
	popl %ebx
	popl %ebp
	ret

	.section .bss
	.balign 4096
	.skip 4096
	.globl idle_stack_top
idle_stack_top:
