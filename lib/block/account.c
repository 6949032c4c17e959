// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/block/account.h"

#include "lib/base/bytes.h"
#include "lib/base/format.h"

typedef unsigned long long ull;

void account_print(const struct account *account, const char *format, ...)
{
    char line[ACCOUNT_PRINT_BYTES];
    va_list arguments;

    va_start(arguments, format);
    size_t length = format_text_va(line, sizeof line, format, arguments);
    va_end(arguments);
    account->put(account->context, line, length < sizeof line ? length : sizeof line - 1u);
}

void account_bytes(const struct account *account, const uint8_t *bytes, size_t count)
{
    const volatile uint8_t *from = bytes;
    char line[ACCOUNT_PRINT_BYTES];
    size_t filled = 1;

    line[0] = '"';
    for (size_t i = 0; i < count; i++) {
        char c = (char)from[i];
        c = c >= ' ' && c <= '~' ? c : '?';
        if (filled + 3u > sizeof line) {
            account->put(account->context, line, filled);
            filled = 0;
        }
        if (c == '"' || c == '\\') {
            line[filled++] = '\\';
        }
        line[filled++] = c;
    }
    line[filled++] = '"';
    account->put(account->context, line, filled);
}

void account_text(const struct account *account, const char *text)
{
    account_bytes(account, (const uint8_t *)text, strlen(text));
}

void account_promises(const struct account *account, const struct share *share)
{
    if (share == NULL) {
        account_print(account, ",\"promises\":null");
        return;
    }
    account_print(account,
                  ",\"promises\":{\"parallel\":%u,\"read_ns\":%u,\"write_ns\":%u,"
                  "\"promised_ns\":%llu,\"most_ns\":%llu}",
                  share->drive.units, share->drive.read_ns, share->drive.write_ns,
                  (ull)share->promised_ns, (ull)share_can_promise_ns(share));
}

void account_contract(const struct account *account, const char *name, const char *log,
                      const struct share_tenant *tenant, uint64_t capacity_bytes)
{
    const struct share_contract *contract = &tenant->contract;

    account_print(account, "{\"name\":");
    account_text(account, name);
    account_print(account, ",\"log\":");
    if (log != NULL) {
        account_text(account, log);
    } else {
        account_print(account, "null");
    }
    account_print(account,
                  ",\"iops\":%u,\"bytes_per_second\":%llu,\"class\":\"%s\","
                  "\"capacity_bytes\":%llu,\"promised_ns\":%llu,\"requests\":%llu,"
                  "\"bytes\":%llu,\"drive_ns\":%llu}",
                  contract->iops, (ull)contract->bytes_per_second,
                  contract->service == SHARE_LATENCY ? "latency" : "normal", (ull)capacity_bytes,
                  (ull)tenant->weight, (ull)tenant->dispatched, (ull)tenant->bytes,
                  (ull)tenant->drive_ns);
}

void account_zones(const struct account *account, const struct zones *zones)
{
    static const char *const states[] = {"?",    "empty",   "open",     "closed",
                                         "full", "offline", "read-only"};

    account_print(account, ",\"zones\":[");
    for (uint32_t i = 0; i < zones->known; i++) {
        const struct block_zone *zone = &zones->zone[i];
        account_print(account, "%s{\"state\":\"%s\",\"written\":%llu,\"capacity\":%llu}",
                      i != 0 ? "," : "",
                      states[zone->state <= BLOCK_ZONE_READ_ONLY ? zone->state : 0],
                      (ull)zone->written_blocks, (ull)zone->capacity);
    }
    account_print(account, "]");
}
