// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Test cell (manage = true): ends the cell that its manifest names (`target`), `times` times,
 * `every_ms` after it was seen ready, and says how it went.
 */
#include "lib/base/bytes.h"
#include "runtime/cell.h"
#include "runtime/syscall.h"

#define NS_PER_MS 1000000ull
#define LOOK_NS (5u * NS_PER_MS)

/* Waits, or ends the cell when the system goes down. */
static void wait_for(const struct cell_info *info, uint64_t ns)
{
    uint64_t word = 0;

    (void)notification_wait(CELL_SLOT_NOTIFICATION, clock_ns(&info->time) + ns, &word);
    if ((word & CELL_EVENT_SHUTDOWN) != 0) {
        supervisor_shutdown_done();
    }
}

/* The target's index; CELL_INDEX_NONE if there is no such cell. */
#define CELL_INDEX_NONE 0xffffffffu
static uint32_t target_find(const char *name)
{
    struct cell_status status;

    for (uint32_t i = 0; supervisor_cell_status(i, &status) == STATUS_OK; i++) {
        if (strcmp(status.name, name) == 0) {
            return i;
        }
    }
    return CELL_INDEX_NONE;
}

status_t cell_main(const struct cell_info *info)
{
    const char *name = config_text(info, "target", "nic");
    uint64_t times = config_u64(info, "times", 10);
    uint64_t every_ns = config_u64(info, "every_ms", 500) * NS_PER_MS;
    uint32_t target = target_find(name);

    status_t status = supervisor_ready();
    if (target == CELL_INDEX_NONE) {
        log_line("there is no cell %s", name);
        return STATUS_NOT_FOUND;
    }
    for (uint64_t done = 0; done < times && status == STATUS_OK;) {
        struct cell_status state;
        status = supervisor_cell_status(target, &state);
        if (state.state != CELL_STATE_READY) {
            wait_for(info, LOOK_NS);
            continue;
        }
        wait_for(info, every_ns);
        status = supervisor_cell_restart(target);
        status = status == STATUS_BUSY ? STATUS_OK : status;
        done++;
    }
    log_line("%s ended %lu times: %s", name, times, status_text(status));
    for (;;) {
        wait_for(info, 1000u * NS_PER_MS);
    }
}
