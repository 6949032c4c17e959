// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The kernel's invariants: numbered, executable, local. Each predicate looks at one or two indices
 * and the neighbours they name, without loops over the state. Host tests, the fuzzer, checked
 * builds and proofs use the same text. They hold between any two kernel entries.
 */
#ifndef KERNEL_INVARIANTS_H
#define KERNEL_INVARIANTS_H

#include "kernel/state.h"

/* X(number, name, arguments, sentence) */
#define KERNEL_INVARIANT_TABLE(X)                                                                  \
    X(1, slot_shape, "an empty slot is all zero; type, depth and rights are in range")             \
    X(2, slot_parent, "depth is the parent's + 1; a copy has its type, object and no more rights") \
    X(3, slot_siblings, "siblings name each other and have one parent")                            \
    X(4, slot_child, "the first child names its parent and comes first")                           \
    X(5, slot_original, "an original and its object name each other; a copy's object lives")       \
    X(6, slot_level, "a table or untyped memory is of a higher level than where it is kept")       \
    X(7, slot_range, "a copied range lies within its parent's")                                    \
    X(8, table_shape, "slots past the usable ones are empty")                                      \
    X(9, untyped_shape, "base <= watermark <= prepared <= end; prepared memory is zero")           \
    X(10, untyped_free, "pages past the watermark are free, pages below are not")                  \
    X(11, untyped_inside, "what is made of untyped memory lies below its watermark")               \
    X(12, thread_shape, "a thread has a CPU; if it runs or waits, a table and an address space")   \
    X(13, thread_spaces, "table and aspace are the objects of the embedded capabilities")          \
    X(14, thread_ready,                                                                            \
      "a ready thread is current or queued at its priority, in its domain of its CPU")             \
    X(15, thread_queued, "a waiting sender or receiver is in its endpoint's queue")                \
    X(16, thread_reply, "a thread and the reply object it waits with name each other")             \
    X(17, thread_waiting, "a waiter and its notification name each other; its word is 0")          \
    X(18, thread_timer, "a thread with a deadline is in the bucket for it, not before its time")   \
    X(19, endpoint_ends, "head and tail are both there or not, and wait on this endpoint")         \
    X(20, reply_shape, "a reply object's thread names it")                                         \
    X(21, notification_shape, "waiter, bound thread and first irq name the notification")          \
    X(22, irq_shape, "a used vector has an original; irqs of a notification are linked")           \
    X(23, paging_parent, "a mapped page table is the used entry of its parent")                    \
    X(24, attachment, "a used entry of level 1 shows the segment of its record, linked to it")     \
    X(25, segment_leaf, "a leaf shows a frame of its segment's untyped memory or a page of none")  \
    X(26, leaf_rights, "no page is writable and executable")                                       \
    X(27, current,                                                                                 \
      "a current thread is ready, of that CPU and its domain, and none of these is better")        \
    X(60, copy_tree, "a copy and its parent name each other and are of one untyped memory")        \
    X(61, copy_held, "writes go through to a segment without copies that shows its own table")     \
    X(62, frame_shared,                                                                            \
      "a frame is written to by its segment only, and others show it only when frozen")            \
    X(63, spare_frames, "a spare frame is of its segment's memory, and so is the next")            \
    X(64, upcall_area,                                                                             \
      "an upcall area is a frame of a segment without copies that lists its thread")               \
    X(28, timer_armed,                                                                             \
      "a CPU's timer is armed no later than the ends of window and budget and its first deadline") \
    X(29, iospace_domain, "an I/O space and its domain number name each other")                    \
    X(30, iospace_function, "a function of an I/O space is in its domain")                         \
    X(31, iospace_bound, "an I/O space is on its notification's list")                             \
    X(70, budget, "refills come in order, and add up to the budget")                               \
    X(71, context_bound, "a context and its thread name each other; no other thread is budgeted")  \
    X(72, lease,                                                                                   \
      "a thread with its own context holds its lease; without budget none; demoted is of "         \
      "priority 0")                                                                                \
    X(73, schedule, "the lengths of a schedule's windows add up to its frame")                     \
    X(74, window,                                                                                  \
      "a CPU runs the domain of the window that it is in, and domain 0 outside of any")            \
    X(75, irq_held,                                                                                \
      "an interrupt held back is bound, of that CPU and domain, which has no window now or lets "  \
      "it go")                                                                                     \
    X(76, lease_used, "one CPU at most uses a context: the context names it, and it the lease")

/* The first broken invariant's number and where, or 0. */
struct invariant_failure {
    uint32_t number;
    uint32_t index; /* granule, vector or priority */
};

/* Those of one page: every object on it. */
struct invariant_failure invariants_check_page(struct kernel *k, uint32_t page);
/* Those of the rest: irqs, queues, timer. */
struct invariant_failure invariants_check_global(struct kernel *k);
/* Those of a CPU: current thread, timer, and the ready queues and wheels of so many domains. */
struct invariant_failure invariants_check_cpu(struct kernel *k, const struct cpu *c,
                                              uint32_t first_domain, uint32_t domains);
/* All. */
struct invariant_failure invariants_check(struct kernel *k);
/* The sentence for a number. */
const char *invariant_text(uint32_t number);

/* ---- A checked kernel (make CHECKED=1) ------------------------------------------------------ */

#if defined(HALLOWS_DEBUG) && defined(HALLOWS_KERNEL)
#define INVARIANTS_AFTER_ENTRIES true
#else
#define INVARIANTS_AFTER_ENTRIES false
#endif

/* What a system call names: its thread, and slots of its table among its arguments (0: no slot). */
#define INVARIANTS_TOUCHED_MAX 8u
struct invariants_touched {
    thread_ix thread;
    table_ix table;
    uint32_t slot[INVARIANTS_TOUCHED_MAX];
};
/* Before the call: what the current thread `t` asks for. */
void invariants_touch(struct kernel *k, const struct thread *t, struct invariants_touched *touched);
/* After an entry (not a call: touched NULL). Asks the invariants of the named slots, their objects
 * and their neighbours in the tree, of the thread that entered and the one that runs next, and of
 * this CPU; and all of the whole state after each 32 entries. Traps. */
void invariants_after_entry(struct kernel *k, const struct invariants_touched *touched);

#endif
