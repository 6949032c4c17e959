// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * What a cell's program gets from the runtime: its entry, its information page, configuration,
 * console lines, time, and its words with the supervisor.
 *
 * Life cycle: program_start -> program_entry -> cell_main. Returning from cell_main is
 * supervisor_exit with its status. Nothing here locks; any thread may call anything.
 */
#ifndef RUNTIME_CELL_H
#define RUNTIME_CELL_H

#include <hallows/cell.h>
#include <hallows/status.h>
#include <hallows/supervisor.h>
#include <hallows/types.h>

/* The cell's program. */
status_t cell_main(const struct cell_info *info);

/* ---- Workers --------------------------------------------------------------------------------- */

/*
 * What a worker runs, `workers` of the manifest: thread 1, 2, ... on its CPU, beside cell_main,
 * from the beginning; so its first act is to wait until the first thread has made what it needs
 * (worker_await, worker_release). A program without one leaves it waiting. Threads share memory and
 * capabilities; when one faults, or the cell ends, all of them end.
 */
_Noreturn void cell_worker(const struct cell_info *info, uint32_t thread);

/* Where a thread waits. */
static inline cap_slot_t thread_notification(uint32_t thread)
{
    return thread == 0 ? (cap_slot_t)CELL_SLOT_NOTIFICATION : CELL_SLOT_WORKER + thread;
}
/* Signals CELL_EVENT_THREAD to it. Precondition: there are workers. */
void thread_wake(uint32_t thread);

/* A flag that one thread sets once and others wait for. */
struct worker_gate {
    uint32_t open; /* atomic */
};
/* Worker `thread` sleeps until the gate is open; what was written before is seen after. Other
 * signals that it gets meanwhile are lost. */
void worker_await(struct worker_gate *gate, uint32_t thread);
/* Opens it and wakes all workers. */
void worker_release(struct worker_gate *gate, const struct cell_info *info);

/* ---- Console -------------------------------------------------------------------------------- */

/* Lines on the debug console are "NAME: text"; the rest of a longer line is cut off. */
#define LOG_LINE_BYTES 256u

/* Called by program_entry; the initial cell calls it itself. `name` stays the caller's, for ever.
 */
void log_open(cap_slot_t console, const char *name);
/* One line; adds name and newline. Up to 64 bytes in all it reaches the console in one piece, a
 * longer one in several that a more urgent cell may come between. */
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The text alone, without a name; the caller ends the line. */
void log_text(const char *text, size_t bytes);

/* ---- Configuration -------------------------------------------------------------------------- */

/* The value of `key` in the cell's manifest, or fallback. */
const char *config_text(const struct cell_info *info, const char *key, const char *fallback);
/* As a number: decimal or 0x hexadecimal, with K, M or G (powers of 1024) behind it if wanted. A
 * value that is no number is reported on the console once per call and `fallback` returned. */
uint64_t config_u64(const struct cell_info *info, const char *key, uint64_t fallback);
/* true, yes, on, 1 / false, no, off, 0; anything else as config_u64. */
bool config_bool(const struct cell_info *info, const char *key, bool fallback);

/* ---- Time ----------------------------------------------------------------------------------- */

static inline uint64_t clock_ticks(void)
{
    uint32_t low;
    uint32_t high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

/* System time of a TSC value, in ns; 0 for values from before the kernel started counting. */
static inline time_ns_t clock_ns_at(const struct time_calibration *time, uint64_t ticks)
{
    uint64_t since = ticks > time->tsc_base ? ticks - time->tsc_base : 0;
    return (time_ns_t)(((unsigned __int128)since * time->tsc_mult) >> 32);
}

static inline time_ns_t clock_ns(const struct time_calibration *time)
{
    return clock_ns_at(time, clock_ticks());
}

/* ---- Supervisor ----------------------------------------------------------------------------- */

struct cell_status {
    enum cell_state state;
    uint32_t restarts;
    uint32_t faults;
    uint64_t memory_bytes;
    char name[SYSTEM_NAME_BYTES + 1];
};

struct system_status {
    uint32_t cells;
    uint32_t flags; /* enum boot_flags */
    uint64_t ram_bytes;
    uint64_t free_bytes;
    time_ns_t uptime_ns;
};

/* The cell serves now. */
status_t supervisor_ready(void);
/* NOT_FOUND past the last cell. */
status_t supervisor_cell_status(uint32_t cell_index, struct cell_status *status) HALLOWS_MUST_CHECK;
status_t supervisor_system_status(struct system_status *status) HALLOWS_MUST_CHECK;
/* Ends and starts a cell again; see SUPERVISOR_CELL_RESTART for the errors. */
status_t supervisor_cell_restart(uint32_t cell_index) HALLOWS_MUST_CHECK;
/* All state is flushed after CELL_EVENT_SHUTDOWN. */
_Noreturn void supervisor_shutdown_done(void);
/* Ends: OK means for good; anything else is handled as a fault, restarted by the cell's contract.
 */
_Noreturn void supervisor_exit(status_t status);

#endif
