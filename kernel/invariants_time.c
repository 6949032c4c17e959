// SPDX-License-Identifier: MIT OR Apache-2.0
/* The invariants of budgets: kernel/invariants.h. */
#include "kernel/invariants_local.h"

uint32_t inv_thread_budget_check(struct kernel *k, thread_ix i)
{
    VIEW(thread, t, k, i);
    bool budgeted = (t->flags & THREAD_BUDGETED) != 0;
    bool demoted = (t->flags & THREAD_DEMOTED) != 0;

    FAIL_UNLESS(71, budgeted == (t->context.n != NIL))
    if (budgeted) {
        FAIL_UNLESS(71, (t->flags & THREAD_PASSIVE) == 0)
        FAIL_UNLESS(71, inv_alive(k, OBJECT_SCHED_CONTEXT, t->context.n))
        FAIL_UNLESS(71, sched_context_get(k, t->context).thread.n == i.n)
        FAIL_UNLESS(72, t->lease == sched_context_get(k, t->context).lease)
    } else if ((t->flags & THREAD_PASSIVE) == 0) {
        FAIL_UNLESS(72, t->lease == LEASE_UNBUDGETED)
    }
    FAIL_UNLESS(72, !demoted || (t->state == THREAD_READY && t->priority == 0))
    FAIL_UNLESS(72, demoted || t->priority == t->base_priority)
    return 0;
}

uint32_t inv_schedule_check(struct kernel *k, schedule_ix i)
{
    const struct schedule *s = schedule_at(k, i);
    uint64_t sum = 0;

    FAIL_UNLESS(73, s->count <= SCHEDULE_WINDOWS_MAX)
    for (uint32_t n = 0; n < s->count; n++) {
        FAIL_UNLESS(73, s->window[n].domain < DOMAIN_COUNT &&
                            s->window[n].length_ns >= SCHEDULE_WINDOW_MIN_NS)
        sum += s->window[n].length_ns;
    }
    FAIL_UNLESS(73, sum == s->frame_ns && sum <= SCHED_PERIOD_MAX_NS)
    return 0;
}

static bool followable(struct kernel *k, schedule_ix i)
{
    return i.n == NIL ||
           (inv_alive(k, OBJECT_PARTITION_SCHEDULE, i.n) && schedule_at(k, i)->count != 0);
}

uint32_t inv_window_check(struct kernel *k, const struct cpu *c)
{
    FAIL_UNLESS(74, c->domain < DOMAIN_COUNT)
    FAIL_UNLESS(74, followable(k, c->schedule) && followable(k, c->schedule_next))
    if (c->schedule.n == NIL) { /* a window end of 0: it is about to change to domain 0 */
        FAIL_UNLESS(74, c->domain == 0 || c->window_end == 0)
        FAIL_UNLESS(74, c->schedule_next.n == NIL || c->window_end != DEADLINE_NEVER)
        return 0;
    }
    const struct schedule *s = schedule_at(k, c->schedule);
    FAIL_UNLESS(74, c->window < s->count && c->domain == s->window[c->window].domain)
    FAIL_UNLESS(74, c->window_end > c->frame_start && c->window_end <= c->frame_start + s->frame_ns)
    return 0;
}

uint32_t inv_lease_check(struct kernel *k, const struct cpu *c)
{
    const struct sched_context *used =
        c->lease == LEASE_UNBUDGETED ? NULL : sched_context_of(k, c->lease);

    FAIL_UNLESS(76, c->lease == LEASE_UNBUDGETED || (used != NULL && used->user == c->index + 1u))
    return 0;
}

uint32_t inv_refills_check(const struct sched_context *c)
{
    uint64_t sum = 0;

    FAIL_UNLESS(70, c->refill_count <= REFILLS_MAX)
    FAIL_UNLESS(70, (c->refill_count == 0) == (c->budget_ns == 0))
    for (uint32_t n = 0; n < REFILLS_MAX; n++) {
        FAIL_UNLESS(70, c->refill[n].amount <= c->budget_ns) /* else the sum may wrap */
        sum += c->refill[n].amount;
        FAIL_UNLESS(70, (n < c->refill_count) == (c->refill[n].amount != 0))
        FAIL_UNLESS(70,
                    n == 0 || n >= c->refill_count || c->refill[n - 1].time <= c->refill[n].time)
    }
    FAIL_UNLESS(70, sum == c->budget_ns)
    return 0;
}

uint32_t inv_sched_context_check(struct kernel *k, sched_context_ix i)
{
    VIEW(sched_context, c, k, i);
    uint32_t failed = inv_refills_check(c);

    if (failed != 0) {
        return failed;
    }
    FAIL_UNLESS(71, c->thread.n == NIL || (inv_alive(k, OBJECT_THREAD, c->thread.n) &&
                                           thread_get(k, c->thread).context.n == i.n))
    FAIL_UNLESS(76, c->user == 0 || (c->user <= k->cpu_count &&
                                     cpu_at(k, (uint32_t)c->user - 1u)->lease == c->lease))
    return 0;
}
