// SPDX-License-Identifier: MIT OR Apache-2.0
#include "tests/kernel/held.h"

#include "runtime/syscall_partition.h"

#define MS 1000000ull
#define CONTROL BOOT_SLOT_SCHED_CONTROL
#define WINDOW                                                                                     \
    (20 * MS) /* domain 0, in which this thread runs, and domain 1, where nobody does              \
               */
#define LOOK (MS)
#define PATIENCE (5000 * MS)
/* A try shows nothing if the host is so busy that the interrupt comes in a later window. */
#define TRIES 20u

void held_bind(struct held_source *source)
{
    uint64_t values[2];

    source->notification = object_new(OBJECT_NOTIFICATION, 0);
    EXPECT_OK(irq_affinity(source->irq, CONTROL, 0, 1, values));
    EXPECT_OK(irq_bind(source->irq, minted(source->notification, RIGHT_SEND, 1)));
}

static uint64_t trace_start(void)
{
    uint64_t words[MESSAGE_WORDS_MAX];
    status_t status = trace_read(BOOT_SLOT_TRACE, 0, 0, words);

    EXPECT_OK(trace_control(BOOT_SLOT_TRACE, true));
    return status == STATUS_OK ? words[1] : 0;
}

/* Lets that time pass in this window, without a call, and then counts the interrupts that came. */
static uint32_t trace_look(uint64_t from)
{
    uint64_t words[MESSAGE_WORDS_MAX];
    uint32_t count = 0;

    for (time_ns_t end = now_ns() + LOOK; now_ns() < end;)
        __asm__ volatile("pause");
    EXPECT_OK(trace_control(BOOT_SLOT_TRACE, false));
    for (uint64_t n = from; trace_read(BOOT_SLOT_TRACE, 0, n, words) == STATUS_OK; n = words[0] + 1)
        count += (uint32_t)words[3] == TRACE_IRQ;
    EXPECT_OK(trace_control(BOOT_SLOT_TRACE, true));
    return count;
}

static uint64_t window_of(time_ns_t start)
{
    return (now_ns() - start) / WINDOW;
}

static void acknowledge(const struct held_source *s)
{
    if (s->quiet != NULL) {
        s->quiet(s->device);
        EXPECT_OK(irq_ack(s->irq));
    }
}

/* One interrupt, and in the same window another. True: both came, or could have, in a window of
 * domain 0. */
static bool held_try(const struct held_source *s, time_ns_t start)
{
    uint64_t word = 0;

    do
        pause_ns(WINDOW / 10);
    while ((now_ns() - start) % (2 * WINDOW) > WINDOW / 4);
    uint64_t window = window_of(start), from = trace_start();
    uint32_t count = 0;
    s->fire(s->device);
    for (uint32_t n = 0; n < WINDOW / LOOK / 4 && count == 0; n++)
        count = trace_look(from);
    status_t status = notification_wait(s->notification, DEADLINE_NOW, &word);
    bool shown = count > 0 && window_of(start) == window;
    if (shown)
        EXPECT_EQ(status, STATUS_TIMED_OUT);
    s->fire(s->device);
    count = trace_look(from);
    shown = shown && window_of(start) == window;
    if (shown && s->masked)
        EXPECT_EQ(count, 1);
    EXPECT_OK(trace_control(BOOT_SLOT_TRACE, false));
    if (status != STATUS_OK)
        EXPECT_OK(notification_wait(s->notification, now_ns() + PATIENCE, &word));
    EXPECT_EQ(word, 1);
    EXPECT(!shown || window_of(start) > window);
    acknowledge(s);
    return shown;
}

void held_expect(const struct held_source *source)
{
    cap_slot_t schedule = object_new(OBJECT_PARTITION_SCHEDULE, 0);
    uint64_t word;
    bool shown = false;

    EXPECT_OK(schedule_append(schedule, CONTROL, 0, WINDOW));
    EXPECT_OK(schedule_append(schedule, CONTROL, 1, WINDOW));
    time_ns_t start = now_ns() + MS;
    EXPECT_OK(schedule_start(schedule, CONTROL, 0, start));
    pause_ns(2 * MS);
    for (uint32_t n = 0; n < TRIES && !shown; n++) {
        shown = held_try(source, start);
        (void)notification_wait(source->notification, now_ns() + 4 * WINDOW, &word); /* late ones */
        acknowledge(source);
    }
    EXPECT(shown);
    EXPECT_OK(destroy(schedule));
    EXPECT_OK(irq_bind(source->irq, 0));
}
