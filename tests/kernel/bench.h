// SPDX-License-Identifier: MIT OR Apache-2.0
/* What the benchmarks of the kernel share: bench.c. */
#ifndef TESTS_KERNEL_BENCH_H
#define TESTS_KERNEL_BENCH_H

#include "tests/kernel/bench_marks.h"
#include "tests/kernel/harness.h"

/* Ticks that measuring nothing takes. */
uint64_t bench_nothing(void);

static inline void report(const char *name, uint64_t instructions)
{
    BENCH_MARK(BENCH_MARK_REPORT);
    print("BENCH kernel/%s %lu instr\n", name, instructions);
}

static inline uint64_t without(uint64_t ticks, uint64_t cost)
{
    return ticks > cost ? ticks - cost : 0;
}

/* The longest entries, with hostile arguments. */
void benchmarks_longest(void);
/* How late windows of a partition schedule begin. */
void benchmarks_partition(void);

#endif
