// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Offsets that assembly knows; switch.c asserts each against the C structures.
 */
#ifndef KERNEL_ARCH_X86_64_OFFSETS_H
#define KERNEL_ARCH_X86_64_OFFSETS_H

/* struct registers */
#define R_RDX 0
#define R_R10 8
#define R_R8 16
#define R_R9 24
#define R_R12 32
#define R_R13 40
#define R_R14 48
#define R_R15 56
#define R_RAX 64
#define R_RDI 72
#define R_RSI 80
#define R_RBX 88
#define R_RBP 96
#define R_RCX 104
#define R_R11 112
#define R_IP 120
#define R_FLAGS 128
#define R_SP 136
#define R_ENTRY 160

/* registers.entry: how the thread may go back to user mode */
#define ENTRY_SYSCALL 0 /* rcx and r11 need not be kept: sysret */
#define ENTRY_FULL 1    /* every register counts: iretq */

#define R_FS_BASE 144
#define R_GS_BASE 152

/* struct thread, struct aspace, struct kernel */
#define THREAD_ASPACE 20
#define THREAD_REGISTERS 128
#define ASPACE_ROOT 64
#define KERNEL_CURRENT 12

/* struct cpu, at the kernel's GS base */
#define CPU_USER_SP 0
#define CPU_REGISTERS 8
#define CPU_LOADED 16
#define CPU_FPU_OWNER 24
#define CPU_ROOT 32
#define CPU_FPU_ON 40
#define CPU_NO_FSGSBASE 44
#define CPU_CR0_FPU_OFF 48
#define CPU_LOADED_INDEX 56

#endif
