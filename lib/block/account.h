// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * What a cell tells of its drive: members of a JSON object, each with a comma in front
 * (,"name":value), for `./hallows storage`. The parts that know write them: here contracts and
 * zones, lib/loglet the logs, drivers/nvme the controller and its namespaces.
 */
#ifndef LIB_BLOCK_ACCOUNT_H
#define LIB_BLOCK_ACCOUNT_H

#include "lib/block/share.h"
#include "lib/block/zones.h"

/* Where the text goes. */
struct account {
    void (*put)(void *context, const void *data, size_t bytes);
    void *context;
};

/* At most ACCOUNT_PRINT_BYTES at a time. */
#define ACCOUNT_PRINT_BYTES 512u
void account_print(const struct account *account, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* `count` bytes as a JSON string: what is no printable ASCII becomes a question mark. Each byte is
 * read once, so they may lie in memory that another cell writes. */
void account_bytes(const struct account *account, const uint8_t *bytes, size_t count);
void account_text(const struct account *account, const char *text);

/* ,"promises":{..}: the drive and what of its time is promised; null without a share. */
void account_promises(const struct account *account, const struct share *share);
/* One element of an array of contracts. `log`: that it is the contract of; NULL: none.
 * `capacity_bytes`: promised with it. */
void account_contract(const struct account *account, const char *name, const char *log,
                      const struct share_tenant *tenant, uint64_t capacity_bytes);
/* ,"zones":[..] */
void account_zones(const struct account *account, const struct zones *zones);

#endif
