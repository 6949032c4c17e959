// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * What every object type offers to kernel/object/cap.c, and the calls on objects that
 * kernel/syscall.c dispatches. Each call: a status; other than OK, AGAIN, TIMED_OUT and CANCELLED
 * it changed nothing. The caller is current_thread(k).
 */
#ifndef KERNEL_OBJECT_OBJECT_H
#define KERNEL_OBJECT_OBJECT_H

#include "kernel/state.h"

/* Internal: the calling thread waits now; whoever wakes it writes its result. */
#define CALL_BLOCKED ((status_t)1)
/* Waiters woken, attachments or irqs undone in one teardown step. */
#define TEARDOWN_STEP 4u

/* ---- Life of objects --------------------------------------------------------------------------
 * X_destroy: the original capability, childless, is about to go. OK: the object is idle and let go
 * of by everything; it names no original from then on. AGAIN: one step was done. */
/* X(type, struct) */
#define OBJECT_KINDS(X)                                                                            \
    X(UNTYPED, untyped)                                                                            \
    X(TABLE, table)                                                                                \
    X(THREAD, thread)                                                                              \
    X(ENDPOINT, endpoint)                                                                          \
    X(REPLY, reply)                                                                                \
    X(NOTIFICATION, notification)                                                                  \
    X(ASPACE, aspace)                                                                              \
    X(PAGE_TABLE, page_table)                                                                      \
    X(SEGMENT, segment)                                                                            \
    X(SCHED_CONTEXT, sched_context)                                                                \
    X(PARTITION_SCHEDULE, schedule)                                                                \
    X(IOSPACE, iospace)                                                                            \
    X(IRQ, irq)
#define DECLARE_DESTROY(TYPE, name) status_t name##_destroy(struct kernel *k, name##_ix i);
OBJECT_KINDS(DECLARE_DESTROY)
#undef DECLARE_DESTROY

/* Where the object keeps the index of its original capability; NULL for types without object. */
slot_ix *object_original(struct kernel *k, enum object_type type, uint32_t object);
/* The level of a table or untyped memory. */
uint32_t object_level(struct kernel *k, enum object_type type, uint32_t object);

/* ---- Untyped memory ----------------------------------------------------------------------------
 */

struct retype_request {
    uint64_t untyped; /* slot */
    uint64_t type, size;
    cap_ref_t first;
    uint64_t count;
};
status_t untyped_retype(struct kernel *k, const struct retype_request *request);
status_t untyped_reset(struct kernel *k, uint64_t untyped);
status_t untyped_info(struct kernel *k, uint64_t untyped, uint64_t values[2]);
/* As untyped_prepare, of memory that is not all zero yet. */
status_t untyped_clear(struct untyped *u, uint64_t bytes);
/* Makes sure that the next `bytes` are there and zero. NO_MEMORY; AGAIN: zeroed a part of it. */
static inline status_t untyped_prepare(struct untyped *u, uint64_t bytes)
{
    return bytes <= u->prepared - u->watermark ? STATUS_OK : untyped_clear(u, bytes);
}
/* So many pages of untyped memory are free no more. */
static inline void pages_take(struct kernel *k, uint64_t at, uint32_t count, uint8_t kind,
                              uint32_t owner)
{
    for (; count > 0; count--, at += PAGE_BYTES) {
        struct page *page = page_at(k, at);
        ASSERT(page->kind == PAGE_FREE);
        page->kind = kind;
        page->owner = owner;
    }
}
/* The retype behind the call, also for boot: `parent` is the slot of the untyped memory. */
struct retype_plan {
    slot_ix parent;
    untyped_ix untyped;
    enum object_type type;
    uint64_t size;
    slot_ix first;
    uint32_t count;
    uint32_t level; /* of the new objects */
};
status_t untyped_retype_plan(struct kernel *k, const struct retype_plan *plan);

/* ---- Threads ------------------------------------------------------------------------------------
 */

status_t thread_configure(struct kernel *k, uint64_t thread, uint64_t table, uint64_t aspace,
                          uint64_t fault_endpoint);
/* What an inactive thread may use; fault NIL: nothing. Cannot fail once all three are derivable. */
void thread_set_spaces(struct kernel *k, thread_ix i, slot_ix table, slot_ix aspace, slot_ix fault);
status_t thread_write_registers(struct kernel *k, uint64_t thread, uint64_t group,
                                const uint64_t words[8]);
status_t thread_read_registers(struct kernel *k, uint64_t thread, uint64_t group,
                               uint64_t words[8]);
status_t thread_set_priority(struct kernel *k, uint64_t thread, uint64_t control,
                             uint64_t priority);
status_t thread_set_place(struct kernel *k, uint64_t thread, uint64_t control, uint64_t to,
                          bool is_cpu);
status_t thread_resume(struct kernel *k, uint64_t thread);
status_t thread_suspend(struct kernel *k, uint64_t thread);
status_t thread_bind_notification(struct kernel *k, uint64_t thread, uint64_t notification);

status_t thread_set_upcall(struct kernel *k, uint64_t thread, uint64_t segment, uint64_t page,
                           uint64_t events);
status_t upcall_quantum(struct kernel *k, uint64_t quantum_ns);

/* Takes a waiting thread off whatever it waits for (queue, reply object, notification, timer). Its
 * state is then THREAD_INACTIVE and it is in no structure. */
void thread_unwait(struct kernel *k, thread_ix i);
/* Ends a wait with a status: unwait, result, ready. A faulted thread becomes inactive instead,
 * since its fault was not handled. */
void thread_wake(struct kernel *k, thread_ix i, status_t result);
/* Makes it inactive whatever it did. */
void thread_stop(struct kernel *k, thread_ix i);
/* The embedded slot `i` was emptied. */
void thread_slot_lost(struct kernel *k, slot_ix i);

/* ---- IPC ----------------------------------------------------------------------------------------
 * Arguments are read from the current thread's registers. */
status_t ipc_call(struct kernel *k);
status_t ipc_send(struct kernel *k);
status_t ipc_recv(struct kernel *k, uint32_t reply_slot);
status_t ipc_reply(struct kernel *k);
status_t ipc_reply_recv(struct kernel *k, uint32_t reply_slot);
/* Sends the fault message of the current thread, which is stopped. False: no usable endpoint. */
bool ipc_send_fault(struct kernel *k, thread_ix i);

status_t notification_signal(struct kernel *k, uint64_t slot);
status_t notification_wait(struct kernel *k, uint64_t slot, uint64_t deadline_ns);
/* What a source of signals is to be bound to: *with is NULL for 0, or a notification held with SEND
 * and a badge that is not 0 (INVALID_ARGUMENT). */
status_t source_decode(struct kernel *k, uint64_t notification, struct slot **with);
/* Or bits into the word and hand it to whoever waits. */
void notification_raise(struct kernel *k, notification_ix i, uint64_t bits);

/* ---- Address spaces and segments
 * ------------------------------------------------------------------ */

status_t paging_map_table(struct kernel *k, enum object_type type, uint64_t space,
                          uint64_t page_table, uint64_t address);
status_t aspace_unmap_table(struct kernel *k, uint64_t page_table);
/* The level-1 table that covers an address, or NIL. Precondition: address < USER_ADDRESS_END. */
page_table_ix aspace_directory(struct kernel *k, aspace_ix i, uint64_t address);
/* As aspace_directory, below any top-level table. */
page_table_ix paging_directory(struct kernel *k, const struct paging *top, uint64_t address);
/* One bounded step of taking out what entry `entry` of a top-level table points to. */
void paging_step(struct kernel *k, const struct paging *top, uint32_t entry);
/* The level-2 table that covers it, likewise. */
page_table_ix aspace_middle(struct kernel *k, aspace_ix i, uint64_t address);
/* The map behind the call: enters `table`, unmapped, or ALREADY_MAPPED. */
status_t aspace_enter_table(struct kernel *k, aspace_ix i, page_table_ix table, uint64_t address);

struct populate_request {
    uint64_t segment; /* slot */
    uint64_t first, count;
    uint64_t source; /* slot of the untyped or device memory */
    uint64_t offset; /* into device memory, bytes */
    uint64_t rights;
};
status_t segment_populate(struct kernel *k, const struct populate_request *request);
status_t segment_populate_device(struct kernel *k, const struct populate_request *request);
struct large_request {
    uint64_t segment; /* slot */
    uint64_t source;  /* slot of the untyped or device memory */
    uint64_t offset;  /* into device memory, bytes */
    uint64_t level;   /* 1: 2 MiB, 2: 1 GiB */
    uint64_t rights;  /* and attributes */
};
status_t segment_populate_large(struct kernel *k, const struct large_request *request);
status_t segment_depopulate(struct kernel *k, uint64_t segment, uint64_t first, uint64_t count);
status_t segment_protect(struct kernel *k, uint64_t segment, uint64_t first, uint64_t count,
                         uint64_t rights);
status_t segment_attach(struct kernel *k, uint64_t segment, uint64_t aspace, uint64_t address,
                        uint64_t rights);
status_t segment_detach(struct kernel *k, uint64_t segment, uint64_t aspace, uint64_t address);
status_t segment_device_address(struct kernel *k, uint64_t segment, uint64_t page, uint64_t iospace,
                                uint64_t *value);

/* ---- I/O spaces */
status_t iospace_attach(struct kernel *k, uint64_t segment, uint64_t iospace, uint64_t address,
                        uint64_t rights);
status_t iospace_detach(struct kernel *k, uint64_t segment, uint64_t iospace, uint64_t address);
status_t iospace_assign(struct kernel *k, uint64_t iospace, uint64_t functions, uint64_t function);
status_t iospace_unassign(struct kernel *k, uint64_t iospace, uint64_t function);
status_t iospace_bind(struct kernel *k, uint64_t iospace, uint64_t notification);
status_t iospace_fault(struct kernel *k, uint64_t iospace, uint64_t values[2]);
void iospace_unbind(struct kernel *k, iospace_ix i);
/* A free domain number, or 0. */
uint32_t iospace_domain_free(const struct kernel *k);

/* Removes one attachment. Precondition: there is one. Does not flush. */
void segment_undo(struct kernel *k, struct attachment at);
/* Backs an empty page with the next frame of `source`, prepared; returns its physical address. */
uint64_t segment_add_frame(struct kernel *k, segment_ix i, uint32_t page, uint32_t rights);
/* Enters an attachment. Precondition: the entry is unused. */
void segment_enter(struct kernel *k, segment_ix i, struct attachment at, uint32_t rights);
/* As segment_enter, in an I/O space. Precondition: segment_make_open said OK. */
void segment_enter_io(struct kernel *k, segment_ix i, struct attachment at, uint32_t rights);
INLINE struct attachment_record *segment_record(struct kernel *k, struct attachment at)
{
    struct attachment_record *records = arch_memory(page_table_at(k, at.table)->records);

    ASSERT(at.entry < PAGING_ENTRIES);
    return &records[at.entry];
}
/* No CPU uses a translation of the segment that it no longer has. */
void segment_flush(struct kernel *k, const struct segment *segment);
/* Puts a frame that the segment owns and no longer shows into its list of spare ones. */
void segment_spare_frame(struct kernel *k, segment_ix i, uint64_t physical);

/* ---- Copies of segments */

struct derive_request {
    uint64_t parent; /* slot of the first */
    uint64_t child;  /* likewise */
    uint64_t count;
    uint64_t aspace; /* slot; 0: attach nothing */
    uint64_t address;
    uint64_t flags; /* enum derive_flags */
};
status_t segment_derive(struct kernel *k, const struct derive_request *request);
status_t segment_revert(struct kernel *k, uint64_t segment);
/* It may change: no copies, its own table, no held attachments that would miss a write. */
static inline bool segment_is_open(const struct segment *segment)
{
    return segment->child.n == NIL && segment->shown == segment->physical &&
           segment->held.table.n == NIL;
}

status_t segment_open_step(struct kernel *k, segment_ix i);
/* One step towards a segment that may change. OK: it may. AGAIN: not yet. BUSY: it has copies, so
 * it never does. */
static inline status_t segment_make_open(struct kernel *k, segment_ix i)
{
    return segment_is_open(segment_at(k, i)) ? STATUS_OK : segment_open_step(k, i);
}
/* The current thread wrote to a page that it may write to, but whose writes trap. False: that is
 * not so, or there is no memory for a copy. */
bool segment_write_fault(struct kernel *k, uint64_t address);
/* Precondition: no attachments. Takes it out of the tree of copies, a step of its children at a
 * time (AGAIN). */
status_t segment_leave_tree(struct kernel *k, segment_ix i);

/* ---- Scheduling contexts ------------------------------------------------------------------------
 */

struct sched_context_request {
    uint64_t context, control, budget_ns, period_ns, flags;
};
status_t sched_context_configure(struct kernel *k, const struct sched_context_request *request);
status_t sched_context_bind(struct kernel *k, uint64_t context, uint64_t thread);
status_t sched_context_unbind(struct kernel *k, uint64_t context);
status_t sched_context_info(struct kernel *k, uint64_t context, uint64_t values[2]);
status_t thread_set_passive(struct kernel *k, uint64_t thread, uint64_t passive, uint64_t control);
/* The context that the lease names, or NULL if it does not count (any more). */
struct sched_context *sched_context_of(struct kernel *k, uint64_t lease);
/* The first refill is about to be used, from `now` on. Precondition: its time has come. */
void sched_context_begin(struct sched_context *c, uint64_t now);
/* Enters `used` ns of the first refills. */
void sched_context_charge(struct sched_context *c, uint64_t used);
/* A thread goes on by itself: what is bound to it is its own again, whoever was lent it. */
void sched_context_return(struct kernel *k, struct thread *t);
/* Nothing is bound to the thread any more; it is passive. */
void sched_context_forget(struct kernel *k, thread_ix i);

/* ---- Partition schedules
 * ------------------------------------------------------------------------- */

status_t schedule_append(struct kernel *k, uint64_t schedule, uint64_t control, uint64_t domain,
                         uint64_t length_ns);
status_t schedule_start(struct kernel *k, uint64_t schedule, uint64_t control, uint64_t cpu,
                        uint64_t start_ns);
/* The window of this CPU has ended: the next one begins, whose time may be over too. */
void schedule_step(struct kernel *k, uint64_t now_ns);

/* ---- Interrupts, ranges, console
 * ------------------------------------------------------------------ */

status_t irq_create_msi(struct kernel *k, uint64_t control, cap_ref_t to, uint64_t values[2]);
status_t irq_create_ioapic(struct kernel *k, uint64_t control, cap_ref_t to, uint64_t gsi,
                           uint64_t flags);
status_t irq_bind(struct kernel *k, uint64_t irq, uint64_t notification);
status_t irq_ack(struct kernel *k, uint64_t irq);
struct irq_place {
    uint64_t irq, control; /* slots */
    uint64_t cpu, domain;
};
status_t irq_affinity(struct kernel *k, const struct irq_place *place, uint64_t values[2]);
/* The CPU's window is of another domain than before: interrupts of this one that were held back
 * arrive, IRQ_RELEASE_STEP at most. */
void irq_release(struct kernel *k);
status_t irq_source(struct kernel *k, uint64_t irq, uint64_t functions, uint64_t function);
/* Held with MANAGE, and covers the function: OK; else as cap_find or INVALID_ARGUMENT. */
status_t functions_decode(struct kernel *k, uint64_t functions, uint64_t function);
void irq_unbind(struct kernel *k, irq_ix i);

struct range_request {
    cap_ref_t to, from;
    uint64_t base, length, rights;
};
status_t range_derive(struct kernel *k, const struct range_request *request);
status_t port_in(struct kernel *k, uint64_t ports, uint64_t port, uint64_t width, uint64_t *value);
status_t port_out(struct kernel *k, uint64_t ports, uint64_t port, uint64_t width, uint64_t value);
status_t console_write(struct kernel *k, uint64_t console, uint64_t bytes, const uint64_t words[8]);

#endif
