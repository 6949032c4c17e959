// SPDX-License-Identifier: MIT OR Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "lib/base/assert.h"
#include "lib/loglet/rig_fake.h"

#define TURNS_MAX 200000u

void rig_init(struct rig *rig, const struct rig_shape *shape)
{
    memset(rig, 0, sizeof *rig);
    block_fake_init(&rig->fake, shape->drive_bytes / shape->block_bytes, shape->block_bytes,
                    shape->zone_bytes / shape->block_bytes,
                    shape->capacity_bytes / shape->block_bytes);
    rig->drive = &rig->fake.block;
    rig->memory = calloc(1, loglet_device_bytes());
    rig->buffer_bytes = LOGLET_BUFFER_BYTES(shape->record_bytes);
    rig->buffers = aligned_alloc(PAGE_BYTES, rig->buffer_bytes);
    rig->read_buffer = aligned_alloc(PAGE_BYTES, LOGLET_READ_BYTES);
    VERIFY(rig->memory && rig->buffers && rig->read_buffer);
}

void rig_free(struct rig *rig)
{
    block_fake_free(&rig->fake);
    free(rig->memory);
    free(rig->buffers);
    free(rig->read_buffer);
}

void rig_turn(struct rig *rig, uint32_t most)
{
    rig->now_ns += 1000;
    block_fake_run(&rig->fake, most);
    loglet_device_poll(rig->device, rig->now_ns);
}

status_t rig_open(struct rig *rig, uint32_t flags)
{
    struct loglet_config config = {.block = rig->drive,
                                   .buffers = rig->buffers,
                                   .buffer_bytes = rig->buffer_bytes,
                                   .random = {media_random(&rig->fake.media), 42},
                                   .flags = flags};
    memset(rig->memory, 0xa5, loglet_device_bytes());
    memset(rig->buffers, 0x5a, rig->buffer_bytes);
    status_t status = loglet_device_open(rig->memory, &config, rig->now_ns, &rig->device);
    if (status != STATUS_OK) {
        return status;
    }
    for (uint32_t i = 0; i < TURNS_MAX && !rig->fake.off; i++) {
        status = loglet_device_state(rig->device);
        if (status != STATUS_AGAIN) {
            return status;
        }
        rig_turn(rig, 8);
    }
    return STATUS_TIMED_OUT;
}

status_t rig_log(struct rig *rig, const char *name, uint64_t capacity_bytes)
{
    status_t status = loglet_open(rig->device, name, capacity_bytes, &rig->log);
    for (uint32_t i = 0; i < TURNS_MAX && !rig->fake.off; i++) {
        if (status == STATUS_BUSY) {
            status = loglet_open(rig->device, name, capacity_bytes, &rig->log);
        } else if (status != STATUS_OK) {
            return status;
        } else if (loglet_state(rig->log) != STATUS_AGAIN) {
            return loglet_state(rig->log);
        }
        rig_turn(rig, 8);
    }
    return STATUS_TIMED_OUT;
}

status_t rig_close(struct rig *rig)
{
    loglet_device_close(rig->device);
    for (uint32_t i = 0; i < TURNS_MAX && !rig->fake.off; i++) {
        if (loglet_device_state(rig->device) != STATUS_AGAIN) {
            return loglet_device_state(rig->device);
        }
        rig_turn(rig, 8);
    }
    return STATUS_TIMED_OUT;
}

void rig_settle(struct rig *rig)
{
    for (uint32_t i = 0; i < TURNS_MAX && !rig->fake.off && loglet_device_busy(rig->device); i++) {
        rig_turn(rig, 8);
    }
}

static status_t wait_durable(struct rig *rig, log_position_t position)
{
    loglet_commit(rig->log, rig->now_ns);
    for (uint32_t i = 0; i < TURNS_MAX && !rig->fake.off; i++) {
        if (position < loglet_durable(rig->log)) {
            return STATUS_OK;
        }
        if (loglet_state(rig->log) != STATUS_OK) {
            return loglet_state(rig->log);
        }
        rig_turn(rig, 8);
    }
    return STATUS_TIMED_OUT;
}

status_t rig_append(struct rig *rig, const void *data, size_t bytes, log_position_t *position)
{
    struct loglet_piece piece = {data, bytes};
    status_t status = loglet_append(rig->log, &piece, 1, position);

    for (uint32_t i = 0; status == STATUS_WOULD_BLOCK && i < TURNS_MAX && !rig->fake.off; i++) {
        loglet_commit(rig->log, rig->now_ns);
        rig_turn(rig, 8);
        status = loglet_append(rig->log, &piece, 1, position);
    }
    if (status != STATUS_OK) {
        return status;
    }
    return wait_durable(rig, *position);
}

status_t rig_append_pages(struct rig *rig, struct loglet_piece first, const void *pages,
                          uint32_t count, log_position_t *position)
{
    struct loglet_piece piece = {pages, (size_t)count * PAGE_BYTES};
    status_t status = loglet_append_pages(rig->log, &first, &piece, 1, position);

    for (uint32_t i = 0; status == STATUS_WOULD_BLOCK && i < TURNS_MAX && !rig->fake.off; i++) {
        loglet_commit(rig->log, rig->now_ns);
        rig_turn(rig, 8);
        status = loglet_append_pages(rig->log, &first, &piece, 1, position);
    }
    return status != STATUS_OK ? status : wait_durable(rig, *position);
}

status_t rig_read(struct rig *rig, log_position_t position,
                  bool (*take)(void *context, log_position_t position, const uint8_t *data,
                               uint32_t bytes),
                  void *context)
{
    struct loglet_reader reader = {0};
    struct loglet_fragment fragment;
    uint8_t *whole = NULL;
    uint32_t at = 0;
    status_t status = loglet_reader_start(&reader, rig->log, position, rig->read_buffer);

    while (status == STATUS_OK || status == STATUS_AGAIN) {
        status = loglet_reader_next(&reader, &fragment);
        if (status == STATUS_AGAIN) {
            rig_turn(rig, 8);
        } else if (status == STATUS_OK) {
            if (fragment.offset == 0) {
                free(whole);
                whole = malloc(fragment.total_bytes + 1u);
                at = 0;
                VERIFY(whole != NULL);
            }
            VERIFY(fragment.offset == at && fragment.bytes <= fragment.total_bytes - at);
            memcpy(whole + at, fragment.data, fragment.bytes);
            at += fragment.bytes;
            if (at == fragment.total_bytes &&
                !take(context, fragment.position, whole, fragment.total_bytes)) {
                status = STATUS_CANCELLED;
            }
        }
    }
    while (loglet_reader_stop(&reader) == STATUS_AGAIN) {
        rig_turn(rig, 8);
    }
    free(whole);
    return status;
}
