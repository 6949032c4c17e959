// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Asks the instruction-counting plugin (bench/plugin) for the guest's totals.
 */
#ifndef BENCH_LOAD_COUNT_HOST_H
#define BENCH_LOAD_COUNT_HOST_H

#include <stdbool.h>
#include <stdint.h>

struct count {
    uint64_t kernel;
    uint64_t user;
    char line[262144]; /* the plugin's whole answer */
};

/* Connects to the plugin's socket; prints what failed and exits. */
void count_open(const char *path);
bool count_is_open(void);
/* Totals now; exits when the plugin does not answer. */
void count_ask(struct count *count);
/* Prints what was counted between two answers, by the names of the plugin's ranges, as the members
 * of a JSON object: "NAME": N, ... */
void count_print_ranges(const struct count *before, const struct count *after);

#endif
