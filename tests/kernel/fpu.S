// SPDX-License-Identifier: MIT OR Apache-2.0
    .text
// void fpu_fill(const uint8_t pattern[32]): into ymm0 .. ymm15.
    .globl fpu_fill
fpu_fill:
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    vmovdqu (%rdi), %ymm\n
    .endr
    ret

// uint64_t fpu_differs(const uint8_t pattern[32]): whether a register holds something else. Uses
// 40 bytes below the stack pointer, which no handler writes to.
    .globl fpu_differs
fpu_differs:
    .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    vmovups %ymm\n, -40(%rsp)
    .irp word, 0,8,16,24
    movq \word(%rdi), %rax
    cmpq %rax, \word-40(%rsp)
    jne 1f
    .endr
    .endr
    xorl %eax, %eax
    ret
1:  movl $1, %eax
    ret

// void fpu_clean(void): as a thread starts.
    .globl fpu_clean
fpu_clean:
    vzeroall
    ret

    .section .note.GNU-stack, "", @progbits
