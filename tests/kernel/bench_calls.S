// SPDX-License-Identifier: MIT OR Apache-2.0
// Measured user code, where every instruction counts.
#include "tests/kernel/bench_marks.h"

#define CALL_IPC_CALL 30
#define CALL_IPC_RECV 32
#define CALL_IPC_REPLY 33
#define CALL_IPC_REPLY_RECV 34

    .text
// uint64_t bench_syscall(uint64_t rax, uint64_t rdi, uint64_t rsi, uint64_t rbx): ticks of it; its
// status is left in bench_status.
    .globl bench_syscall
bench_syscall:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rcx, %rbx
    movq %rdi, %r12
    movq %rsi, %rdi
    movq %rdx, %rsi
    movq $-1, %r15                         # DEADLINE_NEVER, where the info says MESSAGE_DEADLINE
    BENCH_MARK(BENCH_MARK_BEGIN)
    rdtsc
    shlq $32, %rdx
    orq %rdx, %rax
    movq %rax, %rbp
    movq %r12, %rax
    syscall
    movq %rax, %r12
    rdtsc
    BENCH_MARK(BENCH_MARK_END)
    jmp bench_end

// As bench_syscall without the call: what the measurement costs.
    .globl bench_nothing
bench_nothing:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    rdtsc
    shlq $32, %rdx
    orq %rdx, %rax
    movq %rax, %rbp
    movq %r12, %rax
    movq %rax, %r12
    rdtsc
bench_end:
    shlq $32, %rdx
    orq %rdx, %rax
    subq %rbp, %rax
    movq %r12, bench_status(%rip)
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    ret

// uint64_t bench_resume(struct upcall_area *area): ticks from upcall_resume until the code that the
// frame names.
    .globl bench_resume
bench_resume:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    leaq 1f(%rip), %rax
    movq %rax, 256(%rdi)
    movq %rsp, 280(%rdi)
    BENCH_MARK(BENCH_MARK_BEGIN)
    rdtsc
    shlq $32, %rdx
    orq %rdx, %rax
    movq %rax, 224(%rdi)                   # the frame's rbp
    jmp upcall_resume
1:  rdtsc
    BENCH_MARK(BENCH_MARK_END)
    jmp bench_end

// void bench_server(uint64_t): bits 0..15 endpoint, 16..31 reply, 32..47 slot to accept in, 48..
// flags of the receiving calls. Answers each message with as many words, the slow way (with a
// deadline) if its label has that bit. No data, no stack.
    .globl bench_server
bench_server:
    movzwl %di, %ebp                       # endpoint
    movq %rdi, %rax
    shrq $16, %rax
    movzwl %ax, %eax
    shlq $32, %rax
    orq %rax, %rbp                         # and reply
    movq %rdi, %rbx
    shrq $32, %rbx
    movl %ebx, %r11d
    shrl $16, %r11d
    shlq $32, %rbx                         # accept slot, and flags again in bits 48..63
    movl %r11d, %esi
    movq %rbp, %rax
    shrq $32, %rax
    shlq $32, %rax
    addq $CALL_IPC_RECV, %rax
    movl %ebp, %edi
    movq $-1, %r15
    testl %esi, %esi
    jnz serve_accepting
    syscall
1:  movq %rbp, %rax                        # 12 instructions a round
    shrq $32, %rax
    shlq $32, %rax
    addq $CALL_IPC_REPLY_RECV, %rax
    movl %ebp, %edi
    movl %esi, %r11d                       # a label with MESSAGE_DEADLINE asks for that flag
    shrl $16, %r11d
    andl $0x40, %r11d
    andl $0xf, %esi
    orl %r11d, %esi
    syscall
    jmp 1b
serve_accepting:
    shlq $16, %rbx
    shrq $16, %rbx
1:  movq %rbp, %rax
    shrq $32, %rax
    shlq $32, %rax
    addq $CALL_IPC_RECV, %rax
    movl %ebp, %edi
    movl $0x20, %esi                       # MESSAGE_ACCEPT
    syscall
    movq %rbp, %rdi                        # 5 instructions until the answer
    shrq $32, %rdi
    xorl %esi, %esi
    movl $CALL_IPC_REPLY, %eax
    syscall
    jmp 1b

// void bench_faulter(uint64_t address): reads it for ever.
    .globl bench_faulter
bench_faulter:
    movq (%rdi), %rax
    jmp bench_faulter

// void bench_spin(volatile uint32_t *last, volatile uint32_t *end): keeps the time in *last until
// *end is not 0.
    .globl bench_spin
bench_spin:
    BENCH_MARK(BENCH_MARK_BEGIN)
    rdtsc
    movl %eax, (%rdi)
    cmpl $0, (%rsi)
    je bench_spin
    ret

    .section .note.GNU-stack, "", @progbits
