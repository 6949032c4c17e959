// SPDX-License-Identifier: MIT OR Apache-2.0
#include "runtime/event_loop.h"

#include "runtime/cell.h"
#include "runtime/syscall.h"

/* How often a loop that never sleeps looks at its notification. */
#define LOOK_INTERVAL_NS 1000000u

void event_loop_init(struct event_loop *loop, const struct time_calibration *time,
                     cap_slot_t notification, uint32_t spin_rounds)
{
    *loop = (struct event_loop){
        .time = time,
        .notification = notification,
        .spin_rounds = spin_rounds,
    };
}

status_t event_loop_add(struct event_loop *loop, const struct event_source *source)
{
    if (loop->source_count == EVENT_SOURCES_MAX) {
        return STATUS_FULL;
    }
    loop->sources[loop->source_count++] = *source;
    return STATUS_OK;
}

static void disarm_first(struct event_loop *loop, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (loop->sources[i].disarm != NULL) {
            loop->sources[i].disarm(loop->sources[i].context);
        }
    }
}

/* Arms all sources; false, all disarmed, when one of them has work. */
static bool arm_all(struct event_loop *loop)
{
    for (uint32_t i = 0; i < loop->source_count; i++) {
        if (loop->sources[i].arm != NULL && !loop->sources[i].arm(loop->sources[i].context)) {
            disarm_first(loop, i);
            return false;
        }
    }
    return true;
}

static time_ns_t next_deadline(struct event_loop *loop)
{
    time_ns_t next = DEADLINE_NEVER;

    for (uint32_t i = 0; i < loop->source_count; i++) {
        if (loop->sources[i].deadline != NULL) {
            time_ns_t due = loop->sources[i].deadline(loop->sources[i].context);
            next = due < next ? due : next;
        }
    }
    return next;
}

static void take_word(struct event_loop *loop, time_ns_t deadline_ns)
{
    uint64_t word;

    (void)notification_wait(loop->notification, deadline_ns, &word);
    loop->events |= word;
}

static void sleep(struct event_loop *loop)
{
    if (!arm_all(loop)) {
        return;
    }
    uint64_t before = clock_ticks();
    take_word(loop, next_deadline(loop));
    loop->counters.sleep_ticks += clock_ticks() - before;
    loop->counters.sleeps++;
    disarm_first(loop, loop->source_count);
}

void event_loop_round(struct event_loop *loop)
{
    uint64_t before = clock_ticks();
    time_ns_t now = clock_ns_at(loop->time, before);
    bool worked = false;

    for (uint32_t i = 0; i < loop->source_count; i++) {
        worked = loop->sources[i].poll(loop->sources[i].context, now) || worked;
    }
    uint64_t ticks = clock_ticks() - before;
    if (worked) {
        loop->counters.rounds++;
        loop->counters.busy_ticks += ticks;
        loop->empty_in_a_row = 0;
        if (now >= loop->look_ns) {
            loop->look_ns = now + LOOK_INTERVAL_NS;
            take_word(loop, DEADLINE_NOW);
        }
        return;
    }
    loop->counters.empty_rounds++;
    loop->counters.spin_ticks += ticks;
    if (loop->empty_in_a_row < loop->spin_rounds) {
        loop->empty_in_a_row++;
        __builtin_ia32_pause();
        return;
    }
    sleep(loop);
}
