// SPDX-License-Identifier: MIT OR Apache-2.0
#include "services/supervisor/contract.h"

#define NS_PER_S 1000000000ull

bool restart_allowed(struct restart_history *history, const struct system_cell *cell,
                     time_ns_t now_ns)
{
    if (cell->restart != SYSTEM_RESTART_ON_FAULT || cell->restarts_max == 0) {
        return false;
    }
    uint64_t window_ns = cell->restart_window_s * NS_PER_S;
    bool new_window = history->in_window == 0 ||
                      (window_ns != 0 && now_ns - history->window_start_ns >= window_ns);
    if (!new_window && history->in_window >= cell->restarts_max) {
        return false;
    }
    if (new_window) {
        history->window_start_ns = now_ns;
        history->in_window = 0;
    }
    history->in_window++;
    history->total++;
    return true;
}
