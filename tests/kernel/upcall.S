// SPDX-License-Identifier: MIT OR Apache-2.0
// Code that upcalls interrupt.
    .text
// uint64_t upcall_test_spin(volatile uint64_t *until, uint64_t value): until *until is value. 0, or
// what was found wrong: bit 0 a register, bit 1 the red zone, bit 2 SSE.
    .globl upcall_test_spin
upcall_test_spin:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq $0x1111, %rbx
    movq $0x2222, %rbp
    movq $0x3333, %r8
    movq $0x4444, %r9
    movq $0x5555, %r10
    movq $0x6666, %r11
    movq $0x7777, %r12
    movq $0x8888, %r13
    movq $0x9999, %r14
    movq $0xaaaa, %r15
    movq $0xbbbb, %rcx
    movq %rbx, -8(%rsp)
    movq %r15, -128(%rsp)
    movq %r14, %xmm7
    movl $50000000, %edx                   # gives up
1:  xorl %eax, %eax
    stc
    adcq $0, %rax                          # the carry survives between any two instructions
    cmpq $1, %rax
    jne 2f
    cmpq $0x1111, %rbx
    jne 2f
    cmpq $0x2222, %rbp
    jne 2f
    cmpq $0x3333, %r8
    jne 2f
    cmpq $0x4444, %r9
    jne 2f
    cmpq $0x5555, %r10
    jne 2f
    cmpq $0x6666, %r11
    jne 2f
    cmpq $0x7777, %r12
    jne 2f
    cmpq $0x8888, %r13
    jne 2f
    cmpq $0x9999, %r14
    jne 2f
    cmpq $0xaaaa, %r15
    jne 2f
    cmpq $0xbbbb, %rcx
    jne 2f
    cmpq $0x1111, -8(%rsp)
    jne 3f
    cmpq $0xaaaa, -128(%rsp)
    jne 3f
    movq %xmm7, %rax
    cmpq $0x9999, %rax
    jne 4f
    subl $1, %edx
    jz 5f
    cmpq %rsi, (%rdi)
    jne 1b
    xorl %eax, %eax
    jmp 9f
2:  movl $1, %eax
    jmp 9f
3:  movl $2, %eax
    jmp 9f
4:  movl $4, %eax
    jmp 9f
5:  movl $8, %eax
9:  popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    ret

// uint64_t upcall_test_foreign(uint64_t number, uint64_t argument); 32 bytes. With the start-up code,
// before everything else: what makes kernel calls is one range of addresses behind it.
    .section .text.start, "ax"
    .balign 64
    .globl upcall_test_foreign
upcall_test_foreign:
    movq %rdi, %rax
    movq %rsi, %rdi
    syscall
    ret
    .balign 32

    .section .note.GNU-stack, "", @progbits
