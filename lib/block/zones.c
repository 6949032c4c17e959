// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/block/zones.h"

static void take(struct zones *zones, const struct block_completion *done)
{
    const struct block_zone *told = zones->buffer;
    uint32_t count = zones->block->zone_count;

    zones->asked = false;
    if (done->status != STATUS_OK) {
        return;
    }
    count = count < ZONES_KEPT ? count : ZONES_KEPT;
    for (uint64_t i = 0; i < done->block && zones->next < count; i++) {
        zones->zone[zones->next++] = told[i];
    }
    zones->known = zones->next > zones->known ? zones->next : zones->known;
    zones->next = zones->next < count && done->block != 0 ? zones->next : 0;
}

void zones_look(struct zones *zones, time_ns_t now_ns)
{
    struct block_device *block = zones->block;
    struct block_completion done;

    if (block == NULL || (block->flags & BLOCK_DEVICE_ZONED) == 0) {
        return;
    }
    if (zones->asked && block->ops->poll(block, &done, 1, now_ns) == 1) {
        take(zones, &done);
    }
    if (!zones->asked) {
        struct block_request request = {.block = zones->next * block->zone_blocks,
                                        .blocks = BLOCK_ZONE_REPORT_MAX,
                                        .operation = BLOCK_ZONE_REPORT,
                                        .data = zones->buffer};
        zones->asked = block->ops->submit(block, &request, 1, now_ns) == 1;
    }
}
