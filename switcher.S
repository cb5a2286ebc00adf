/*
 * The switcher: the only code that runs between the host and its guest.
 *
 * Every vector of the processor lands here. A trap from the guest finds its frame pushed by the
 * processor at the end of `struct Registers` (TSS.RSP0 points there), so the exit has only the
 * general registers left to store. Offsets come from Rust: nothing in this file knows a layout.
 *
 * This page and the entry area are all that is mapped beside the guest in isolated mode, so nothing
 * here may touch other memory between the two CR3 loads, but what is the guest's own. NMI and #MC may
 * arrive at any instruction; they run on stacks of their own and leave every register as it was.
 */

.set EAX, {eax}
.set EBX, {ebx}
.set ECX, {ecx}
.set EDX, {edx}
.set ESI, {esi}
.set EDI, {edi}
.set EBP, {ebp}
.set DS, {ds}
.set ES, {es}
.set FS, {fs}
.set GS, {gs}
.set VECTOR, {vector}
.set ERROR, {error}
.set EIP, {eip}
.set CS, {cs}
.set EFLAGS, {eflags}
.set REGISTERS, {registers}
.set XMM, {xmm}
.set HOST_RSP, {host_rsp}
.set ENTRY_CR3, {entry_cr3}
.set EXIT_CR3, {exit_cr3}
.set TASK_SWITCHED, {task_switched}
.set RELOAD_SEGMENTS, {reload_segments}
.set UNUSUAL_ENTRY, {unusual_entry}
.set UNUSUAL_EXIT, {unusual_exit}
.set SYSCALL_FRAME, {syscall_frame}
.set SYSCALL_IRQ_ENABLED, {syscall_irq_enabled}
.set SYSCALLS, {syscalls}
.set FRAME_FLAGS, {frame_flags}
.set NOT_HANDLER_FLAGS, {not_handler_flags}
.set IDLE_VECTOR, {idle_vector}
.set PROFILE, {profile}
.set ENTERED, {entered}
.set LEFT, {left}
.set REFUSED, {refused}
.set NMI_COUNT, {nmi_count}
.set MCE_COUNT, {mce_count}
.set FRAME_CS, 8                   /* in the frame that the processor pushes */
.set FRAME_EFLAGS, 16
.set FRAME_RSP, 24
.set FRAME_SS, 32
.set CR0_TS, 1 << 3
.set EFLAGS_IF, 1 << 9
.set EFLAGS_VM_BIT, 17
.set MSR_MCG_STATUS, 0x17a
.set MCG_STATUS_RIPV, 1 << 0
.set MCG_STATUS_MCIP, 1 << 2

.section .switcher, "ax", @progbits

/* Notes the time, in images that make a profile. EAX and EDX are lost. */
.macro STAMP place
.if PROFILE
    rdtsc
    movl    %eax, entry_area+\place(%rip)
    movl    %edx, entry_area+\place+4(%rip)
.endif
.endm

/*
 * Tour 4. Into the guest.
 *
 * enter_guest: returns with the reason in the registers' VECTOR, which is REFUSED when the processor refused the
 * guest's state.
 * The caller has saved everything but RBX and RBP, and has sanitised EFLAGS.
 */
.global enter_guest
enter_guest:
    pushq   %rbx
    pushq   %rbp
    movq    %rsp, entry_area+HOST_RSP(%rip)

    movaps  entry_area+XMM+0x00(%rip), %xmm0
    movaps  entry_area+XMM+0x10(%rip), %xmm1
    movaps  entry_area+XMM+0x20(%rip), %xmm2
    movaps  entry_area+XMM+0x30(%rip), %xmm3
    movaps  entry_area+XMM+0x40(%rip), %xmm4
    movaps  entry_area+XMM+0x50(%rip), %xmm5
    movaps  entry_area+XMM+0x60(%rip), %xmm6
    movaps  entry_area+XMM+0x70(%rip), %xmm7
    leaq    entry_area+REGISTERS+EIP(%rip), %rsp
    cmpl    $0, entry_area+UNUSUAL_ENTRY(%rip)
    jne     unusual_entry
entry_prepared:
    /* No code that the guest can run sees R8 to R15, and none of the host's values stay in them. */
    xorl    %r8d, %r8d
    xorl    %r9d, %r9d
    xorl    %r10d, %r10d
    xorl    %r11d, %r11d
    xorl    %r12d, %r12d
    xorl    %r13d, %r13d
    xorl    %r14d, %r14d
    xorl    %r15d, %r15d
    movl    EBX-EIP(%rsp), %ebx
    movl    ECX-EIP(%rsp), %ecx
    STAMP   ENTERED
    movl    EDX-EIP(%rsp), %edx
    movl    ESI-EIP(%rsp), %esi
    movl    EDI-EIP(%rsp), %edi
    movl    EBP-EIP(%rsp), %ebp
    movl    EAX-EIP(%rsp), %eax
entry_faults_begin:
    iretq

/*
 * A selector whose descriptor the guest has since taken away faults here, at a known place: the fault's own
 * frame goes to the room that is kept for it below the guest's.
 */
load_segments:
    movw    DS-EIP(%rsp), %ds
    movw    ES-EIP(%rsp), %es
    movw    FS-EIP(%rsp), %fs
    movw    GS-EIP(%rsp), %gs
entry_faults_end:
    movb    $0, entry_area+RELOAD_SEGMENTS(%rip)
    jmp     entry_prepared

/* CR0.TS, a CR3 of the guest's own, segments: what most entries leave alone is behind one test. */
unusual_entry:
    cmpb    $0, entry_area+TASK_SWITCHED(%rip)
    je      1f
    movq    %cr0, %rax
    orq     $CR0_TS, %rax
    movq    %rax, %cr0
1:  movq    entry_area+ENTRY_CR3(%rip), %rax
    testq   %rax, %rax
    jz      2f
    movq    %rax, %cr3
2:  cmpb    $0, entry_area+RELOAD_SEGMENTS(%rip)
    jne     load_segments
    jmp     entry_prepared

/*
 * Tour 5. Out of the guest.
 *
 * RSP is at the vector that the stub pushed. The guest is told from the host by CPL, and by
 * EFLAGS.VM, without which a virtual-8086 CS of 0 would pass for the host's.
 */
exit_any:
    testb   $3, CS-VECTOR(%rsp)
    jz      exit_ring0
exit_guest:
    movl    %eax, EAX-VECTOR(%rsp)
    movl    %ebx, EBX-VECTOR(%rsp)
    movl    %ecx, ECX-VECTOR(%rsp)
    movl    %edx, EDX-VECTOR(%rsp)
    movl    %esi, ESI-VECTOR(%rsp)
    movl    %edi, EDI-VECTOR(%rsp)
    movl    %ebp, EBP-VECTOR(%rsp)
leave_guest:
    STAMP   LEFT
    /* The guest's DF; compiled code relies on it being clear. */
    cld
    cmpw    $0, entry_area+UNUSUAL_EXIT(%rip)
    jne     unusual_exit
exit_prepared:
    movaps  %xmm0, entry_area+XMM+0x00(%rip)
    movaps  %xmm1, entry_area+XMM+0x10(%rip)
    movaps  %xmm2, entry_area+XMM+0x20(%rip)
    movaps  %xmm3, entry_area+XMM+0x30(%rip)
    movaps  %xmm4, entry_area+XMM+0x40(%rip)
    movaps  %xmm5, entry_area+XMM+0x50(%rip)
    movaps  %xmm6, entry_area+XMM+0x60(%rip)
    movaps  %xmm7, entry_area+XMM+0x70(%rip)
    movq    entry_area+HOST_RSP(%rip), %rsp
    popq    %rbp
    popq    %rbx
    ret

unusual_exit:
    movq    entry_area+EXIT_CR3(%rip), %rbx
    testq   %rbx, %rbx
    jz      1f
    movq    %rbx, %cr3
    /* Compiled code uses SSE: with TS set its first move would be a #NM in the host. */
1:  clts
    jmp     exit_prepared

/*
 * A system call whose handler is known here: the frame goes onto the guest kernel's stack and the handler
 * starts, without a way through the host. The gate of the system call's vector leads here only while what lies in the
 * entry area holds; see `direct_syscall` in the personality. All that is not plain goes the long way.
 *
 * The guest's registers stay where they are: R8 to R12, which its code cannot see, are enough. What they are left with
 * is the guest's own, but for one address: where the window is, which is the same on every machine. The frame is
 * written through the guest's own page tables, with CR0.WP set, and no address of it is above 4 GiB but where nothing is
 * mapped: a stack that is not mapped writable faults here, at a known place, and the trap goes the long way too.
 * `irq_enabled` is reached through the window, in either mode and whatever the guest's page tables say. So it cannot
 * fault once the frame is there: nothing is ever half done.
 */
syscall_begin:
.macro DIRECT_SYSCALL interrupts
    movl    FRAME_CS(%rsp), %r12d
    testb   $2, %r12b
    jz      syscall_the_long_way
    movl    FRAME_EFLAGS(%rsp), %r8d
    testl   $NOT_HANDLER_FLAGS, %r8d
    jnz     syscall_the_long_way
    movq    entry_area+SYSCALL_IRQ_ENABLED(%rip), %r10
    movl    entry_area+SYSCALL_FRAME+FRAME_RSP(%rip), %r9d
    /* The processor's IF is always set; the guest's own takes its place. */
    movl    (%r10), %r11d
    andl    $EFLAGS_IF, %r11d
    orl     $FRAME_FLAGS, %r11d
    andl    %r8d, %r11d
    movl    %r12d, 4(%r9)
    movl    (%rsp), %r12d
    movl    %r12d, 0(%r9)
    movl    %r11d, 8(%r9)
    movl    FRAME_RSP(%rsp), %r12d
    movl    %r12d, 12(%r9)
    movl    FRAME_SS(%rsp), %r12d
    movl    %r12d, 16(%r9)
    .ifc \interrupts, off
    movl    $0, (%r10)
    .endif
    movl    %r8d, entry_area+SYSCALL_FRAME+FRAME_EFLAGS(%rip)
    incq    entry_area+SYSCALLS(%rip)
    leaq    entry_area+SYSCALL_FRAME(%rip), %rsp
    iretq
.endm
.balign 16
.global syscall_by_trap_gate
syscall_by_trap_gate:
    DIRECT_SYSCALL kept
.balign 16
.global syscall_by_interrupt_gate
syscall_by_interrupt_gate:
    DIRECT_SYSCALL off
syscall_end:

/* The processor's frame is at the end of the registers, however far the direct way got. */
syscall_faulted:
    popq    %rax
    leaq    entry_area+REGISTERS+EIP(%rip), %rsp
syscall_the_long_way:
    pushq   $0
    pushq   $0x80
    jmp     exit_any

/* Ring 0, or a virtual-8086 guest: an interrupt that ends idling, a refused entry, or a host bug. */
exit_ring0:
    btl     $EFLAGS_VM_BIT, EFLAGS-VECTOR(%rsp)
    jc      exit_guest
    pushq   %rax
    leaq    syscall_begin(%rip), %rax
    subq    EIP-VECTOR+8(%rsp), %rax
    negq    %rax
    cmpq    $syscall_end - syscall_begin, %rax
    jb      syscall_faulted
    leaq    entry_faults_begin(%rip), %rax
    cmpq    %rax, EIP-VECTOR+8(%rsp)
    jb      not_an_entry_fault
    leaq    entry_faults_end(%rip), %rax
    cmpq    %rax, EIP-VECTOR+8(%rsp)
    jae     not_an_entry_fault
    /* The guest's registers are still where the entry read them from; only what was refused is new. */
    movl    ERROR-VECTOR+8(%rsp), %ecx
    movl    $REFUSED, entry_area+REGISTERS+VECTOR(%rip)
    movl    %ecx, entry_area+REGISTERS+ERROR(%rip)
    jmp     leave_guest

not_an_entry_fault:
    movq    8(%rsp), %rax
    cmpq    $32, %rax
    jb      host_trap
    /* Only `idle` runs with interrupts on; it finds the vector here and interrupts off again. */
    movq    %rax, entry_area+IDLE_VECTOR(%rip)
    popq    %rax
    addq    $16, %rsp
    andl    $~EFLAGS_IF, 16(%rsp)
    iretq

/* An exception in the host itself is a bug: say where, and stop. Nothing returns from here. */
host_trap:
    popq    %rax
host_trap_on_this_stack:
    cld
    movq    entry_area+EXIT_CR3(%rip), %rax
    testq   %rax, %rax
    jz      1f
    movq    %rax, %cr3
1:  clts
    popq    %rdi
    popq    %rsi
    popq    %rdx
    movq    16(%rsp), %rcx
    andq    $-16, %rsp
    call    host_exception
    ud2

/*
 * Sleeps until an interrupt; returns its vector in RAX, or 0 when something else woke the processor.
 * `sti` takes effect after the next instruction, so no interrupt slips in before the `hlt`.
 */
.global idle
idle:
    movq    $0, entry_area+IDLE_VECTOR(%rip)
    sti
    hlt
    cli
    movq    entry_area+IDLE_VECTOR(%rip), %rax
    ret

/*
 * Vectors with stacks of their own. #DB has one because a guest can make it arrive right after a
 * `mov ss`, in the first instruction of a stub; #NMI and #MC because they can arrive anywhere; #DF
 * because the running stack is what broke.
 */
debug_exception:
    testb   $3, CS-EIP(%rsp)
    jnz     1f
    btl     $EFLAGS_VM_BIT, EFLAGS-EIP(%rsp)
    jc      1f
    /* A step or breakpoint of the guest's that caught up with us inside a stub: not the host's. */
    iretq
1:  movl    %eax, entry_area+REGISTERS+EAX(%rip)
    movq    0x00(%rsp), %rax
    movq    %rax, entry_area+REGISTERS+EIP+0x00(%rip)
    movq    0x08(%rsp), %rax
    movq    %rax, entry_area+REGISTERS+EIP+0x08(%rip)
    movq    0x10(%rsp), %rax
    movq    %rax, entry_area+REGISTERS+EIP+0x10(%rip)
    movq    0x18(%rsp), %rax
    movq    %rax, entry_area+REGISTERS+EIP+0x18(%rip)
    movq    0x20(%rsp), %rax
    movq    %rax, entry_area+REGISTERS+EIP+0x20(%rip)
    movl    entry_area+REGISTERS+EAX(%rip), %eax
    leaq    entry_area+REGISTERS+EIP(%rip), %rsp
    pushq   $0
    pushq   $1
    jmp     exit_guest

double_fault:
    pushq   $8
    jmp     host_trap_on_this_stack

/*
 * A machine check that left the interrupted code intact (RIPV) is counted, and that code goes on.
 *
 * While MCIP is set a second one shuts the processor down. From the wrmsr on it comes here again, on
 * the same stack, over the frame and the registers of the first: there is nothing left to return to.
 *
 * One that arrived inside the NMI stub must not return there. An iretq ends the blocking of NMIs, and
 * the next NMI would overwrite the frame that the stub still needs: it would return to itself for
 * ever. So this handler finishes the NMI in its place, and the only iretq is the NMI's own.
 *
 * NMIs themselves do not nest, and one that arrives here returns here. #DB has an iretq in ring 0
 * too, but none arises in these handlers: DR7 stays 0, the gates clear TF, and a step that a guest
 * delayed into its exit is taken before an NMI that waits for the same instruction.
 */
machine_check:
    pushq   %rax
    pushq   %rcx
    pushq   %rdx
    leaq    machine_check(%rip), %rcx
    movq    24(%rsp), %rax
    subq    %rcx, %rax
    cmpq    $machine_check_end - machine_check, %rax
    jb      machine_check_fatal
    movl    $MSR_MCG_STATUS, %ecx
    rdmsr
    testl   $MCG_STATUS_RIPV, %eax
    jz      machine_check_fatal
    andl    $~MCG_STATUS_MCIP, %eax
    wrmsr
    incq    entry_area+MCE_COUNT(%rip)
    leaq    nmi(%rip), %rcx
    movq    24(%rsp), %rax
    subq    %rcx, %rax
    cmpq    $nmi_end - nmi, %rax
    popq    %rdx
    jb      machine_check_in_nmi
    popq    %rcx
    popq    %rax
    iretq
machine_check_in_nmi:
    testq   %rax, %rax
    jnz     1f
    incq    entry_area+NMI_COUNT(%rip)
1:  popq    %rcx
    popq    %rax
    movq    FRAME_RSP(%rsp), %rsp
    iretq
machine_check_end:

machine_check_fatal:
    addq    $24, %rsp
    pushq   $0
    pushq   $18
    jmp     host_trap_on_this_stack

/*
 * One stub a vector, 16 bytes apart. The processor pushes an error code for 8, 10 to 14 and 17; the
 * others push a zero in its place. An NMI is counted, here, where `machine_check` finds it; nothing
 * else of the host or the guest notices.
 */
.balign 16
.global exit_stubs
exit_stubs:
.set stub, 0
.rept 256
    .balign 16
    .if stub == 1
        jmp     debug_exception
    .elseif stub == 2
nmi:
        incq    entry_area+NMI_COUNT(%rip)
        iretq
nmi_end:
    .elseif stub == 8
        jmp     double_fault
    .elseif stub == 18
        jmp     machine_check
    .else
        .if (stub < 10 || stub > 14) && stub != 17
        pushq   $0
        .endif
        pushq   $stub
        jmp     exit_any
    .endif
    .set stub, stub + 1
.endr
.text
