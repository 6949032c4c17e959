// SPDX-License-Identifier: MIT OR Apache-2.0
// First instruction of every thread of a cell. rdi: the information page, rsi: the thread's number,
// rsp: 16-byte aligned stack top.
// A zero frame pointer ends backtraces.

    .section .text.start, "ax", @progbits
    .globl program_start
    .type program_start, @function
program_start:
    xorl %ebp, %ebp
    call program_entry
    ud2
    .size program_start, . - program_start
    .section .note.GNU-stack, "", @progbits
