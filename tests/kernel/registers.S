// SPDX-License-Identifier: MIT OR Apache-2.0
// void yield_with_registers(const uint64_t in[12], uint64_t out[12]): loads rbp rbx rdx rsi rdi r8 r9
// r10 r12 r13 r14 r15, yields, stores them.
    .text
    .globl yield_with_registers
yield_with_registers:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    pushq %rsi
    movq %rdi, %rax
    movq 0(%rax), %rbp
    movq 8(%rax), %rbx
    movq 16(%rax), %rdx
    movq 24(%rax), %rsi
    movq 32(%rax), %rdi
    movq 40(%rax), %r8
    movq 48(%rax), %r9
    movq 56(%rax), %r10
    movq 64(%rax), %r12
    movq 72(%rax), %r13
    movq 80(%rax), %r14
    movq 88(%rax), %r15
    xorl %eax, %eax
    syscall
    popq %rax
    movq %rbp, 0(%rax)
    movq %rbx, 8(%rax)
    movq %rdx, 16(%rax)
    movq %rsi, 24(%rax)
    movq %rdi, 32(%rax)
    movq %r8, 40(%rax)
    movq %r9, 48(%rax)
    movq %r10, 56(%rax)
    movq %r12, 64(%rax)
    movq %r13, 72(%rax)
    movq %r14, 80(%rax)
    movq %r15, 88(%rax)
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    ret

    .section .note.GNU-stack, "", @progbits
