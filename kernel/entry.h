// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * How the machine enters the core of the kernel, and how boot code builds the initial cell.
 *
 * Each entry: interrupts off, the current thread's registers saved in its struct registers (if
 * cpu_self(k)->current is not NIL; NIL means that the CPU was idle). On return it says what to run:
 *   NIL       nothing: load no user state, wait with interrupts on;
 *   a thread  thread_at(k, current): make sure aspace_at(k, thread->aspace)->paging.physical is
 *             the MMU's root (always set for a current thread), then restore its registers.
 * The hardware timer has been set by the core already. End-of-interrupt is the machine's business.
 */
#ifndef KERNEL_ENTRY_H
#define KERNEL_ENTRY_H

#include "kernel/state.h"

/* The current thread made a system call (hallows/syscall.h). `t` is that
 * thread. */
void kernel_syscall(struct kernel *k, struct thread *t);
/* The common ipc_call and ipc_reply_recv, straight from entry code, which still has arg0 and arg1
 * at hand. `to`: what runs now, and its index; or NULL: nothing was done, it is a matter for
 * kernel_syscall_slow. */
struct fast_switch {
    struct thread *to;
    uint32_t index;
};
struct fast_switch kernel_call_fast(uint64_t arg0, uint64_t info, struct thread *t,
                                    struct kernel *k);
struct fast_switch kernel_reply_recv_fast(uint64_t arg0, uint64_t info, struct thread *t,
                                          struct kernel *k);
/* kernel_syscall without the fast path. */
void kernel_syscall_slow(struct kernel *k, struct thread *t);
/* As kernel_syscall_slow, recorded: what entry code calls while the CPU's trace is on. */
void kernel_syscall_traced(struct kernel *k);
/* The current thread raised a CPU exception in user mode: it stops, and its fault endpoint gets a
 * message. Without a usable one it becomes inactive and the core calls arch_report_fault. */
void kernel_fault(struct kernel *k, const struct fault *fault);
/* A device interrupt on `vector`; vectors without a handler are ignored. */
void kernel_interrupt(struct kernel *k, uint32_t vector);
/* The IOMMU stopped an access of a function. flags: IO_FAULT_WRITE and the reason. False: the
 * function has no I/O space, so nobody was told. */
bool kernel_io_fault(struct kernel *k, uint32_t function, uint64_t address, uint32_t flags);
/* The hardware timer fired (or may have; early and spurious calls do no harm). */
void kernel_timer(struct kernel *k);

/* Another CPU kicked this one, or took its thread away; early and spurious calls do no harm. */
void kernel_reschedule(struct kernel *k);

/* The machine's: a thread without a usable fault endpoint has faulted and was stopped. Print a
 * report (registers, fault); return. */
void arch_report_fault(struct kernel *k, thread_ix thread, const struct fault *fault);

/* ---- Boot ------------------------------------------------------------------------------------
 * Order: kernel_init; page kinds of the bundle by start_mark; start_memory; start_cell;
 * start_root, start_untyped, start_device_memory...; start_page / start_bundle_page; start_thread.
 * After that the first CPU's current thread is the initial thread: enter user mode. All VERIFY that
 * boot code keeps the rules; statuses are for machines that are too small. */

/* k and cpus[0..cpu_count) all zero but for the machine's part. pages: page_count zeroed entries
 * (all PAGE_RESERVED), page_count * PAGE_BYTES at most PHYSICAL_BYTES_MAX. */
void kernel_init(struct kernel *k, struct cpu *cpus, uint32_t cpu_count, struct page *pages,
                 uint32_t page_count);
/* RAM for the initial cell's own objects and pages (4 MiB will do for a cell of 1 MiB).
 * Page-aligned; not to be handed to start_untyped too. Once. */
void start_memory(struct kernel *k, uint64_t base, uint64_t bytes);
/* Marks pages, reserved so far: the boot module's as PAGE_BUNDLE. */
void start_mark(struct kernel *k, uint64_t base, uint64_t bytes, uint8_t kind);
/* Table, address space and thread of the initial cell, and BOOT_SLOT_TABLE, _ASPACE, _THREAD. */
status_t start_cell(struct kernel *k, uint32_t table_slots, uint8_t priority);
/* A root capability in slot `slot` of the initial cell's table: IRQ_CONTROL, IOSPACE, CONSOLE,
 * SCHED_CONTROL (badge: highest priority), IO_PORTS (base, length in ports). */
struct start_capability {
    uint32_t slot;
    enum object_type type;
    uint64_t badge, base, length;
};
void start_root(struct kernel *k, const struct start_capability *capability);
/* All RAM of [base, base + bytes) as untyped memory: page-aligned, reserved so far. */
void start_untyped(struct kernel *k, uint32_t slot, uint64_t base, uint64_t bytes);
/* Physical addresses that are not RAM; page-aligned. */
void start_device_memory(struct kernel *k, uint32_t slot, uint64_t base, uint64_t bytes);
/* A zeroed page of the initial cell at `address` (page-aligned) with rights READ|WRITE or
 * READ|EXECUTE or READ; *memory is where the kernel fills it. ALREADY_MAPPED: it was asked for
 * before (then *memory is that page, if the rights are the same or fewer were given). */
status_t start_page(struct kernel *k, uint64_t address, uint32_t rights, void **memory);
/* Shows a page of the bundle, read-only. */
status_t start_bundle_page(struct kernel *k, uint64_t address, uint64_t physical);
/* Makes the initial thread current: entry point, stack pointer, value of its first argument (rdi).
 */
void start_thread(struct kernel *k, uint64_t ip, uint64_t sp, uint64_t argument);

#endif
