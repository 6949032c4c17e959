// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The longest way through the kernel with interrupts off: calls with arguments chosen to make one
 * entry as long as it can be, each step of those that are repeated timed for itself. The figure of
 * a row is its longest entry, the last row is the longest of all.
 */
#include "tests/kernel/bench.h"

#define COPIES 60000u
#define LEVELS 10u
#define RW (RIGHT_READ | RIGHT_WRITE)

static uint64_t longest_of_all;

/* Repeats `call` while it answers AGAIN. */
#define LONGEST(name, call)                                                                        \
    do {                                                                                           \
        uint64_t most = 0;                                                                         \
        status_t status;                                                                           \
        do {                                                                                       \
            uint64_t from = clock_ticks();                                                         \
            status = (call);                                                                       \
            uint64_t ticks = clock_ticks() - from;                                                 \
            most = ticks > most ? ticks : most;                                                    \
        } while (status == STATUS_AGAIN);                                                          \
        if (status != STATUS_OK)                                                                   \
            print("FAIL %s: %s\n", name, status_name(status));                                     \
        most = without(most, bench_nothing());                                                     \
        longest_of_all = most > longest_of_all ? most : longest_of_all;                            \
        report(name, most);                                                                        \
    } while (0)

static void longest_capabilities(void)
{
    cap_slot_t table = object_new(OBJECT_TABLE, CAP_TABLE_SLOTS_MAX);
    cap_slot_t object = object_new(OBJECT_NOTIFICATION, 0);
    for (uint32_t i = 1; i <= COPIES; i++)
        if (cap_copy(cap_ref(table, i), object, RIGHTS_ALL) != STATUS_OK)
            return;
    LONGEST("longest-revoke-many", cap_revoke(object));
    /* Originals of objects, the last first, and then the table itself. */
    struct retype_request request = {OBJECT_ENDPOINT, 0, cap_ref(table, 1), RETYPE_COUNT_MAX};
    for (uint32_t i = 0; i < 4; i++, request.first += RETYPE_COUNT_MAX)
        (void)retype(test_untyped, request);
    LONGEST("longest-delete-table", cap_delete(table));
}

/* Tables in tables, each full: every step searches down to the innermost. */
static void longest_nested(void)
{
    cap_slot_t outer = object_new(OBJECT_TABLE, 64), name = outer;
    cap_slot_t object = object_new(OBJECT_NOTIFICATION, 0);
    for (uint32_t level = 0; level < LEVELS; level++) {
        for (uint32_t n = 1; n < 63; n++)
            (void)cap_copy(cap_ref(name, n), object, RIGHTS_ALL);
        cap_slot_t next = slot_new();
        struct retype_request request = {OBJECT_TABLE, 64, cap_ref(name, 63), 1};
        if (retype(test_untyped, request) != STATUS_OK ||
            cap_copy(next, cap_ref(name, 63), RIGHTS_ALL) != STATUS_OK)
            break;
        name = next;
    }
    LONGEST("longest-delete-nested", cap_delete(outer));
}

static cap_slot_t endpoint;
static uint64_t wake_at;

static void receiver(uint64_t reply)
{
    struct message m = {0};
    (void)ipc_recv(endpoint, (cap_slot_t)reply, &m);
}

static void sleeper(uint64_t notification_slot)
{
    uint64_t word;
    (void)notification_wait((cap_slot_t)notification_slot, wake_at, &word);
}

static void longest_waiters(void)
{
    endpoint = object_new(OBJECT_ENDPOINT, 0);
    for (uint32_t i = 0; i < 5; i++)
        (void)helper_start(receiver, object_new(OBJECT_REPLY, 0), PRIORITY_LOW);
    let_others_run();
    LONGEST("longest-delete-endpoint", cap_delete(endpoint));
    wake_at = now_ns() + 3000000;
    for (uint32_t i = 0; i < 5; i++)
        (void)helper_start(sleeper, object_new(OBJECT_NOTIFICATION, 0), PRIORITY_LOW);
    let_others_run();
    uint64_t most = 0, last = clock_ticks();
    while (now_ns() < wake_at + 1000000) { /* they wake, and run, between two turns of this */
        uint64_t now = clock_ticks();
        most = now - last > most ? now - last : most;
        last = now;
    }
    report("timer-burst", most); /* several entries: interrupts are on between them */
}

static void longest_memory(void)
{
    cap_slot_t segment = object_new(OBJECT_SEGMENT, 0);
    for (uint32_t page = 0; page + POPULATE_PAGES_MAX < SEGMENT_PAGES; page += POPULATE_PAGES_MAX)
        if (page == 0)
            LONGEST("longest-populate",
                    segment_populate(segment, page, POPULATE_PAGES_MAX, test_untyped, RW));
        else
            while (segment_populate(segment, page, POPULATE_PAGES_MAX, test_untyped, RW) ==
                   STATUS_AGAIN)
                ;
    uint64_t address = test_address();
    (void)attach(segment, BOOT_SLOT_ASPACE, address, RW);
    LONGEST("longest-protect", segment_protect(segment, 0, POPULATE_PAGES_MAX, RIGHT_READ));
    LONGEST("longest-delete-segment", cap_delete(segment));
    cap_slot_t slots = next_slots(RETYPE_COUNT_MAX);
    struct retype_request request = {OBJECT_THREAD, 0, slots, RETYPE_COUNT_MAX};
    LONGEST("longest-retype", untyped_retype(test_untyped, request));
    cap_slot_t memory = object_new(OBJECT_UNTYPED, 0x400000);
    request = (struct retype_request){OBJECT_UNTYPED, 0x100000, next_slots(4), 4};
    (void)retype(memory, request);
    (void)revoke(memory);
    LONGEST("longest-reset", untyped_reset(memory));
}

void benchmarks_longest(void)
{
    longest_capabilities();
    longest_nested();
    longest_waiters();
    longest_memory();
    report("interrupts-off", longest_of_all);
}
