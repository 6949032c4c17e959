// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Descriptor tables and the C side of traps.S.
 */
#ifndef KERNEL_ARCH_X86_64_TRAPS_H
#define KERNEL_ARCH_X86_64_TRAPS_H

#include "kernel/entry.h"

extern struct kernel kernel_state;

/* What traps.S pushes for a panic. */
struct trap_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
    uint64_t vector, error, ip, cs, flags, sp, ss;
};

/* A CPU's GDT and TSS; fits a page. */
struct cpu_descriptors;
/* Makes the IDT, and loads it and the first CPU's GDT and TSS. Context: start only. */
void descriptors_init(void);
/* Makes and loads this CPU's own GDT and TSS, and the IDT. Its stacks are as paging_map_stack lays
 * them out. Context: start of that CPU. */
void descriptors_load(const struct arch_cpu *cpu);
/* Sets the SYSCALL registers and the kernel's GS of this CPU, which is `cpu` from now on. Context:
 * start only. */
void syscall_init(struct cpu *cpu);

/* From traps.S. */
void trap_exception(uint64_t vector, uint64_t error);
void trap_interrupt(uint8_t vector);
void thread_switch(struct thread *next);
/* Writes back what this CPU holds of the thread, which it then does not hold any more. */
void thread_unload(struct thread *thread);
void return_address_fault(void);
_Noreturn void user_return(void);
_Noreturn void cpu_idle(void);

struct symbols;
/* Names for the addresses of the thread that is current now, in later reports of its faults. The
 * table stays the caller's, for ever. */
void report_symbols_set(const struct symbols *symbols);

_Noreturn void panic_trap(const struct trap_frame *frame);
_Noreturn void panic(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
