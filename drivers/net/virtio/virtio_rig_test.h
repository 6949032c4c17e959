// SPDX-License-Identifier: MIT OR Apache-2.0
/* A driver over the fake device, for the tests. */
#ifndef DRIVERS_NET_VIRTIO_VIRTIO_RIG_TEST_H
#define DRIVERS_NET_VIRTIO_VIRTIO_RIG_TEST_H

#include "drivers/net/virtio/virtio_net.h"

#include <stdlib.h>

#include "drivers/dma_fake.h"
#include "drivers/net/virtio/virtio_fake.h"
#include "tests/check.h"

#define LARGE (VIRTIO_NET_F_CSUM | VIRTIO_NET_F_HOST_TSO4)
#define BUFFERS 600u
#define SECOND_NS 1000000000ull

/* A driver, its device and what lies between. */
struct rig {
    struct virtio_fake fake;
    struct dma_region dma;
    struct dma_region memory;
    struct netbuf_pool pool;
    void *bookkeeping;
    void *state;
    bool receive_sums;
    struct netdev *dev;
    time_ns_t now_ns;
};

static inline time_ns_t rig_now(void *context)
{
    return ((struct rig *)context)->now_ns;
}

static inline void rig_relax(void *context)
{
    ((struct rig *)context)->now_ns += 1000000;
}

static inline void rig_open(struct rig *rig, uint32_t buffers)
{
    memset(rig, 0, sizeof *rig);
    virtio_fake_init(&rig->fake);
    rig->dma = dma_fake_create(NETDEV_DMA_BYTES);
    rig->memory = dma_fake_create((buffers * 2048u + PAGE_BYTES - 1u) & ~(PAGE_BYTES - 1u));
    rig->bookkeeping = malloc(netbuf_pool_bookkeeping_bytes(buffers));
    rig->state = aligned_alloc(64, NETDEV_STATE_BYTES);
    rig->now_ns = 5 * SECOND_NS;
    CHECK_EQ(netbuf_pool_init(&rig->pool, rig->memory.base, buffers, 2048,
                              rig->memory.page_device_address, rig->bookkeeping),
             STATUS_OK);
}

static inline status_t rig_attach(struct rig *rig)
{
    return netdev_attach(
        &(struct netdev_attach_request){
            .device = &rig->fake.device,
            .pool = &rig->pool,
            .receive_sums = rig->receive_sums,
            .dma = rig->dma,
            .state = rig->state,
            .environment = {rig_now, rig_relax, NULL, rig},
        },
        &rig->dev);
}

/* Stops the device if it was attached; every buffer must have come back. */
static inline void rig_close(struct rig *rig)
{
    if (rig->dev != NULL) {
        rig->fake.reset_reads = 0;
        rig->fake.reset_left = 0;
        CHECK_EQ(rig->dev->ops->stop(rig->dev), STATUS_OK);
        CHECK_EQ(rig->dev->ops->tick(rig->dev, rig->now_ns), DEADLINE_NEVER);
    }
    CHECK_EQ(rig->pool.free_count, rig->pool.buffer_count);
    virtio_fake_destroy(&rig->fake);
    dma_fake_destroy(&rig->dma);
    dma_fake_destroy(&rig->memory);
    free(rig->bookkeeping);
    free(rig->state);
}

static inline void make_frame(uint8_t *frame, size_t bytes, uint8_t seed)
{
    for (size_t i = 0; i < bytes; i++) {
        frame[i] = (uint8_t)(seed + i * 7u);
    }
}

static inline uint32_t send_one(struct rig *rig, const void *bytes, uint16_t length)
{
    struct netframe frame = {netbuf_take(&rig->pool), 100, length};

    CHECK(frame.buffer != NETBUF_NONE);
    memcpy(netbuf_data(&rig->pool, frame.buffer) + frame.offset, bytes, length);
    uint32_t taken = rig->dev->ops->transmit(rig->dev, &frame, 1);
    if (taken == 0) {
        netbuf_drop(&rig->pool, frame.buffer);
    }
    return taken;
}

/* Lets time pass until the device runs again. */
static inline void recover(struct rig *rig)
{
    for (unsigned i = 0; i < 100 && !rig->dev->ops->link_up(rig->dev); i++) {
        rig->now_ns = rig->dev->ops->tick(rig->dev, rig->now_ns);
    }
}

static inline void put_offload(struct rig *rig, struct netframe frame,
                               struct netframe_offload offload)
{
    memcpy(netbuf_data(&rig->pool, frame.buffer) + (frame.offset & NETFRAME_MASK) - sizeof offload,
           &offload, sizeof offload);
}

#endif
