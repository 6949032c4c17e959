// SPDX-License-Identifier: MIT OR Apache-2.0
/* Walks the state and asks every invariant at every index. Not part of the kernel's entries. */
#include "kernel/invariants.h"
#include "kernel/invariants_local.h"
#include "kernel/object/object.h"
#include "kernel/timer.h"

/* ---- Walking
 * -------------------------------------------------------------------------------------------- */

static uint32_t entries_check(struct kernel *k, page_table_ix i)
{
    VIEW(page_table, t, k, i);
    const uint64_t *entries = arch_memory(t->paging.physical);
    const struct attachment_record *records = arch_memory(t->records);
    uint32_t failed = 0;

    for (uint32_t n = 0; n < PAGING_ENTRIES && failed == 0; n++) {
        if (entries[n] != 0 || records[n].segment.n != NIL || bit_get(t->paging.used, n)) {
            failed = inv_entry_check(k, i, n);
        }
    }
    return failed;
}

static uint32_t leaves_check(struct kernel *k, segment_ix i)
{
    const uint64_t *leaves = arch_memory(segment_get(k, i).physical);
    uint32_t failed = 0;

    for (uint32_t n = 0; n < SEGMENT_PAGES && failed == 0; n++) {
        if (leaves[n] != 0) {
            failed = inv_leaf_check(k, i, n);
        }
    }
    return failed;
}

static uint32_t object_check(struct kernel *k, enum object_type type, uint32_t n)
{
    uint32_t failed = inv_original_check(k, type, n);

    if (failed != 0) {
        return failed;
    }
    switch (type) {
    case OBJECT_UNTYPED:
        return inv_untyped_check(k, (untyped_ix){n});
    case OBJECT_THREAD:
        return inv_thread_check(k, (thread_ix){n});
    case OBJECT_PARTITION_SCHEDULE:
        return inv_schedule_check(k, (schedule_ix){n});
    case OBJECT_SCHED_CONTEXT:
        return inv_sched_context_check(k, (sched_context_ix){n});
    case OBJECT_ENDPOINT:
        return inv_endpoint_check(k, (endpoint_ix){n});
    case OBJECT_REPLY:
        return inv_reply_check(k, (reply_ix){n});
    case OBJECT_NOTIFICATION:
        return inv_notification_check(k, (notification_ix){n});
    case OBJECT_PAGE_TABLE:
        failed = inv_page_table_check(k, (page_table_ix){n});
        return failed == 0 ? entries_check(k, (page_table_ix){n}) : failed;
    case OBJECT_SEGMENT:
        failed = inv_segment_check(k, (segment_ix){n});
        return failed == 0 ? leaves_check(k, (segment_ix){n}) : failed;
    case OBJECT_IOSPACE:
        return inv_iospace_check(k, (iospace_ix){n});
    default:
        return 0;
    }
}

/* Every page that a living table reaches over. */
static struct invariant_failure table_check(struct kernel *k, table_ix t)
{
    uint32_t failed = t.n == k->boot_table.n ? 0 : inv_original_check(k, OBJECT_TABLE, t.n);

    failed = failed == 0 ? inv_table_slot_check(k, t, 0) : failed;
    for (uint32_t n = 0; n < table_get(k, t).slots_made && failed == 0; n += GRANULES_PER_PAGE) {
        failed = inv_table_page_check(k, t, t.n + n);
    }
    return (struct invariant_failure){failed, t.n};
}

static struct invariant_failure table_page_check(struct kernel *k, uint32_t page)
{
    table_ix t = {page_get(k, page).owner};
    uint32_t first = page * GRANULES_PER_PAGE;

    if (t.n == first && inv_alive(k, OBJECT_TABLE, t.n)) {
        struct invariant_failure failure = table_check(k, t);
        if (failure.number != 0) {
            return failure;
        }
    }
    for (uint32_t n = first; n < first + GRANULES_PER_PAGE; n++) {
        uint32_t failed = n == t.n ? 0 : inv_slot_any_check(k, (slot_ix){n});
        if (failed != 0) {
            return (struct invariant_failure){failed, n};
        }
    }
    return (struct invariant_failure){0, 0};
}

/* The slots embedded in a thread, living or dead. */
static uint32_t embedded_check(struct kernel *k, thread_ix i)
{
    uint32_t failed = 0;

    for (uint32_t n = THREAD_SLOT_TABLE; n <= THREAD_SLOT_FAULT && failed == 0; n++) {
        failed = inv_slot_any_check(k, thread_slot(i, n));
    }
    return failed;
}

struct invariant_failure invariants_check_page(struct kernel *k, uint32_t page)
{
    const struct page *p = &k->pages[page];
    uint32_t first = page * GRANULES_PER_PAGE;

    if (p->kind == PAGE_SPARE) {
        return (struct invariant_failure){inv_spare_check(k, page), page};
    }
    if (p->kind < PAGE_OBJECT) {
        return (struct invariant_failure){0, 0};
    }
    enum object_type type = (enum object_type)(p->kind - PAGE_OBJECT);
    if (type == OBJECT_TABLE) {
        return table_page_check(k, page);
    }
    uint32_t step = inv_object_granules(type);
    for (uint32_t n = first; n < first + GRANULES_PER_PAGE; n += step) {
        uint32_t failed = inv_alive(k, type, n) ? object_check(k, type, n) : 0;
        if (type == OBJECT_THREAD && failed == 0) {
            failed = embedded_check(k, (thread_ix){n});
        }
        if (failed != 0) {
            return (struct invariant_failure){failed, n};
        }
    }
    return (struct invariant_failure){0, 0};
}

static uint32_t irq_check(struct kernel *k, irq_ix i)
{
    VIEW(irq, irq, k, i);

    FAIL_UNLESS(22, (irq->kind != IRQ_NONE) == bit_get(k->irq_used, i.n))
    if (irq->kind == IRQ_NONE) {
        return irq->notification.n == NIL ? 0 : 22;
    }
    FAIL_UNLESS(22, inv_original_check(k, OBJECT_IRQ, i.n) == 0)
    FAIL_UNLESS(22, irq->cpu < k->cpu_count && irq->domain < DOMAIN_COUNT)
    if (irq->notification.n == NIL) {
        return irq->next.n == NIL && irq->previous.n == NIL ? 0 : 22;
    }
    FAIL_UNLESS(22, inv_alive(k, OBJECT_NOTIFICATION, irq->notification.n) && irq->badge != 0)
    if (irq->previous.n == NIL) {
        FAIL_UNLESS(22, notification_get(k, irq->notification).irqs.n == i.n)
    } else {
        FAIL_UNLESS(22, irq_get(k, irq->previous).next.n == i.n)
    }
    FAIL_UNLESS(22, irq->next.n == NIL || irq_get(k, irq->next).previous.n == i.n)
    return 0;
}

#define FAIL_UNLESS_AT(number, index, condition)                                                   \
    if (!(condition)) {                                                                            \
        return (struct invariant_failure){number, index};                                          \
    }

static uint32_t queue_check(struct kernel *k, const struct cpu *c, uint32_t domain,
                            uint32_t priority)
{
    const struct thread_queue *q = &c->ready[domain][priority];

    FAIL_UNLESS(14, (q->head.n == NIL) == (q->tail.n == NIL))
    FAIL_UNLESS(14, (q->head.n != NIL) == bit_get(c->ready_used[domain], priority))
    if (q->head.n == NIL) {
        return 0;
    }
    FAIL_UNLESS(14,
                inv_alive(k, OBJECT_THREAD, q->head.n) && inv_alive(k, OBJECT_THREAD, q->tail.n))
    const struct thread *t = thread_at(k, q->head);
    FAIL_UNLESS(14, t->priority == priority && t->state == THREAD_READY)
    FAIL_UNLESS(14, t->cpu == c->index && t->domain == domain)
    FAIL_UNLESS(27, domain != c->domain || c->kicked ||
                        (c->current.n != NIL && thread_at(k, c->current)->priority >= priority))
    return 0;
}

/* All queues and buckets are empty, and known to be: the usual case, looked at quickly. */
static bool domain_empty(const struct cpu *c, uint32_t d)
{
    uint64_t all = 0;

    for (uint32_t n = 0; n < PRIORITY_COUNT / 64u; n++) {
        all |= c->ready_used[d][n];
    }
    for (uint32_t level = 0; level < TIMER_LEVELS; level++) {
        all |= c->wheel[d].used[level];
    }
    for (uint32_t priority = 0; priority < PRIORITY_COUNT; priority++) {
        all |= c->ready[d][priority].head.n | c->ready[d][priority].tail.n;
    }
    for (uint32_t bucket = 0; bucket < TIMER_LEVELS * TIMER_BUCKETS; bucket++) {
        all |= c->wheel[d].bucket[bucket].n;
    }
    return all == 0;
}

static struct invariant_failure domain_check(struct kernel *k, const struct cpu *c, uint32_t domain)
{

    for (uint32_t priority = 0; priority < PRIORITY_COUNT; priority++) {
        uint32_t failed = queue_check(k, c, domain, priority);
        FAIL_UNLESS_AT(failed, priority, failed == 0)
    }
    for (uint32_t bucket = 0; bucket < TIMER_LEVELS * TIMER_BUCKETS; bucket++) {
        bool filled = c->wheel[domain].bucket[bucket].n != NIL;
        FAIL_UNLESS_AT(18, bucket, filled == bit_get(c->wheel[domain].used, bucket))
    }
    return (struct invariant_failure){0, 0};
}

static uint32_t held_check(struct kernel *k, const struct cpu *c, uint32_t domain)
{
    const uint64_t *held = c->held[domain];

    if (bit_first(held, IRQ_VECTOR_COUNT / 64u) == IRQ_VECTOR_COUNT) {
        return 0; /* the usual case */
    }
    FAIL_UNLESS(75, domain != c->domain || c->releasing)
    for (uint32_t v = 0; v < IRQ_VECTOR_COUNT; v++) {
        const struct irq *irq = &k->irqs[v];
        FAIL_UNLESS(75,
                    !bit_get(held, v) || (bit_get(k->irq_used, v) && irq->notification.n != NIL &&
                                          irq->cpu == c->index && irq->domain == domain))
    }
    return 0;
}

struct invariant_failure invariants_check_cpu(struct kernel *k, const struct cpu *c,
                                              uint32_t first_domain, uint32_t domains)
{
    uint32_t failed = inv_window_check(k, c);

    failed = failed == 0 ? inv_lease_check(k, c) : failed;
    FAIL_UNLESS_AT(failed, c->index, failed == 0)
    failed = inv_current_check(k, c);
    FAIL_UNLESS_AT(failed, c->current.n, failed == 0)
    FAIL_UNLESS_AT(14, NIL,
                   c->ready_top == bits_last(c->ready_used[c->domain], PRIORITY_COUNT / 64u))
    FAIL_UNLESS_AT(28, c->index,
                   (c->kicked || c->timer_armed <= c->timer_due) &&
                       c->timer_due <= c->wheel[c->domain].next && c->timer_due <= c->budget_end &&
                       c->timer_due <= c->window_end && (!c->releasing || c->timer_due == 0))
    struct invariant_failure failure = {0, 0};
    for (uint32_t n = 0; n < domains && failure.number == 0; n++) {
        failed = held_check(k, c, first_domain + n);
        FAIL_UNLESS_AT(failed, first_domain + n, failed == 0)
        if (!domain_empty(c, first_domain + n)) {
            failure = domain_check(k, c, first_domain + n);
        }
    }
    return failure;
}

struct invariant_failure invariants_check_global(struct kernel *k)
{
    struct invariant_failure failure = {0, 0};

    for (uint32_t v = IRQ_VECTOR_FIRST; v <= IRQ_VECTOR_LAST; v++) {
        uint32_t failed = irq_check(k, (irq_ix){v});
        FAIL_UNLESS_AT(failed, v, failed == 0)
    }
    for (uint32_t i = 0; i < k->cpu_count && failure.number == 0; i++) {
        failure = invariants_check_cpu(k, &k->cpus[i], 0, DOMAIN_COUNT);
    }
    return failure;
}

struct invariant_failure invariants_check(struct kernel *k)
{
    struct invariant_failure failure = invariants_check_global(k);

    for (uint32_t page = 0; page < k->page_count && failure.number == 0; page++) {
        failure = invariants_check_page(k, page);
    }
    return failure;
}
