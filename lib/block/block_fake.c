// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/block/block_fake.h"

#include <string.h>

#include "lib/base/assert.h"

/* Pieces as every drive can take them; else it is the user's bug. */
static void check_pieces(const struct block_device *dev, const struct block_request *request)
{
    const struct block_piece *pieces = request->data;
    uint64_t bytes = 0;

    if ((request->flags & BLOCK_VECTORED) == 0) {
        VERIFY(request->pieces == 0);
        return;
    }
    VERIFY(request->operation == BLOCK_READ || request->operation == BLOCK_WRITE ||
           request->operation == BLOCK_ZONE_APPEND);
    VERIFY(request->pieces != 0 && request->pieces <= BLOCK_PIECES_MAX);
    for (uint32_t i = 0; i < request->pieces; i++) {
        uintptr_t at = (uintptr_t)pieces[i].data;
        VERIFY(pieces[i].bytes != 0 && at % 4u == 0);
        VERIFY(i == 0 || at % PAGE_BYTES == 0);
        VERIFY(i + 1u == request->pieces || (at + pieces[i].bytes) % PAGE_BYTES == 0);
        bytes += pieces[i].bytes;
    }
    VERIFY(bytes == (uint64_t)request->blocks << dev->block_shift);
}

/* The request's data in one piece; `copy` has room for it. */
static void *gather(const struct block_fake *fake, const struct block_request *request,
                    uint8_t *copy)
{
    const struct block_piece *pieces = request->data;
    size_t at = 0;

    if ((request->flags & BLOCK_VECTORED) == 0) {
        return request->data;
    }
    for (uint32_t i = 0; i < request->pieces; i++) {
        memcpy(copy + at, pieces[i].data, pieces[i].bytes);
        at += pieces[i].bytes;
    }
    VERIFY(at == (size_t)request->blocks << fake->block.block_shift);
    return copy;
}

static uint32_t fake_submit(struct block_device *dev, const struct block_request *requests,
                            uint32_t count, time_ns_t now_ns)
{
    struct block_fake *fake = (struct block_fake *)dev;
    uint32_t taken = 0;

    (void)now_ns;
    while (taken < count && fake->queued + fake->done_count < BLOCK_FAKE_DEPTH) {
        const struct block_request *request = &requests[taken++];
        VERIFY(request->operation >= BLOCK_READ && request->operation <= BLOCK_ZONE_REPORT);
        check_pieces(dev, request);
        if (request->operation == BLOCK_READ || request->operation == BLOCK_WRITE) {
            VERIFY(request->blocks <= dev->max_transfer_blocks);
        }
        fake->queue[fake->queued++] = *request;
    }
    return taken;
}

static uint32_t fake_poll(struct block_device *dev, struct block_completion *completions,
                          uint32_t max, time_ns_t now_ns)
{
    struct block_fake *fake = (struct block_fake *)dev;
    uint32_t count = fake->done_count < max ? fake->done_count : max;

    (void)now_ns;
    memcpy(completions, fake->done, count * sizeof *completions);
    fake->done_count -= count;
    memmove(fake->done, fake->done + count, fake->done_count * sizeof *completions);
    return count;
}

static bool fake_arm(struct block_device *dev)
{
    return ((struct block_fake *)dev)->done_count == 0;
}

static void fake_disarm(struct block_device *dev)
{
    (void)dev;
}

static time_ns_t fake_next_due(struct block_device *dev)
{
    (void)dev;
    return DEADLINE_NEVER;
}

static const struct block_device_ops fake_ops = {fake_submit, fake_poll, fake_arm, fake_disarm,
                                                 fake_next_due};

void block_fake_init(struct block_fake *fake, uint64_t block_count, uint32_t block_bytes,
                     uint32_t zone_blocks, uint32_t zone_capacity)
{
    memset(fake, 0, sizeof *fake);
    media_fake_init(&fake->media, block_count, block_bytes, zone_blocks, zone_capacity);
    fake->writes_left = UINT64_MAX;
    fake->block = (struct block_device){
        .ops = &fake_ops,
        .block_count = block_count,
        .block_bytes = block_bytes,
        .block_shift = (uint32_t)__builtin_ctz(block_bytes),
        .flags = BLOCK_DEVICE_VOLATILE_CACHE | BLOCK_DEVICE_DISCARD | BLOCK_DEVICE_WRITE_ZEROES,
        .max_transfer_blocks = 512u * 1024u / block_bytes,
        .queue_depth = BLOCK_FAKE_DEPTH,
    };
    if (zone_blocks != 0) {
        fake->block.flags |= BLOCK_DEVICE_ZONED;
        fake->block.zone_blocks = zone_blocks;
        fake->block.zone_count = fake->media.zone_count;
        fake->block.max_append_blocks = fake->block.max_transfer_blocks;
    }
}

void block_fake_free(struct block_fake *fake)
{
    media_fake_free(&fake->media);
}

static status_t to_status(enum media_error error)
{
    static const status_t statuses[] = {
        [MEDIA_OK] = STATUS_OK,
        [MEDIA_RANGE] = STATUS_INVALID_ARGUMENT,
        [MEDIA_BOUNDARY] = STATUS_FULL,
        [MEDIA_FULL] = STATUS_FULL,
        [MEDIA_INVALID] = STATUS_INVALID_ARGUMENT,
        [MEDIA_READ_ONLY] = STATUS_DEVICE_ERROR,
        [MEDIA_OFFLINE] = STATUS_DEVICE_ERROR,
        [MEDIA_TOO_MANY_ACTIVE] = STATUS_BUSY,
        [MEDIA_TOO_MANY_OPEN] = STATUS_BUSY,
    };
    return statuses[error];
}

static enum media_error report(struct block_fake *fake, const struct block_request *request,
                               uint64_t *count)
{
    const struct media_fake *media = &fake->media;
    struct block_zone *zones = request->data;
    uint64_t first = media->zone_blocks != 0 ? request->block / media->zone_blocks : 0;

    if (media->zones == NULL || request->blocks > BLOCK_ZONE_REPORT_MAX) {
        return MEDIA_INVALID;
    }
    for (*count = 0; *count < request->blocks && first + *count < media->zone_count; ++*count) {
        const struct media_zone *from = &media->zones[first + *count];
        bool full = from->finished || from->written == from->capacity;
        zones[*count] = (struct block_zone){
            .block = (first + *count) * media->zone_blocks,
            .capacity = from->capacity,
            .written_blocks = full || from->read_only ? from->capacity : from->written,
            .state = from->offline        ? BLOCK_ZONE_DEAD
                     : from->read_only    ? BLOCK_ZONE_READ_ONLY
                     : full               ? BLOCK_ZONE_FULL
                     : from->written == 0 ? BLOCK_ZONE_EMPTY
                     : from->open         ? BLOCK_ZONE_OPEN_STATE
                                          : BLOCK_ZONE_CLOSED,
        };
    }
    return MEDIA_OK;
}

static enum media_error execute(struct block_fake *fake, const struct block_request *request,
                                uint64_t *result)
{
    struct media_fake *media = &fake->media;
    bool fua = (request->flags & BLOCK_FUA) != 0;
    void *data = gather(fake, request, fake->gathered);

    switch (request->operation) {
    case BLOCK_READ:
        VERIFY((request->flags & BLOCK_VECTORED) == 0);
        return media_read(media, request->block, request->blocks, data);
    case BLOCK_WRITE:
        return media_write(media, request->block, request->blocks, data, fua);
    case BLOCK_WRITE_ZEROES:
        return media_write(media, request->block, request->blocks, NULL, fua);
    case BLOCK_FLUSH:
        media_flush(media);
        return MEDIA_OK;
    case BLOCK_ZONE_APPEND:
        return media_append(media, request->block, request->blocks, data, fua, result);
    case BLOCK_ZONE_RESET:
        return media_zone_reset(media, request->block);
    case BLOCK_ZONE_FINISH:
        return media_zone_finish(media, request->block);
    case BLOCK_ZONE_REPORT:
        return report(fake, request, result);
    default:
        return MEDIA_OK; /* discard, open, close: nothing to see */
    }
}

static bool is_write(const struct block_request *request)
{
    return request->operation == BLOCK_WRITE || request->operation == BLOCK_ZONE_APPEND ||
           request->operation == BLOCK_FLUSH || request->operation == BLOCK_ZONE_RESET ||
           request->operation == BLOCK_WRITE_ZEROES;
}

static void run_one(struct block_fake *fake, uint32_t index)
{
    struct block_request request = fake->queue[index];
    struct block_completion completion = {.cookie = request.cookie};

    if (is_write(&request)) {
        if (fake->writes_left == 0) {
            fake->off = true;
            return;
        }
        fake->writes_left -= fake->writes_left != UINT64_MAX;
        fake->writes++;
    }
    fake->queued--;
    memmove(&fake->queue[index], &fake->queue[index + 1u],
            (fake->queued - index) * sizeof fake->queue[0]);
    if (fake->fail_next != 0) {
        fake->fail_next--;
        completion.status = STATUS_DEVICE_ERROR;
        completion.device_status = 0x280;
    } else {
        completion.status = to_status(execute(fake, &request, &completion.block));
        completion.device_status = completion.status != STATUS_OK;
        if (request.operation == BLOCK_ZONE_APPEND && fake->deny_next != 0) {
            fake->deny_next--;
            completion.status = STATUS_DEVICE_TIMEOUT;
        }
    }
    fake->executed++;
    fake->done[fake->done_count++] = completion;
}

void block_fake_run(struct block_fake *fake, uint32_t most)
{
    for (; most != 0 && fake->queued != 0 && !fake->off; most--) {
        run_one(fake, fake->any_order ? (uint32_t)(media_random(&fake->media) % fake->queued) : 0);
    }
}

void block_fake_power_cycle(struct block_fake *fake)
{
    for (uint32_t i = 0; i < fake->queued; i++) {
        const struct block_request *request = &fake->queue[i];
        void *data = gather(fake, request, fake->gathered);
        if (request->operation == BLOCK_WRITE) {
            media_tear(&fake->media, request->block, request->blocks, data);
        } else if (request->operation == BLOCK_ZONE_APPEND) {
            const struct media_zone *zone =
                &fake->media.zones[request->block / fake->media.zone_blocks];
            media_tear(&fake->media, request->block + zone->written, request->blocks, data);
        }
    }
    media_cut(&fake->media);
    fake->queued = 0;
    fake->done_count = 0;
    fake->off = false;
    fake->writes_left = UINT64_MAX;
    fake->fail_next = 0;
}
