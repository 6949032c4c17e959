// SPDX-License-Identifier: MIT OR Apache-2.0
#include "runtime/event_loop.h"

#include "runtime/cell.h"
#include "runtime/syscall.h"

/* How often a loop that never sleeps looks at its notification. */
#define LOOK_INTERVAL_NS 1000000u
/* A window below this is none. */
#define WINDOW_MIN_NS 5000u

void event_loop_init(struct event_loop *loop, const struct time_calibration *time,
                     cap_slot_t notification, uint32_t window_max_ns)
{
    *loop = (struct event_loop){
        .time = time,
        .notification = notification,
        .window_max_ns = window_max_ns,
        .window_ns = window_max_ns,
        .mark = clock_ticks(),
    };
}

status_t event_loop_add(struct event_loop *loop, const struct event_source *source)
{
    if (loop->source_count == EVENT_SOURCES_MAX) {
        return STATUS_FULL;
    }
    loop->sources[loop->source_count++] = *source;
    loop->mark = clock_ticks();
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
    time_ns_t deadline = next_deadline(loop);
    uint64_t before = clock_ticks();
    take_word(loop, deadline);
    loop->mark = clock_ticks();
    loop->counters.sleep_ticks += loop->mark - before;
    loop->counters.sleeps++;
    disarm_first(loop, loop->source_count);
}

/* Work has come after `idle_ns` without: would polling have met it? */
static void adapt(struct event_loop *loop, time_ns_t idle_ns)
{
    if (idle_ns <= loop->window_max_ns) {
        loop->window_ns = loop->window_max_ns;
    } else {
        loop->window_ns = loop->window_ns / 2u >= WINDOW_MIN_NS ? loop->window_ns / 2u : 0;
    }
}

static void end_of_work(struct event_loop *loop, time_ns_t now, uint64_t ticks)
{
    loop->counters.rounds++;
    loop->counters.busy_ticks += ticks;
    if (loop->idle) {
        loop->idle = false;
        adapt(loop, now - loop->worked_ns);
    }
    loop->worked_ns = now;
    if (now >= loop->look_ns) {
        loop->look_ns = now + LOOK_INTERVAL_NS;
        take_word(loop, DEADLINE_NOW);
    }
}

void event_loop_round(struct event_loop *loop)
{
    uint64_t before = loop->mark;
    time_ns_t now = clock_ns_at(loop->time, before);
    const struct event_source *end = loop->sources + loop->source_count;
    uint32_t worked = 0;

    loop->now_ns = now;
    for (const struct event_source *source = loop->sources; source != end; source++) {
        worked |= source->poll(source->context, now);
    }
    uint64_t after = clock_ticks();
    loop->mark = after;
    if (worked != 0) {
        end_of_work(loop, now, after - before);
        return;
    }
    loop->idle = true;
    loop->counters.empty_rounds++;
    loop->counters.spin_ticks += after - before;
    if (now - loop->worked_ns < loop->window_ns) {
        __builtin_ia32_pause();
        return;
    }
    sleep(loop);
}
