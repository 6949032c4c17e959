// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Benchmarks of the kernel (command line: bench). Run under `-icount shift=0,sleep=off` a TSC tick
 * is one instruction; each figure is the smallest of ROUNDS, less what reading the TSC costs. One
 * line each: BENCH name value unit.
 */
#include "tests/kernel/harness.h"

#define ROUNDS 32u

/* RDTSC and its moves, measured the same way. */
static uint64_t overhead;

static uint64_t tsc(void)
{
    return clock_ticks();
}

static void report(const char *name, uint64_t ticks)
{
    print("BENCH %s %lu instr\n", name, ticks > overhead ? ticks - overhead : 0);
}

/* The smallest of ROUNDS runs of `statement`. */
#define MEASURE(name, statement)                                                                   \
    do {                                                                                           \
        uint64_t best = UINT64_MAX;                                                                \
        for (uint32_t round = 0; round < ROUNDS; round++) {                                        \
            uint64_t from = tsc();                                                                 \
            statement;                                                                             \
            uint64_t ticks = tsc() - from;                                                         \
            best = ticks < best ? ticks : best;                                                    \
        }                                                                                          \
        report(name, best);                                                                        \
    } while (0)

static void measure_overhead(void)
{
    overhead = UINT64_MAX;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint64_t from = tsc();
        uint64_t ticks = tsc() - from;
        overhead = ticks < overhead ? ticks : overhead;
    }
}

static void bench_calls(void)
{
    cap_slot_t notification = object_new(OBJECT_NOTIFICATION, 0);
    uint64_t values[2];
    MEASURE("syscall", (void)yield());
    MEASURE("cap-identify", (void)cap_identify(notification, values));
    MEASURE("signal-nobody-waits", (void)notification_signal(notification));
}

void benchmarks_run(void)
{
    measure_overhead();
    bench_calls();
}
