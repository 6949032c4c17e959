// SPDX-License-Identifier: MIT OR Apache-2.0
#define RING_MODEL
#include "lib/ring/model_fake.h"
#include "lib/ring/ring.h"

#include <stdlib.h>
#include <string.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define __asan_unpoison_memory_region(address, bytes) ((void)(address), (void)(bytes))
#endif

#define STACK_BYTES 16384u
#define BUFFER_MAX 64u
#define SEEN_SLOTS (1u << 22)

struct pending_store {
    void *at;
    uint64_t value;
    bool wide; /* 64 bits, else 32 */
};

struct side {
    void *stack_pointer;
    uint8_t *stack;
    bool done;
    bool asleep;
    uint32_t rung;
    bool fencing;    /* goes on when its buffer is empty */
    uint64_t digest; /* of what it loaded and how far it came */
    struct pending_store buffer[BUFFER_MAX];
    uint32_t first; /* oldest */
    uint32_t buffered;
};

uint8_t model_memory[MODEL_MEMORY_BYTES] __attribute__((aligned(64)));

static struct {
    const struct model_program *program;
    struct side sides[MODEL_SIDES];
    void *scheduler; /* its stack pointer */
    int running;
    bool wrong;
    /* The path: at step i, choice[i] of choices[i]. */
    uint8_t choice[MODEL_STEPS_MAX];
    uint8_t choices[MODEL_STEPS_MAX];
    uint32_t depth;
    uint32_t replay; /* steps that are given */
    uint64_t *seen;
    struct model_result result;
} model;

/* ---- Coroutines -------------------------------------------------------------------------------
 */

/* Saves the stack pointer of one and goes on with another. */
void model_switch(void **save, void *load);
__asm__(".text\n"
        "model_switch:\n"
        "    pushq %rbp\n    pushq %rbx\n    pushq %r12\n"
        "    pushq %r13\n    pushq %r14\n    pushq %r15\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    popq %r15\n    popq %r14\n    popq %r13\n"
        "    popq %r12\n    popq %rbx\n    popq %rbp\n"
        "    ret\n");

static void side_main(void)
{
    struct side *self = &model.sides[model.running];

    model.program->side[model.running]();
    self->done = true;
    model_switch(&self->stack_pointer, model.scheduler);
}

static void side_start(struct side *side)
{
    uint8_t *stack = side->stack;

    memset(side, 0, sizeof(*side));
    side->stack = stack;
    /* Frames that were left for good have marked it. */
    __asan_unpoison_memory_region(stack, STACK_BYTES);
    void **top = (void **)(void *)(stack + STACK_BYTES);
    *--top = NULL; /* keeps the alignment that a call leaves */
    *--top = (void *)(uintptr_t)side_main;
    top -= 6;
    memset(top, 0, 6 * sizeof(*top));
    side->stack_pointer = top;
}

static struct side *step_point(void)
{
    struct side *self = &model.sides[model.running];

    model_switch(&self->stack_pointer, model.scheduler);
    return self;
}

/* ---- Memory -----------------------------------------------------------------------------------
 */

static uint64_t mix(uint64_t digest, uint64_t value)
{
    digest = (digest ^ value) * 0x9e3779b97f4a7c15ull;
    return digest ^ digest >> 29;
}

static void commit(const struct pending_store *store)
{
    if (store->wide) {
        memcpy(store->at, &store->value, sizeof(uint64_t));
    } else {
        uint32_t value = (uint32_t)store->value;
        memcpy(store->at, &value, sizeof(value));
    }
}

static void commit_oldest(struct side *side)
{
    commit(&side->buffer[side->first % BUFFER_MAX]);
    side->first++;
    side->buffered--;
}

static void store(void *at, uint64_t value, bool wide)
{
    const struct pending_store pending = {at, value, wide};
    struct side *self = &model.sides[model.running];

    if (model.program->order == MODEL_SC) {
        self = step_point();
        commit(&pending);
    } else {
        /* No step: nobody sees it before it leaves the buffer. A full one empties first. */
        if (self->buffered == BUFFER_MAX) {
            commit_oldest(self);
        }
        self->buffer[(self->first + self->buffered++) % BUFFER_MAX] = pending;
    }
    self->digest = mix(self->digest, 2);
}

static uint64_t load(const void *at, bool wide)
{
    struct side *self = step_point();
    uint64_t value = 0;

    memcpy(&value, at, wide ? sizeof(uint64_t) : sizeof(uint32_t));
    for (uint32_t i = 0; i < self->buffered; i++) {
        const struct pending_store *s = &self->buffer[(self->first + i) % BUFFER_MAX];
        value = s->at == at ? s->value : value;
    }
    self->digest = mix(self->digest, value + 7u);
    return value;
}

uint32_t ring_load(const uint32_t *word)
{
    return (uint32_t)load(word, false);
}

void ring_store(uint32_t *word, uint32_t value)
{
    store(word, value, false);
}

uint64_t ring_word_load(const ring_word *word)
{
    return load(word, true);
}

void ring_entry_store(struct ring_entry *to, const struct ring_entry *from)
{
    for (uint32_t i = 0; i < RING_ENTRY_WORDS; i++) {
        store(&to->words[i], from->words[i], true);
    }
}

/* Waits until the buffer is empty; the scheduler sees to that. */
void ring_fence(void)
{
    struct side *self = &model.sides[model.running];
    bool works = (model.program->without_fence >> model.running & 1u) == 0;

    if (works && self->buffered > 0) {
        self->fencing = true;
        (void)step_point();
        self->fencing = false;
    }
    self->digest = mix(self->digest, 3);
}

/* ---- Programs ---------------------------------------------------------------------------------
 */

void model_ring(int side)
{
    store(&model.sides[side].rung, 1, false);
}

void model_sleep(void)
{
    struct side *self = &model.sides[model.running];

    self->asleep = true;
    (void)step_point();
    self->asleep = false;
    self->rung = 0;
    self->digest = mix(self->digest, 5);
}

void model_expect(bool condition)
{
    model.wrong |= !condition;
}

/* ---- Search -----------------------------------------------------------------------------------
 */

static uint64_t digest_state(void)
{
    uint64_t digest = 1;

    for (uint32_t i = 0; i < MODEL_MEMORY_BYTES; i += 8) {
        uint64_t word;
        memcpy(&word, model_memory + i, sizeof(word));
        digest = word != 0 ? mix(digest, word + (uint64_t)i) : digest;
    }
    for (int i = 0; i < MODEL_SIDES; i++) {
        const struct side *side = &model.sides[i];
        digest = mix(digest, side->digest);
        digest = mix(digest, side->buffered * 8ull + (uint64_t)side->done * 4u +
                                 (uint64_t)side->asleep * 2u + side->rung);
        for (uint32_t j = 0; j < side->buffered; j++) {
            const struct pending_store *s = &side->buffer[(side->first + j) % BUFFER_MAX];
            digest = mix(digest, (uintptr_t)s->at - (uintptr_t)model_memory);
            digest = mix(digest, s->value);
        }
    }
    return digest | 1u;
}

/* False if the state has been entered before, or there is no place left for it. */
static bool enter_state(void)
{
    uint64_t digest = digest_state();

    for (uint64_t slot = digest >> 20;; slot++) {
        uint64_t *at = &model.seen[slot % SEEN_SLOTS];
        if (*at == digest) {
            return false;
        }
        if (*at == 0) {
            *at = digest;
            model.result.states++;
            model.result.complete &= model.result.states < SEEN_SLOTS / 2u;
            return model.result.complete;
        }
    }
}

/* Action i runs side i, action MODEL_SIDES + i lets its oldest store reach memory. */
static uint32_t enabled_actions(int actions[2 * MODEL_SIDES])
{
    uint32_t count = 0;

    for (int i = 0; i < MODEL_SIDES; i++) {
        const struct side *side = &model.sides[i];
        bool waits = (side->asleep && side->rung == 0) || (side->fencing && side->buffered > 0);
        if (!side->done && !waits) {
            actions[count++] = i;
        }
        if (side->buffered > 0) {
            actions[count++] = MODEL_SIDES + i;
        }
    }
    return count;
}

static void act(int action)
{
    if (action >= MODEL_SIDES) {
        commit_oldest(&model.sides[action - MODEL_SIDES]);
        return;
    }
    model.running = action;
    model.sides[action].digest = mix(model.sides[action].digest, 6);
    model_switch(&model.scheduler, model.sides[action].stack_pointer);
}

/* One execution along model.choice[0..replay), then the first choice each time. */
static void execute(void)
{
    int actions[2 * MODEL_SIDES];
    bool ended = false;

    memset(model_memory, 0, sizeof(model_memory));
    model.program->setup();
    model.wrong = false;
    model.depth = 0;
    for (int i = 0; i < MODEL_SIDES; i++) {
        side_start(&model.sides[i]);
    }
    while (!ended && !model.wrong) {
        uint32_t count = enabled_actions(actions);
        if (count == 0) {
            model.result.stuck += !model.sides[0].done || !model.sides[1].done;
            break;
        }
        if (model.depth == MODEL_STEPS_MAX) {
            model.result.complete = false;
            break;
        }
        if (model.depth >= model.replay && !enter_state()) {
            break;
        }
        uint32_t choice = model.depth < model.replay ? model.choice[model.depth] : 0;
        model.choice[model.depth] = (uint8_t)choice;
        model.choices[model.depth] = (uint8_t)count;
        model.depth++;
        act(actions[choice]);
    }
    model.result.wrong += model.wrong;
    model.result.longest = model.depth > model.result.longest ? model.depth : model.result.longest;
    model.result.executions++;
}

/* To the last step with a choice left; false: none. */
static bool backtrack(void)
{
    while (model.depth > 0 &&
           model.choice[model.depth - 1u] + 1u == model.choices[model.depth - 1u]) {
        model.depth--;
    }
    if (model.depth == 0) {
        return false;
    }
    model.choice[model.depth - 1u]++;
    model.replay = model.depth;
    return true;
}

struct model_result model_explore(const struct model_program *program, uint64_t faults_wanted)
{
    memset(&model, 0, sizeof(model));
    model.program = program;
    model.result.complete = true;
    model.seen = calloc(SEEN_SLOTS, sizeof(*model.seen));
    for (int i = 0; i < MODEL_SIDES; i++) {
        model.sides[i].stack = malloc(STACK_BYTES);
    }
    do {
        execute();
    } while ((faults_wanted == 0 || model.result.stuck + model.result.wrong < faults_wanted) &&
             backtrack());
    for (int i = 0; i < MODEL_SIDES; i++) {
        free(model.sides[i].stack);
    }
    free(model.seen);
    return model.result;
}
