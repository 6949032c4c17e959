// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * A cell's one loop: poll every source while there is work; when there is none, arm the sources'
 * wake-ups, sleep on the cell's notification until the next deadline, disarm, go on.
 *
 * No wake-up is lost: a source's `arm` turns its interrupt or doorbell on, looks once more and says
 * so when work is there already. The notification word keeps signals that come before the wait.
 *
 * Accounting: TSC ticks of rounds that did work count as busy, of rounds that found nothing as
 * spinning, of the wait as asleep. "Busy instructions per request" is busy_ticks over requests.
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
    /* Does a bounded amount of the work that is there; true if it did any. */
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
    uint32_t spin_rounds; /* empty rounds before it sleeps */
    uint32_t empty_in_a_row;
    uint64_t events;   /* notification bits since event_loop_take_events */
    time_ns_t look_ns; /* when a busy loop looks at the notification again */
    struct event_counters counters;
    struct event_source sources[EVENT_SOURCES_MAX];
};

/* No sources yet. `time` stays the caller's. spin_rounds: empty rounds to go on polling before it
 * sleeps, 0 to sleep at once. */
void event_loop_init(struct event_loop *loop, const struct time_calibration *time,
                     cap_slot_t notification, uint32_t spin_rounds);
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
