// SPDX-License-Identifier: MIT OR Apache-2.0
/* Threads on other CPUs: woken, stopped, moved, and told of pages that are gone. */
#include "tests/kernel/harness.h"

#define ROUNDS 200u
#define WAIT_NS 5000000000u

static volatile uint64_t counter;

static bool other_cpu(void)
{
    if (boot->cpus_used < 2) {
        test_skip("one CPU");
    }
    return boot->cpus_used >= 2;
}

static void count_up(uint64_t unused)
{
    (void)unused;
    for (;;) {
        counter = counter + 1;
    }
}

/* It goes up although this thread never stops looking. */
static bool counts(void)
{
    uint64_t first = counter;
    time_ns_t end = now_ns() + WAIT_NS;

    while (counter == first && now_ns() < end) {
        __builtin_ia32_pause();
    }
    return counter != first;
}

static struct helper start_on(uint32_t cpu, void (*entry)(uint64_t), uint64_t argument)
{
    struct helper helper = helper_new(entry, argument, PRIORITY_LOW);

    EXPECT_OK(thread_set_cpu(helper.thread, BOOT_SLOT_SCHED_CONTROL, cpu));
    EXPECT_OK(thread_resume(helper.thread));
    return helper;
}

KERNEL_TEST(a_thread_runs_on_another_cpu_and_is_stopped_there)
{
    if (!other_cpu()) {
        return;
    }
    struct helper helper = start_on(1, count_up, 0);
    EXPECT_EQ(thread_set_cpu(helper.thread, BOOT_SLOT_SCHED_CONTROL, boot->cpus_used),
              STATUS_INVALID_ARGUMENT);
    for (uint32_t n = 0; n < ROUNDS; n++) {
        EXPECT(counts());
        EXPECT_OK(thread_suspend(helper.thread));
        uint64_t stopped = counter;
        uint64_t words[8];
        EXPECT_OK(thread_read_registers(helper.thread, REGISTERS_CONTROL, words));
        EXPECT_EQ(counter, stopped);
        EXPECT_OK(thread_resume(helper.thread));
    }
    EXPECT(counts());
    EXPECT_OK(destroy(helper.thread));
    uint64_t stopped = counter;
    pause_ns(1000000);
    EXPECT_EQ(counter, stopped);
}

KERNEL_TEST(a_running_thread_moves_between_cpus)
{
    if (!other_cpu()) {
        return;
    }
    struct helper helper = start_on(1, count_up, 0);
    for (uint32_t n = 0; n < ROUNDS; n++) {
        EXPECT(counts());
        EXPECT_OK(thread_set_cpu(helper.thread, BOOT_SLOT_SCHED_CONTROL, 0));
        EXPECT_OK(thread_set_cpu(helper.thread, BOOT_SLOT_SCHED_CONTROL, 1));
    }
    EXPECT(counts());
}

static cap_slot_t ping, pong;

static void answer(uint64_t unused)
{
    uint64_t word;

    (void)unused;
    while (notification_wait(ping, DEADLINE_NEVER, &word) == STATUS_OK) {
        counter = counter + 1;
        (void)notification_signal(pong);
    }
}

KERNEL_TEST(no_wake_up_across_cpus_is_lost)
{
    if (!other_cpu()) {
        return;
    }
    ping = minted(object_new(OBJECT_NOTIFICATION, 0), RIGHTS_ALL, 1);
    pong = minted(object_new(OBJECT_NOTIFICATION, 0), RIGHTS_ALL, 1);
    (void)start_on(1, answer, 0);
    uint64_t first = counter;
    for (uint32_t n = 0; n < ROUNDS * 10; n++) {
        uint64_t word = 0;
        EXPECT_OK(notification_signal(ping));
        EXPECT_OK(notification_wait(pong, now_ns() + WAIT_NS, &word));
        EXPECT_EQ(word, 1);
    }
    EXPECT_EQ(counter - first, ROUNDS * 10);
}

static void write_on(uint64_t address)
{
    for (;;) {
        *(volatile uint64_t *)address = ++counter;
    }
}

/* A page that one CPU takes away faults on the other from that call on. */
KERNEL_TEST(a_page_taken_away_is_gone_on_every_cpu)
{
    if (!other_cpu()) {
        return;
    }
    uint64_t address = test_address();
    cap_slot_t segment = segment_new(1, RIGHT_READ | RIGHT_WRITE);
    EXPECT_OK(attach(segment, BOOT_SLOT_ASPACE, address, RIGHT_READ | RIGHT_WRITE));
    cap_slot_t faults = minted(object_new(OBJECT_ENDPOINT, 0), RIGHTS_ALL, 1);
    struct helper helper = helper_new(write_on, address, PRIORITY_LOW);
    EXPECT_OK(thread_configure(helper.thread, BOOT_SLOT_TABLE, BOOT_SLOT_ASPACE, faults));
    EXPECT_OK(thread_set_cpu(helper.thread, BOOT_SLOT_SCHED_CONTROL, 1));
    EXPECT_OK(thread_resume(helper.thread));
    for (uint32_t n = 0; n < ROUNDS; n++) {
        EXPECT(counts());
        EXPECT_OK(segment_detach(segment, BOOT_SLOT_ASPACE, address));
        uint64_t stopped = counter;
        pause_ns(10000);
        EXPECT(counter <= stopped + 1); /* what it had counted and not written yet */
        EXPECT_OK(thread_suspend(helper.thread));
        EXPECT_OK(attach(segment, BOOT_SLOT_ASPACE, address, RIGHT_READ | RIGHT_WRITE));
        EXPECT_OK(thread_resume(helper.thread));
    }
    EXPECT_OK(destroy(helper.thread));
    EXPECT_OK(segment_detach(segment, BOOT_SLOT_ASPACE, address));
}
