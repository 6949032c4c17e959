// SPDX-License-Identifier: MIT OR Apache-2.0
#include "drivers/nvme/nvme.h"

typedef unsigned long long ull;

static void put_health(const struct nvme_health *health, const struct account *account)
{
    if (!health->valid) {
        account_print(account, ",\"health\":null");
        return;
    }
    account_print(account,
                  ",\"health\":{\"critical_warning\":%u,\"temperature_kelvin\":%u,"
                  "\"spare_percent\":%u,\"used_percent\":%u,\"read_units\":%llu,"
                  "\"written_units\":%llu,\"power_cycles\":%llu,\"unsafe_shutdowns\":%llu,"
                  "\"media_errors\":%llu,\"error_log_entries\":%llu}",
                  health->critical_warning, health->temperature_kelvin, health->spare_percent,
                  health->used_percent, (ull)health->read_units, (ull)health->written_units,
                  (ull)health->power_cycles, (ull)health->unsafe_shutdowns,
                  (ull)health->media_errors, (ull)health->error_log_entries);
}

/* The error log's newest entries. */
static void put_errors(const struct nvme *nvme, const struct account *account)
{
    account_print(account, ",\"error_log\":[");
    for (uint32_t i = 0; i < nvme->error_count; i++) {
        const struct nvme_error *error = &nvme->errors[i];
        account_print(account,
                      "%s{\"number\":%llu,\"status\":%u,\"queue\":%u,\"namespace\":%u,"
                      "\"block\":%llu}",
                      i != 0 ? "," : "", (ull)error->number, error->device_status, error->queue,
                      error->namespace_id, (ull)error->block);
    }
    account_print(account, "]");
}

/* How many ports the namespace is used through. */
static uint32_t ports_of(const struct nvme *nvme, uint32_t id)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < nvme->port_count; i++) {
        count += nvme->ports[i]->namespace_id == id;
    }
    return count;
}

static void put_namespaces(const struct nvme *nvme, const struct account *account)
{
    account_print(account, ",\"namespaces\":[");
    for (uint32_t i = 0; i < nvme->namespace_count; i++) {
        const struct nvme_namespace *namespace = &nvme->namespaces[i];
        account_print(account, "%s{\"id\":%u,\"ports\":%u,\"known\":%s,\"usable\":%s",
                      i != 0 ? "," : "", namespace->id, ports_of(nvme, namespace->id),
                      namespace->known ? "true" : "false", namespace->usable ? "true" : "false");
        account_print(account,
                      ",\"blocks\":%llu,\"used_blocks\":%llu,\"block_bytes\":%u,"
                      "\"zone_blocks\":%llu,\"max_active_zones\":%u,\"max_open_zones\":%u}",
                      (ull) namespace->blocks, (ull) namespace->used_blocks, namespace->block_bytes,
                      (ull) namespace->zone_blocks, namespace->max_active_zones,
                      namespace->max_open_zones);
    }
    account_print(account, "]");
}

void nvme_account(const struct nvme *nvme, const struct account *account)
{
    const struct block_device *block = &nvme->port.block;
    struct nvme_counters sum;

    nvme_count_all(nvme, &sum);
    account_print(account, ",\"drive\":{\"model\":");
    account_text(account, nvme->model);
    account_print(account, ",\"serial\":");
    account_text(account, nvme->serial);
    account_print(account, ",\"firmware\":");
    account_text(account, nvme->firmware);
    account_print(account,
                  ",\"nvme_version\":\"%u.%u\",\"state\":\"%s\",\"answers\":%llu,"
                  "\"namespace\":%u,\"blocks\":%llu,\"block_bytes\":%u,\"zones\":%u,"
                  "\"zone_blocks\":%llu,\"max_active_zones\":%u,\"atomic_blocks\":%u,"
                  "\"volatile_cache\":%s",
                  nvme->version >> 16, nvme->version >> 8 & 255u,
                  nvme_state(nvme) == NVME_READY ? "ready" : "not ready", (ull)nvme->answers,
                  nvme->port.namespace_id, (ull)block->block_count, block->block_bytes,
                  block->zone_count, (ull)block->zone_blocks, block->max_active_zones,
                  block->atomic_blocks,
                  (block->flags & BLOCK_DEVICE_VOLATILE_CACHE) != 0 ? "true" : "false");
    account_print(account, ",\"errors\":%llu,\"timeouts\":%llu,\"resets\":%llu,\"violations\":%llu",
                  (ull)sum.errors, (ull)sum.timeouts, (ull)sum.resets, (ull)sum.violations);
    put_namespaces(nvme, account);
    put_errors(nvme, account);
    account_print(account, "}");
    put_health(&nvme->health, account);
}
