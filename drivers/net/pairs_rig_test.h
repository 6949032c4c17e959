// SPDX-License-Identifier: MIT OR Apache-2.0
/* For tests of drivers with several queue pairs: a pair with a pool and an owner of its own, and
 * flows with the pair that software says is theirs. */
#ifndef DRIVERS_NET_PAIRS_RIG_TEST_H
#define DRIVERS_NET_PAIRS_RIG_TEST_H

#include <stdlib.h>

#include "drivers/dma_fake.h"
#include "drivers/net/driver.h"
#include "drivers/net/toeplitz.h"
#include "lib/base/endian.h"
#include "tests/check.h"

#define BUFFERS 600u
#define PAIRS NETDEV_QUEUES_MAX

struct pair {
    struct dma_region memory;
    struct netbuf_pool pool;
    void *bookkeeping;
    void *state;
    struct netdev *dev;
};

static inline void pair_open(struct pair *pair, uint32_t buffer_bytes)
{
    pair->memory = dma_fake_create(BUFFERS * buffer_bytes);
    pair->bookkeeping = malloc(netbuf_pool_bookkeeping_bytes(BUFFERS));
    pair->state = aligned_alloc(64, NETDEV_STATE_BYTES);
    CHECK_EQ(netbuf_pool_init(&pair->pool, pair->memory.base, BUFFERS, buffer_bytes,
                              pair->memory.page_device_address, pair->bookkeeping),
             STATUS_OK);
}

/* Every buffer must have come back. */
static inline void pair_close(struct pair *pair)
{
    CHECK_EQ(pair->pool.free_count, BUFFERS);
    dma_fake_destroy(&pair->memory);
    free(pair->bookkeeping);
    free(pair->state);
}

/* A frame of that flow; TCP or UDP over IPv4 or IPv6, by its number. */
static inline size_t make_flow(uint8_t frame[80], uint32_t flow)
{
    bool v6 = flow % 2u != 0;

    memset(frame, 0, 80);
    store_be16(frame + 12, v6 ? 0x86dd : 0x0800);
    frame[v6 ? 20 : 23] = flow % 4u < 2u ? 6 : 17;
    for (uint32_t i = 0; i < (v6 ? 32u : 8u); i++) {
        frame[(v6 ? 22 : 26) + i] = (uint8_t)(i * 7u + flow * 13u);
    }
    store_be16(frame + (v6 ? 54 : 34), (uint16_t)(32768u + flow));
    store_be16(frame + (v6 ? 56 : 36), 7);
    return 80;
}

/* What software says: the devices' table is filled so that both agree. */
static inline uint32_t steer(const struct toeplitz *hash, const uint8_t *frame)
{
    bool v6 = frame[12] == 0x86;
    uint8_t input[36];
    uint32_t ends = v6 ? 32u : 8u;

    memcpy(input, frame + (v6 ? 22 : 26), ends);
    memcpy(input + ends, frame + (v6 ? 54 : 34), 4);
    return toeplitz_queue(toeplitz_hash(hash, input, ends + 4u), PAIRS);
}

#endif
