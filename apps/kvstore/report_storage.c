// SPDX-License-Identifier: MIT OR Apache-2.0
/* /storage.json, for `./hallows storage`. */
#include "apps/kvstore/cell.h"

#define EXTENTS_TOLD 1024u

typedef unsigned long long ull;

/* A drive's own text (printable ASCII) inside a JSON string. */
static void put_string(struct text *text, const char *from)
{
    text_print(text, "\"");
    for (; *from != '\0'; from++) {
        text_print(text, *from == '"' || *from == '\\' ? "\\%c" : "%c", *from);
    }
    text_print(text, "\"");
}

static void put_drive(const struct nvme *nvme, struct text *text)
{
    const struct block_device *block = &nvme->port.block;
    const struct nvme_health *health = &nvme->health;
    struct nvme_counters sum;

    nvme_count_all(nvme, &sum);
    text_print(text, "\"drive\":{\"model\":");
    put_string(text, nvme->model);
    text_print(text, ",\"serial\":");
    put_string(text, nvme->serial);
    text_print(text, ",\"firmware\":");
    put_string(text, nvme->firmware);
    text_print(text,
               ",\"nvme_version\":\"%u.%u\",\"state\":\"%s\",\"namespace\":%u,\"blocks\":%llu,"
               "\"block_bytes\":%u,\"zones\":%u,\"zone_blocks\":%llu,\"max_active_zones\":%u,"
               "\"atomic_blocks\":%u,\"volatile_cache\":%s",
               nvme->version >> 16, nvme->version >> 8 & 255u,
               nvme_state(nvme) == NVME_READY ? "ready" : "not ready", nvme->port.namespace_id,
               (ull)block->block_count, block->block_bytes, block->zone_count,
               (ull)block->zone_blocks, block->max_active_zones, block->atomic_blocks,
               (block->flags & BLOCK_DEVICE_VOLATILE_CACHE) != 0 ? "true" : "false");
    text_print(text, ",\"errors\":%llu,\"timeouts\":%llu,\"resets\":%llu,\"violations\":%llu}",
               (ull)sum.errors, (ull)sum.timeouts, (ull)sum.resets, (ull)sum.violations);
    if (!health->valid) {
        text_print(text, ",\"health\":null");
        return;
    }
    text_print(text,
               ",\"health\":{\"critical_warning\":%u,\"temperature_kelvin\":%u,"
               "\"spare_percent\":%u,\"used_percent\":%u,\"read_units\":%llu,"
               "\"written_units\":%llu,\"power_cycles\":%llu,\"unsafe_shutdowns\":%llu,"
               "\"media_errors\":%llu,\"error_log_entries\":%llu}",
               health->critical_warning, health->temperature_kelvin, health->spare_percent,
               health->used_percent, (ull)health->read_units, (ull)health->written_units,
               (ull)health->power_cycles, (ull)health->unsafe_shutdowns, (ull)health->media_errors,
               (ull)health->error_log_entries);
}

static void put_contracts(const struct store *store, struct text *text)
{
    const struct share *share = store->share;

    if (share == NULL) {
        text_print(text, ",\"promises\":null,\"contracts\":[]");
        return;
    }
    text_print(text,
               ",\"promises\":{\"parallel\":%u,\"read_ns\":%u,\"write_ns\":%u,"
               "\"promised_ns\":%llu,\"most_ns\":%llu},\"contracts\":[",
               share->drive.units, share->drive.read_ns, share->drive.write_ns,
               (ull)share->promised_ns, (ull)share_can_promise_ns(share));
    for (uint32_t i = 0; i < share->count; i++) {
        const struct share_tenant *tenant = &share->tenants[i];
        text_print(text, "%s{\"name\":", i != 0 ? "," : "");
        put_string(text, store->contracts[i].name);
        text_print(text,
                   ",\"iops\":%u,\"bytes_per_second\":%llu,\"class\":\"%s\","
                   "\"capacity_bytes\":%llu,\"promised_ns\":%llu,\"requests\":%llu,"
                   "\"bytes\":%llu,\"drive_ns\":%llu}",
                   tenant->contract.iops, (ull)tenant->contract.bytes_per_second,
                   tenant->contract.service == SHARE_LATENCY ? "latency" : "normal",
                   (ull)tenant->block.block_count << tenant->block.block_shift, (ull)tenant->weight,
                   (ull)tenant->dispatched, (ull)tenant->bytes, (ull)tenant->drive_ns);
    }
    text_print(text, "]");
}

static void put_zones(const struct zones *zones, struct text *text)
{
    static const char *const states[] = {"?",    "empty",   "open",     "closed",
                                         "full", "offline", "read-only"};

    text_print(text, ",\"zones\":[");
    for (uint32_t i = 0; i < zones->known; i++) {
        const struct block_zone *zone = &zones->zone[i];
        text_print(text, "%s{\"state\":\"%s\",\"written\":%llu,\"capacity\":%llu}",
                   i != 0 ? "," : "", states[zone->state <= BLOCK_ZONE_READ_ONLY ? zone->state : 0],
                   (ull)zone->written_blocks, (ull)zone->capacity);
    }
    text_print(text, "]");
}

static void put_logs(const struct store *store, struct text *text)
{
    const struct loglet_counters *counters = loglet_counters(store->log);
    struct loglet_info info;
    bool any = false;

    text_print(text, ",\"logs\":[");
    for (uint32_t i = 0; i < LOGLET_LOGS_MAX; i++) {
        if (!loglet_enumerate(store->device, i, &info)) {
            continue;
        }
        text_print(text, "%s{\"name\":", any ? "," : "");
        put_string(text, info.name);
        text_print(text,
                   ",\"state\":\"%s\",\"tail\":%llu,\"durable\":%llu,\"capacity_bytes\":%llu,"
                   "\"used_bytes\":%llu,\"free_bytes\":%llu}",
                   status_name(info.state), (ull)info.tail, (ull)info.durable,
                   (ull)info.capacity_bytes, (ull)info.used_bytes, (ull)info.free_bytes);
        any = true;
    }
    text_print(text,
               "],\"written\":{\"appends\":%llu,\"append_bytes\":%llu,\"frames\":%llu,"
               "\"frame_bytes\":%llu,\"padding_bytes\":%llu,\"superblocks\":%llu,"
               "\"retries\":%llu}",
               (ull)counters->appends, (ull)counters->append_bytes, (ull)counters->frames,
               (ull)counters->frame_bytes, (ull)counters->padding_bytes, (ull)counters->superblocks,
               (ull)counters->retries);
}

/* How often each extent was begun, and what went to the drive for what was given. */
static void put_wear(const struct store *store, const struct loglet_space *space, struct text *text)
{
    struct loglet_extent extent;

    text_print(text,
               "\"active\":%u,\"append_bytes\":%llu,\"frame_bytes\":%llu,\"super_bytes\":%llu,"
               "\"wasted_bytes\":%llu,\"uses\":[",
               space->active, (ull)space->append_bytes, (ull)space->frame_bytes,
               (ull)space->super_bytes, (ull)space->wasted_bytes);
    for (uint32_t i = 0; i < EXTENTS_TOLD && loglet_extent(store->device, i, &extent); i++) {
        text_print(text, "%s%d", i != 0 ? "," : "", extent.dead ? -1 : (int)extent.uses);
    }
    text_print(text, "]}");
}

void report_storage(void *context, struct text *text)
{
    struct kvstore *kvstore = context;
    struct store *store = &kvstore->store;
    struct loglet_space space;

    text_print(text, "{");
    put_drive(&store->nvme, text);
    loglet_space(store->device, &space);
    text_print(text,
               ",\"space\":{\"zoned\":%s,\"extents\":%u,\"free\":%u,\"dead\":%u,\"promised\":%u,"
               "\"extent_bytes\":%llu,\"uses_least\":%u,\"uses_most\":%u,\"epoch\":%u,",
               space.zoned ? "true" : "false", space.extents, space.free, space.dead,
               space.promised, (ull)space.extent_bytes, space.uses_least, space.uses_most,
               space.epoch);
    put_wear(store, &space, text);
    put_contracts(store, text);
    put_zones(&store->zones, text);
    zones_look(&store->zones, kvstore_now(kvstore)); /* for whoever asks next */
    put_logs(store, text);
    text_print(text, "}");
    (void)nvme_ask_health(&store->nvme, kvstore_now(kvstore)); /* for whoever asks next */
    store->quiet_until = 0;
}
