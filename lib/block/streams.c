// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/block/streams.h"

#include "lib/base/bytes.h"

static uint32_t streams_submit(struct block_device *dev, const struct block_request *requests,
                               uint32_t count, time_ns_t now_ns)
{
    struct streams *streams = (struct streams *)dev;
    uint32_t handles = streams->share->drive.block->placements;

    for (uint32_t i = 0; i < count; i++) {
        struct block_request request = requests[i];
        bool placed = (request.flags & BLOCK_PLACED) != 0 && request.placement < STREAMS_MAX;
        uint32_t index = placed ? streams->tenant_of[request.placement] : 0;
        struct block_device *tenant = &streams->share->tenants[index].block;
        if (request.operation == BLOCK_WRITE && placed && handles != 0) {
            request.placement = (uint8_t)(request.placement % handles);
        } else {
            request.flags &= (uint8_t)~BLOCK_PLACED;
        }
        if (tenant->ops->submit(tenant, &request, 1, now_ns) == 0) {
            return i;
        }
    }
    return count;
}

/* Completions of all tenants, those of another one first each time. */
static uint32_t streams_poll(struct block_device *dev, struct block_completion *completions,
                             uint32_t max, time_ns_t now_ns)
{
    struct streams *streams = (struct streams *)dev;
    struct share *share = streams->share;
    uint32_t count = 0;

    share_poll(share, now_ns);
    for (uint32_t i = 0; i < share->count && count < max; i++) {
        struct share_tenant *tenant = &share->tenants[(streams->next + i) % share->count];
        count += share_take(tenant, completions + count, max - count);
    }
    streams->next = (streams->next + 1u) % share->count;
    return count;
}

static bool streams_arm(struct block_device *dev)
{
    struct block_device *tenant = &((struct streams *)dev)->share->tenants[0].block;

    return tenant->ops->arm(tenant);
}

static void streams_disarm(struct block_device *dev)
{
    struct block_device *tenant = &((struct streams *)dev)->share->tenants[0].block;

    tenant->ops->disarm(tenant);
}

static time_ns_t streams_next_due(struct block_device *dev)
{
    const struct share *share = ((struct streams *)dev)->share;
    time_ns_t due = DEADLINE_NEVER;

    for (uint32_t i = 0; i < share->count; i++) {
        struct block_device *tenant =
            (struct block_device *)(uintptr_t)&share->tenants[i].block; /* asks, changes nothing */
        time_ns_t one = tenant->ops->next_due(tenant);
        due = one < due ? one : due;
    }
    return due;
}

static const struct block_device_ops streams_ops = {streams_submit, streams_poll, streams_arm,
                                                    streams_disarm, streams_next_due};

void streams_init(struct streams *streams, struct share *share)
{
    memset(streams, 0, sizeof *streams);
    streams->share = share;
    streams->block = *share->drive.block;
    streams->block.ops = &streams_ops;
    streams->block.flags &= ~(uint32_t)BLOCK_DEVICE_COPY;
    streams->block.flags |= BLOCK_DEVICE_STREAMS;
    streams->block.placements = STREAMS_MAX;
}

void streams_assign(struct streams *streams, uint32_t placement, const struct share_tenant *tenant)
{
    if (placement < STREAMS_MAX) {
        streams->tenant_of[placement] = (uint8_t)(tenant - streams->share->tenants);
    }
}
