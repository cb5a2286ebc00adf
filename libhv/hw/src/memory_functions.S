/*
 * The C memory functions that compiled code calls. In assembly, because the compiler turns loops in
 * Rust that do this into calls of these very functions.
 */
.text
.global memcpy, memmove, memset, memcmp, bcmp, strlen

memmove:
    movq    %rdi, %rax
    subq    %rsi, %rax
    cmpq    %rdx, %rax
    jb      copy_backwards
memcpy:
    movq    %rdi, %rax
    movq    %rdx, %rcx
    shrq    $3, %rcx
    rep movsq
    movl    %edx, %ecx
    andl    $7, %ecx
    rep movsb
    ret

copy_backwards:
    movq    %rdi, %rax
    movq    %rdx, %rcx
    leaq    -1(%rdi,%rdx), %rdi
    leaq    -1(%rsi,%rdx), %rsi
    std
    rep movsb
    cld
    ret

memset:
    movq    %rdi, %r8
    movzbl  %sil, %eax
    movabsq $0x0101010101010101, %rcx
    imulq   %rcx, %rax
    movq    %rdx, %rcx
    shrq    $3, %rcx
    rep stosq
    movl    %edx, %ecx
    andl    $7, %ecx
    rep stosb
    movq    %r8, %rax
    ret

memcmp:
bcmp:
    xorl    %eax, %eax
    movq    %rdx, %rcx
    /* Equal when no byte is compared. */
    cmpq    %rax, %rax
    repe cmpsb
    je      1f
    /* The first argument less the second: the sign is the order of slices and strings. */
    movzbl  -1(%rdi), %eax
    movzbl  -1(%rsi), %ecx
    subl    %ecx, %eax
1:  ret

strlen:
    movq    $-1, %rax
1:  incq    %rax
    cmpb    $0, (%rdi,%rax)
    jne     1b
    ret
