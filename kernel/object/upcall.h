// SPDX-License-Identifier: MIT OR Apache-2.0
/* Upcalls, for the places where their events happen. The thread is current or queued. */
#ifndef KERNEL_OBJECT_UPCALL_H
#define KERNEL_OBJECT_UPCALL_H

#include <hallows/upcall.h>

#include "kernel/entry.h"

/* Its quantum is over. Precondition: upcall_due. */
void upcall_quantum_end(struct thread *t, uint64_t now);
static inline bool upcall_due(const struct thread *t, uint64_t now)
{
    return t->upcall_quantum_ns != 0 && t->upcall_at <= now;
}
/* Its bound notification got bits. True: it has them now. */
bool upcall_notify(struct kernel *k, thread_ix i, uint64_t word);
/* Delivers what is pending, if anything, to the current thread. */
void upcall_pending(struct thread *t);
/* The current thread faulted. True: it handles that itself. */
bool upcall_fault(struct thread *t, const struct fault *fault);
/* The current thread, which wants foreign system calls, made one. False: it is a kernel call. */
bool upcall_syscall(struct kernel *k, struct thread *t);
/* It has no area any more. */
void upcall_forget(struct kernel *k, thread_ix i);

#endif
