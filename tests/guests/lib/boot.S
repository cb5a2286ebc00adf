/* The image's first instructions: keep what the host left in the registers, find a stack, go. */

#include "lguest.h"

#if STARTS_AT_PAGE_OFFSET
/* Everything is there, and nothing where it was linked. */
#define AT(address) PAGE_OFFSET + address
#else
#define AT(address) address
#endif

	.section .text.boot, "ax"
#if BARE
	/* What a Multiboot loader looks for (Multiboot 0.6.96, 3.1.1): magic number, no flags, and what makes the sum zero. */
	.balign 4
	.long 0x1badb002, 0, -0x1badb002
#endif
	/* The entry point is not the start of the image, so that a host that ignores it is found out. */
	ud2

	.globl _start
#if STARTS_AT_PAGE_OFFSET
_start:
	ud2
	.ascii "GenuineLguest"
#else
_start:
#endif
	movl %eax, AT(entry_state) + 0
	movl %ebx, AT(entry_state) + 4
	movl %ecx, AT(entry_state) + 8
	movl %edx, AT(entry_state) + 12
	movl %esi, AT(entry_state) + 16
	movl %edi, AT(entry_state) + 20
	movl %ebp, AT(entry_state) + 24
	movl %esp, AT(entry_state) + 28
	/* mov leaves the flags alone, so the pushfl below still sees those of the entry. */
	movl %cs, %eax
	movl %eax, AT(entry_state) + 36
	movl %ds, %eax
	movl %eax, AT(entry_state) + 40
	movl %es, %eax
	movl %eax, AT(entry_state) + 44
	movl %fs, %eax
	movl %eax, AT(entry_state) + 48
	movl %gs, %eax
	movl %eax, AT(entry_state) + 52
	movl %ss, %eax
	movl %eax, AT(entry_state) + 56
	movl $AT(boot_stack_top), %esp
	pushfl
	popl AT(entry_state) + 32

#if STARTS_AT_PAGE_OFFSET
	/* The boot tables end at the end of RAM. RAM is to be where it was linked as well, as in all other
	   generations: 64 entries are 256 MiB. */
	movl AT(BOOT_E820_MAP) + 8, %eax
	leal PAGE_OFFSET - 4096(%eax), %ebx
	movl (%ebx), %eax
	movl %eax, AT(entry_low_entry)
	xorl %ecx, %ecx
1:	movl (PAGE_OFFSET >> 22) * 4(%ebx, %ecx, 4), %eax
	movl %eax, (%ebx, %ecx, 4)
	incl %ecx
	cmpl $64, %ecx
	jne 1b
	movl $boot_stack_top, %esp
	movl $1f, %eax
	jmp *%eax
1:
#endif

	cld
	call guest_main
	call power_off

	.section .bss
	.globl entry_state
	.balign 16
entry_state:
	.skip 60

	/* The boot tables' entry for address 0, as a G1 guest found it. */
	.globl entry_low_entry
entry_low_entry:
	.skip 4

	/* A page below stays unused, so that a stack that overflows does not end in the page tables. */
	.balign 4096
	.skip 4096
	.skip 4 * 4096
boot_stack_top:
