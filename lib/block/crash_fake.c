// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/block/crash_fake.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/assert.h"

#define NO_OPERATION UINT32_MAX

/* ---- Recording ---- */

static void add_event(struct crash_recorder *recorder, uint32_t kind, uint32_t index)
{
    if (recorder->event_count == recorder->events_max) {
        recorder->events_max = recorder->events_max * 2u + 1024u;
        recorder->events =
            realloc(recorder->events, recorder->events_max * sizeof *recorder->events);
        VERIFY(recorder->events != NULL);
    }
    recorder->events[recorder->event_count++] = (struct crash_event){kind, index};
}

void crash_mark(struct crash_recorder *recorder, uint32_t number)
{
    add_event(recorder, CRASH_MARK, number);
}

static uint8_t *copy_data(const struct block_device *block, const struct block_request *request)
{
    size_t bytes = (size_t)request->blocks << block->block_shift;
    const struct block_piece *pieces = request->data;
    uint8_t *copy;
    size_t at = 0;

    if (request->operation != BLOCK_WRITE && request->operation != BLOCK_ZONE_APPEND) {
        return NULL;
    }
    copy = malloc(bytes);
    VERIFY(copy != NULL);
    if ((request->flags & BLOCK_VECTORED) == 0) {
        memcpy(copy, request->data, bytes);
        return copy;
    }
    for (uint32_t i = 0; i < request->pieces; i++) {
        memcpy(copy + at, pieces[i].data, pieces[i].bytes);
        at += pieces[i].bytes;
    }
    VERIFY(at == bytes);
    return copy;
}

static uint32_t recorder_submit(struct block_device *dev, const struct block_request *requests,
                                uint32_t count, time_ns_t now_ns)
{
    struct crash_recorder *recorder = (struct crash_recorder *)dev;
    uint32_t taken = 0;

    while (taken < count) {
        struct block_request request = requests[taken];
        if (recorder->operation_count == recorder->operations_max) {
            recorder->operations_max = recorder->operations_max * 2u + 1024u;
            recorder->operations = realloc(recorder->operations,
                                           recorder->operations_max * sizeof *recorder->operations);
            VERIFY(recorder->operations != NULL);
        }
        request.cookie = recorder->operation_count;
        if (recorder->below->ops->submit(recorder->below, &request, 1, now_ns) == 0) {
            break;
        }
        recorder->operations[recorder->operation_count] = (struct crash_operation){
            .cookie = requests[taken].cookie,
            .block = request.block,
            .blocks = request.blocks,
            .operation = request.operation,
            .flags = request.flags,
            .data = copy_data(dev, &request),
        };
        add_event(recorder, CRASH_SUBMIT, recorder->operation_count++);
        taken++;
    }
    return taken;
}

static uint32_t recorder_poll(struct block_device *dev, struct block_completion *completions,
                              uint32_t max, time_ns_t now_ns)
{
    struct crash_recorder *recorder = (struct crash_recorder *)dev;
    uint32_t count = recorder->below->ops->poll(recorder->below, completions, max, now_ns);

    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = (uint32_t)completions[i].cookie;
        struct crash_operation *operation = &recorder->operations[index];
        operation->completed = true;
        operation->good = completions[i].status == STATUS_OK;
        if (operation->operation == BLOCK_ZONE_APPEND && operation->good) {
            operation->block = completions[i].block;
        }
        completions[i].cookie = operation->cookie;
        add_event(recorder, CRASH_COMPLETE, index);
    }
    return count;
}

static bool recorder_arm(struct block_device *dev)
{
    struct block_device *below = ((struct crash_recorder *)dev)->below;
    return below->ops->arm(below);
}

static void recorder_disarm(struct block_device *dev)
{
    struct block_device *below = ((struct crash_recorder *)dev)->below;
    below->ops->disarm(below);
}

static time_ns_t recorder_next_due(struct block_device *dev)
{
    struct block_device *below = ((struct crash_recorder *)dev)->below;
    return below->ops->next_due(below);
}

static const struct block_device_ops recorder_ops = {recorder_submit, recorder_poll, recorder_arm,
                                                     recorder_disarm, recorder_next_due};

void crash_recorder_init(struct crash_recorder *recorder, struct block_device *below)
{
    memset(recorder, 0, sizeof *recorder);
    recorder->block = *below;
    recorder->block.ops = &recorder_ops;
    recorder->below = below;
}

void crash_recorder_free(struct crash_recorder *recorder)
{
    for (uint32_t i = 0; i < recorder->operation_count; i++) {
        free(recorder->operations[i].data);
    }
    free(recorder->operations);
    free(recorder->events);
}

/* ---- Replaying ---- */

static bool is_write(const struct crash_operation *operation)
{
    return operation->operation == BLOCK_WRITE || operation->operation == BLOCK_ZONE_APPEND ||
           operation->operation == BLOCK_WRITE_ZEROES;
}

void crash_replayer_init(struct crash_replayer *replayer, const struct crash_recorder *recorder,
                         const struct media_fake *like)
{
    memset(replayer, 0, sizeof *replayer);
    replayer->recorder = recorder;
    media_fake_init(&replayer->media, like->block_count, like->block_bytes, like->zone_blocks,
                    like->zones != NULL ? (uint32_t)like->zones[0].capacity : 0);
    replayer->begun = calloc(recorder->operation_count, sizeof *replayer->begun);
    replayer->skip = NO_OPERATION;
    replayer->done = calloc(recorder->operation_count, sizeof *replayer->done);
    replayer->saw = calloc(recorder->operation_count, sizeof *replayer->saw);
    VERIFY(replayer->begun != NULL && replayer->done != NULL && replayer->saw != NULL);
}

void crash_replayer_free(struct crash_replayer *replayer)
{
    media_fake_free(&replayer->media);
    free(replayer->begun);
    free(replayer->done);
    free(replayer->saw);
}

/* Writes of before a zone's reset are nothing that a flush could keep. */
static void forget_writes(struct crash_replayer *replayer, uint64_t zone_block)
{
    for (uint32_t i = 0; i < replayer->done_count; i++) {
        uint32_t index = replayer->done[i];
        if (index == NO_OPERATION) {
            continue;
        }
        const struct crash_operation *done = &replayer->recorder->operations[index];
        if (done->block / replayer->media.zone_blocks == zone_block / replayer->media.zone_blocks) {
            replayer->done[i] = NO_OPERATION;
        }
    }
}

/* What a completed operation has done. Appends are replayed as writes to where they went. */
static void apply(struct crash_replayer *replayer, const struct crash_operation *operation)
{
    struct media_fake *media = &replayer->media;
    bool fua = (operation->flags & BLOCK_FUA) != 0;

    if (!operation->good) {
        return;
    }
    switch (operation->operation) {
    case BLOCK_WRITE:
    case BLOCK_ZONE_APPEND:
    case BLOCK_WRITE_ZEROES:
        media_put(media, operation->block, operation->blocks, operation->data, fua);
        replayer->done[replayer->done_count++] =
            (uint32_t)(operation - replayer->recorder->operations);
        break;
    case BLOCK_FLUSH:
        /* Only what had completed when it was submitted is promised. */
        for (uint32_t i = 0; i < replayer->saw[operation - replayer->recorder->operations]; i++) {
            if (replayer->done[i] == NO_OPERATION) {
                continue;
            }
            const struct crash_operation *done = &replayer->recorder->operations[replayer->done[i]];
            media_settle(media, done->block, done->blocks);
        }
        break;
    case BLOCK_ZONE_RESET:
        VERIFY(media_zone_reset(media, operation->block) == MEDIA_OK);
        forget_writes(replayer, operation->block);
        break;
    case BLOCK_ZONE_FINISH:
        VERIFY(media_zone_finish(media, operation->block) == MEDIA_OK);
        break;
    default:
        break;
    }
}

bool crash_replayer_step(struct crash_replayer *replayer)
{
    const struct crash_recorder *recorder = replayer->recorder;

    if (replayer->at == recorder->event_count) {
        return false;
    }
    struct crash_event event = recorder->events[replayer->at++];
    switch (event.kind) {
    case CRASH_MARK:
        replayer->mark = event.index;
        replayer->marked = true;
        break;
    case CRASH_SUBMIT:
        replayer->begun[replayer->begun_count++] = event.index;
        if (recorder->operations[event.index].operation == BLOCK_FLUSH) {
            replayer->saw[event.index] = replayer->done_count;
        }
        break;
    default:
        for (uint32_t i = 0; i < replayer->begun_count; i++) {
            if (replayer->begun[i] == event.index) {
                replayer->begun[i] = replayer->begun[--replayer->begun_count];
                break;
            }
        }
        if (event.index != replayer->skip) {
            apply(replayer, &recorder->operations[event.index]);
        }
        break;
    }
    return true;
}

/* What was begun and did not complete: each may have happened, in part, or not at all. */
static void apply_begun(const struct crash_replayer *replayer, struct media_fake *media)
{
    uint32_t order[64];
    uint32_t count = 0;

    for (uint32_t i = 0; i < replayer->begun_count && count < 64u; i++) {
        uint32_t other = (uint32_t)(media_random(media) % (count + 1u));
        order[count] = order[other];
        order[other] = replayer->begun[i];
        count++;
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct crash_operation *operation = &replayer->recorder->operations[order[i]];
        uint64_t fate = media_random(media) % 3u;
        if (fate == 0) {
            continue;
        }
        if (is_write(operation)) {
            uint64_t block = operation->block;
            if (media->zones != NULL) {
                uint64_t zone = block / media->zone_blocks;
                block = zone * media->zone_blocks + media->zones[zone].written;
            }
            if (fate == 1) {
                media_tear(media, block, operation->blocks, operation->data);
            } else {
                media_put(media, block, operation->blocks, operation->data, false);
            }
        } else if (operation->operation == BLOCK_ZONE_RESET) {
            (void)media_zone_reset(media, operation->block);
        } else if (operation->operation == BLOCK_ZONE_FINISH) {
            (void)media_zone_finish(media, operation->block);
        }
    }
}

void crash_replayer_cut(const struct crash_replayer *replayer, struct media_fake *media,
                        uint64_t random)
{
    media_copy(media, &replayer->media);
    media->random = random;
    apply_begun(replayer, media);
    media_cut(media);
}
