// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Whether a failed cell may start again: restarts_max times within restart_window_s seconds,
 * counted from the first restart of the window. Pure.
 */
#ifndef SUPERVISOR_CONTRACT_H
#define SUPERVISOR_CONTRACT_H

#include <hallows/system.h>
#include <hallows/types.h>

struct restart_history {
    uint32_t total;     /* restarts since the system started */
    uint32_t in_window; /* since window_start */
    time_ns_t window_start_ns;
};

/* Counts the restart and returns true, or returns false and counts nothing. A window of 0 s never
 * ends: restarts_max is then for good. */
bool restart_allowed(struct restart_history *history, const struct system_cell *cell,
                     time_ns_t now_ns);

#endif
