// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * A small booted kernel for tests: 4 MiB of memory, an initial cell, and system calls made by
 * setting registers. After each call every invariant is checked; a call that was refused must have
 * changed nothing.
 */
#ifndef KERNEL_ARCH_HOST_HARNESS_H
#define KERNEL_ARCH_HOST_HARNESS_H

#include "kernel/arch/host/machine.h"
#include "kernel/entry.h"
#include "kernel/invariants.h"

/* Slots of the initial cell, after those of hallows/boot.h. */
enum harness_slot {
    SLOT_DEVICE_LARGE = 15, /* device memory for large pages */
    SLOT_UNTYPED = 16,      /* HARNESS_UNTYPED_BYTES */
    SLOT_UNTYPED_2 = 17,
    SLOT_DEVICE = 18, /* device memory */
    SLOT_FREE = 20
};
#define HARNESS_CPUS 2u
#define HARNESS_BYTES 0x400000u
#define HARNESS_UNTYPED_BASE 0x100000u
#define HARNESS_UNTYPED_BYTES 0x200000u
#define HARNESS_TABLE_SLOTS 256u
#define HARNESS_PRIORITY 100u
#define HARNESS_DEVICE_BASE 0xfe000000u
#define HARNESS_DEVICE_LARGE_BASE 0x100000000ull
#define HARNESS_DEVICE_LARGE_BYTES 0x80000000ull

/* Not a status: the calling thread waits now. */
#define BLOCKED 1000

extern struct kernel *kernel_under_test;

/* Boots afresh. */
void harness_start(void);

/* A system call of the current thread: number and up to six arguments (rdi rsi rdx r10 r8 r9). */
struct call {
    uint32_t number;
    uint64_t a[6];
    uint32_t aux;
    uint64_t caps;
};
/* Result, or BLOCKED. Compares the state before and after a refusal. */
int64_t harness_call(const struct call *call);
/* Repeats on AGAIN. */
#define CALL(name, ...)                                                                            \
    harness_repeat(&(struct call){.number = CALL_##name, .a = {__VA_ARGS__}}, 64)

/* The thread at a slot of the initial cell's table. */
struct thread *harness_thread(uint32_t slot);
thread_ix harness_thread_ix(uint32_t slot);
struct slot *harness_slot(uint32_t slot);
struct thread *harness_current(void);
/* A thread that shares the initial cell's table and aspace, resumed at that priority. */
void harness_spawn(uint32_t slot, uint32_t priority);
/* Runs the timer at that time. */
void harness_time(uint64_t now_ns);
/* Long runs of random calls: every how many checks all invariants are asked (1: each time), and
 * whether calls are compared with copies of the state; between, harness_check asks those of the
 * pages that harness_touch named. */
extern uint32_t harness_check_every;
void harness_touch(uint32_t page);
/* Reports the first broken invariant as a failed check. */
void harness_check(const char *after);
/* Makes the system call that the current thread's registers hold twice, from the same state: the
 * usual way and by the slow path alone. Checks that both leave the same state. */
void harness_compare_paths(void);
/* Repeats a call until it no longer says AGAIN; at most `most` times. */
int64_t harness_repeat(const struct call *call, uint32_t most);

#endif
