// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Every execution of two honest sides over the real header, under sequential consistency and
 * x86-TSO (lib/ring/model_fake.h): each operation arrives once, whole and in order, both ways; no
 * wake-up is lost; and both sides end within a bounded number of steps however they are scheduled.
 * Faults planted into the header's operations, one a test, show that the search would notice.
 */
#define RING_MODEL
#include "lib/ring/ring.h"

#include "lib/ring/model_fake.h"
#include "tests/check.h"

/* Two entries, so that four operations go round the ring. */
#define ENTRIES 2u
#define OPERATIONS 4u

enum { CLIENT, SERVER };

/* The header's operations, so that a test can put a broken one in place of one. */
static struct operations {
    void (*push)(struct ring_producer *producer, const struct ring_entry *entry);
    bool (*publish)(struct ring_producer *producer);
    void (*take)(struct ring_consumer *consumer, struct ring_entry *entry);
    bool (*arm)(struct ring_consumer *consumer);
    bool (*arm_room)(struct ring_producer *producer);
    bool (*release_wake)(struct ring_consumer *consumer);
    bool greedy; /* submits more than may be outstanding */
} operations;

static const struct operations of_the_header = {
    ring_push, ring_publish, ring_take, ring_arm, ring_arm_room, ring_release_wake, false};

static struct ring_shared *shared(void)
{
    return (struct ring_shared *)(void *)model_memory;
}

static struct ring_entry *entries_at(uint32_t n)
{
    return (struct ring_entry *)(void *)(model_memory + RING_ENTRIES_OFFSET) + n;
}

static struct ring_producer submit_producer(uint32_t entries)
{
    return (struct ring_producer){.entries = entries_at(0),
                                  .mask = entries - 1u,
                                  .shared_tail = &shared()->submit_tail,
                                  .shared_head = &shared()->submit_head,
                                  .wanted = &shared()->submit_wanted,
                                  .room_wanted = &shared()->room_wanted};
}

static struct ring_consumer submit_consumer(uint32_t entries)
{
    return (struct ring_consumer){.entries = entries_at(0),
                                  .mask = entries - 1u,
                                  .shared_tail = &shared()->submit_tail,
                                  .shared_head = &shared()->submit_head,
                                  .wanted = &shared()->submit_wanted,
                                  .room_wanted = &shared()->room_wanted};
}

static struct ring_entry entry_of(uint64_t item, uint64_t salt)
{
    return (struct ring_entry){{item, ~item, item * 3u + salt, salt}};
}

static void expect_entry(const struct ring_entry *entry, uint64_t item, uint64_t salt)
{
    const struct ring_entry wanted = entry_of(item, salt);

    model_expect(memcmp(entry, &wanted, sizeof(wanted)) == 0);
}

static void no_setup(void)
{
}

/* ---- One direction ----------------------------------------------------------------------------
 */

#define ONE_WAY_ITEMS 4u

/* Users bound what is outstanding, so that this is never waited for; here the consumer always
 * rings. */
static void wait_for_room(struct ring_producer *producer)
{
    while (ring_room(producer, 1) == 0) {
        model_sleep();
    }
}

static void produce(void)
{
    struct ring_producer producer = submit_producer(ENTRIES);

    for (uint64_t item = 0; item < ONE_WAY_ITEMS; item++) {
        const struct ring_entry entry = entry_of(item, 7);
        wait_for_room(&producer);
        operations.push(&producer, &entry);
        if (item == 0) {
            continue; /* two in one batch */
        }
        if (operations.publish(&producer)) {
            model_ring(SERVER);
        }
    }
}

static void consume(void)
{
    struct ring_consumer consumer = submit_consumer(ENTRIES);
    uint64_t received = 0;

    while (received < ONE_WAY_ITEMS) {
        uint32_t pending = ring_pending(&consumer);
        model_expect(pending <= ONE_WAY_ITEMS - received);
        for (uint32_t i = 0; i < pending && i < ONE_WAY_ITEMS; i++) {
            struct ring_entry entry;
            operations.take(&consumer, &entry);
            expect_entry(&entry, received++, 7);
        }
        if (pending != 0) {
            ring_release(&consumer);
            model_ring(CLIENT);
        } else if (operations.arm(&consumer)) {
            model_sleep();
            ring_disarm(&consumer);
        }
    }
}

/* ---- One direction, more than there is room for: multi-shot completions -----------------------
 */

#define ROOM_ITEMS 3u

static void produce_as_room_allows(void)
{
    struct ring_producer producer = submit_producer(ENTRIES);

    for (uint64_t item = 0; item < ROOM_ITEMS;) {
        uint32_t room = ring_room(&producer, 1);
        if (room == 0) {
            if (operations.arm_room(&producer)) {
                model_sleep();
                ring_disarm_room(&producer);
            }
            continue;
        }
        model_expect(room <= ENTRIES);
        const struct ring_entry entry = entry_of(item++, 7);
        operations.push(&producer, &entry);
        if (operations.publish(&producer)) {
            model_ring(SERVER);
        }
    }
}

static void consume_and_wake(void)
{
    struct ring_consumer consumer = submit_consumer(ENTRIES);
    uint64_t received = 0;

    while (received < ROOM_ITEMS) {
        uint32_t pending = ring_pending(&consumer);
        model_expect(pending <= ROOM_ITEMS - received);
        for (uint32_t i = 0; i < pending && i < ENTRIES; i++) {
            struct ring_entry entry;
            operations.take(&consumer, &entry);
            expect_entry(&entry, received++, 7);
        }
        if (pending != 0) {
            if (operations.release_wake(&consumer)) {
                model_ring(CLIENT);
            }
        } else if (operations.arm(&consumer)) {
            model_sleep();
            ring_disarm(&consumer);
        }
    }
}

/* ---- Both directions: each operation is answered ----------------------------------------------
 */

/* As many as may be outstanding. Returns how many have been submitted by now. */
static uint64_t submit_some(struct ring_producer *submit, uint64_t submitted, uint64_t reaped)
{
    uint64_t limit = operations.greedy ? OPERATIONS : reaped + ENTRIES;
    uint64_t from = submitted;

    while (submitted < OPERATIONS && submitted < limit) {
        uint32_t room = ring_room(submit, 1);
        /* The server releases a submission before it completes it. */
        model_expect(operations.greedy || (room >= 1 && room <= ENTRIES));
        const struct ring_entry entry = entry_of(submitted++, 7);
        operations.push(submit, &entry);
    }
    if (submitted != from && operations.publish(submit)) {
        model_ring(SERVER);
    }
    return submitted;
}

static void client(void)
{
    struct ring_producer submit = submit_producer(ENTRIES);
    struct ring_consumer complete = {.entries = entries_at(ENTRIES),
                                     .mask = ENTRIES - 1u,
                                     .shared_tail = &shared()->complete_tail,
                                     .shared_head = &shared()->complete_head,
                                     .wanted = &shared()->complete_wanted};
    uint64_t submitted = 0;
    uint64_t reaped = 0;

    while (reaped < OPERATIONS) {
        submitted = submit_some(&submit, submitted, reaped);
        uint32_t pending = ring_pending(&complete);
        model_expect(pending <= submitted - reaped);
        for (uint32_t i = 0; i < pending && i < ENTRIES; i++) {
            struct ring_entry entry;
            operations.take(&complete, &entry);
            expect_entry(&entry, reaped++, 9);
        }
        if (pending != 0) {
            ring_release(&complete);
        } else if (operations.arm(&complete)) {
            model_sleep();
            ring_disarm(&complete);
        }
    }
}

static void server(void)
{
    struct ring_consumer submit = submit_consumer(ENTRIES);
    struct ring_producer complete = {.entries = entries_at(ENTRIES),
                                     .mask = ENTRIES - 1u,
                                     .shared_tail = &shared()->complete_tail,
                                     .shared_head = &shared()->complete_head,
                                     .wanted = &shared()->complete_wanted};
    uint64_t served = 0;

    while (served < OPERATIONS) {
        uint32_t pending = ring_pending(&submit);
        model_expect(pending <= OPERATIONS - served && pending <= ENTRIES);
        for (uint32_t i = 0; i < pending && i < ENTRIES; i++) {
            struct ring_entry entry;
            operations.take(&submit, &entry);
            expect_entry(&entry, served, 7);
            entry = entry_of(served++, 9);
            model_expect(ring_room(&complete, 1) >= 1);
            operations.push(&complete, &entry);
        }
        if (pending != 0) {
            ring_release(&submit);
            if (operations.publish(&complete)) {
                model_ring(CLIENT);
            }
        } else if (operations.arm(&submit)) {
            model_sleep();
            ring_disarm(&submit);
        }
    }
}

/* ---- Without faults ---------------------------------------------------------------------------
 */

static const struct model_program one_way = {
    .setup = no_setup, .side = {produce, consume}, .order = MODEL_TSO};
static const struct model_program room_short = {
    .setup = no_setup, .side = {produce_as_room_allows, consume_and_wake}, .order = MODEL_TSO};
static const struct model_program both_ways = {
    .setup = no_setup, .side = {client, server}, .order = MODEL_TSO};

static void check_good(struct model_program program, enum model_order order)
{
    operations = of_the_header;
    program.order = order;
    struct model_result result = model_explore(&program, 0);

    printf("  %" PRIu64 " states, %" PRIu64 " executions, at most %" PRIu64 " steps\n",
           result.states, result.executions, result.longest);
    CHECK_EQ(result.stuck, 0);
    CHECK_EQ(result.wrong, 0);
    CHECK(result.complete);
    CHECK(result.executions > 1000);
}

TEST(one_way_in_order)
{
    check_good(one_way, MODEL_SC);
}

TEST(one_way_with_store_buffers)
{
    check_good(one_way, MODEL_TSO);
}

TEST(waiting_for_room_in_order)
{
    check_good(room_short, MODEL_SC);
}

TEST(waiting_for_room_with_store_buffers)
{
    check_good(room_short, MODEL_TSO);
}

TEST(both_ways_in_order)
{
    check_good(both_ways, MODEL_SC);
}

TEST(both_ways_with_store_buffers)
{
    check_good(both_ways, MODEL_TSO);
}

/* ---- Planted faults ---------------------------------------------------------------------------
 */

static struct model_result with_fault(struct model_program program, enum model_order order,
                                      const struct operations *broken)
{
    operations = *broken;
    program.order = order;
    return model_explore(&program, 1);
}

TEST(a_missing_fence_loses_a_wakeup_with_store_buffers_only)
{
    for (int side = CLIENT; side <= SERVER; side++) {
        struct model_program program = both_ways;
        program.without_fence = 1u << side;
        CHECK(with_fault(program, MODEL_TSO, &of_the_header).stuck > 0);
        program = one_way;
        program.without_fence = 1u << side;
        CHECK(with_fault(program, MODEL_TSO, &of_the_header).stuck > 0);
        program = room_short;
        program.without_fence = 1u << side;
        CHECK(with_fault(program, MODEL_TSO, &of_the_header).stuck > 0);
        struct model_result in_order = with_fault(program, MODEL_SC, &of_the_header);
        CHECK(in_order.stuck == 0 && in_order.wrong == 0 && in_order.complete);
    }
}

static bool arm_without_second_look(struct ring_consumer *consumer)
{
    ring_store(consumer->wanted, 1);
    ring_fence();
    return true;
}

static bool arm_after_the_look(struct ring_consumer *consumer)
{
    bool empty = ring_load(consumer->shared_tail) == consumer->head;

    ring_fence();
    ring_store(consumer->wanted, empty ? 1 : 0);
    return empty;
}

TEST(sleeping_without_a_second_look_loses_a_wakeup)
{
    struct operations broken = of_the_header;

    broken.arm = arm_without_second_look;
    CHECK(with_fault(one_way, MODEL_SC, &broken).stuck > 0);
    CHECK(with_fault(both_ways, MODEL_SC, &broken).stuck > 0);
}

TEST(asking_for_a_doorbell_after_the_look_loses_a_wakeup)
{
    struct operations broken = of_the_header;

    broken.arm = arm_after_the_look;
    CHECK(with_fault(one_way, MODEL_SC, &broken).stuck > 0);
    CHECK(with_fault(both_ways, MODEL_TSO, &broken).stuck > 0);
}

static bool arm_room_without_second_look(struct ring_producer *producer)
{
    ring_store(producer->room_wanted, 1);
    ring_fence();
    return true;
}

static bool release_after_the_question(struct ring_consumer *consumer)
{
    bool wanted = ring_load(consumer->room_wanted) != 0;

    ring_fence();
    ring_store(consumer->shared_head, consumer->head);
    return wanted;
}

TEST(room_is_waited_for_with_a_second_look_and_released_before_the_question)
{
    struct operations broken = of_the_header;

    broken.arm_room = arm_room_without_second_look;
    CHECK(with_fault(room_short, MODEL_SC, &broken).stuck > 0);
    broken = of_the_header;
    broken.release_wake = release_after_the_question;
    CHECK(with_fault(room_short, MODEL_SC, &broken).stuck > 0);
}

static bool publish_after_the_question(struct ring_producer *producer)
{
    bool wanted = ring_load(producer->wanted) != 0;

    ring_fence();
    ring_store(producer->shared_tail, producer->tail);
    return wanted;
}

TEST(publishing_after_the_question_loses_a_wakeup)
{
    struct operations broken = of_the_header;

    broken.publish = publish_after_the_question;
    CHECK(with_fault(one_way, MODEL_SC, &broken).stuck > 0);
    CHECK(with_fault(both_ways, MODEL_SC, &broken).stuck > 0);
}

static void publish_before_the_write(struct ring_producer *producer, const struct ring_entry *entry)
{
    ring_store(producer->shared_tail, producer->tail + 1u);
    ring_push(producer, entry);
}

TEST(publishing_before_the_write_shows_what_is_not_there)
{
    struct operations broken = of_the_header;

    broken.push = publish_before_the_write;
    CHECK(with_fault(one_way, MODEL_SC, &broken).wrong > 0);
    CHECK(with_fault(both_ways, MODEL_TSO, &broken).wrong > 0);
}

static void release_before_the_read(struct ring_consumer *consumer, struct ring_entry *entry)
{
    ring_store(consumer->shared_head, consumer->head + 1u);
    ring_take(consumer, entry);
}

TEST(releasing_before_the_read_lets_it_be_overwritten)
{
    struct operations broken = of_the_header;

    broken.take = release_before_the_read;
    CHECK(with_fault(one_way, MODEL_SC, &broken).wrong > 0);
    CHECK(with_fault(one_way, MODEL_TSO, &broken).wrong > 0);
}

TEST(more_than_the_ring_holds_is_noticed)
{
    struct operations broken = of_the_header;

    broken.greedy = true;
    CHECK(with_fault(both_ways, MODEL_SC, &broken).wrong > 0);
}
