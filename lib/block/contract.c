// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/block/contract.h"

#include "lib/base/bytes.h"
#include "lib/base/format.h"
#include "lib/config/config.h"

#define KEY_BYTES 64u
#define MB 1000000u

/* Name `index` of the list; its length, 0: there is no such, or it is too long. */
static size_t find_name(const char *list, uint32_t index, const char **name)
{
    for (const char *at = list;; index--) {
        while (*at == ' ') {
            at++;
        }
        size_t length = 0;
        while (at[length] != '\0' && at[length] != ' ') {
            length++;
        }
        if (length == 0 || index == 0) {
            *name = at;
            return length < CONTRACT_NAME_BYTES ? length : 0;
        }
        at += length;
    }
}

uint32_t contract_count(const char *config, size_t bytes)
{
    const char *list = config_find(config, bytes, "contracts");
    const char *name;
    uint32_t count = 0;

    while (list != NULL && count < SHARE_TENANTS_MAX && find_name(list, count, &name) != 0) {
        count++;
    }
    return count;
}

/* A number of the contract, 0 where it is not there. */
static bool number_of(const char *config, size_t bytes, const char *prefix, const char *name,
                      const char *key, uint64_t *value)
{
    char whole[KEY_BYTES];

    (void)format_text(whole, sizeof whole, "%s%s%s", prefix, name, key);
    const char *text = config_find(config, bytes, whole);
    *value = 0;
    return text == NULL || config_parse_u64(text, value) == STATUS_OK;
}

static bool flag_of(const char *config, size_t bytes, const char *name, bool *value)
{
    char whole[KEY_BYTES];

    (void)format_text(whole, sizeof whole, "contract.%s.whole", name);
    const char *text = config_find(config, bytes, whole);
    *value = false;
    return text == NULL || config_parse_bool(text, value) == STATUS_OK;
}

static bool class_of(const char *config, size_t bytes, const char *name, enum share_class *service)
{
    char whole[KEY_BYTES];

    (void)format_text(whole, sizeof whole, "contract.%s.class", name);
    const char *text = config_find(config, bytes, whole);
    *service = text != NULL && strcmp(text, "latency") == 0 ? SHARE_LATENCY : SHARE_NORMAL;
    return text == NULL || *service == SHARE_LATENCY || strcmp(text, "normal") == 0;
}

status_t contract_read(const char *config, size_t bytes, uint32_t index,
                       const struct block_device *drive, uint64_t left, struct contract *contract)
{
    const char *list = config_find(config, bytes, "contracts");
    const char *name;
    uint64_t iops, mb_s, capacity;
    size_t length = list == NULL ? 0 : find_name(list, index, &name);

    memset(contract, 0, sizeof *contract);
    if (length == 0) {
        return STATUS_NOT_FOUND;
    }
    memcpy(contract->name, name, length);
    if (!number_of(config, bytes, "contract.", contract->name, ".iops", &iops) ||
        !number_of(config, bytes, "contract.", contract->name, ".mb_s", &mb_s) ||
        !number_of(config, bytes, "contract.", contract->name, ".capacity", &capacity) ||
        !flag_of(config, bytes, contract->name, &contract->share.whole_drive) ||
        !class_of(config, bytes, contract->name, &contract->share.service) || iops > UINT32_MAX ||
        mb_s > UINT32_MAX) {
        return STATUS_INVALID_ARGUMENT;
    }
    contract->share.iops = (uint32_t)iops;
    contract->share.bytes_per_second = mb_s * MB;
    uint64_t unit = (drive->flags & BLOCK_DEVICE_ZONED) != 0 ? drive->zone_blocks : 1u;
    uint64_t blocks =
        capacity == 0 ? left / unit * unit : (capacity - 1u) / drive->block_bytes + 1u;
    contract->share.blocks = (blocks + unit - 1u) / unit * unit;
    return STATUS_OK;
}

status_t contract_drive(const char *config, size_t bytes, struct share_drive *drive)
{
    static const char *const keys[] = {"units", "read_ns", "write_ns", "read_byte_ps",
                                       "write_byte_ps"};
    uint64_t values[5];

    if (config_find(config, bytes, "drive.units") == NULL) {
        return STATUS_NOT_FOUND;
    }
    for (uint32_t i = 0; i < 5u; i++) {
        if (!number_of(config, bytes, "drive.", "", keys[i], &values[i]) || values[i] == 0 ||
            values[i] > UINT32_MAX) {
            return STATUS_INVALID_ARGUMENT;
        }
    }
    drive->units = (uint32_t)values[0];
    drive->read_ns = (uint32_t)values[1];
    drive->write_ns = (uint32_t)values[2];
    drive->read_byte_ps = (uint32_t)values[3];
    drive->write_byte_ps = (uint32_t)values[4];
    return STATUS_OK;
}

void contract_explain(const struct share *share, const struct contract *contract, status_t refused,
                      char line[CONTRACT_LINE_BYTES])
{
    uint64_t wanted = share_promise_ns(share, &contract->share) / MB;
    uint64_t can = share_can_promise_ns(share) / MB;
    uint64_t left = (share_can_promise_ns(share) - share->promised_ns) / MB;
    const struct block_device *block = share->drive.block;
    uint64_t blocks_left = block->block_count - share->given_blocks;

    if (refused == STATUS_FULL) {
        (void)format_text(line, CONTRACT_LINE_BYTES,
                          "contract %s: needs %lu ms of drive time a second, %lu of %lu are left; "
                          "lower iops or mb_s",
                          contract->name, wanted, left, can);
    } else if (refused == STATUS_TOO_LARGE) {
        (void)format_text(line, CONTRACT_LINE_BYTES,
                          "contract %s: needs %lu blocks of %u bytes, %lu are left; lower capacity",
                          contract->name, contract->share.blocks, block->block_bytes, blocks_left);
    } else {
        (void)format_text(line, CONTRACT_LINE_BYTES, "contract %s: %s", contract->name,
                          status_text(refused));
    }
}
