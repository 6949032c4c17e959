// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Upcalls (hallows/upcall.h). The area is a frame of a segment, written through the kernel's own
 * view of memory: nothing in here can fault. While threads have areas in a segment it stays as it
 * is: no copies of it, no frames taken out, no rights changed (segment_pinned). It lists those
 * threads, so that they lose their areas when it dies.
 *
 * All words of the area are the user's. Each is read once and decides about its own thread only.
 */
#include "kernel/object/upcall.h"

#include "kernel/object/cap.h"
#include "kernel/object/lists.h"
#include "kernel/object/object.h"
#include "kernel/object/segment.h"

#define REGISTERS_COPIED 15u /* rdx .. r11, which lie alike in both frames */
_Static_assert(offsetof(struct registers, r11) == (REGISTERS_COPIED - 1u) * 8u, "same order");
_Static_assert(offsetof(struct upcall_frame, r11) == (REGISTERS_COPIED - 1u) * 8u, "same order");
#define VECTOR_INVALID_OPCODE 6u /* what a system call is on a CPU without one */

static inline uint64_t read_once(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static struct upcall_area *area_of(const struct thread *t)
{
    return arch_memory(t->upcall_area);
}

FAST static void frame_save(struct upcall_frame *frame, const struct registers *r)
{
    uint64_t *to = &frame->rdx;

#pragma GCC unroll 15
    for (uint32_t n = 0; n < REGISTERS_COPIED; n++) {
        to[n] = (&r->word[0])[n];
    }
    if ((r->entry & REGISTERS_FULL) == 0) { /* `syscall` leaves these there */
        frame->rcx = r->ip;
        frame->r11 = r->flags;
    }
    frame->ip = r->ip;
    frame->cs = ARCH_USER_CODE;
    frame->flags = r->flags;
    frame->sp = r->sp;
    frame->ss = ARCH_USER_DATA;
}

/*
 * Requires: the thread has an area and is ready; if it is current, its registers are saved.
 * Changes:  it continues in its handler, with `event` and what was pending. False: it does not,
 *           being masked, or in the resume code if `cannot_wait`; nothing changes.
 */
FAST static bool upcall_enter(struct thread *t, uint64_t event, bool cannot_wait)
{
    struct upcall_area *area = area_of(t);
    struct registers *r = &t->registers;
    uint64_t first = read_once(&area->resume_first);
    uint64_t handler = read_once(&area->handler);

    if (read_once(&area->masked) != 0 || !arch_user_address_ok(handler)) {
        return false;
    }
    bool resuming = r->ip - first < read_once(&area->resume_end) - first;
    if (resuming && cannot_wait) {
        return false;
    }
    if (!resuming) {
        frame_save(&area->frame, r);
    }
    area->masked = 1;
    r->arg1 = event | __atomic_exchange_n(&area->pending, 0, __ATOMIC_RELAXED);
    r->arg0 = read_once(&area->argument);
    r->ip = handler;
    r->sp = read_once(&area->stack);
    r->flags = arch_flags_sanitize(0);
    r->entry &= ~(uint64_t)REGISTERS_FULL;
    return true;
}

/* An event that waits if it must. */
FAST static void upcall_raise(struct thread *t, uint64_t event)
{
    if (t->state != THREAD_READY || !upcall_enter(t, event, false)) {
        (void)__atomic_fetch_or(&area_of(t)->pending, event, __ATOMIC_RELAXED);
    }
}

FAST void upcall_quantum_end(struct thread *t, uint64_t now)
{
    t->upcall_at = now + t->upcall_quantum_ns;
    upcall_raise(t, UPCALL_QUANTUM);
}

FAST void upcall_pending(struct thread *t)
{
    if (t->upcall_area != 0 && read_once(&area_of(t)->pending) != 0) {
        (void)upcall_enter(t, 0, false);
    }
}

bool upcall_notify(struct kernel *k, thread_ix i, uint64_t word)
{
    struct thread *t = thread_at(k, i);
    const struct cpu *c = cpu_of(k, t);

    if ((t->upcall_events & UPCALL_NOTIFICATION) == 0) {
        return false;
    }
    (void)__atomic_fetch_or(&area_of(t)->notification, word, __ATOMIC_RELAXED);
    if (c != cpu_self(k) && c->current.n == i.n) { /* its registers are in that CPU */
        (void)__atomic_fetch_or(&area_of(t)->pending, UPCALL_NOTIFICATION, __ATOMIC_RELAXED);
        arch_cpu_kick(c);
    } else {
        upcall_raise(t, UPCALL_NOTIFICATION);
    }
    return true;
}

bool upcall_fault(struct thread *t, const struct fault *fault)
{
    if ((t->upcall_events & UPCALL_FAULT) == 0 || !upcall_enter(t, UPCALL_FAULT, true)) {
        return false;
    }
    struct upcall_area *area = area_of(t);
    area->fault_vector = fault->vector;
    area->fault_error = fault->error;
    area->fault_address = fault->address;
    return true;
}

APART bool upcall_syscall(struct kernel *k, struct thread *t)
{
    const struct upcall_area *area = area_of(t);
    uint64_t first = read_once(&area->kernel_code_first);

    /* ip is behind the instruction, so the range is (first, end]. */
    if (t->registers.ip - first - 1u < read_once(&area->kernel_code_end) - first) {
        return false;
    }
    if (!upcall_enter(t, UPCALL_SYSCALL, true)) {
        const struct fault fault = {.vector = VECTOR_INVALID_OPCODE};
        kernel_fault(k, &fault);
    }
    return true;
}

/* ---- Registration ------------------------------------------------------------------------------
 */

static void upcall_flag(struct thread *t)
{
    bool needed = t->upcall_quantum_ns != 0 || (t->upcall_events & UPCALL_SYSCALL) != 0;

    t->flags = (uint8_t)((t->flags & ~(uint32_t)THREAD_UPCALLS) | (needed ? THREAD_UPCALLS : 0u));
}

DEFINE_MEMBERS(upcall, thread, segment, upcall_segment, upcalls, upcall_next, upcall_previous)

void upcall_forget(struct kernel *k, thread_ix i)
{
    struct thread *t = thread_at(k, i);

    if (t->upcall_area == 0) {
        return;
    }
    upcall_unlink(k, i);
    t->upcall_area = 0;
    t->upcall_events = 0;
    t->upcall_quantum_ns = 0;
    upcall_flag(t);
}

/*
 * Requires: thread held with MANAGE; segment 0, or one held with READ, WRITE and MANAGE whose page
 *           is a writable frame of its own (NOT_MAPPED; AGAIN while a copy is prepared, BUSY if it
 *           has copies); events in UPCALL_EVENTS_ALL.
 * Changes:  the thread's upcalls use that page, or it has none; its quantum is off.
 */
status_t thread_set_upcall(struct kernel *k, uint64_t thread, uint64_t segment, uint64_t page,
                           uint64_t events)
{
    struct slot *slot, *with;
    status_t status = cap_find(k, thread, OBJECT_THREAD, RIGHT_MANAGE, &slot);

    if (status != STATUS_OK) {
        return status;
    }
    thread_ix i = {slot->object};
    if (segment == 0) {
        upcall_forget(k, i);
        return STATUS_OK;
    }
    status = cap_find(k, segment, OBJECT_SEGMENT, RIGHT_READ | RIGHT_WRITE | RIGHT_MANAGE, &with);
    if (status != STATUS_OK) {
        return status;
    }
    if (page >= SEGMENT_PAGES || (events & ~(uint64_t)UPCALL_EVENTS_ALL) != 0) {
        return STATUS_INVALID_ARGUMENT;
    }
    status = segment_make_open(k, (segment_ix){with->object});
    if (status != STATUS_OK) {
        return status;
    }
    const struct segment *s = segment_at(k, (segment_ix){with->object});
    uint64_t leaf = *segment_leaf(s, (uint32_t)page);
    if (!arch_leaf_own(leaf) || (arch_leaf_rights(leaf) & RIGHT_WRITE) == 0) {
        return STATUS_NOT_MAPPED;
    }
    upcall_forget(k, i);
    upcall_link(k, (segment_ix){with->object}, i);
    thread_at(k, i)->upcall_area = arch_leaf_physical(leaf);
    thread_at(k, i)->upcall_events = (uint8_t)events;
    upcall_flag(thread_at(k, i));
    return STATUS_OK;
}

/*
 * Requires: the caller has an area (NOT_FOUND); 0, KEEP or at least UPCALL_QUANTUM_MIN_NS, and then
 *           the event enabled (INVALID_ARGUMENT).
 * Changes:  a QUANTUM event comes after that time, and again and again; 0: no more. Something
 *           pending is delivered if the caller is not masked.
 */
status_t upcall_quantum(struct kernel *k, uint64_t quantum_ns)
{
    struct thread *t = thread_at(k, current_thread(k));

    if (t->upcall_area == 0) {
        return STATUS_NOT_FOUND;
    }
    if (quantum_ns != UPCALL_QUANTUM_KEEP) {
        bool refused = (t->upcall_events & UPCALL_QUANTUM) == 0 ||
                       quantum_ns < UPCALL_QUANTUM_MIN_NS || quantum_ns > UPCALL_QUANTUM_MAX_NS;
        if (quantum_ns != 0 && refused) {
            return STATUS_INVALID_ARGUMENT;
        }
        t->upcall_quantum_ns = quantum_ns;
        t->upcall_at = quantum_ns == 0 ? 0 : arch_time_ns() + quantum_ns;
        upcall_flag(t);
    }
    t->registers.result = STATUS_OK;
    upcall_pending(t);
    return STATUS_OK;
}
