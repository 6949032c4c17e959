// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * A cell's one loop: poll every source while there is work and for a while after it; then arm the
 * sources' wake-ups, sleep on the cell's notification until the next deadline, disarm, go on.
 *
 * How long it polls adapts: when work came within window_max_ns of the last, the whole window,
 * because polling meets the next one without an interrupt; each pause that was longer halves it,
 * down to sleeping at once, so that a lone timer or rare requests cost no polling.
 *
 * No wake-up is lost: a source's `arm` turns its interrupt or doorbell on, looks once more and says
 * so when work is there already. The notification word keeps signals that come before the wait.
 *
 * Accounting: the clock is read once a round, at its end, which is where the next one begins. TSC
 * ticks of rounds that did work count as busy, of those that found nothing as spinning, of the wait
 * as asleep. The way to the next round counts as that round's. Arming is in none of them.
 * "Busy instructions per request" is busy_ticks over requests.
 *
 * Thread rule: one thread, never re-entered.
 */
#ifndef RUNTIME_EVENT_LOOP_H
#define RUNTIME_EVENT_LOOP_H

#include <hallows/cell.h>
#include <hallows/status.h>

#define EVENT_SOURCES_MAX 8u

/* What the loop drives. Only `poll` has to be there. */
struct event_source {
    /* Does a bounded amount of the work that is there; true if it did any. now_ns is the time at
     * the end of the round before, or of the sleep. */
    bool (*poll)(void *context, time_ns_t now_ns);
    /* Turns wake-ups on; false, wake-ups off, if work is there already. */
    bool (*arm)(void *context);
    /* Turns wake-ups off; called after each arm that returned true. */
    void (*disarm)(void *context);
    /* When `poll` is due next even without a wake-up; DEADLINE_NEVER if it is not. */
    time_ns_t (*deadline)(void *context);
    void *context;
};

struct event_counters {
    uint64_t rounds;       /* that did work */
    uint64_t empty_rounds; /* that found none */
    uint64_t sleeps;
    uint64_t busy_ticks;
    uint64_t spin_ticks;
    uint64_t sleep_ticks;
};

struct event_loop {
    const struct time_calibration *time;
    cap_slot_t notification;
    uint32_t source_count;
    uint32_t window_max_ns; /* [const] */
    uint32_t window_ns;     /* it polls so long after the last work */
    bool idle;              /* the last round found nothing */
    time_ns_t now_ns;       /* what the sources were told in this round */
    time_ns_t worked_ns;    /* when work was last found */
    uint64_t mark;          /* ticks at the end of the last round or sleep */
    uint64_t events;        /* notification bits since event_loop_take_events */
    time_ns_t look_ns;      /* when a busy loop looks at the notification again */
    struct event_counters counters;
    struct event_source sources[EVENT_SOURCES_MAX];
};

/* Longest polling of a cell that drives its devices itself. A cell whose work comes from other
 * cells on its CPU takes 0: while it polls, they do not run. */
#define EVENT_LOOP_WINDOW_NS 100000u
#define EVENT_LOOP_WINDOW_MAX_NS 100000000u

/* No sources yet. `time` stays the caller's. window_max_ns: see above; 0 to sleep at once. */
void event_loop_init(struct event_loop *loop, const struct time_calibration *time,
                     cap_slot_t notification, uint32_t window_max_ns);
/* Copies *source. FULL: EVENT_SOURCES_MAX are there. */
status_t event_loop_add(struct event_loop *loop,
                        const struct event_source *source) HALLOWS_MUST_CHECK;
/* Polls every source once and, when there was nothing to do for long enough, sleeps. */
void event_loop_round(struct event_loop *loop);

/* The notification bits that arrived since the last call. A loop that never sleeps sees them
 * within a millisecond. */
static inline uint64_t event_loop_take_events(struct event_loop *loop)
{
    uint64_t events = loop->events;
    loop->events = 0;
    return events;
}

#endif
