// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Offsets that assembly knows; switch.c asserts each against the C structures.
 */
#ifndef KERNEL_ARCH_X86_64_OFFSETS_H
#define KERNEL_ARCH_X86_64_OFFSETS_H

/* struct thread: its registers, from rdx to r15 as in struct registers, then */
#define THREAD_REGISTERS 128
#define T_RAX (THREAD_REGISTERS + 64)
#define T_RDI (THREAD_REGISTERS + 72)
#define T_RSI (THREAD_REGISTERS + 80)
#define T_RCX (THREAD_REGISTERS + 104)
#define T_R11 (THREAD_REGISTERS + 112)
#define T_IP (THREAD_REGISTERS + 120)
#define T_FLAGS (THREAD_REGISTERS + 128)
#define T_SP (THREAD_REGISTERS + 136)
#define T_ENTRY (THREAD_REGISTERS + 160)

/* registers.entry, one bit each: what keeps the thread from the short way back to user mode */
#define ENTRY_FULL 1  /* every register counts, rcx and r11 too: iretq, not sysret */
#define ENTRY_BASES 2 /* it uses FS or GS base */
#define ENTRY_FPU 4   /* its FPU state is in a CPU's registers */

/* struct thread */
#define THREAD_ROOT 96

/* struct cpu, at the kernel's GS base */
#define CPU_SELF 0
#define CPU_STACK_TOP 8
#define CPU_FRAME_TOP 16
#define CPU_USER_SP 24
#define CPU_LOADED 32
#define CPU_ROOT 48
#define CPU_CR0_FPU_OFF 56
#define CPU_LIVE 64
#define CPU_LOADED_INDEX 68
#define CPU_CURRENT 96

/* struct arch_cpu's `live`, one bit each, none of the above: what the CPU holds that the next
 * thread must not see */
#define LIVE_FPU 8    /* CR0.TS is clear */
#define LIVE_BASES 16 /* FS and GS base are the loaded thread's, and it may change them */

/* struct kernel_lock */
#define LOCK_NEXT 0
#define LOCK_SERVING 4

/* hallows/syscall.h */
#define CALL_IPC_CALL 30
#define CALL_IPC_REPLY_RECV 34

#endif
