// SPDX-License-Identifier: MIT OR Apache-2.0
#include "kernel/invariants.h"
#include "kernel/invariants_local.h"

#include "kernel/object/cap.h"
#include "kernel/object/object.h"
#include "kernel/object/upcall.h"
#include "kernel/timer.h"

const char *invariant_text(uint32_t number)
{
    switch (number) {
#define CASE(n, name, text)                                                                        \
    case n:                                                                                        \
        return #name ": " text;
        KERNEL_INVARIANT_TABLE(CASE)
#undef CASE
    default:
        return "none";
    }
}

/* ---- Liveness
 * ------------------------------------------------------------------------------------- */

uint32_t inv_object_granules(enum object_type type)
{
    if (type == OBJECT_THREAD) {
        return THREAD_BYTES / GRANULE_BYTES;
    }
    if (type == OBJECT_IOSPACE) {
        return sizeof(struct iospace) / GRANULE_BYTES;
    }
    if (type == OBJECT_PARTITION_SCHEDULE) {
        return sizeof(struct schedule) / GRANULE_BYTES;
    }
    bool two = type == OBJECT_ASPACE || type == OBJECT_PAGE_TABLE || type == OBJECT_SEGMENT ||
               type == OBJECT_SCHED_CONTEXT;
    return two ? 2 : 1;
}

static bool granules_ok(const struct kernel *k, enum object_type type, uint32_t n)
{
    return object_index_ok(k, n, type, inv_object_granules(type)) &&
           (type != OBJECT_TABLE || page_get(k, granule_page(n)).owner == n);
}

/* There is an object of that type there, and it is not dead. */
bool inv_alive(struct kernel *k, enum object_type type, uint32_t n)
{
    if (type == OBJECT_IRQ) {
        return n >= IRQ_VECTOR_FIRST && n <= IRQ_VECTOR_LAST &&
               irq_get(k, (irq_ix){n}).kind != IRQ_NONE;
    }
    if (!granules_ok(k, type, n)) {
        return false;
    }
    return object_original_get(k, type, n).n != NIL || n == k->boot_table.n;
}

/* The identity I/O space of a machine without an IOMMU has none. */
static bool has_object(const struct slot *s)
{
    return (s->type >= OBJECT_UNTYPED && s->type <= OBJECT_SEGMENT) || s->type == OBJECT_IRQ ||
           s->type == OBJECT_SCHED_CONTEXT || s->type == OBJECT_PARTITION_SCHEDULE ||
           (s->type == OBJECT_IOSPACE && s->object != NIL);
}

/* ---- Slots
 * ------------------------------------------------------------------------------------------ */

static bool slot_zero(const struct slot *s)
{
    return (s->rights | s->depth | s->original) == 0 && s->object == 0 && s->badge == 0 &&
           (s->parent.n | s->child.n | s->next.n | s->previous.n) == 0 && s->base == 0 &&
           s->length == 0;
}

bool inv_slot_used(struct kernel *k, slot_ix i)
{
    return slot_there(k, i) && slot_get(k, i).type != OBJECT_NONE;
}

static uint32_t slot_tree(struct kernel *k, slot_ix i, const struct slot *s)
{
    if (s->parent.n == NIL) {
        FAIL_UNLESS(2, s->depth == 0 && s->original == 1)
        FAIL_UNLESS(3, s->next.n == NIL && s->previous.n == NIL)
    } else {
        FAIL_UNLESS(2, slot_there(k, s->parent))
        VIEW(slot, p, k, s->parent);
        FAIL_UNLESS(2, p->type != OBJECT_NONE && s->depth == p->depth + 1u)
        if (s->original == 0) {
            FAIL_UNLESS(2, s->type == p->type && s->object == p->object)
            FAIL_UNLESS(2, (s->rights & ~p->rights) == 0)
            FAIL_UNLESS(7, s->base >= p->base && s->length <= p->length &&
                               s->base - p->base <= p->length - s->length)
        } else {
            FAIL_UNLESS(2, p->type == OBJECT_UNTYPED || p->type == OBJECT_IRQ_CONTROL)
        }
        FAIL_UNLESS(3, s->previous.n != NIL || p->child.n == i.n)
    }
    if (s->previous.n != NIL) {
        FAIL_UNLESS(3, slot_there(k, s->previous))
        VIEW(slot, p, k, s->previous);
        FAIL_UNLESS(3, p->type != OBJECT_NONE && p->next.n == i.n && p->parent.n == s->parent.n)
    }
    if (s->next.n != NIL) {
        FAIL_UNLESS(3, slot_there(k, s->next))
        VIEW(slot, n, k, s->next);
        FAIL_UNLESS(3, n->type != OBJECT_NONE && n->previous.n == i.n && n->parent.n == s->parent.n)
    }
    if (s->child.n != NIL) {
        FAIL_UNLESS(4, slot_there(k, s->child))
        VIEW(slot, c, k, s->child);
        FAIL_UNLESS(4, c->type != OBJECT_NONE && c->parent.n == i.n && c->previous.n == NIL)
    }
    return 0;
}

static uint32_t level_get(struct kernel *k, enum object_type type, uint32_t n)
{
    return type == OBJECT_TABLE ? table_get(k, (table_ix){n}).level
                                : untyped_get(k, (untyped_ix){n}).level;
}

uint32_t inv_slot_check(struct kernel *k, slot_ix i)
{
    VIEW(slot, s, k, i);
    enum object_type type = (enum object_type)s->type;

    if (type == OBJECT_NONE) {
        return slot_zero(s) ? 0 : 1;
    }
    FAIL_UNLESS(1, type < OBJECT_TYPE_COUNT && s->depth <= DERIVATION_DEPTH_MAX && s->original <= 1)
    uint32_t failed = slot_tree(k, i, s);
    if (failed != 0) {
        return failed;
    }
    if (has_object(s)) {
        FAIL_UNLESS(5, inv_alive(k, type, s->object))
        bool names = object_original_get(k, type, s->object).n == i.n;
        FAIL_UNLESS(5, names == (s->original == 1))
    }
    if (s->original == 1 && (type == OBJECT_TABLE || type == OBJECT_UNTYPED)) {
        uint32_t level = level_get(k, type, s->object);
        FAIL_UNLESS(6, level <= LEVEL_MAX)
        FAIL_UNLESS(6, table_get(k, cap_table_of(k, i)).level < level)
        if (s->parent.n != NIL) {
            FAIL_UNLESS(6, level_get(k, OBJECT_UNTYPED, slot_get(k, s->parent).object) < level)
        }
    }
    if (s->original == 1 && s->parent.n != NIL && type != OBJECT_IRQ) {
        VIEW(untyped, u, k, (untyped_ix){slot_get(k, s->parent).object});
        uint64_t at = granule_address(s->object);
        FAIL_UNLESS(11, at >= u->base && at < u->watermark)
    }
    return 0;
}

/* A living object's original capability is the one that it names. */
uint32_t inv_original_check(struct kernel *k, enum object_type type, uint32_t n)
{
    slot_ix original = object_original_get(k, type, n);

    FAIL_UNLESS(5, inv_slot_used(k, original))
    VIEW(slot, s, k, original);
    FAIL_UNLESS(5, s->original == 1 && s->type == type && s->object == n)
    return 0;
}

/* ---- Memory
 * ------------------------------------------------------------------------------------------ */

uint32_t inv_table_slot_check(struct kernel *k, table_ix t, uint32_t n)
{
    if (n == 0) {
        VIEW(table, table, k, t);
        uint64_t granules = (uint64_t)k->page_count * GRANULES_PER_PAGE;
        return table->slots >= 1 && table->slots <= table->slots_made &&
                       table->slots_made <= CAP_TABLE_SLOTS_MAX && t.n < granules &&
                       table->slots_made <= granules - t.n
                   ? 0
                   : 8;
    }
    slot_ix i = {t.n + n};
    if (n >= table_get(k, t).slots) {
        VIEW(slot, s, k, i);
        return s->type == OBJECT_NONE && slot_zero(s) ? 0 : 8;
    }
    return inv_slot_check(k, i);
}

/* Granule `n`, if the table reaches that far, is on a page of the table. */
uint32_t inv_table_page_check(struct kernel *k, table_ix t, uint32_t n)
{
    if (n < t.n || n - t.n >= table_get(k, t).slots_made) {
        return 0;
    }
    FAIL_UNLESS(8, granule_page(n) < k->page_count)
    const struct page page = page_get(k, granule_page(n));
    FAIL_UNLESS(8, page.kind == PAGE_OBJECT + OBJECT_TABLE && page.owner == t.n)
    return 0;
}

uint32_t inv_slot_any_check(struct kernel *k, slot_ix i)
{
    const struct page page = page_get(k, granule_page(i.n));

    if (page.kind == PAGE_OBJECT + OBJECT_THREAD) {
        if (inv_alive(k, OBJECT_THREAD, i.n - (i.n & (THREAD_GRANULES - 1u)))) {
            return inv_slot_check(k, i);
        }
    } else if (inv_alive(k, OBJECT_TABLE, page.owner)) {
        FAIL_UNLESS(8, i.n > page.owner)
        uint32_t n = i.n - page.owner;
        if (n < table_get(k, (table_ix){page.owner}).slots_made) {
            return inv_table_slot_check(k, (table_ix){page.owner}, n);
        }
    }
    FAIL_UNLESS(8, slot_get(k, i).type == OBJECT_NONE)
    return 0;
}

static bool page_zero(uint64_t physical)
{
    const uint64_t *words = arch_memory(physical);
    uint64_t all = 0;

    for (uint32_t n = 0; n < PAGE_BYTES / sizeof(*words); n++) {
        all |= words[n];
    }
    return all == 0;
}

uint32_t inv_untyped_check(struct kernel *k, untyped_ix i)
{
    VIEW(untyped, u, k, i);

    FAIL_UNLESS(9, u->base <= u->watermark && u->watermark <= u->prepared && u->prepared <= u->end)
    FAIL_UNLESS(9, ((u->base | u->watermark | u->prepared | u->end) & (PAGE_BYTES - 1u)) == 0)
    if (u->watermark < u->prepared) {
        FAIL_UNLESS(9, page_zero(u->watermark))
    }
    if (u->watermark < u->end) {
        FAIL_UNLESS(10, page_at(k, u->watermark)->kind == PAGE_FREE)
        FAIL_UNLESS(10, page_at(k, u->end - PAGE_BYTES)->kind == PAGE_FREE)
    }
    if (u->fill_page != 0) {
        uint64_t at = (uint64_t)u->fill_page << PAGE_SHIFT;
        FAIL_UNLESS(11, at >= u->base && at < u->watermark && u->fill_next <= GRANULES_PER_PAGE)
        FAIL_UNLESS(11, page_at(k, at)->kind == PAGE_OBJECT + u->fill_type)
    }
    return 0;
}

/* ---- Threads
 * ------------------------------------------------------------------------------------------- */

static uint32_t thread_links(struct kernel *k, thread_ix i, const struct thread *t,
                             const struct thread_queue *q)
{
    uint32_t number = t->state == THREAD_READY ? 14 : 15;
    thread_ix ends[2] = {t->previous, t->next};

    FAIL_UNLESS(number, t->previous.n != NIL || q->head.n == i.n)
    FAIL_UNLESS(number, t->next.n != NIL || q->tail.n == i.n)
    for (uint32_t n = 0; n < 2; n++) {
        if (ends[n].n == NIL) {
            continue;
        }
        FAIL_UNLESS(number, inv_alive(k, OBJECT_THREAD, ends[n].n))
        VIEW(thread, other, k, ends[n]);
        FAIL_UNLESS(number, (n == 0 ? other->next.n : other->previous.n) == i.n)
        FAIL_UNLESS(number, other->blocked_on == t->blocked_on)
        if (t->state == THREAD_READY) {
            FAIL_UNLESS(14, other->state == THREAD_READY && other->priority == t->priority)
        } else {
            FAIL_UNLESS(15, (other->state == THREAD_RECEIVING) == (t->state == THREAD_RECEIVING))
        }
    }
    return 0;
}

static uint32_t thread_ready(struct kernel *k, thread_ix i, const struct thread *t)
{
    FAIL_UNLESS(14, t->blocked_on == NIL)
    if (cpu_of(k, t)->current.n == i.n) {
        return t->next.n == NIL && t->previous.n == NIL ? 0 : 14;
    }
    FAIL_UNLESS(14, bit_get(cpu_of(k, t)->ready_used[t->domain], t->priority))
    return thread_links(k, i, t, &cpu_of(k, t)->ready[t->domain][t->priority]);
}

uint32_t inv_thread_state_check(struct kernel *k, thread_ix i)
{
    VIEW(thread, t, k, i);
    bool claims = t->state == THREAD_RECEIVING || t->state == THREAD_REPLY_WAITING;
    bool sends = t->state == THREAD_SENDING || t->state == THREAD_CALLING;

    FAIL_UNLESS(15, sends || (t->flags & THREAD_GRANT) == 0)
    bool runs = t->state == THREAD_READY || t->state == THREAD_RECEIVING;
    FAIL_UNLESS(12, !runs || (t->flags & THREAD_FAULTED) == 0)
    FAIL_UNLESS(16, claims == (t->reply.n != NIL))
    if (claims) {
        FAIL_UNLESS(16, inv_alive(k, OBJECT_REPLY, t->reply.n))
        FAIL_UNLESS(16, reply_get(k, t->reply).thread.n == i.n)
    }
    switch ((enum thread_state)t->state) {
    case THREAD_READY:
        return INVARIANT_WANTED(14) ? thread_ready(k, i, t) : 0;
    case THREAD_SENDING:
    case THREAD_CALLING:
    case THREAD_RECEIVING: {
        FAIL_UNLESS(15, inv_alive(k, OBJECT_ENDPOINT, t->blocked_on))
        VIEW(endpoint, e, k, (endpoint_ix){t->blocked_on});
        const struct thread_queue q = {e->head, e->tail};
        return thread_links(k, i, t, &q);
    }
    case THREAD_WAITING:
        FAIL_UNLESS(17, t->next.n == NIL && t->previous.n == NIL)
        FAIL_UNLESS(17, inv_alive(k, OBJECT_NOTIFICATION, t->blocked_on))
        FAIL_UNLESS(17, notification_get(k, (notification_ix){t->blocked_on}).waiter.n == i.n)
        return 0;
    default:
        FAIL_UNLESS(14, t->next.n == NIL && t->previous.n == NIL)
        FAIL_UNLESS(17, t->blocked_on == NIL)
        return 0;
    }
}

static uint32_t thread_timer(struct kernel *k, thread_ix i, const struct thread *t)
{
    const struct timer_wheel *w = &cpu_of(k, t)->wheel[t->domain];
    bool waits = t->state != THREAD_INACTIVE && t->state != THREAD_READY;

    if ((t->flags & THREAD_TIMED) == 0) {
        return t->timer_next.n == NIL && t->timer_previous.n == NIL ? 0 : 18;
    }
    FAIL_UNLESS(18, waits && t->deadline >= w->base && w->next <= t->deadline)
    uint32_t bucket = t->timer_bucket;
    FAIL_UNLESS(18, bucket < TIMER_LEVELS * TIMER_BUCKETS && bit_get(w->used, bucket))
    uint32_t level = bucket / TIMER_BUCKETS;
    bool moving = level > 0 && ((w->base >> (6u * level)) & 63u) == bucket % TIMER_BUCKETS;
    FAIL_UNLESS(18, moving || timer_bucket_of(w->base, t->deadline) == bucket)
    if (t->timer_previous.n == NIL) {
        FAIL_UNLESS(18, w->bucket[bucket].n == i.n)
    } else {
        FAIL_UNLESS(18, thread_get(k, t->timer_previous).timer_next.n == i.n)
    }
    if (t->timer_next.n != NIL) {
        FAIL_UNLESS(18, thread_get(k, t->timer_next).timer_previous.n == i.n)
        FAIL_UNLESS(18, thread_get(k, t->timer_next).timer_bucket == bucket)
    }
    return 0;
}

static uint32_t thread_upcall(struct kernel *k, thread_ix i, const struct thread *t)
{
    bool flagged = t->upcall_quantum_ns != 0 || (t->upcall_events & UPCALL_SYSCALL) != 0;
    FAIL_UNLESS(64, flagged == ((t->flags & THREAD_UPCALLS) != 0))
    if (t->upcall_area == 0) {
        FAIL_UNLESS(64, t->upcall_segment.n == NIL && t->upcall_events == 0)
        return t->upcall_next.n == NIL && t->upcall_quantum_ns == 0 ? 0 : 64;
    }
    FAIL_UNLESS(64, inv_alive(k, OBJECT_SEGMENT, t->upcall_segment.n))
    VIEW(segment, s, k, t->upcall_segment);
    FAIL_UNLESS(64, s->child.n == NIL && s->shown == s->physical)
    FAIL_UNLESS(64, page_at(k, t->upcall_area)->kind == PAGE_FRAME &&
                        page_at(k, t->upcall_area)->owner == t->upcall_segment.n)
    FAIL_UNLESS(64, t->upcall_previous.n == NIL
                        ? s->upcalls.n == i.n
                        : thread_get(k, t->upcall_previous).upcall_next.n == i.n)
    FAIL_UNLESS(64,
                t->upcall_next.n == NIL || thread_get(k, t->upcall_next).upcall_previous.n == i.n)
    return 0;
}

uint32_t inv_thread_spaces_check(struct kernel *k, thread_ix i)
{
    VIEW(thread, t, k, i);

    FAIL_UNLESS(12, t->state == THREAD_INACTIVE || (t->table.n != NIL && t->aspace.n != NIL))
    VIEW(slot, table, k, thread_slot(i, THREAD_SLOT_TABLE));
    VIEW(slot, aspace, k, thread_slot(i, THREAD_SLOT_ASPACE));
    uint32_t fault = slot_get(k, thread_slot(i, THREAD_SLOT_FAULT)).type;
    FAIL_UNLESS(13, t->table.n == (table->type == OBJECT_TABLE ? table->object : NIL))
    FAIL_UNLESS(13, t->aspace.n == (aspace->type == OBJECT_ASPACE ? aspace->object : NIL))
    FAIL_UNLESS(13, t->root == (t->aspace.n == NIL ? 0 : aspace_get(k, t->aspace).paging.physical))
    FAIL_UNLESS(13, fault == OBJECT_NONE || fault == OBJECT_ENDPOINT)
    return 0;
}

uint32_t inv_thread_check(struct kernel *k, thread_ix i)
{
    VIEW(thread, t, k, i);

    FAIL_UNLESS(12,
                t->state < THREAD_STATE_COUNT && t->cpu < k->cpu_count && t->domain < DOMAIN_COUNT)
    uint32_t failed = inv_thread_spaces_check(k, i);
    if (failed == 0) {
        failed = inv_thread_state_check(k, i);
    }
    if (failed == 0) {
        failed = thread_timer(k, i, t);
    }
    if (failed == 0) {
        failed = thread_upcall(k, i, t);
    }
    if (failed == 0) {
        failed = inv_thread_budget_check(k, i);
    }
    if (failed != 0) {
        return failed;
    }
    if (t->bound.n != NIL) {
        FAIL_UNLESS(21, inv_alive(k, OBJECT_NOTIFICATION, t->bound.n))
        FAIL_UNLESS(21, notification_get(k, t->bound).bound.n == i.n)
    }
    return 0;
}

/* What a CPU runs. */
uint32_t inv_current_check(struct kernel *k, const struct cpu *c)
{
    if (c->current.n != NIL) {
        FAIL_UNLESS(27, inv_alive(k, OBJECT_THREAD, c->current.n))
        VIEW(thread, t, k, c->current);
        FAIL_UNLESS(27, t->state == THREAD_READY && t->cpu == c->index && t->domain == c->domain)
    }
    return 0;
}

static bool waits_on(struct kernel *k, thread_ix i, uint32_t object)
{
    return inv_alive(k, OBJECT_THREAD, i.n) && thread_get(k, i).blocked_on == object;
}

uint32_t inv_endpoint_check(struct kernel *k, endpoint_ix i)
{
    VIEW(endpoint, e, k, i);

    FAIL_UNLESS(19, (e->head.n == NIL) == (e->tail.n == NIL))
    if (e->head.n != NIL) {
        FAIL_UNLESS(19, waits_on(k, e->head, i.n) && thread_get(k, e->head).previous.n == NIL)
        FAIL_UNLESS(19, waits_on(k, e->tail, i.n) && thread_get(k, e->tail).next.n == NIL)
    }
    return 0;
}

uint32_t inv_reply_check(struct kernel *k, reply_ix i)
{
    thread_ix t = reply_get(k, i).thread;

    FAIL_UNLESS(20,
                t.n == NIL || (inv_alive(k, OBJECT_THREAD, t.n) && thread_get(k, t).reply.n == i.n))
    return 0;
}

uint32_t inv_notification_check(struct kernel *k, notification_ix i)
{
    VIEW(notification, n, k, i);

    if (n->waiter.n != NIL) {
        FAIL_UNLESS(17, n->word == 0 && waits_on(k, n->waiter, i.n))
        FAIL_UNLESS(17, thread_get(k, n->waiter).state == THREAD_WAITING)
    }
    if (n->bound.n != NIL) {
        FAIL_UNLESS(21, inv_alive(k, OBJECT_THREAD, n->bound.n))
        FAIL_UNLESS(21, thread_get(k, n->bound).bound.n == i.n)
        FAIL_UNLESS(21, n->word == 0 || thread_get(k, n->bound).state != THREAD_RECEIVING)
    }
    if (n->irqs.n != NIL) {
        FAIL_UNLESS(21, inv_alive(k, OBJECT_IRQ, n->irqs.n))
        FAIL_UNLESS(21, irq_get(k, n->irqs).notification.n == i.n)
        FAIL_UNLESS(21, irq_get(k, n->irqs).previous.n == NIL)
    }
    if (n->iospaces.n != NIL) {
        FAIL_UNLESS(31, inv_alive(k, OBJECT_IOSPACE, n->iospaces.n))
        FAIL_UNLESS(31, iospace_get(k, n->iospaces).notification.n == i.n)
        FAIL_UNLESS(31, iospace_get(k, n->iospaces).previous.n == NIL)
    }
    return 0;
}
