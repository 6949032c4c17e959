// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * When to reset a device that failed: soon the first time, with doubling pauses while it goes on,
 * and soon again once it has run for a while. And the watch for transmissions that never end.
 * Pure arithmetic over times that the caller gives.
 */
#ifndef DRIVERS_NET_RESTART_H
#define DRIVERS_NET_RESTART_H

#include <hallows/types.h>

#define RESTART_PAUSE_FIRST_NS 10000000ull
#define RESTART_PAUSE_MAX_NS 10000000000ull
/* Running for so long forgives earlier resets. */
#define RESTART_STEADY_NS 10000000000ull
/* Transmissions outstanding for so long without one ending: the device is stuck. */
#define TRANSMIT_TIMEOUT_NS 10000000000ull

struct restart {
    time_ns_t at_ns; /* earliest reset; 0: restart_choose has to set it */
    time_ns_t running_since_ns;
    time_ns_t pause_ns;
    uint64_t progress_seen;
    time_ns_t progress_at_ns;
};

static inline void restart_init(struct restart *restart)
{
    *restart = (struct restart){.pause_ns = RESTART_PAUSE_FIRST_NS};
}

/* The device runs again. */
static inline void restart_running(struct restart *restart, time_ns_t now_ns)
{
    restart->at_ns = 0;
    restart->running_since_ns = now_ns;
    restart->progress_at_ns = now_ns;
}

/* The device failed: chooses at_ns. */
static inline void restart_choose(struct restart *restart, time_ns_t now_ns)
{
    if (now_ns - restart->running_since_ns >= RESTART_STEADY_NS) {
        restart->pause_ns = RESTART_PAUSE_FIRST_NS;
    }
    restart->at_ns = now_ns + restart->pause_ns;
    restart->pause_ns = 2u * restart->pause_ns < RESTART_PAUSE_MAX_NS ? 2u * restart->pause_ns
                                                                      : RESTART_PAUSE_MAX_NS;
}

/* Whether transmissions are stuck. `progress` changes with each one that ends. */
static inline bool restart_stuck(struct restart *restart, uint64_t progress, bool outstanding,
                                 time_ns_t now_ns)
{
    if (progress != restart->progress_seen || !outstanding) {
        restart->progress_seen = progress;
        restart->progress_at_ns = now_ns;
    }
    return now_ns - restart->progress_at_ns >= TRANSMIT_TIMEOUT_NS;
}

#endif
