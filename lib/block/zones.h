// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * A zoned drive's zones, as it last told them: for those who ask what a running system has. Asked
 * through a block device of its own (a port of the drive), so that nobody else's completions are
 * taken, and without waiting: each look takes what came and asks for what comes next.
 *
 * Thread rule: one owner; nothing here locks.
 */
#ifndef LIB_BLOCK_ZONES_H
#define LIB_BLOCK_ZONES_H

#include "lib/block/block.h"

#define ZONES_KEPT 256u /* those behind are not told */

struct zones {
    struct block_device *block; /* NULL: none; then nothing is asked */
    void *buffer;               /* BLOCK_ZONE_REPORT_BYTES of the drive's data memory */
    uint32_t next;              /* zone from which it is asked next */
    uint32_t known;             /* zones that were told, from the first on */
    bool asked;                 /* a report is under way */
    struct block_zone zone[ZONES_KEPT];
};

/* Takes a report that came and asks for the next; nothing on a plain drive. */
void zones_look(struct zones *zones, time_ns_t now_ns);

#endif
