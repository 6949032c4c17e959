// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Upcalls for a cell's thread (hallows/upcall.h): events come to a C function on a stack of its
 * own, and what they interrupted goes on without a system call.
 *
 *     upcall_open(area, handler, stack_end);                      the area is a zeroed page
 *     thread_set_upcall(thread, segment, page, events);           the same page
 *     upcall_quantum(5000);                                       if UPCALL_QUANTUM is among them
 *
 * A thread scheduler in the handler exchanges area->frame and area->fpu for those of another light
 * thread before it returns; code that is interrupted keeps all registers, flags and the 128 bytes
 * below its stack pointer.
 *
 * Threads: the area, the handler and what it calls belong to the thread that is registered with it.
 */
#ifndef RUNTIME_UPCALL_H
#define RUNTIME_UPCALL_H

#include <hallows/status.h>
#include <hallows/upcall.h>

/* `events`: what happened, enum upcall_event. Runs masked; returns to resume area->frame. After
 * UPCALL_SYSCALL it puts the result into frame.rax. */
typedef void (*upcall_handler)(struct upcall_area *area, uint64_t events);

/* Prepares the area: entry code of this library, the handler, its stack (16-byte aligned end),
 * the whole program's code as kernel-call code. stack_end: at least 1 KiB below it are free. */
void upcall_open(struct upcall_area *area, upcall_handler handler, void *stack_end);

/* Holds events back. Nests by hand: returns what to give to upcall_unmask. */
static inline uint64_t upcall_mask(struct upcall_area *area)
{
    uint64_t before = *(volatile uint64_t *)&area->masked;
    *(volatile uint64_t *)&area->masked = 1;
    __asm__ volatile("" : : : "memory");
    return before;
}

/* Ends that; what happened meanwhile is delivered before it returns. */
void upcall_unmask(struct upcall_area *area, uint64_t before);

/* The handler's word of what the bound notification brought: taken and cleared. */
static inline uint64_t upcall_take_notification(struct upcall_area *area)
{
    return __atomic_exchange_n(&area->notification, 0, __ATOMIC_ACQ_REL);
}

/* Without a handler's return: resumes area->frame, which may be another's. Context: masked. */
_Noreturn void upcall_resume(struct upcall_area *area);

#endif
