// SPDX-License-Identifier: MIT OR Apache-2.0
// void call_and_look(const uint64_t in[13], uint64_t out[15]): loads rax rdi rsi rbx rdx r10 r8 r9 r12 r13
// r14 r15 rbp, calls the kernel, stores them and rcx and r11.
// void fault_and_look(const uint64_t in[13], uint64_t out[15]): the same with a read of address 8 (three
// bytes of code), which a fault handler skips.
    .text
    .macro looking name
    .globl \name
\name:
    .irp r, rbx, rbp, r12, r13, r14, r15, rsi
    pushq %\r
    .endr
    movq %rdi, %rcx
    xorl %r11d, %r11d
at = 0
    .irp r, rax, rdi, rsi, rbx, rdx, r10, r8, r9, r12, r13, r14, r15, rbp
    movq at(%rcx), %\r
at = at + 8
    .endr
    .endm

    .macro looked
    pushq %rcx
    movq 8(%rsp), %rcx
at = 0
    .irp r, rax, rdi, rsi, rbx, rdx, r10, r8, r9, r12, r13, r14, r15, rbp
    movq %\r, at(%rcx)
at = at + 8
    .endr
    movq %r11, 112(%rcx)
    popq %rax
    movq %rax, 104(%rcx)
    .irp r, rsi, r15, r14, r13, r12, rbp, rbx
    popq %\r
    .endr
    ret
    .endm

    looking call_and_look
    syscall
    looked

    looking fault_and_look
    movl $8, %ecx
    movq (%rcx), %rcx
    looked

    .section .note.GNU-stack, "", @progbits
