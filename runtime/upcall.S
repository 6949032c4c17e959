// SPDX-License-Identifier: MIT OR Apache-2.0
// Entry to and return from an upcall handler; offsets of struct upcall_area (upcall.c asserts them).
#define AREA_MASKED 56
#define AREA_PENDING 64
#define AREA_HANDLER 104
#define AREA_XSAVE 112
#define AREA_FRAME 128
#define AREA_FPU 320

#define F_RDX 128
#define F_R10 136
#define F_R8 144
#define F_R9 152
#define F_R12 160
#define F_R13 168
#define F_R14 176
#define F_R15 184
#define F_RAX 192
#define F_RDI 200
#define F_RSI 208
#define F_RBX 216
#define F_RBP 224
#define F_RCX 232
#define F_R11 240
#define F_IP 256

    .text
// From the kernel: rdi area, rsi events, masked, on the area's stack.
    .globl upcall_entry
upcall_entry:
    cmpl $0, AREA_XSAVE(%rdi)
    jne 3f
    fxsave64 AREA_FPU(%rdi)
1:
    movq %rdi, %rbx                        # saved in the frame, as everything is
    xorl %ebp, %ebp
    call *AREA_HANDLER(%rdi)
    movq %rbx, %rdi
// void upcall_resume(area), masked
    .globl upcall_resume
upcall_resume:
    movl AREA_XSAVE(%rdi), %eax
    testl %eax, %eax
    jne 4f
    fxrstor64 AREA_FPU(%rdi)
// An event from here on finds what is to be resumed in the frame still, and starts the handler anew:
// nothing in here may write to the frame.
    .globl upcall_resume_first
upcall_resume_first:
    movq $0, AREA_MASKED(%rdi)
    cmpq $0, AREA_PENDING(%rdi)
    jne 2f
    movq F_RDX(%rdi), %rdx
    movq F_R10(%rdi), %r10
    movq F_R8(%rdi), %r8
    movq F_R9(%rdi), %r9
    movq F_R12(%rdi), %r12
    movq F_R13(%rdi), %r13
    movq F_R14(%rdi), %r14
    movq F_R15(%rdi), %r15
    movq F_RAX(%rdi), %rax
    movq F_RSI(%rdi), %rsi
    movq F_RBX(%rdi), %rbx
    movq F_RBP(%rdi), %rbp
    movq F_RCX(%rdi), %rcx
    movq F_R11(%rdi), %r11
    leaq F_IP(%rdi), %rsp
    movq F_RDI(%rdi), %rdi
    iretq                                  # same level: takes rip, rflags and rsp at once
2:  movq $1, AREA_MASKED(%rdi)
    .globl upcall_resume_end
upcall_resume_end:
    xorl %esi, %esi
    xchgq %rsi, AREA_PENDING(%rdi)
    movq 8(%rdi), %rsp                     # the stack, from its end
    jmp upcall_entry
3:  movl AREA_XSAVE(%rdi), %eax            # the components
    xorl %edx, %edx
    xsave64 AREA_FPU(%rdi)
    jmp 1b
4:  xorl %edx, %edx
    xrstor64 AREA_FPU(%rdi)
    jmp upcall_resume_first

    .section .note.GNU-stack, "", @progbits
