// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Tests only: a drive that takes exactly the time that its description says (struct share_drive),
 * on the system's clock, over a real one that brings and takes the data. `units` servers take
 * requests in the order in which they come.
 *
 * For machines whose clock is the count of instructions (QEMU's icount): there an emulated drive
 * takes as long as the host likes. So each request is done on the drive below before submit
 * returns, looking at one of its registers meanwhile, which costs the host much time and the
 * guest's clock a few instructions; and it completes when the description's time for it is over.
 *
 * Thread rule: one owner.
 */
#ifndef TESTS_CELLS_TENANTS_PACED_H
#define TESTS_CELLS_TENANTS_PACED_H

#include "drivers/nvme/nvme.h"
#include "lib/block/share.h"

#define PACED_DEPTH 64u
#define PACED_UNITS_MAX 16u

struct paced {
    struct block_device block;
    struct nvme *nvme;
    const struct cell_info *cell;
    struct share_drive drive;
    time_ns_t free_ns[PACED_UNITS_MAX]; /* when each server has done what it has */
    uint64_t random;
    struct {
        struct block_completion completion;
        time_ns_t due_ns;
    } queue[PACED_DEPTH];
    uint32_t queued;
    time_ns_t longest_ns; /* that the drive below took, on the guest's clock */
};

/* As `drive` describes, over the first port of `nvme`, which is ready. */
void paced_init(struct paced *paced, struct nvme *nvme, const struct cell_info *cell,
                const struct share_drive *drive);

#endif
