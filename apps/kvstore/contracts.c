// SPDX-License-Identifier: MIT OR Apache-2.0
/* Contracts of the manifest: the log is one of the drive's tenants then. */
#include "apps/kvstore/cell.h"

#define LOG_CONTRACT "log"

/* Declared, or measured by reading: the drive may hold a log, so nothing is written for that. The
 * memory is not taken: whoever takes it next gets it. */
static status_t describe(struct kvstore *kvstore, struct share_drive *drive)
{
    const struct cell_info *info = kvstore->info;
    struct block_device *block = &kvstore->store.nvme.port.block;
    size_t used = kvstore->dma.used_bytes;
    status_t status = contract_drive(info->config, info->config_bytes, drive);
    struct measure measure;

    if (status == STATUS_NOT_FOUND) {
        if (kvstore->dma.all.bytes - used < (size_t)MEASURE_DEPTH * MEASURE_BYTES) {
            return STATUS_NO_MEMORY;
        }
        status = measure_start(&measure, block, kvstore->dma.all.base + used, 0, 0,
                               kvstore_now(kvstore));
        while (status == STATUS_OK) {
            status = measure_poll(&measure, kvstore_now(kvstore));
            if (status == STATUS_OK) {
                *drive = measure.result;
                break;
            }
            status = status == STATUS_AGAIN ? STATUS_OK : status;
        }
        log_line("drive measured: %u at a time, a read takes %u ns and %u ps a byte", drive->units,
                 drive->read_ns, drive->read_byte_ps);
    }
    drive->block = block;
    return status;
}

static status_t admit(struct kvstore *kvstore, uint32_t index)
{
    struct store *store = &kvstore->store;
    struct contract *contract = &store->contracts[index];
    const struct block_device *block = &store->nvme.port.block;
    struct share_tenant *tenant;
    char line[CONTRACT_LINE_BYTES];
    status_t status =
        contract_read(kvstore->info->config, kvstore->info->config_bytes, index, block,
                      block->block_count - store->share->given_blocks, contract);

    if (status == STATUS_OK) {
        status = share_admit(store->share, &contract->share, &tenant);
    }
    if (status != STATUS_OK) {
        contract_explain(store->share, contract, status, line);
        log_line("%s", line);
    } else if (strcmp(contract->name, LOG_CONTRACT) == 0) {
        store->block = &tenant->block;
    }
    return status;
}

status_t contracts_admit(struct kvstore *kvstore)
{
    struct store *store = &kvstore->store;
    const struct cell_info *info = kvstore->info;
    uint32_t count = contract_count(info->config, info->config_bytes);
    struct share_drive drive = {0};

    store->block = &store->nvme.port.block;
    if (count == 0) {
        return STATUS_OK;
    }
    store->share = heap_allocate(kvstore->heap, sizeof *store->share);
    store->contracts = heap_allocate(kvstore->heap, count * sizeof *store->contracts);
    if (store->share == NULL || store->contracts == NULL) {
        return STATUS_NO_MEMORY;
    }
    status_t status = describe(kvstore, &drive);
    if (status == STATUS_OK) {
        status = share_init(store->share, &drive);
    }
    for (uint32_t i = 0; i < count && status == STATUS_OK; i++) {
        status = admit(kvstore, i);
    }
    if (status == STATUS_OK && store->block == &store->nvme.port.block) {
        log_line("the manifest has contracts, but none is [contract." LOG_CONTRACT "]");
        status = STATUS_INVALID_ARGUMENT;
    }
    return status;
}
