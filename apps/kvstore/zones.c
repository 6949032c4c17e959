// SPDX-License-Identifier: MIT OR Apache-2.0
/* The drive's zones, as it last told them, for the status page. */
#include "apps/kvstore/cell.h"

status_t zones_port(struct kvstore *kvstore, struct nvme_port_config *config)
{
    struct zones *zones = &kvstore->store.zones;
    struct dma_region buffer;
    status_t status = dma_take(&kvstore->dma, BLOCK_ZONE_REPORT_BYTES, &buffer);

    *config = (struct nvme_port_config){.port = &zones->port};
    if (status == STATUS_OK) {
        zones->buffer = buffer.base;
        status = dma_take(&kvstore->dma, NVME_PORT_MEMORY_BYTES, &config->dma);
    }
    return status;
}

static void take(struct zones *zones, const struct block_completion *done)
{
    const struct block_zone *told = zones->buffer;
    uint32_t count = zones->port.block.zone_count;

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
    struct block_device *block = &zones->port.block;
    struct block_completion done;

    if (zones->buffer == NULL || (block->flags & BLOCK_DEVICE_ZONED) == 0) {
        return;
    }
    if (zones->asked && nvme_poll(&zones->port, &done, 1, now_ns) == 1) {
        take(zones, &done);
    }
    if (!zones->asked) {
        struct block_request request = {.block = zones->next * block->zone_blocks,
                                        .blocks = BLOCK_ZONE_REPORT_MAX,
                                        .operation = BLOCK_ZONE_REPORT,
                                        .data = zones->buffer};
        zones->asked = nvme_submit(&zones->port, &request, 1, now_ns) == 1;
    }
}
