// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * A machine of two processors that explores every execution of two small programs over the ring's
 * real headers, for tests (lib/ring/ring_model_test.c).
 *
 * Model. Each access to shared memory is a step of a coroutine. Under x86-TSO (Sewell et al.,
 * "x86-TSO", CACM 2010) stores go through a first-in-first-out buffer for each processor, which
 * empties at any time, and before a fence; under sequential consistency they are seen at once.
 * Each processor may sleep on a doorbell, which remembers that it was rung. A doorbell is seen no
 * earlier than the stores before it: the kernel's own stores follow them in the same order.
 *
 * Search. Executions are repeated from the start along a recorded path; a state (memory, buffers,
 * doorbells, and for each program a digest of all it ever loaded, which determines where it stands)
 * is entered once. States are known by 64-bit digests, so that one may be missed with a probability
 * of about states^2 / 2^65. When no path is left and none was cut off at MODEL_STEPS_MAX, then
 * every execution ends within the longest one's steps, whatever the scheduler does: all waits are
 * bounded.
 *
 * Rules for programs: deterministic but for what they load; all shared state through
 * ring_atomic.h's functions or those below; everything else in local variables. They end by
 * returning.
 */
#ifndef LIB_RING_MODEL_FAKE_H
#define LIB_RING_MODEL_FAKE_H

#include <stdbool.h>
#include <stdint.h>

#define MODEL_SIDES 2
#define MODEL_STEPS_MAX 1000u
#define MODEL_MEMORY_BYTES 1024u

enum model_order { MODEL_SC, MODEL_TSO };

struct model_program {
    void (*setup)(void); /* writes model_memory, which is zero */
    void (*side[MODEL_SIDES])(void);
    enum model_order order;
    uint32_t without_fence; /* bit per side: its fences do nothing, for planted faults */
};

struct model_result {
    uint64_t states;
    uint64_t executions;
    uint64_t longest; /* steps */
    uint64_t stuck;   /* executions that end with a side asleep */
    uint64_t wrong;   /* executions in which model_expect failed */
    bool complete;    /* no state was left out and no path cut off */
};

/* Shared by the sides, 64-byte aligned. */
extern uint8_t model_memory[MODEL_MEMORY_BYTES];

/* Not reentrant. Stops at the first `faults_wanted` stuck or wrong executions unless that is 0. */
struct model_result model_explore(const struct model_program *program, uint64_t faults_wanted);

/* ---- For programs --------------------------------------------------------------------------- */

/* Rings the doorbell of that side. */
void model_ring(int side);
/* Waits until this side's doorbell is rung, and takes the ring. */
void model_sleep(void);
void model_expect(bool condition);

#endif
