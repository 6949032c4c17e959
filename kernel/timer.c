// SPDX-License-Identifier: MIT OR Apache-2.0
#include "kernel/timer.h"

#include "kernel/object/object.h"

static void wheel_link(struct kernel *k, thread_ix i, uint64_t deadline)
{
    struct thread *t = thread_at(k, i);
    struct timer_wheel *w = &cpu_of(k, t)->wheel[t->domain];
    uint32_t bucket = timer_bucket_of(w->base, deadline);

    t->timer_bucket = (uint16_t)bucket;
    t->timer_previous = (thread_ix){NIL};
    t->timer_next = w->bucket[bucket];
    if (t->timer_next.n != NIL) {
        thread_at(k, t->timer_next)->timer_previous = i;
    }
    w->bucket[bucket] = i;
    bit_set(w->used, bucket);
}

static void wheel_unlink(struct kernel *k, thread_ix i)
{
    struct thread *t = thread_at(k, i);
    struct timer_wheel *w = &cpu_of(k, t)->wheel[t->domain];

    if (t->timer_previous.n != NIL) {
        thread_at(k, t->timer_previous)->timer_next = t->timer_next;
    } else {
        w->bucket[t->timer_bucket] = t->timer_next;
        if (t->timer_next.n == NIL) {
            bit_clear(w->used, t->timer_bucket);
        }
    }
    if (t->timer_next.n != NIL) {
        thread_at(k, t->timer_next)->timer_previous = t->timer_previous;
    }
    t->timer_next = (thread_ix){NIL};
    t->timer_previous = (thread_ix){NIL};
}

void timer_insert(struct kernel *k, thread_ix i, uint64_t deadline_ns)
{
    struct thread *t = thread_at(k, i);
    struct timer_wheel *w = &cpu_of(k, t)->wheel[t->domain];

    if (deadline_ns < w->base) {
        deadline_ns = w->base;
    }
    t->deadline = deadline_ns;
    t->flags |= THREAD_TIMED;
    if (deadline_ns < w->next) {
        w->next = deadline_ns;
        timer_due_update(cpu_of(k, t));
    }
    wheel_link(k, i, deadline_ns);
}

void timer_take_out(struct kernel *k, thread_ix i)
{
    wheel_unlink(k, i);
    thread_at(k, i)->flags &= (uint8_t)~THREAD_TIMED;
}

/* First time at which the bucket may hold a deadline: base with that digit, lower digits 0. */
static uint64_t bucket_start(uint64_t base, uint32_t bucket)
{
    uint32_t shift = 6u * (bucket / TIMER_BUCKETS);
    uint64_t digit = (uint64_t)(bucket % TIMER_BUCKETS) << shift;
    uint64_t mask = shift + 6u >= 64u ? 0 : ~(uint64_t)0 << (shift + 6u);

    return (base & mask) | digit;
}

/* The bucket to look at first, or TIMER_LEVELS * TIMER_BUCKETS. One at the digit of base above
 * level 0 was moved down only in part: it comes before lower levels. At most one bucket is like
 * that. */
static uint32_t wheel_first(const struct timer_wheel *w)
{
    for (uint32_t level = 1; level < TIMER_LEVELS; level++) {
        uint32_t digit = (uint32_t)(w->base >> (6u * level)) & (TIMER_BUCKETS - 1u);
        if (((w->used[level] >> digit) & 1u) != 0) {
            return level * TIMER_BUCKETS + digit;
        }
    }
    return bit_first(w->used, TIMER_LEVELS);
}

/* A lower bound of all deadlines; exact if the first bucket holds one thread. */
static uint64_t wheel_bound(struct kernel *k)
{
    struct timer_wheel *w = &cpu_self(k)->wheel[cpu_self(k)->domain];
    uint32_t bucket = wheel_first(w);

    if (bucket == TIMER_LEVELS * TIMER_BUCKETS) {
        return DEADLINE_NEVER;
    }
    const struct thread *t = thread_at(k, w->bucket[bucket]);
    uint64_t start = bucket_start(w->base, bucket);
    return t->timer_next.n == NIL && start > w->base ? t->deadline : start;
}

void timer_run(struct kernel *k, uint64_t now_ns)
{
    struct timer_wheel *w = &cpu_self(k)->wheel[cpu_self(k)->domain];

    for (uint32_t step = 0; step < TIMER_STEPS; step++) {
        uint32_t bucket = wheel_first(w);
        if (bucket == TIMER_LEVELS * TIMER_BUCKETS || bucket_start(w->base, bucket) > now_ns) {
            break;
        }
        thread_ix i = w->bucket[bucket];
        uint64_t deadline = thread_at(k, i)->deadline;
        uint64_t start = bucket_start(w->base, bucket);
        if (start > w->base) {
            w->base = start;
        }
        if (bucket < TIMER_BUCKETS) {
            thread_wake(k, i, STATUS_TIMED_OUT);
        } else {
            wheel_unlink(k, i);
            wheel_link(k, i, deadline);
        }
    }
    w->next = wheel_bound(k);
    timer_due_update(cpu_self(k));
}
