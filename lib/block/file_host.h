// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Host programs only: an ordinary file as a plain drive with 512-byte blocks. Requests are executed
 * in block_device poll, one fdatasync for all that must be durable.
 */
#ifndef LIB_BLOCK_FILE_HOST_H
#define LIB_BLOCK_FILE_HOST_H

#include "lib/block/block.h"

#define FILE_HOST_DEPTH 256u

struct file_host {
    struct block_device block;
    int descriptor;
    uint32_t queued;
    struct block_request queue[FILE_HOST_DEPTH];
    uint32_t done_count;
    struct block_completion done[FILE_HOST_DEPTH];
};

/* Opens the file, making it `bytes` long when it is missing or empty. Returns NOT_FOUND when it
 * cannot be opened, IN_USE when another process has it, TOO_LARGE when it cannot be made that long,
 * INVALID_ARGUMENT when it holds less than a block. */
status_t file_host_open(struct file_host *file, const char *path,
                        uint64_t bytes) HALLOWS_MUST_CHECK;
void file_host_close(struct file_host *file);

#endif
