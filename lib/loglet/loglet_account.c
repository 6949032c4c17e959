// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/loglet/loglet_internal.h"

#define EXTENTS_TOLD 1024u

typedef unsigned long long ull;

/* How often each extent was begun; -1: it is dead. */
static void put_space(const struct loglet_device *device, const struct account *account)
{
    struct loglet_space space;
    struct loglet_extent extent;

    loglet_space(device, &space);
    account_print(account,
                  ",\"space\":{\"zoned\":%s,\"extents\":%u,\"free\":%u,\"dead\":%u,"
                  "\"promised\":%u,\"extent_bytes\":%llu,\"uses_least\":%u,\"uses_most\":%u,"
                  "\"epoch\":%u,\"active\":%u,",
                  space.zoned ? "true" : "false", space.extents, space.free, space.dead,
                  space.promised, (ull)space.extent_bytes, space.uses_least, space.uses_most,
                  space.epoch, space.active);
    account_print(account,
                  "\"append_bytes\":%llu,\"frame_bytes\":%llu,\"super_bytes\":%llu,"
                  "\"wasted_bytes\":%llu,\"uses\":[",
                  (ull)space.append_bytes, (ull)space.frame_bytes, (ull)space.super_bytes,
                  (ull)space.wasted_bytes);
    for (uint32_t i = 0; i < EXTENTS_TOLD && loglet_extent(device, i, &extent); i++) {
        account_print(account, "%s%d", i != 0 ? "," : "", extent.dead ? -1 : (int)extent.uses);
    }
    account_print(account, "]}");
}

void loglet_account(const struct loglet_device *device, const struct account *account)
{
    struct loglet_info info;
    bool any = false;

    put_space(device, account);
    account_print(account, ",\"logs\":[");
    for (uint32_t i = 0; i < LOGLET_LOGS_MAX; i++) {
        const struct loglet_counters *counters = &device->logs[i].counters;
        if (!loglet_enumerate(device, i, &info)) {
            continue;
        }
        account_print(account, "%s{\"name\":", any ? "," : "");
        account_text(account, info.name);
        account_print(account,
                      ",\"state\":\"%s\",\"tail\":%llu,\"durable\":%llu,\"capacity_bytes\":%llu,"
                      "\"used_bytes\":%llu,\"free_bytes\":%llu,",
                      status_name(info.state), (ull)info.tail, (ull)info.durable,
                      (ull)info.capacity_bytes, (ull)info.used_bytes, (ull)info.free_bytes);
        account_print(account,
                      "\"appends\":%llu,\"append_bytes\":%llu,\"frames\":%llu,"
                      "\"frame_bytes\":%llu,\"padding_bytes\":%llu,\"retries\":%llu}",
                      (ull)counters->appends, (ull)counters->append_bytes, (ull)counters->frames,
                      (ull)counters->frame_bytes, (ull)counters->padding_bytes,
                      (ull)counters->retries);
        any = true;
    }
    account_print(account, "]");
}
