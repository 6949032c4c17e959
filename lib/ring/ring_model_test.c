// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Explores every interleaving of a producer and a consumer that sleeps, over the header itself, on
 * a machine with a store buffer for each processor (x86-TSO: Sewell et al., "x86-TSO", CACM 2010):
 * no wake-up may be lost and no entry missed or changed. Two runs with a broken header check that
 * the explorer would notice.
 *
 * Each access to a shared word is a step of a coroutine. Executions are repeated from the start
 * along a recorded path; a state (memory, store buffers, and for each thread a digest of all it
 * ever loaded, which determines where it stands) is not entered twice.
 */
#define RING_MODEL
#include "lib/ring/ring.h"

#include <stdlib.h>
#include <ucontext.h>

#include "tests/check.h"

#define ITEMS 4u
#define STACK_BYTES 65536u
#define BUFFER_MAX 32u
#define PATH_MAX_STEPS 400u
#define SEEN_SLOTS (1u << 20)

enum { PRODUCER, CONSUMER, THREADS };

struct pending_store {
    uint32_t *word;
    uint32_t value;
};

struct thread {
    ucontext_t context;
    uint8_t *stack;
    bool done;
    bool asleep;
    uint64_t digest; /* of what it loaded and how far it came */
    struct pending_store buffer[BUFFER_MAX];
    uint32_t buffered;
};

static struct {
    struct thread threads[THREADS];
    ucontext_t scheduler;
    int running;
    bool abandoned; /* threads run to their end without choices */
    bool without_fence;
    bool without_recheck;
    bool doorbell;
    struct ring_shared shared;
    struct ring_entry entries[8];
    uint64_t received;
    bool wrong;
    /* The path: at step i, choice[i] of choices[i]. */
    uint8_t choice[PATH_MAX_STEPS];
    uint8_t choices[PATH_MAX_STEPS];
    uint32_t depth;
    uint32_t replay; /* steps that are given */
    uint64_t states;
    uint64_t executions;
    uint64_t lost_wakeups;
} model;

static uint64_t *seen;

static uint64_t mix(uint64_t digest, uint64_t value)
{
    digest = (digest ^ value) * 0x9e3779b97f4a7c15ull;
    return digest ^ digest >> 29;
}

/* ---- The machine ------------------------------------------------------------------------------
 */

static void step_point(void)
{
    if (!model.abandoned) {
        struct thread *self = &model.threads[model.running];
        swapcontext(&self->context, &model.scheduler);
    }
}

uint32_t ring_load(const uint32_t *word)
{
    step_point();
    struct thread *self = &model.threads[model.running];
    uint32_t value = *word;
    for (uint32_t i = 0; i < self->buffered; i++) {
        if (self->buffer[i].word == word) {
            value = self->buffer[i].value;
        }
    }
    self->digest = mix(self->digest, value + 1u);
    return value;
}

void ring_store(uint32_t *word, uint32_t value)
{
    step_point();
    struct thread *self = &model.threads[model.running];
    if (model.abandoned || self->buffered == BUFFER_MAX) {
        *word = value;
        return;
    }
    self->buffer[self->buffered++] = (struct pending_store){word, value};
    self->digest = mix(self->digest, 2);
}

static void flush_one(struct thread *thread)
{
    *thread->buffer[0].word = thread->buffer[0].value;
    thread->buffered--;
    memmove(thread->buffer, thread->buffer + 1, thread->buffered * sizeof thread->buffer[0]);
}

void ring_fence(void)
{
    step_point();
    struct thread *self = &model.threads[model.running];
    while (!model.without_fence && self->buffered > 0) {
        flush_one(self);
    }
    self->digest = mix(self->digest, 3);
}

/* ---- The program ------------------------------------------------------------------------------
 */

static void produce(void)
{
    struct ring_producer producer = {
        .entries = model.entries,
        .mask = 7,
        .shared_tail = &model.shared.submit_tail,
        .shared_head = &model.shared.submit_head,
        .wanted = &model.shared.submit_wanted,
    };

    for (uint64_t item = 0; item < ITEMS && !model.abandoned; item++) {
        struct ring_entry entry = {{item, ~item, item * 3u, 7}};
        ring_push(&producer, &entry);
        if (item == 1) {
            continue; /* two in one batch */
        }
        if (ring_publish(&producer)) {
            step_point();
            model.doorbell = true;
            model.threads[PRODUCER].digest = mix(model.threads[PRODUCER].digest, 4);
        }
    }
    model.threads[PRODUCER].done = true;
}

static void sleep_until_rung(void)
{
    struct thread *self = &model.threads[CONSUMER];

    self->asleep = true;
    step_point();
    self->asleep = false;
    model.doorbell = false;
    self->digest = mix(self->digest, 5);
}

/* The mistake that the second run must notice: sleeping without a second look. */
static bool arm_blindly(struct ring_consumer *consumer)
{
    ring_store(consumer->wanted, 1);
    ring_fence();
    return true;
}

static void consume(void)
{
    struct ring_consumer consumer = {
        .entries = model.entries,
        .mask = 7,
        .shared_tail = &model.shared.submit_tail,
        .shared_head = &model.shared.submit_head,
        .wanted = &model.shared.submit_wanted,
    };

    while (model.received < ITEMS && !model.abandoned) {
        uint32_t pending = ring_pending(&consumer);
        if (pending == RING_VIOLATION) {
            model.wrong = true;
            break;
        }
        for (uint32_t i = 0; i < pending; i++) {
            struct ring_entry entry;
            ring_take(&consumer, &entry);
            if (entry.words[0] != model.received || entry.words[1] != ~model.received) {
                model.wrong = true;
            }
            model.received++;
        }
        if (pending != 0) {
            ring_release(&consumer);
        } else if (model.without_recheck ? arm_blindly(&consumer) : ring_arm(&consumer)) {
            sleep_until_rung();
            ring_disarm(&consumer);
        }
    }
    model.threads[CONSUMER].done = true;
}

/* ---- The explorer -----------------------------------------------------------------------------
 */

static void start_thread(int number, void (*run)(void))
{
    struct thread *thread = &model.threads[number];
    uint8_t *stack = thread->stack;

    memset(thread, 0, sizeof *thread);
    thread->stack = stack;
    getcontext(&thread->context);
    thread->context.uc_stack.ss_sp = stack;
    thread->context.uc_stack.ss_size = STACK_BYTES;
    thread->context.uc_link = &model.scheduler;
    makecontext(&thread->context, run, 0);
}

static uint64_t digest_state(void)
{
    uint64_t digest = mix(model.doorbell, model.shared.submit_tail);

    digest = mix(digest, model.shared.submit_head);
    digest = mix(digest, model.shared.submit_wanted);
    for (int i = 0; i < THREADS; i++) {
        const struct thread *thread = &model.threads[i];
        digest = mix(digest, thread->digest);
        digest = mix(digest, thread->buffered * 4u + thread->done * 2u + thread->asleep);
        for (uint32_t j = 0; j < thread->buffered; j++) {
            digest = mix(digest,
                         (uint64_t)((uint8_t *)thread->buffer[j].word - (uint8_t *)&model.shared));
            digest = mix(digest, thread->buffer[j].value);
        }
    }
    return digest | 1u;
}

/* False if the state has been entered before. */
static bool enter_state(void)
{
    uint64_t digest = digest_state();

    for (uint64_t slot = digest;; slot++) {
        uint64_t *at = &seen[slot % SEEN_SLOTS];
        if (*at == digest) {
            return false;
        }
        if (*at == 0) {
            *at = digest;
            model.states++;
            return model.states < SEEN_SLOTS / 2u;
        }
    }
}

/* Actions 0 and 1 run a thread, 2 and 3 let the oldest store of a thread reach memory. */
static uint32_t enabled_actions(int actions[4])
{
    uint32_t count = 0;

    for (int i = 0; i < THREADS; i++) {
        const struct thread *thread = &model.threads[i];
        if (!thread->done && (!thread->asleep || model.doorbell)) {
            actions[count++] = i;
        }
        if (thread->buffered > 0) {
            actions[count++] = THREADS + i;
        }
    }
    return count;
}

static void act(int action)
{
    if (action >= THREADS) {
        flush_one(&model.threads[action - THREADS]);
        return;
    }
    model.running = action;
    model.threads[action].digest = mix(model.threads[action].digest, 6);
    swapcontext(&model.scheduler, &model.threads[action].context);
}

static void finish_threads(void)
{
    model.abandoned = true;
    for (int i = 0; i < THREADS; i++) {
        if (!model.threads[i].done) {
            act(i);
        }
    }
    model.abandoned = false;
}

/* One execution along model.choice[0..replay), then the first choice each time. */
static void execute(void)
{
    int actions[4];

    memset(&model.shared, 0, sizeof model.shared);
    memset(model.entries, 0, sizeof model.entries);
    model.doorbell = false;
    model.received = 0;
    model.depth = 0;
    start_thread(PRODUCER, produce);
    start_thread(CONSUMER, consume);
    for (;;) {
        uint32_t count = enabled_actions(actions);
        if (count == 0) {
            model.lost_wakeups += model.received < ITEMS;
            break;
        }
        if (model.depth == PATH_MAX_STEPS || (model.depth >= model.replay && !enter_state())) {
            break;
        }
        uint32_t choice = model.depth < model.replay ? model.choice[model.depth] : 0;
        model.choice[model.depth] = (uint8_t)choice;
        model.choices[model.depth] = (uint8_t)count;
        model.depth++;
        act(actions[choice]);
    }
    model.wrong |= model.depth == PATH_MAX_STEPS;
    finish_threads();
    model.executions++;
}

static void explore(bool without_fence, bool without_recheck)
{
    memset(&model, 0, sizeof model);
    seen = calloc(SEEN_SLOTS, sizeof *seen);
    model.threads[PRODUCER].stack = malloc(STACK_BYTES);
    model.threads[CONSUMER].stack = malloc(STACK_BYTES);
    model.without_fence = without_fence;
    model.without_recheck = without_recheck;
    for (;;) {
        execute();
        /* Back to the last step with a choice left. */
        while (model.depth > 0 &&
               model.choice[model.depth - 1u] + 1u == model.choices[model.depth - 1u]) {
            model.depth--;
        }
        if (model.depth == 0) {
            break;
        }
        model.choice[model.depth - 1u]++;
        model.replay = model.depth;
    }
    free(model.threads[PRODUCER].stack);
    free(model.threads[CONSUMER].stack);
    free(seen);
    CHECK(model.states < SEEN_SLOTS / 2u);
    CHECK(!model.wrong);
}

TEST(no_interleaving_loses_a_wakeup)
{
    explore(false, false);
    CHECK_EQ(model.lost_wakeups, 0);
    CHECK(model.states > 1000);
    printf("  %" PRIu64 " states, %" PRIu64 " executions\n", model.states, model.executions);
}

TEST(the_explorer_notices_a_missing_fence)
{
    explore(true, false);
    CHECK(model.lost_wakeups > 0);
}

TEST(the_explorer_notices_a_missing_second_look)
{
    explore(false, true);
    CHECK(model.lost_wakeups > 0);
}
