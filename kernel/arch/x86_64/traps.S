// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Every way into the kernel and the one way out. The kernel runs on one stack, from its top, with
 * interrupts off; it keeps nothing on it between entries (event kernel). A user thread's registers
 * are saved in its struct registers, through the pointer in struct cpu.
 *
 * Kernel-mode traps: interrupts come only while idle, whose state is worth nothing; an exception is
 * a bug of the kernel and ends in a panic. NMI, double fault and machine check have stacks of their
 * own and always panic, so that they may come at any instruction, GS swapped or not.
 */
#include "kernel/arch/x86_64/layout.h"
#include "kernel/arch/x86_64/offsets.h"

    .section .text.entry, "ax"

/* ---- SYSCALL (SDM vol. 2): rcx = rip, r11 = rflags, stack is the user's ----------------------- */
    .balign 64
    .global syscall_entry
syscall_entry:
    swapgs
    movq %rsp, %gs:CPU_USER_SP
    movq %gs:CPU_REGISTERS, %rsp
    movq %rdx, R_RDX(%rsp)
    movq %r10, R_R10(%rsp)
    movq %r8, R_R8(%rsp)
    movq %r9, R_R9(%rsp)
    movq %r12, R_R12(%rsp)
    movq %r13, R_R13(%rsp)
    movq %r14, R_R14(%rsp)
    movq %r15, R_R15(%rsp)
    movq %rax, R_RAX(%rsp)
    movq %rdi, R_RDI(%rsp)
    movq %rsi, R_RSI(%rsp)
    movq %rbx, R_RBX(%rsp)
    movq %rbp, R_RBP(%rsp)
    movq %rcx, R_IP(%rsp)
    movq %r11, R_FLAGS(%rsp)
    movq %gs:CPU_USER_SP, %rcx
    movq %rcx, R_SP(%rsp)
    movq $ENTRY_SYSCALL, R_ENTRY(%rsp)
    movq $kernel_stack_top, %rsp
    xorl %ebp, %ebp
    movq $kernel_state, %rdi
    call kernel_syscall

/* ---- Back to user mode, or idle ---------------------------------------------------------------
 * Context: kernel stack at or below its top, kernel GS, interrupts off. */
    .global user_return
user_return:
    movl kernel_state + KERNEL_CURRENT(%rip), %eax
    cmpl %gs:CPU_LOADED_INDEX, %eax
    jne other_thread
    movq %gs:CPU_REGISTERS, %rax
return_to:
    movq R_IP(%rax), %rcx
    cmpq $ENTRY_SYSCALL, R_ENTRY(%rax)
    jne return_full
    btq $47, %rcx                          # SYSCALL in the last bytes of the user half: SYSRET
    jc bad_return_address                  # would fault in here, in ring 0
    movq R_FLAGS(%rax), %r11
    movq R_RDX(%rax), %rdx
    movq R_R10(%rax), %r10
    movq R_R8(%rax), %r8
    movq R_R9(%rax), %r9
    movq R_R12(%rax), %r12
    movq R_R13(%rax), %r13
    movq R_R14(%rax), %r14
    movq R_R15(%rax), %r15
    movq R_RDI(%rax), %rdi
    movq R_RSI(%rax), %rsi
    movq R_RBX(%rax), %rbx
    movq R_RBP(%rax), %rbp
    movq R_SP(%rax), %rsp
    movq R_RAX(%rax), %rax
    swapgs
    sysretq

return_full:
    movq %rcx, %rdx
    shrq $47, %rdx                         # so would IRETQ
    jnz bad_return_address
    movq $kernel_stack_top, %rsp
    pushq $SELECTOR_USER_DATA
    pushq R_SP(%rax)
    pushq R_FLAGS(%rax)
    pushq $SELECTOR_USER_CODE
    pushq %rcx
    movq R_RDX(%rax), %rdx
    movq R_R10(%rax), %r10
    movq R_R8(%rax), %r8
    movq R_R9(%rax), %r9
    movq R_R12(%rax), %r12
    movq R_R13(%rax), %r13
    movq R_R14(%rax), %r14
    movq R_R15(%rax), %r15
    movq R_RDI(%rax), %rdi
    movq R_RSI(%rax), %rsi
    movq R_RBX(%rax), %rbx
    movq R_RBP(%rax), %rbp
    movq R_RCX(%rax), %rcx
    movq R_R11(%rax), %r11
    movq R_RAX(%rax), %rax
    swapgs
    iretq

/* eax: what runs next, another than the loaded thread. The common case of thread_switch in
 * switch.c: FSGSBASE, somebody loaded. */
other_thread:
    testl %eax, %eax
    jz idle
    movl %eax, %esi
    shlq $6, %rax
    movabsq $PHYSICAL_WINDOW, %rcx
    addq %rcx, %rax                        # the thread
    movq %gs:CPU_LOADED, %rdx
    testq %rdx, %rdx
    jz switch_slowly
    cmpl $0, %gs:CPU_NO_FSGSBASE
    jne switch_slowly
    cmpq %gs:CPU_FPU_OWNER, %rax
    je 3f
    cmpl $0, %gs:CPU_FPU_ON
    jne 4f
2:  movl THREAD_ASPACE(%rax), %ecx
    shlq $6, %rcx
    movabsq $PHYSICAL_WINDOW + ASPACE_ROOT, %rdi
    movq (%rdi, %rcx), %rcx
    movq %rax, %gs:CPU_LOADED
    movl %esi, %gs:CPU_LOADED_INDEX
    subq $-THREAD_REGISTERS, %rax          # an immediate of one byte
    movq %rax, %gs:CPU_REGISTERS
    cmpq %rcx, %gs:CPU_ROOT
    je 1f
    movq %rcx, %gs:CPU_ROOT
    movq %rcx, %cr3
1:  rdfsbase %rcx
    movq %rcx, THREAD_REGISTERS + R_FS_BASE(%rdx)
    movq R_FS_BASE(%rax), %rcx
    wrfsbase %rcx
    movq R_GS_BASE(%rax), %rcx
    swapgs
    rdgsbase %rdi
    wrgsbase %rcx
    swapgs
    movq %rdi, THREAD_REGISTERS + R_GS_BASE(%rdx)
    jmp return_to
3:  cmpl $0, %gs:CPU_FPU_ON                # its state is in the FPU
    jne 2b
    clts
    movl $1, %gs:CPU_FPU_ON
    jmp 2b
4:  movq %gs:CPU_CR0_FPU_OFF, %rcx         # somebody else's is
    movq %rcx, %cr0
    movl $0, %gs:CPU_FPU_ON
    jmp 2b

switch_slowly:
    movq $kernel_stack_top, %rsp
    movq %rax, %rdi
    call thread_switch
    jmp user_return

bad_return_address:
    movq $kernel_stack_top, %rsp
    call return_address_fault
    jmp user_return

/* The state of the CPU while idle is nothing but this loop: an interrupt starts afresh. `sti` lets
 * no interrupt in before `hlt` has begun (SDM vol. 2, STI). */
idle:
    movq $kernel_stack_top, %rsp
1:  sti
    hlt
    jmp 1b

/* ---- Exceptions and interrupts ---------------------------------------------------------------
 * Stub i of 256, 16 bytes each: error code (the CPU's or 0), vector, then the common part. */
    .balign 16
    .global trap_stubs
trap_stubs:
vector = 0
    .rept 256
    .balign 16
    .if vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30
    .else
    pushq $0
    .endif
    pushq $vector
    .if vector == 2 || vector == 8 || vector == 18
    jmp trap_panic
    .else
    jmp trap_common
    .endif
vector = vector + 1
    .endr

/* Stack: vector, error code, rip, cs, rflags, rsp, ss. */
    .balign 16
trap_common:
    testb $3, 24(%rsp)
    jz trap_in_kernel
    swapgs
    pushq %rax
    movq %gs:CPU_REGISTERS, %rax
    movq %rdx, R_RDX(%rax)
    movq %r10, R_R10(%rax)
    movq %r8, R_R8(%rax)
    movq %r9, R_R9(%rax)
    movq %r12, R_R12(%rax)
    movq %r13, R_R13(%rax)
    movq %r14, R_R14(%rax)
    movq %r15, R_R15(%rax)
    movq %rdi, R_RDI(%rax)
    movq %rsi, R_RSI(%rax)
    movq %rbx, R_RBX(%rax)
    movq %rbp, R_RBP(%rax)
    movq %rcx, R_RCX(%rax)
    movq %r11, R_R11(%rax)
    popq R_RAX(%rax)
    popq %rdi                              # vector
    popq %rsi                              # error code
    popq R_IP(%rax)
    popq %rcx                              # cs
    popq R_FLAGS(%rax)
    popq R_SP(%rax)
    movq $ENTRY_FULL, R_ENTRY(%rax)
    movq $kernel_stack_top, %rsp
    pushq $2                               # AC, DF, NT off: a trap keeps the user's
    popfq
    xorl %ebp, %ebp
    cmpl $32, %edi
    jae 1f
    call trap_exception
    jmp user_return
1:  call trap_interrupt
    jmp user_return

trap_in_kernel:
    cmpq $32, (%rsp)
    jb trap_panic
    movq (%rsp), %rdi
    movq $kernel_stack_top, %rsp
    xorl %ebp, %ebp
    call trap_interrupt
    jmp user_return

/* struct trap_frame, for panic.c */
trap_panic:
    pushq %rax
    pushq %rbx
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %rbp
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, %rdi
    cld
    andq $-16, %rsp
    call panic_trap

    .section .note.GNU-stack, "", @progbits
