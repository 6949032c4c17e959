// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Every way into the kernel and the one way out. The kernel runs on a stack of the CPU, from its top,
 * with interrupts off; it keeps nothing on it between entries (event kernel). A user thread's registers
 * are saved in its struct registers, through the pointer in struct cpu. Then the kernel lock is
 * taken (a ticket of kernel_lock), and given back when the way to user mode or to idling can no
 * longer fail: smp.h says what a CPU does for others while it waits for it.
 *
 * Kernel-mode traps: interrupts come only while idle, whose state is worth nothing; an exception is
 * a bug of the kernel and ends in a panic. NMI, double fault and machine check have stacks of their
 * own and always panic, so that they may come at any instruction, GS swapped or not.
 */
#include "kernel/arch/x86_64/layout.h"
#include "kernel/arch/x86_64/offsets.h"

/* Takes the lock, or goes to `wait` with the ticket in ecx. */
    .macro take_lock wait
    movl $1, %ecx
    lock xaddl %ecx, kernel_lock + LOCK_NEXT(%rip)
    cmpl %ecx, kernel_lock + LOCK_SERVING(%rip)
    jne \wait
    .endm

/* Context: the lock is held, so nobody else writes there; earlier stores are seen first (TSO). */
    .macro give_lock
    incl kernel_lock + LOCK_SERVING(%rip)
    .endm

/* Isolation (paging.h). `isolated NAME`, code, `.subsection 1`, other code, `goes_on NAME`: where
 * user mode has page tables of its own, a jump to the other code is written over the start of the
 * first (isolation_sites), which then costs nothing where it has not. */
    .macro isolated name
site_\name:
    .pushsection .rodata.isolation, "a"
    .quad site_\name, other_\name
    .popsection
    .subsection 1
other_\name:
    .subsection 0
    .endm
    .macro goes_on name
    jmp after_\name
    .subsection 0
after_\name:
    .endm

/* All registers but rcx, r11 and \base itself, to the thread at \base. */
    .macro save_registers base
at = THREAD_REGISTERS
    .irp r, rdx, r10, r8, r9, r12, r13, r14, r15, rax, rdi, rsi, rbx, rbp
    .ifnc \r, \base
    movq %\r, at(%\base)
    .endif
at = at + 8
    .endr
    .endm

/* The same, but rax, from the thread at rax. */
    .macro load_registers
at = THREAD_REGISTERS
    .irp r, rdx, r10, r8, r9, r12, r13, r14, r15, rax, rdi, rsi, rbx, rbp
    .ifnc \r, rax
    movq at(%rax), %\r
    .endif
at = at + 8
    .endr
    .endm

    .section .text.entry, "ax"
    .balign 8
    .global isolation_root
isolation_root:                            # the kernel's root, 0 without isolation; constant after start
    .quad 0

/* ---- SYSCALL (SDM vol. 2): rcx = rip, r11 = rflags, stack is the user's ----------------------- */
    .balign 64
    .macro syscall_save
    swapgs
    movq %rsp, %gs:CPU_USER_SP
    isolated \@
    movq %gs:CPU_LOADED, %rsp              # the thread
    .subsection 1
    movq isolation_root(%rip), %rsp
    movq %rsp, %cr3
    movq %gs:CPU_LOADED, %rsp
    goes_on \@
    save_registers rsp
    movq %rcx, T_IP(%rsp)
    movq %r11, T_FLAGS(%rsp)
    movq %gs:CPU_USER_SP, %rcx
    movq %rcx, T_SP(%rsp)
    .endm

    .global syscall_entry
syscall_entry:
    syscall_save
    take_lock wait_syscall
syscall_locked:
#ifndef HALLOWS_DEBUG                      /* a checked build asks invariants in kernel_syscall */
    cmpw $CALL_IPC_CALL, %ax
    je call_fast
    cmpw $CALL_IPC_REPLY_RECV, %ax
    je reply_recv_fast
#endif
    movq %rsp, %rsi
    movq %gs:CPU_STACK_TOP, %rsp
    movq $kernel_state, %rdi
    call kernel_syscall

/* ---- Back to user mode, or idle ---------------------------------------------------------------
 * Context: kernel stack at or below its top, kernel GS, interrupts off. */
    .global user_return
user_return:
    movl %gs:CPU_CURRENT, %edx
    movq %gs:CPU_LOADED, %rax
    cmpl %gs:CPU_LOADED_INDEX, %edx
    jne other_thread
    testb $ENTRY_FULL, T_ENTRY(%rax)
    jz return_by_sysret
    jmp return_full

/* rax, edx: the thread that runs next and its index. The common cases of thread_switch in switch.c:
 * back by SYSRET, and neither side uses FS or GS base. */
switch_to:
    movl T_ENTRY(%rax), %ecx
    orl %gs:CPU_LIVE, %ecx
    jnz switch_live
1:  movq %rax, %gs:CPU_LOADED
    movl %edx, %gs:CPU_LOADED_INDEX
    movq THREAD_ROOT(%rax), %rcx
    cmpq %gs:CPU_ROOT, %rcx
    je return_by_sysret
    movq %rcx, %gs:CPU_ROOT
9:  movq %rcx, %cr3                        # not with isolation
    .pushsection .rodata.isolation, "a"
    .quad 9b, 0
    .popsection
return_by_sysret:
    give_lock
    movq T_IP(%rax), %rcx
    movq T_FLAGS(%rax), %r11
    load_registers
    movq T_SP(%rax), %rsp
    movq T_RAX(%rax), %rax
    isolated sysret
    swapgs
    sysretq
    .subsection 1
    movq %rsp, %gs:CPU_USER_SP
    movq %gs:CPU_ROOT, %rsp
    movq %rsp, %cr3
    movq %gs:CPU_USER_SP, %rsp
    swapgs
    sysretq
    goes_on sysret

/* The same while this CPU's trace is on (arch_trace): no short way. */
    .global syscall_entry_traced
syscall_entry_traced:
    syscall_save
    take_lock wait_traced
traced_locked:
    movq %gs:CPU_STACK_TOP, %rsp
    movq $kernel_state, %rdi
    call kernel_syscall_traced
    jmp user_return

    .macro fast_way function
    movq %rsp, %rdx
    movq $kernel_state, %rcx
    movq %gs:CPU_STACK_TOP, %rsp
    call \function
    testq %rax, %rax
    jnz switch_to
    .endm

call_fast:
    fast_way kernel_call_fast
syscall_slowly:
    movq %gs:CPU_LOADED, %rsi
    movq $kernel_state, %rdi
    call kernel_syscall_slow
    jmp user_return

/* edx: what runs next, another than the loaded thread. */
other_thread:
    testl %edx, %edx
    jz idle
    movl %edx, %eax
    shlq $6, %rax
    movabsq $PHYSICAL_WINDOW, %rcx
    addq %rcx, %rax                        # the thread
    jmp switch_to

switch_live:
    cmpl $LIVE_FPU, %ecx
    jne 2f
    movq %gs:CPU_CR0_FPU_OFF, %rcx         # somebody else's FPU state is there
    movq %rcx, %cr0
    movl $0, %gs:CPU_LIVE
    jmp 1b
2:  cmpl $ENTRY_FPU, %ecx
    jne switch_slowly
    clts                                   # its own is
    movl $LIVE_FPU, %gs:CPU_LIVE
    jmp 1b

reply_recv_fast:
    fast_way kernel_reply_recv_fast
    jmp syscall_slowly

return_full:
    movq T_IP(%rax), %rcx
    movq %rcx, %rdx
    shrq $47, %rdx                         # IRETQ would fault in here, in ring 0
    jnz bad_return_address
    andl $~ENTRY_FULL, T_ENTRY(%rax)
    give_lock
    movq %gs:CPU_FRAME_TOP, %rsp
    pushq $SELECTOR_USER_DATA
    pushq T_SP(%rax)
    pushq T_FLAGS(%rax)
    pushq $SELECTOR_USER_CODE
    pushq %rcx
    load_registers
    movq T_RCX(%rax), %rcx
    movq T_R11(%rax), %r11
    movq T_RAX(%rax), %rax
    isolated iret
    swapgs
    iretq
    .subsection 1
    pushq %rax
    movq %gs:CPU_ROOT, %rax
    movq %rax, %cr3
    popq %rax
    swapgs
    iretq
    goes_on iret

switch_slowly:
    movq %gs:CPU_STACK_TOP, %rsp
    movq %rax, %rdi
    call thread_switch
    jmp user_return

bad_return_address:
    movq %gs:CPU_STACK_TOP, %rsp
    call return_address_fault
    jmp user_return

/* The state of the CPU while idle is nothing but this loop: an interrupt starts afresh. `sti` lets
 * no interrupt in before `hlt` has begun (SDM vol. 2, STI). */
    .global cpu_idle
idle:
    movq %gs:CPU_STACK_TOP, %rsp
    give_lock
cpu_idle:
1:  sti
    hlt
    jmp 1b

/* ---- Exceptions and interrupts ---------------------------------------------------------------
 * A stub for each vector: error code (the CPU's or 0), vector, then the common part. Exceptions' stubs
 * take 16 bytes, interrupts' 4 (TRAP_STUB_OFFSET): those push the vector's byte with its sign, which
 * trap_interrupt undoes, and it stands for the error code too. */
    .balign 16
    .global trap_stubs
trap_stubs:
vector = 0
    .rept 256
    .if vector < 32 && !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30)
    pushq $0
    .endif
    pushq $(vector - (vector >> 7 << 8))
    .if vector == 2 || vector == 8 || vector == 18
    jmp trap_panic
    .elseif vector < 32
    jmp trap_common
    .else
    jmp 2f                                 # at most 124 bytes: two bytes of code
    .endif
    .balign 16 + 15 * (vector >= 32)       # true is -1
    .if vector >= 32 && vector % 32 == 31
2:  jmp interrupt_common
    .balign 8
    .endif
vector = vector + 1
    .endr

interrupt_common:
    pushq (%rsp)
/* Stack: vector, error code, rip, cs, rflags, rsp, ss. */
trap_common:
    testb $3, 24(%rsp)
    jz trap_in_kernel
    swapgs
    lfence                                 # not on with the user's GS base (CVE-2019-1125)
    pushq %rax
    isolated trap
    movq %gs:CPU_LOADED, %rax
    .subsection 1
    movq isolation_root(%rip), %rax
    movq %rax, %cr3
    movq %gs:CPU_LOADED, %rax
    goes_on trap
    save_registers rax
    movq %rcx, T_RCX(%rax)
    movq %r11, T_R11(%rax)
    popq T_RAX(%rax)
    popq %rdi                              # vector
    popq %rsi                              # error code
    popq T_IP(%rax)
    popq %rcx                              # cs
    popq T_FLAGS(%rax)
    popq T_SP(%rax)
    orl $ENTRY_FULL, T_ENTRY(%rax)
    movq %gs:CPU_STACK_TOP, %rsp
    pushq $2                               # AC, DF, NT off: a trap keeps the user's
    popfq
    xorl %ebp, %ebp
    take_lock wait_trap
trap_locked:
    cmpl $32, %edi
    jae 1f
    call trap_exception
    jmp user_return
1:  call trap_interrupt
    jmp user_return

/* The lock is somebody else's. Whoever has it may take the loaded thread off this CPU meanwhile;
 * then its system call or exception has not happened (smp.h). */
    .macro await_lock
    movq %gs:CPU_STACK_TOP, %rsp
    xorl %ebp, %ebp
    movl %ecx, %edi
    call lock_wait
    movl %gs:CPU_LOADED_INDEX, %ecx
    cmpl %gs:CPU_CURRENT, %ecx
    jne nothing_happened
    .endm

wait_syscall:
    await_lock
    movq %gs:CPU_LOADED, %rsp
    movq T_RAX(%rsp), %rax
    movq T_RDI(%rsp), %rdi
    movq T_RSI(%rsp), %rsi
    jmp syscall_locked

wait_traced:
    await_lock
    jmp traced_locked

wait_trap:
    pushq %rdi
    pushq %rsi
    movl %ecx, %edi
    call lock_wait
    popq %rsi
    popq %rdi
    cmpl $32, %edi
    jae trap_locked
    movl %gs:CPU_LOADED_INDEX, %ecx
    cmpl %gs:CPU_CURRENT, %ecx
    je trap_locked
nothing_happened:
    movq %gs:CPU_STACK_TOP, %rsp
    movq $kernel_state, %rdi
    call kernel_reschedule
    jmp user_return

trap_in_kernel:
    lfence
    cmpq $32, (%rsp)
    jb trap_panic
    movq (%rsp), %rdi
    movq %gs:CPU_STACK_TOP, %rsp
    xorl %ebp, %ebp
    take_lock wait_trap
    jmp trap_locked

/* struct trap_frame, for panic.c */
trap_panic:
    pushq %rax
    movq isolation_root(%rip), %rax
    testq %rax, %rax
    jz 1f
    movq %rax, %cr3
1:  .irp r, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15
    pushq %\r
    .endr
    movq %rsp, %rdi
    cld
    andq $-16, %rsp
    call panic_trap

    .section .note.GNU-stack, "", @progbits
