// SPDX-License-Identifier: MIT OR Apache-2.0
/* Connections handed between threads: what arrives, what is told, and, with real threads, that no
 * byte and no wake-up is lost. */
#include "apps/kvstore/core/relay.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "lib/base/bytes.h"
#include "tests/check.h"

static unsigned woken[2];

static void count_wake(void *context, enum relay_side side)
{
    (void)context;
    woken[side]++;
}

static struct relay *open_relay(uint32_t slots)
{
    struct relay *relay = relay_init(aligned_alloc(64, relay_bytes(slots)), slots);

    relay->wake = count_wake;
    woken[0] = woken[1] = 0;
    return relay;
}

static const char peer[RELAY_PEER_BYTES] = "10.0.2.2:4711";

static uint8_t pattern(uint32_t stream, uint32_t at)
{
    return (uint8_t)((at ^ stream * 0x9e3779b1u) * 0x85ebca6bu >> 13);
}

TEST(bytes_go_both_ways_through_full_pipes)
{
    struct relay *relay = open_relay(2);
    struct relay_slot *slot = relay_open(relay, 7, peer);
    const uint8_t *data;
    uint8_t bytes[3000];
    uint32_t put = 0, got = 0;

    CHECK(relay_next(relay, RELAY_BACK) == slot);
    CHECK_EQ(slot->kind, 7);
    CHECK(memcmp(slot->peer, peer, sizeof peer) == 0);
    CHECK(slot->user[RELAY_BACK] == NULL);
    CHECK(relay_next(relay, RELAY_BACK) == NULL);
    for (uint32_t round = 0; round < 4000; round++) {
        enum relay_side from = round / 1000u % 2u == 0 ? RELAY_FRONT : RELAY_BACK;
        enum relay_side to = from == RELAY_FRONT ? RELAY_BACK : RELAY_FRONT;
        uint32_t want = round * 37u % sizeof bytes;
        for (uint32_t i = 0; i < want; i++) {
            bytes[i] = pattern(1, put + i);
        }
        uint32_t taken = relay_put(relay, from, slot, bytes, want);
        CHECK(taken == want || put + taken - got == RELAY_PIPE_BYTES);
        put += taken;
        CHECK(taken == 0 || relay_next(relay, to) == slot);
        bool was_short = taken < want;
        uint32_t limit = round * 53u % 2500u + (round % 1000u == 999 ? 100000u : 1u);
        for (uint32_t count; limit != 0 && (count = relay_get(slot, to, &data)) != 0;) {
            count = count < limit ? count : limit;
            for (uint32_t i = 0; i < count; i++) {
                CHECK_EQ(data[i], pattern(1, got + i));
            }
            got += count;
            limit -= count;
            relay_take(relay, to, slot, count);
        }
        /* Who was refused room is told of it; nobody else hears of what was taken. */
        CHECK((relay_next(relay, from) == slot) == was_short);
    }
    CHECK_EQ(got, put);
    CHECK(put > 1000000);
    CHECK_EQ(woken[0] + woken[1], 0);
    free(relay);
}

TEST(a_slot_is_free_when_both_sides_are_done)
{
    struct relay *relay = open_relay(2);
    const uint8_t *data;

    for (uint32_t round = 0; round < 50; round++) {
        struct relay_slot *slot = relay_open(relay, 0, peer);
        struct relay_slot *second = relay_open(relay, 0, peer);
        CHECK(slot != NULL && second != NULL && slot != second);
        CHECK(relay_open(relay, 0, peer) == NULL);
        CHECK(relay_next(relay, RELAY_BACK) == slot);
        CHECK(relay_next(relay, RELAY_BACK) == second);
        CHECK_EQ(relay_put(relay, RELAY_FRONT, slot, "question", 8), 8);
        relay_end(relay, slot);
        CHECK(!relay_was_left(slot));
        CHECK(relay_next(relay, RELAY_BACK) == slot); /* once for both */
        CHECK(relay_next(relay, RELAY_BACK) == NULL);
        CHECK(relay_has_ended(slot));
        CHECK_EQ(relay_get(slot, RELAY_BACK, &data), 8);
        CHECK_EQ(relay_put(relay, RELAY_BACK, slot, "answer", 6), 6);
        relay_finish(relay, slot);
        relay_leave(relay, slot); /* meanwhile: no news any more for the back */
        CHECK(relay_next(relay, RELAY_BACK) == NULL);
        CHECK(relay_next(relay, RELAY_FRONT) == slot);
        CHECK(!relay_is_over(slot)); /* the answer has to go out */
        CHECK_EQ(relay_get(slot, RELAY_FRONT, &data), 6);
        relay_take(relay, RELAY_FRONT, slot, 6);
        CHECK(relay_is_over(slot));
        relay_free(relay, slot);
        relay_leave(relay, second);
        CHECK(relay_next(relay, RELAY_BACK) == second);
        CHECK(relay_was_left(second));
        relay_finish(relay, second);
        CHECK(relay_next(relay, RELAY_FRONT) == second);
        relay_free(relay, second);
    }
    free(relay);
}

/* A post that nobody has taken yet belongs to the slot's next life, too. */
TEST(old_posts_do_no_harm)
{
    struct relay *relay = open_relay(1);
    struct relay_slot *slot = relay_open(relay, 0, peer);

    CHECK(relay_next(relay, RELAY_BACK) == slot);
    relay_end(relay, slot);
    relay_finish(relay, slot);
    CHECK(relay_next(relay, RELAY_FRONT) == slot);
    relay_free(relay, slot);
    CHECK(relay_open(relay, 0, peer) == slot);
    CHECK(relay_next(relay, RELAY_BACK) == slot);
    CHECK(!relay_has_ended(slot));
    CHECK(relay_next(relay, RELAY_BACK) == NULL);
    free(relay);
}

TEST(only_sleepers_are_woken)
{
    struct relay *relay = open_relay(4);

    CHECK(relay_arm(relay, RELAY_BACK));
    struct relay_slot *slot = relay_open(relay, 0, peer);
    CHECK_EQ(woken[RELAY_BACK], 1);
    relay_disarm(relay, RELAY_BACK);
    CHECK(!relay_arm(relay, RELAY_BACK));
    CHECK(relay_next(relay, RELAY_BACK) == slot);
    CHECK_EQ(relay_put(relay, RELAY_FRONT, slot, "x", 1), 1);
    CHECK_EQ(woken[RELAY_BACK], 1);
    CHECK(relay_arm(relay, RELAY_FRONT));
    CHECK_EQ(relay_put(relay, RELAY_BACK, slot, "x", 1), 1);
    CHECK_EQ(woken[RELAY_FRONT], 1);
    free(relay);
}

/* ---- Threads -----------------------------------------------------------------------------------
 */

#define STREAMS 300u
#define SLOTS 16u

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t conditions[2] = {PTHREAD_COND_INITIALIZER, PTHREAD_COND_INITIALIZER};
static bool rung[2];
static unsigned timeouts;

static void ring(void *context, enum relay_side side)
{
    (void)context;
    pthread_mutex_lock(&mutex);
    rung[side] = true;
    pthread_cond_signal(&conditions[side]);
    pthread_mutex_unlock(&mutex);
}

/* Sleeps until there are posts; a wake-up that is lost shows as a time-out. */
static void sleep_for_posts(struct relay *relay, enum relay_side side)
{
    struct timespec limit;

    if (!relay_arm(relay, side)) {
        return;
    }
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += 20;
    pthread_mutex_lock(&mutex);
    while (!rung[side]) {
        if (pthread_cond_timedwait(&conditions[side], &mutex, &limit) != 0) {
            __atomic_fetch_add(&timeouts, 1u, __ATOMIC_SEQ_CST);
            break;
        }
    }
    rung[side] = false;
    pthread_mutex_unlock(&mutex);
    relay_disarm(relay, side);
}

/* The back's view of a stream: gives every byte back, changed, and ends when it was told so. */
struct echo {
    uint32_t back; /* bytes given back */
};

static bool serve(struct relay *relay, struct relay_slot *slot)
{
    struct echo *echo = slot->user[RELAY_BACK];
    const uint8_t *data;
    uint8_t changed[700];

    if (echo == NULL) {
        echo = slot->user[RELAY_BACK] = calloc(1, sizeof *echo);
    }
    bool left = relay_was_left(slot);
    bool ended = relay_has_ended(slot); /* before the pipe is looked at */
    for (uint32_t count; !left && (count = relay_get(slot, RELAY_BACK, &data)) != 0;) {
        count = count < sizeof changed ? count : (uint32_t)sizeof changed;
        for (uint32_t i = 0; i < count; i++) {
            changed[i] = data[i] ^ 0x5au;
        }
        uint32_t put = relay_put(relay, RELAY_BACK, slot, changed, count);
        relay_take(relay, RELAY_BACK, slot, put);
        echo->back += put;
        if (put < count) {
            return false;
        }
    }
    if (left || ended) {
        free(echo);
        relay_finish(relay, slot);
        return true;
    }
    return false;
}

static void *run_back(void *context)
{
    struct relay *relay = context;

    for (unsigned finished = 0; finished < STREAMS;) {
        struct relay_slot *slot = relay_next(relay, RELAY_BACK);
        if (slot != NULL) {
            finished += serve(relay, slot);
        } else {
            sleep_for_posts(relay, RELAY_BACK);
        }
    }
    return NULL;
}

struct stream {
    uint32_t number, bytes, put, got;
    bool leaves, ended;
};

/* Puts and gets what it can; true when the slot is free again. */
static bool drive(struct relay *relay, struct relay_slot *slot)
{
    struct stream *stream = slot->user[RELAY_FRONT];
    const uint8_t *data;
    uint8_t bytes[900];

    for (uint32_t count; (count = relay_get(slot, RELAY_FRONT, &data)) != 0;) {
        for (uint32_t i = 0; i < count; i++) {
            CHECK_EQ(data[i], pattern(stream->number, stream->got + i) ^ 0x5au);
        }
        stream->got += count;
        relay_take(relay, RELAY_FRONT, slot, count);
    }
    while (stream->put < stream->bytes) {
        uint32_t count = stream->bytes - stream->put;
        count = count < sizeof bytes ? count : (uint32_t)sizeof bytes;
        for (uint32_t i = 0; i < count; i++) {
            bytes[i] = pattern(stream->number, stream->put + i);
        }
        uint32_t put = relay_put(relay, RELAY_FRONT, slot, bytes, count);
        stream->put += put;
        if (put < count) {
            break;
        }
    }
    if (stream->put == stream->bytes && !stream->ended) {
        stream->ended = true;
        stream->leaves ? relay_leave(relay, slot) : relay_end(relay, slot);
    }
    if (!relay_is_over(slot)) {
        return false;
    }
    CHECK(stream->leaves || stream->got == stream->bytes);
    relay_free(relay, slot);
    return true;
}

TEST(no_byte_and_no_wake_up_is_lost_between_threads)
{
    static struct stream streams[STREAMS];
    struct relay *relay = open_relay(SLOTS);
    unsigned begun = 0;
    pthread_t back;

    relay->wake = ring;
    CHECK_EQ(pthread_create(&back, NULL, run_back, relay), 0);
    for (unsigned over = 0; over < STREAMS && timeouts == 0;) {
        struct relay_slot *slot = begun < STREAMS ? relay_open(relay, 0, peer) : NULL;
        if (slot != NULL) {
            streams[begun] = (struct stream){
                .number = begun, .bytes = begun * 7919u % 60000u, .leaves = begun % 5u == 0};
            slot->user[RELAY_FRONT] = &streams[begun++];
        } else if ((slot = relay_next(relay, RELAY_FRONT)) == NULL) {
            sleep_for_posts(relay, RELAY_FRONT);
            continue;
        }
        over += drive(relay, slot);
    }
    CHECK_EQ(timeouts, 0);
    if (timeouts == 0) {
        pthread_join(back, NULL);
        free(relay);
    }
}
