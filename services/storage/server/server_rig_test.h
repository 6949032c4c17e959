// SPDX-License-Identifier: MIT OR Apache-2.0
/* The storage service and its clients over a fake drive, for its tests. */
#ifndef SERVICES_STORAGE_SERVER_SERVER_RIG_TEST_H
#define SERVICES_STORAGE_SERVER_SERVER_RIG_TEST_H

#include <stdlib.h>

#include "lib/block/block_fake.h"
#include "lib/logport/logport.h"
#include "services/storage/server/server.h"
#include "tests/check.h"

#define ENTRIES 32u
#define BUFFERS 128u
#define POOL_BYTES (BUFFERS * PAGE_BYTES)
#define PORTS 3u
#define GOOD 0u
#define OTHER 1u
#define READER 2u /* of the good one's log, read only */
#define FRAME_BUFFERS 40u
#define SLOT_BYTES (POOL_BYTES / ENTRIES)

struct rig {
    struct block_fake drive;
    struct storage_grant grants[PORTS];
    struct cell_ring server_rings[PORTS], client_rings[PORTS];
    uint8_t *shared[PORTS];
    struct storage_server server;
    struct storage_server_config config;
    struct logport clients[PORTS];
    time_ns_t now_ns;
    uint32_t per_turn; /* requests that the drive does */
};

static inline void doorbell(void *context, cap_slot_t slot)
{
    (void)context;
    (void)slot;
}

static uint32_t random_state = 4711;

static inline uint32_t random_below(uint32_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state % bound;
}

static inline void turn(struct rig *rig)
{
    rig->now_ns += 10000;
    block_fake_run(&rig->drive, rig->per_turn);
    (void)storage_server_poll(&rig->server, rig->now_ns);
    if (rig->server.state == STORAGE_SERVING && storage_server_arm(&rig->server)) {
        storage_server_disarm(&rig->server);
    }
    for (uint32_t i = 0; i < PORTS; i++) {
        (void)logport_poll(&rig->clients[i], rig->now_ns);
    }
}

static inline status_t start_server(struct rig *rig, uint32_t flags)
{
    rig->config.flags = flags;
    memset(rig->config.memory, 0xa5, rig->config.memory_bytes);
    memset(&rig->server, 0x5a, sizeof rig->server);
    status_t status = storage_server_init(&rig->server, &rig->config, rig->now_ns);
    for (uint32_t i = 0; i < 20000 && status == STATUS_OK; i++) {
        if (rig->server.state == STORAGE_SERVING || rig->server.state == STORAGE_FAILED) {
            break;
        }
        turn(rig);
    }
    return status == STATUS_OK ? rig->server.status : status;
}

static inline void start_client(struct rig *rig, uint32_t index)
{
    CHECK_EQ(logport_init(&rig->clients[index], &rig->client_rings[index], doorbell, NULL),
             STATUS_OK);
}

static inline void make_rings(struct rig *rig)
{
    static const char *const names[PORTS] = {"good", "other", "reader"};
    uint64_t pool_offset = (ring_bytes(ENTRIES) + PAGE_BYTES - 1u) & ~(uint64_t)(PAGE_BYTES - 1u);

    for (uint32_t i = 0; i < PORTS; i++) {
        uint64_t bytes = pool_offset + POOL_BYTES;
        rig->shared[i] = aligned_alloc(PAGE_BYTES, bytes);
        memset(rig->shared[i], 0, bytes);
        struct ring_shared *shared = (struct ring_shared *)(void *)rig->shared[i];
        shared->magic = RING_MAGIC;
        shared->version = RING_VERSION;
        shared->entries = ENTRIES;
        rig->server_rings[i] = (struct cell_ring){
            .role = CELL_RING_SERVER,
            .kind = SYSTEM_RING_LOG,
            .entries = ENTRIES,
            .buffer_count = BUFFERS,
            .buffer_bytes = PAGE_BYTES,
            .address = rig->shared[i],
            .bytes = bytes,
            .pool_offset = pool_offset,
        };
        strcpy(rig->server_rings[i].name, names[i]);
        rig->client_rings[i] = rig->server_rings[i];
        rig->client_rings[i].role = CELL_RING_CLIENT;
        rig->grants[i] = (struct storage_grant){
            .ring = &rig->server_rings[i],
            .rights = i == READER ? RING_LOG_MAY_READ
                                  : RING_LOG_MAY_READ | RING_LOG_MAY_APPEND | RING_LOG_MAY_TRIM,
            .contract = {.iops = 1000},
            .capacity_bytes = 6u << 20,
        };
        strcpy(rig->grants[i].log, i == OTHER ? "other" : "good");
    }
}

static inline void tell_account(void *context, const struct account *account)
{
    const struct rig *rig = context;

    account_print(account, "{\"cell\":\"rig\"");
    storage_server_account(&rig->server, account);
    account_print(account, "}");
}

static inline void rig_open(struct rig *rig, bool zoned)
{
    memset(rig, 0, sizeof *rig);
    block_fake_init(&rig->drive, (24u << 20) / 512u, 512, zoned ? 2048 : 0, zoned ? 1536 : 0);
    rig->now_ns = 1000000;
    rig->per_turn = 8;
    make_rings(rig);
    rig->config = (struct storage_server_config){
        .drive = {.block = &rig->drive.block,
                  .units = 8,
                  .read_ns = 20000,
                  .write_ns = 20000,
                  .read_byte_ps = 100,
                  .write_byte_ps = 100},
        .grants = rig->grants,
        .grant_count = PORTS,
        .random = {17, 42},
        .buffer_bytes = PORTS * LOGLET_READ_BYTES + LOGLET_BUFFER_BYTES_MIN +
                        FRAME_BUFFERS * LOGLET_FRAME_BYTES,
        .doorbell = doorbell,
        .account = tell_account,
        .context = rig,
    };
    rig->config.memory_bytes = storage_server_memory_bytes(&rig->config);
    rig->config.memory = aligned_alloc(64, (rig->config.memory_bytes + 63u) & ~(size_t)63u);
    rig->config.buffers = aligned_alloc(PAGE_BYTES, rig->config.buffer_bytes);
    for (uint32_t i = 0; i < PORTS; i++) {
        start_client(rig, i);
    }
    CHECK_EQ(start_server(rig, 0), STATUS_OK);
    CHECK_EQ(rig->server.state, STORAGE_SERVING);
    for (uint32_t i = 0; i < 10; i++) {
        turn(rig);
    }
}

static inline void rig_close(struct rig *rig)
{
    storage_server_close(&rig->server);
    for (uint32_t i = 0; i < 20000 && rig->server.state == STORAGE_CLOSING; i++) {
        turn(rig);
    }
    CHECK_EQ(rig->server.state, STORAGE_CLOSED);
    for (uint32_t i = 0; i < PORTS; i++) {
        free(rig->shared[i]);
    }
    free(rig->config.memory);
    free(rig->config.buffers);
    block_fake_free(&rig->drive);
}

/* One operation, waited for. */
static inline struct ring_completion ask(struct rig *rig, uint32_t index,
                                         struct ring_submission submission)
{
    struct logport *client = &rig->clients[index];
    struct ring_completion completion = {.result = STATUS_TIMED_OUT};

    for (uint32_t i = 0; i < 1000 && !logport_poll(client, rig->now_ns); i++) {
        turn(rig);
    }
    CHECK(logport_room(client) != 0);
    submission.user_data = 99;
    logport_submit(client, &submission);
    logport_publish(client);
    for (uint32_t i = 0; i < 20000 && logport_take(client, &completion, 1) == 0; i++) {
        turn(rig);
    }
    CHECK_EQ(completion.user_data, 99);
    return completion;
}

/* Record n: its number, then bytes that depend on it; some are whole pages, which go by reference.
 */
static inline uint32_t record_bytes(uint32_t n)
{
    static const uint32_t sizes[] = {8, 100, 4096, 9000, 16384, 333, 8192, 4, 5000, 12288};

    return sizes[n % 10u];
}

static inline void make_record(uint32_t n, uint8_t *to)
{
    for (uint32_t i = 4; i < record_bytes(n); i++) {
        to[i] = (uint8_t)(n * 31u + i * 7u + (i >> 8));
    }
    memcpy(to, &n, 4);
}

static inline status_t append(struct rig *rig, uint32_t index, uint32_t n, uint64_t *position)
{
    make_record(n, rig->clients[index].pool + 16384);
    struct ring_completion done = ask(rig, index,
                                      (struct ring_submission){
                                          .operation = RING_LOG_APPEND,
                                          .buffer = 4,
                                          .length = record_bytes(n),
                                      });
    *position = done.value;
    return done.result;
}

/* Reads all that the log of `index` has: records `first` to `end`, each whole and right. */
static inline uint32_t read_back(struct rig *rig, uint32_t index, uint64_t from, uint32_t first)
{
    struct logport *client = &rig->clients[index];
    static uint8_t whole[65536], expected[65536];
    uint32_t next = first;
    uint16_t flags = RING_LOG_FIRST;

    for (;;) {
        uint32_t length = 40u + random_below(POOL_BYTES / 2u);
        struct ring_completion done = ask(rig, index,
                                          (struct ring_submission){
                                              .operation = RING_LOG_READ,
                                              .flags = flags,
                                              .argument = from,
                                              .length = length,
                                          });
        CHECK(done.result >= 0 && (uint32_t)done.result <= length);
        if (done.result <= 0) {
            return next;
        }
        flags = 0;
        struct ring_log_fragment fragment;
        const uint8_t *bytes;
        uint32_t at = 0;
        while (logport_fragment(client->pool, (uint32_t)done.result, &at, &fragment, &bytes)) {
            CHECK(fragment.total <= sizeof whole);
            memcpy(whole + fragment.offset, bytes, fragment.bytes);
            if (fragment.offset + fragment.bytes == fragment.total) {
                make_record(next, expected);
                CHECK_EQ(fragment.total, record_bytes(next));
                CHECK_EQ(memcmp(whole, expected, fragment.total), 0);
                next++;
            }
        }
    }
}

/* A client that keeps its ring full of appends, and counts. */
struct load {
    uint32_t next;      /* record to append */
    uint32_t confirmed; /* records before this are durable */
    uint64_t sessions;
    uint64_t bytes;
    uint64_t first; /* position of record 0 */
};

/* Slots of the pool by record number, so that each is free again when its record is durable. */
static inline void push_load(struct rig *rig, uint32_t index, struct load *load, uint32_t limit)
{
    struct logport *client = &rig->clients[index];
    struct ring_completion done;

    while (logport_take(client, &done, 1) == 1) {
        CHECK_EQ(done.result, STATUS_OK);
        CHECK_EQ(done.user_data, load->confirmed); /* in order */
        load->first = load->confirmed == 0 ? done.value : load->first;
        load->bytes += record_bytes(load->confirmed);
        load->confirmed++;
    }
    if (client->ring.session == RING_SESSION_OPEN && client->sessions != load->sessions) {
        load->sessions = client->sessions;
        return; /* the caller finds out what is there */
    }
    while (load->next < limit && load->next - load->confirmed < ENTRIES - 1u &&
           logport_room(client) != 0) {
        uint32_t slot = load->next % ENTRIES;
        make_record(load->next, client->pool + slot * SLOT_BYTES);
        logport_submit(client, &(struct ring_submission){
                                   .operation = RING_LOG_APPEND,
                                   .buffer = slot * SLOT_BYTES / PAGE_BYTES,
                                   .length = record_bytes(load->next),
                                   .user_data = load->next,
                               });
        load->next++;
    }
    logport_publish(client);
}

#endif
