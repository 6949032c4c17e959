// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Test cell: takes all the CPU time that it is given and says what part of the time that was, for
 * the tests of partition schedules. While somebody else runs its clock jumps.
 */
#include "runtime/cell.h"
#include "runtime/syscall.h"

#define JUMP_NS 300000u /* longer than the kernel takes for anything, shorter than a window */
#define REPORT_NS 400000000ul

/* Runs for REPORT_NS; the time that was its own. */
static time_ns_t run(const struct cell_info *info, uint32_t *jumps)
{
    time_ns_t start = clock_ns(&info->time), last = start, own = 0;

    *jumps = 0;
    while (last - start < REPORT_NS) {
        time_ns_t now = clock_ns(&info->time);
        if (now - last < JUMP_NS) {
            own += now - last;
        } else {
            ++*jumps;
        }
        last = now;
    }
    return own;
}

status_t cell_main(const struct cell_info *info)
{
    status_t status = supervisor_ready();

    while (status == STATUS_OK || status == STATUS_TIMED_OUT) {
        uint32_t jumps;
        uint64_t word = 0;
        time_ns_t own = run(info, &jumps);
        log_line("ran %lu of 1000, %u times", own * 1000u / REPORT_NS, jumps);
        status = notification_wait(CELL_SLOT_NOTIFICATION, 0, &word);
        if (status == STATUS_OK && (word & CELL_EVENT_SHUTDOWN) != 0) {
            supervisor_shutdown_done();
        }
    }
    return status;
}
