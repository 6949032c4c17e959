// SPDX-License-Identifier: MIT OR Apache-2.0
/* The smallest cell: says hello, reports ready, sleeps until it is told to stop. */
#include "runtime/cell.h"
#include "runtime/syscall.h"

status_t cell_main(const struct cell_info *info)
{
    uint64_t word = 0;

    log_line("%s", config_text(info, "greeting", "hello"));
    status_t status = supervisor_ready();
    while (status == STATUS_OK && (word & CELL_EVENT_SHUTDOWN) == 0) {
        status = notification_wait(CELL_SLOT_NOTIFICATION, DEADLINE_NEVER, &word);
    }
    if (status == STATUS_OK) {
        supervisor_shutdown_done();
    }
    return status;
}
