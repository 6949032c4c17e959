// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * One drive, used by all threads of the cell at once: each has a queue pair and an interrupt of its
 * own, and writes and reads back blocks of its own. The first thread owns the controller.
 */
#ifndef TESTS_CELLS_DRIVES_TOGETHER_H
#define TESTS_CELLS_DRIVES_TOGETHER_H

#include "drivers/nvme/nvme.h"

/* The ports of a controller that is ready: the n-th is thread n's. `data`: TOGETHER_BYTES for each
 * thread. Called by the first thread; returns how many requests went wrong in all. */
#define TOGETHER_BYTES (16u * 512u)
uint32_t together_run(const struct cell_info *info, struct nvme_port *const *ports, uint8_t *data);

#endif
