/*
 * Tour 1. From the boot loader to Rust.
 *
 * Both loaders enter here in 32-bit protected mode with paging off: QEMU and Xen by the PVH note, with
 * EBX at the start info; GRUB by the Multiboot2 header, with EAX its magic and EBX at the tags. What
 * follows needs nothing of them but flat segments.
 */

.set MULTIBOOT2_HEADER_MAGIC, 0xe85250d6
.set MULTIBOOT2_I386, 0
.set MULTIBOOT2_TAG_ENTRY_ADDRESS, 3
.set XEN_ELFNOTE_PHYS32_ENTRY, 18

.set COM1, 0x3f8
.set COM_LINE_STATUS, 5
.set COM_TRANSMITTER_EMPTY, 0x40
/* Reads of the line status, about a microsecond each, before a byte is given up: the port may be absent. */
.set COM_POLLS, 100000
.set DEBUG_EXIT, 0xf4
/* Status 5, the host could not start, as the value that the exit device takes. */
.set NOT_STARTED, 0x15

.set CPUID_EXTENDED, 0x80000000
.set CPUID_EXTENDED_FEATURES, 0x80000001
.set CPUID_NX, 1 << 20
.set CPUID_LONG_MODE, 1 << 29

.set CR0_FLAGS, 0x80010023         /* PG WP NE MP PE */
.set CR4_FLAGS, 0x620              /* PAE OSFXSR OSXMMEXCPT */
.set MSR_EFER, 0xc0000080
.set EFER_LME_NXE, 0x900
.set PRESENT_WRITABLE, 0x3
.set LARGE_PAGE, 0x83
.set DIRECT_MAP_SLOT, 256
.set IMAGE_SLOT, 260
.set CODE64, 0x08

.section .multiboot2, "a", @progbits
.balign 8
multiboot2_header:
    .long   MULTIBOOT2_HEADER_MAGIC
    .long   MULTIBOOT2_I386
    .long   multiboot2_header_end - multiboot2_header
    .long   -(MULTIBOOT2_HEADER_MAGIC + MULTIBOOT2_I386 + (multiboot2_header_end - multiboot2_header))
    .balign 8
    .word   MULTIBOOT2_TAG_ENTRY_ADDRESS, 0
    .long   12
    .long   multiboot2_entry
    .balign 8
    .word   0, 0
    .long   8
multiboot2_header_end:

.section .note.Xen, "a", @note
    .long   4
    .long   4
    .long   XEN_ELFNOTE_PHYS32_ENTRY
    .asciz  "Xen"
    .long   pvh_entry

.section .boot, "ax", @progbits
.code32
.global pvh_entry
pvh_entry:
    /* No Multiboot2 loader leaves this value in EAX, so Rust can tell the two apart by it. */
    xorl    %eax, %eax
multiboot2_entry:
    cli
    cld
    movl    $boot_stack_top, %esp
    movl    %eax, %ebp
    movl    %ebx, %edi

    movl    $CPUID_EXTENDED, %eax
    cpuid
    cmpl    $CPUID_EXTENDED_FEATURES, %eax
    jb      no_long_mode
    movl    $CPUID_EXTENDED_FEATURES, %eax
    cpuid
    testl   $CPUID_LONG_MODE, %edx
    jz      no_long_mode
    testl   $CPUID_NX, %edx
    jz      no_execute_disable

    /* The first 4 GiB at 0, at the direct map and at the image's base, until Rust builds its tables. */
    movl    %edi, %esi
    movl    $boot_directories, %edi
    movl    $LARGE_PAGE, %eax
    movl    $2048, %ecx
1:  movl    %eax, (%edi)
    movl    $0, 4(%edi)
    addl    $0x200000, %eax
    addl    $8, %edi
    decl    %ecx
    jnz     1b
    movl    %esi, %edi
    movl    $(boot_directories + 0x0000 + PRESENT_WRITABLE), boot_pointers + 0
    movl    $(boot_directories + 0x1000 + PRESENT_WRITABLE), boot_pointers + 8
    movl    $(boot_directories + 0x2000 + PRESENT_WRITABLE), boot_pointers + 16
    movl    $(boot_directories + 0x3000 + PRESENT_WRITABLE), boot_pointers + 24
    movl    $(boot_pointers + PRESENT_WRITABLE), boot_pml4
    movl    $(boot_pointers + PRESENT_WRITABLE), boot_pml4 + DIRECT_MAP_SLOT * 8
    movl    $(boot_pointers + PRESENT_WRITABLE), boot_pml4 + IMAGE_SLOT * 8

    movl    $CR4_FLAGS, %eax
    movl    %eax, %cr4
    movl    $boot_pml4, %eax
    movl    %eax, %cr3
    movl    $MSR_EFER, %ecx
    rdmsr
    orl     $EFER_LME_NXE, %eax
    wrmsr
    movl    $CR0_FLAGS, %eax
    movl    %eax, %cr0
    lgdt    boot_gdt_pointer
    ljmp    $CODE64, $long_mode

no_long_mode:
    movl    $long_mode_text, %esi
    jmp     refuse
no_execute_disable:
    movl    $execute_disable_text, %esi
refuse:
    lodsb
    testb   %al, %al
    jz      2f
    movb    %al, %ah
    movw    $(COM1 + COM_LINE_STATUS), %dx
    movl    $COM_POLLS, %ecx
1:  inb     %dx, %al
    testb   $COM_TRANSMITTER_EMPTY, %al
    loopz   1b
    movb    %ah, %al
    movw    $COM1, %dx
    outb    %al, %dx
    jmp     refuse
2:  movb    $NOT_STARTED, %al
    movw    $DEBUG_EXIT, %dx
    outb    %al, %dx
3:  hlt
    jmp     3b

.code64
long_mode:
    xorl    %eax, %eax
    movl    %eax, %ss
    movl    %eax, %ds
    movl    %eax, %es
    movabsq $stack_top, %rsp
    movl    %edi, %esi
    movl    %ebp, %edi
    xorl    %ebp, %ebp
    movabsq $boot_main, %rax
    call    *%rax
    ud2

.balign 8
boot_gdt:
    .quad   0
    .quad   0x00209b0000000000
boot_gdt_pointer:
    .word   boot_gdt_pointer - boot_gdt - 1
    .long   boot_gdt

long_mode_text:
    .asciz  "libhv: this processor has no 64-bit mode\r\n"
execute_disable_text:
    .asciz  "libhv: this processor cannot forbid execution (NX)\r\n"

.section .boot_bss, "aw", @nobits
.balign 4096
boot_pml4:          .skip 0x1000
boot_pointers:      .skip 0x1000
boot_directories:   .skip 0x4000
boot_stack:         .skip 0x100
boot_stack_top:
.text
