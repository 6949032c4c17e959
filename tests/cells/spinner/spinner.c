// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Test cell: takes all the CPU time that it is given, until it is asked to shut down. For the tests
 * of budgets and CPUs in manifests.
 */
#include "runtime/cell.h"
#include "runtime/syscall.h"

#define TURNS_BETWEEN_LOOKS 100000u

status_t cell_main(const struct cell_info *info)
{
    status_t status = supervisor_ready();

    (void)info;
    while (status == STATUS_OK || status == STATUS_TIMED_OUT) {
        uint64_t word = 0;
        for (uint32_t turn = 0; turn < TURNS_BETWEEN_LOOKS; turn++) {
            __asm__ volatile("");
        }
        status = notification_wait(CELL_SLOT_NOTIFICATION, 0, &word);
        if (status == STATUS_OK && (word & CELL_EVENT_SHUTDOWN) != 0) {
            supervisor_shutdown_done();
        }
    }
    return status;
}
