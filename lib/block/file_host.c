// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/block/file_host.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK_SHIFT 9u

static uint32_t file_submit(struct block_device *dev, const struct block_request *requests,
                            uint32_t count, time_ns_t now_ns)
{
    struct file_host *file = (struct file_host *)dev;
    uint32_t taken = 0;

    (void)now_ns;
    while (taken < count && file->queued + file->done_count < FILE_HOST_DEPTH) {
        file->queue[file->queued++] = requests[taken++];
    }
    return taken;
}

static bool transfer_piece(const struct file_host *file, bool read, const struct block_piece *piece,
                           off_t offset)
{
    uint8_t *at = piece->data;
    size_t left = piece->bytes;

    while (left != 0) {
        ssize_t got = read ? pread(file->descriptor, at, left, offset)
                           : pwrite(file->descriptor, at, left, offset);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return false;
        }
        at += got;
        left -= (size_t)got;
        offset += got;
    }
    return true;
}

static bool transfer(const struct file_host *file, const struct block_request *request)
{
    struct block_piece whole = {request->data, request->blocks << BLOCK_SHIFT, 0};
    bool vectored = (request->flags & BLOCK_VECTORED) != 0;
    const struct block_piece *pieces = vectored ? request->data : &whole;
    off_t offset = (off_t)(request->block << BLOCK_SHIFT);

    for (uint32_t i = 0; i < (vectored ? request->pieces : 1u); i++) {
        if (!transfer_piece(file, request->operation == BLOCK_READ, &pieces[i], offset)) {
            return false;
        }
        offset += pieces[i].bytes;
    }
    return true;
}

static status_t execute(struct file_host *file, const struct block_request *request)
{
    switch (request->operation) {
    case BLOCK_FLUSH:
        return STATUS_OK;
    case BLOCK_READ:
    case BLOCK_WRITE:
        if (request->blocks == 0 || request->block >= file->block.block_count ||
            request->blocks > file->block.block_count - request->block) {
            return STATUS_INVALID_ARGUMENT;
        }
        return transfer(file, request) ? STATUS_OK : STATUS_DEVICE_ERROR;
    default:
        return STATUS_UNSUPPORTED;
    }
}

static void run(struct file_host *file)
{
    bool sync = false;

    for (uint32_t i = 0; i < file->queued; i++) {
        const struct block_request *request = &file->queue[i];
        file->done[file->done_count + i] =
            (struct block_completion){.cookie = request->cookie, .status = execute(file, request)};
        sync = sync || request->operation == BLOCK_FLUSH || (request->flags & BLOCK_FUA) != 0;
    }
    if (sync && fdatasync(file->descriptor) != 0) {
        for (uint32_t i = 0; i < file->queued; i++) {
            file->done[file->done_count + i].status = STATUS_DEVICE_ERROR;
        }
    }
    file->done_count += file->queued;
    file->queued = 0;
}

static uint32_t file_poll(struct block_device *dev, struct block_completion *completions,
                          uint32_t max, time_ns_t now_ns)
{
    struct file_host *file = (struct file_host *)dev;

    (void)now_ns;
    run(file);
    uint32_t count = file->done_count < max ? file->done_count : max;
    memcpy(completions, file->done, count * sizeof *completions);
    file->done_count -= count;
    memmove(file->done, file->done + count, file->done_count * sizeof *completions);
    return count;
}

static bool file_arm(struct block_device *dev)
{
    const struct file_host *file = (const struct file_host *)dev;
    return file->queued == 0 && file->done_count == 0;
}

static void file_disarm(struct block_device *dev)
{
    (void)dev;
}

static time_ns_t file_next_due(struct block_device *dev)
{
    return file_arm(dev) ? DEADLINE_NEVER : DEADLINE_NOW;
}

static const struct block_device_ops file_ops = {file_submit, file_poll, file_arm, file_disarm,
                                                 file_next_due};

status_t file_host_open(struct file_host *file, const char *path, uint64_t bytes)
{
    struct stat info;
    status_t status = STATUS_OK;

    memset(file, 0, sizeof *file);
    file->descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (file->descriptor < 0) {
        return STATUS_NOT_FOUND;
    }
    if (flock(file->descriptor, LOCK_EX | LOCK_NB) != 0) {
        status = STATUS_IN_USE;
    } else if (fstat(file->descriptor, &info) != 0) {
        status = STATUS_NOT_FOUND;
    } else if (info.st_size == 0 && ftruncate(file->descriptor, (off_t)bytes) != 0) {
        status = STATUS_TOO_LARGE;
    } else if (info.st_size == 0) {
        info.st_size = (off_t)bytes;
    }
    if (status == STATUS_OK && info.st_size < 1 << BLOCK_SHIFT) {
        status = STATUS_INVALID_ARGUMENT;
    }
    if (status != STATUS_OK) {
        close(file->descriptor);
        return status;
    }
    file->block = (struct block_device){
        .ops = &file_ops,
        .block_count = (uint64_t)info.st_size >> BLOCK_SHIFT,
        .block_bytes = 1u << BLOCK_SHIFT,
        .block_shift = BLOCK_SHIFT,
        .flags = BLOCK_DEVICE_VOLATILE_CACHE,
        .max_transfer_blocks = 1024,
        .queue_depth = FILE_HOST_DEPTH,
    };
    return STATUS_OK;
}

void file_host_close(struct file_host *file)
{
    close(file->descriptor);
}
