// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Threads on every CPU make random calls on the same few objects: messages, signals, capabilities
 * copied, deleted and revoked under others' feet, windows attached and detached, threads suspended,
 * resumed, moved and destroyed. Any status will do; what must hold is that calls end, that the
 * threads still run afterwards, and that everything can be taken down. A checked kernel asks its
 * invariants meanwhile.
 */
#include "tests/kernel/harness.h"

#define WORKERS_MAX 16u
#define SCRATCH 24u
#define ENDPOINTS 2u
#define NOTIFICATIONS 3u
#define SEGMENTS 3u
#define WINDOWS 4u
#define CALLS_EACH 1500u
#define RUN_NS 4000000000u /* at most; a busy host needs longer for the calls */
#define WAIT_NS 60000000000u
#define DEADLINE_WORD 7u
#define POOL_BYTES 0x40000u

struct worker {
    struct helper helper;
    cap_slot_t reply;
    uint64_t random;
    volatile uint64_t calls;
};

static struct worker workers[WORKERS_MAX];
static uint32_t worker_count;
static cap_slot_t endpoints, notifications, segments, scratch, pool;
static uint64_t windows;
static volatile bool stop;
static volatile uint64_t finished;

/* Marsaglia, "Xorshift RNGs", 2003 */
static uint32_t next_random(struct worker *w, uint32_t bound)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (uint32_t)(w->random >> 33) % bound;
}

static time_ns_t soon(struct worker *w)
{
    return now_ns() + next_random(w, 100000);
}

static struct message random_message(struct worker *w)
{
    struct message m = {.info = message_info(next_random(w, 100), next_random(w, 7))};
    if (next_random(w, 4) == 0) {
        m.info |= MESSAGE_CAP;
        m.send_slot = scratch + next_random(w, SCRATCH);
    }
    m.info |= MESSAGE_DEADLINE;
    m.words[DEADLINE_WORD] = soon(w);
    return m;
}

static void messages(struct worker *w)
{
    cap_slot_t endpoint = endpoints + next_random(w, ENDPOINTS);
    struct message m = random_message(w);
    switch (next_random(w, 3)) {
    case 0:
        (void)ipc_call(endpoint, &m);
        break;
    case 1:
        (void)ipc_send(endpoint, &m);
        break;
    default:
        m.info = MESSAGE_DEADLINE | MESSAGE_ACCEPT;
        m.accept_slot = scratch + next_random(w, SCRATCH);
        while (ipc_recv(endpoint, w->reply, &m) == STATUS_OK && next_random(w, 4) != 0) {
            m.info = message_info(1, next_random(w, 8));
            (void)ipc_reply(w->reply, &m);
            m.info = MESSAGE_DEADLINE;
            m.words[DEADLINE_WORD] = soon(w);
        }
    }
}

static void capabilities(struct worker *w)
{
    cap_slot_t to = scratch + next_random(w, SCRATCH), from = scratch + next_random(w, SCRATCH);
    cap_slot_t original = next_random(w, 2) ? notifications + next_random(w, NOTIFICATIONS)
                                            : endpoints + next_random(w, ENDPOINTS);
    switch (next_random(w, 8)) {
    case 0:
        (void)cap_copy(to, original, RIGHTS_ALL);
        break;
    case 1:
        (void)cap_mint(to, from, next_random(w, 256), next_random(w, 9));
        break;
    case 2:
        (void)cap_move(to, from);
        break;
    case 3:
        (void)cap_revoke(next_random(w, 4) ? from : original);
        break;
    case 4: { /* threads among them, which are made and die unused */
        const uint32_t types[] = {OBJECT_ENDPOINT, OBJECT_NOTIFICATION, OBJECT_REPLY,
                                  OBJECT_THREAD,   OBJECT_SEGMENT,      OBJECT_SCHED_CONTEXT};
        (void)untyped_retype(pool, (struct retype_request){types[next_random(w, 6)], 0, to, 1});
        break;
    }
    case 5:
        (void)cap_revoke(pool);
        (void)untyped_reset(pool);
        break;
    default:
        (void)cap_delete(from);
    }
}

static void memory(struct worker *w)
{
    cap_slot_t segment = segments + next_random(w, SEGMENTS);
    uint64_t at = windows + next_random(w, WINDOWS) * (uint64_t)SEGMENT_BYTES;
    uint32_t page = next_random(w, 8), rights = RIGHT_READ | (next_random(w, 2) ? RIGHT_WRITE : 0u);
    switch (next_random(w, 5)) {
    case 0:
        (void)segment_attach(segment, BOOT_SLOT_ASPACE, at, rights);
        break;
    case 1:
        (void)segment_detach(segment, BOOT_SLOT_ASPACE, at);
        break;
    case 2:
        (void)segment_populate(segment, page, 1, test_untyped, rights);
        break;
    case 3:
        (void)segment_depopulate(segment, page, 1);
        break;
    default:
        (void)segment_protect(segment, page, 1, rights);
    }
}

static void threads(struct worker *w)
{
    struct worker *other = &workers[next_random(w, worker_count)];
    uint64_t words[8];
    if (other == w)
        return;
    switch (next_random(w, 6)) {
    case 0:
        (void)thread_suspend(other->helper.thread);
        break;
    case 1:
        (void)thread_read_registers(other->helper.thread, next_random(w, 3), words);
        break;
    case 2:
        (void)thread_set_cpu(other->helper.thread, BOOT_SLOT_SCHED_CONTROL,
                             next_random(w, boot->cpus_used));
        break;
    case 3:
        (void)thread_set_priority(other->helper.thread, BOOT_SLOT_SCHED_CONTROL,
                                  PRIORITY_LOW - 2 + next_random(w, 4));
        break;
    default:
        (void)thread_resume(other->helper.thread);
    }
}

static void work(uint64_t number)
{
    struct worker *w = &workers[number];
    uint64_t word;
    do {
        w->calls = w->calls + 1;
        switch (next_random(w, 8)) {
        case 0:
        case 1:
            messages(w);
            break;
        case 2:
        case 3:
            capabilities(w);
            break;
        case 4:
            memory(w);
            break;
        case 5:
            threads(w);
            break;
        case 6:
            (void)notification_signal(scratch + next_random(w, SCRATCH));
            yield();
            break;
        default:
            (void)notification_wait(notifications + next_random(w, NOTIFICATIONS), soon(w), &word);
        }
    } while (!stop && w->calls < CALLS_EACH);
    __atomic_fetch_add(&finished, 1, __ATOMIC_SEQ_CST);
}

static cap_slot_t objects_new(uint32_t type, uint32_t count)
{
    cap_slot_t first = next_slots(count);
    EXPECT_OK(retype(test_untyped, (struct retype_request){type, 0, first, count}));
    return first;
}

static void set_up(void)
{
    endpoints = objects_new(OBJECT_ENDPOINT, ENDPOINTS);
    notifications = objects_new(OBJECT_NOTIFICATION, NOTIFICATIONS);
    segments = objects_new(OBJECT_SEGMENT, SEGMENTS);
    scratch = next_slots(SCRATCH);
    pool = object_new(OBJECT_UNTYPED, POOL_BYTES);
    windows = test_address();
    EXPECT_OK(attach(segments, BOOT_SLOT_ASPACE, windows, RIGHT_READ)); /* with its tables */
    for (uint32_t n = 1; n < WINDOWS; n++)
        (void)test_address();
    stop = false;
    finished = 0;
    worker_count = boot->cpus_used * 3 < WORKERS_MAX ? boot->cpus_used * 3 : WORKERS_MAX;
    for (uint32_t i = 0; i < worker_count; i++) {
        workers[i] = (struct worker){.random = clock_ticks() * 2654435761u + i + 1};
        workers[i].reply = object_new(OBJECT_REPLY, 0);
        workers[i].helper = helper_new(work, i, PRIORITY_LOW);
        EXPECT_OK(
            thread_set_cpu(workers[i].helper.thread, BOOT_SLOT_SCHED_CONTROL, i % boot->cpus_used));
    }
}

KERNEL_TEST(random_calls_on_all_cpus_break_nothing)
{
    set_up();
    time_ns_t start = now_ns();
    for (uint32_t n = 0; finished < worker_count && now_ns() - start < RUN_NS + WAIT_NS; n++) {
        struct worker *w = &workers[n % worker_count];
        stop = now_ns() - start > RUN_NS;
        (void)thread_resume(w->helper.thread); /* others stop each other */
        if (n % 64 == 63 && !stop)
            (void)thread_suspend(w->helper.thread);
        pause_ns(300000); /* long enough for those on this CPU to run */
    }
    EXPECT_EQ(finished, worker_count);
    for (uint32_t i = 0; i < worker_count; i++) {
        EXPECT(workers[i].calls > 0);
        EXPECT_OK(destroy(workers[i].helper.thread));
    }
}
