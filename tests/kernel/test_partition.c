// SPDX-License-Identifier: MIT OR Apache-2.0
/* Partition schedules on the machine: who runs when. Times are the kernel's own, and lateness is no
 * failure here, since a busy host makes the machine late; `./hallows bench kernel` measures it. */
#include "runtime/syscall_partition.h"
#include "tests/kernel/harness.h"

#define MS 1000000ull
#define CONTROL BOOT_SLOT_SCHED_CONTROL
#define WINDOW (10 * MS)
#define WAIT_NS (5000 * MS)
#define LOOKS_MAX 512u
#define TRIES 10u

static cap_slot_t schedule;
static volatile uint64_t count[2];
static volatile time_ns_t looked[2][LOOKS_MAX];

/* Tells when it runs, once each tenth of a window. */
static void look(uint64_t who)
{
    time_ns_t last = 0;

    for (;;) {
        time_ns_t now = now_ns();
        if (now - last >= WINDOW / 10) {
            looked[who][count[who] % LOOKS_MAX] = now;
            count[who] = count[who] + 1;
            last = now;
        }
    }
}

static struct helper helper_in(uint32_t domain, uint32_t cpu, uint32_t priority)
{
    struct helper helper = helper_new(look, domain - 1, priority);

    count[domain - 1] = 0;
    EXPECT_OK(thread_set_cpu(helper.thread, CONTROL, cpu));
    EXPECT_OK(thread_set_domain(helper.thread, CONTROL, domain));
    EXPECT_OK(thread_resume(helper.thread));
    return helper;
}

/* Windows of WINDOW for each of these domains, and the time that the first frame begins. */
static time_ns_t follow(uint32_t cpu, const uint32_t *domains, uint32_t n)
{
    schedule = object_new(OBJECT_PARTITION_SCHEDULE, 0);
    for (uint32_t i = 0; i < n; i++) {
        EXPECT_OK(schedule_append(schedule, CONTROL, domains[i], WINDOW));
    }
    time_ns_t start = now_ns() + MS;
    EXPECT_OK(schedule_start(schedule, CONTROL, cpu, start));
    return start;
}

/* It has come to that many times, before long. */
static bool reaches(uint32_t who, uint64_t n)
{
    time_ns_t end = now_ns() + WAIT_NS;

    while (count[who] < n && now_ns() < end) {
        pause_ns(WINDOW);
    }
    return count[who] >= n;
}

/* The times that it told lie in window `window` of `of`, but for some: the timer of a busy host's
 * machine is late. Without windows as many as any other would not. */
static bool in_window(uint32_t who, time_ns_t start, uint32_t window, uint32_t of)
{
    uint64_t outside = 0;
    uint64_t n = count[who] < LOOKS_MAX ? count[who] : LOOKS_MAX;

    for (uint64_t i = 0; i < n; i++) {
        EXPECT(looked[who][i] >= start);
        outside += (looked[who][i] - start) / WINDOW % of != window;
    }
    EXPECT(n != 0);
    return outside <= n / 5;
}

/* Domains 1 and 2 on that CPU, in windows 0 and 1 of `of`, as the table says. Several times: the
 * host may be busy for long. */
static bool windows_are_kept(uint32_t cpu, const uint32_t *domains, uint32_t of)
{
    bool kept = false;

    for (uint32_t n = 0; n < TRIES && !kept; n++) {
        struct helper first = helper_in(1, cpu, PRIORITY_HIGH);
        struct helper second = helper_in(2, cpu, PRIORITY_LOW); /* within a domain only */
        time_ns_t start = follow(cpu, domains, of);
        EXPECT(reaches(0, 50));
        EXPECT(reaches(1, 50));
        EXPECT_OK(schedule_start(0, CONTROL, cpu, 0));
        pause_ns(2 * of * WINDOW);
        uint64_t stopped = count[0] + count[1];
        pause_ns(of * WINDOW);
        EXPECT_EQ(count[0] + count[1], stopped);
        EXPECT_OK(destroy(first.thread));
        EXPECT_OK(destroy(second.thread));
        EXPECT_OK(destroy(schedule));
        kept = in_window(0, start, 0, of) && in_window(1, start, 1, of);
    }
    return kept;
}

KERNEL_TEST(a_domain_has_no_time_without_a_schedule)
{
    struct helper helper = helper_in(1, 0, PRIORITY_HIGH);
    pause_ns(5 * MS);
    EXPECT_EQ(count[0], 0);
    EXPECT_OK(thread_set_priority(helper.thread, CONTROL, PRIORITY_LOW));
    EXPECT_OK(thread_set_domain(helper.thread, CONTROL, 0));
    EXPECT(reaches(0, 1));
}

KERNEL_TEST(windows_belong_to_their_domains)
{
    const uint32_t domains[] = {1, 2, 0};
    EXPECT(windows_are_kept(0, domains, 3));
}

KERNEL_TEST(a_deleted_schedule_ends_at_once)
{
    const uint32_t domains[] = {1, 0};
    (void)helper_in(1, 0, PRIORITY_HIGH);
    (void)follow(0, domains, 2);
    EXPECT(reaches(0, 5));
    EXPECT_OK(destroy(schedule));
    uint64_t stopped = count[0];
    pause_ns(5 * WINDOW);
    EXPECT_EQ(count[0], stopped);
}

static cap_slot_t endpoint, reply;

static void serve(uint64_t unused)
{
    (void)unused;
    struct message m = {0};
    status_t status = ipc_recv(endpoint, reply, &m);
    while (status == STATUS_OK) {
        m = (struct message){.info = message_info(0, 1), .words = {now_ns()}};
        status = ipc_reply_recv(endpoint, reply, &m);
    }
}

KERNEL_TEST(calls_between_domains_wait_for_windows)
{
    const uint32_t domains[] = {0, 1};
    endpoint = object_new(OBJECT_ENDPOINT, 0);
    reply = object_new(OBJECT_REPLY, 0);
    struct helper helper = helper_new(serve, 0, PRIORITY_HIGH);
    EXPECT_OK(thread_set_domain(helper.thread, CONTROL, 1));
    EXPECT_OK(thread_resume(helper.thread));
    (void)follow(0, domains, 2);
    time_ns_t first = 0, last = 0;
    for (uint32_t n = 0; n < 20; n++) {
        struct message m = {.info = message_info(1, 0)};
        EXPECT_OK(ipc_call(endpoint, &m));
        last = m.words[0];
        first = n == 0 ? last : first;
    }
    EXPECT(last - first >= 18 * 2 * WINDOW); /* at most one is answered in a frame */
}

KERNEL_TEST(each_cpu_follows_its_own_schedule)
{
    if (boot->cpus_used < 2) {
        test_skip("one CPU");
        return;
    }
    const uint32_t domains[] = {1, 2};
    EXPECT(windows_are_kept(1, domains, 2));
}
