// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Test cell: a driver whose virtual function is told wrong addresses. For each of `targets` it
 * starts the function with buffers, and every second time with queues, that are not its own:
 * physical addresses of the kernel and of other cells, and addresses at which other cells'
 * functions have their memory. Then it sends, and lets others' broadcasts come in. Behind an IOMMU
 * nothing may come of it.
 */
#include "drivers/net/driver.h"
#include "lib/base/assert.h"
#include "lib/base/bytes.h"
#include "runtime/cell.h"
#include "runtime/dma.h"
#include "runtime/syscall.h"

#define BUFFERS 256u
#define POOL_PAGES (BUFFERS * 2048u / PAGE_BYTES)
#define QUEUE_PAGES (NETDEV_DMA_BYTES / PAGE_BYTES)
#define FIRST_TARGET 0x200000ull /* the kernel's first page; then all over the machine's RAM */
#define TARGET_STEP 0x2345000ull
#define STAY_NS 300000000ull

static uint8_t state[NETDEV_STATE_BYTES] __attribute__((aligned(64)));
static uint64_t bookkeeping[2u * BUFFERS];
static uint64_t pool_addresses[POOL_PAGES];
static uint64_t queue_addresses[QUEUE_PAGES];

static time_ns_t now_ns(void *context)
{
    return clock_ns(&((const struct cell_info *)context)->time);
}

static void relax(void *context)
{
    (void)context;
    (void)yield();
}

/* Sends a few frames of whatever the buffers hold, and lets time pass. */
static void use(const struct cell_info *info, struct netdev *dev)
{
    time_ns_t until_ns = clock_ns(&info->time) + STAY_NS;
    struct netframe frames[NETDEV_BURST_MAX];
    uint64_t word;

    while (clock_ns(&info->time) < until_ns) {
        struct netframe frame = {netbuf_take(dev->pool), 0, 100};
        if (frame.buffer != NETBUF_NONE && dev->ops->transmit(dev, &frame, 1) == 0) {
            netbuf_drop(dev->pool, frame.buffer);
        }
        uint32_t count = dev->ops->receive(dev, frames, NETDEV_BURST_MAX);
        for (uint32_t i = 0; i < count; i++) {
            netbuf_drop(dev->pool, frames[i].buffer);
        }
        (void)notification_wait(CELL_SLOT_NOTIFICATION, clock_ns(&info->time) + 10000000u, &word);
    }
    while (dev->ops->stop(dev) == STATUS_AGAIN) {
        (void)yield();
    }
}

static status_t try_target(const struct cell_info *info, uint64_t target, bool queues)
{
    struct netbuf_pool pool;
    struct netdev *dev;
    struct dma_pool dma;
    struct dma_region own, buffers;

    dma_pool_init(&dma, info);
    status_t status = dma_take(&dma, NETDEV_DMA_BYTES, &own);
    if (status == STATUS_OK) {
        status = dma_take(&dma, POOL_PAGES * PAGE_BYTES, &buffers);
    }
    if (status != STATUS_OK) {
        return status;
    }
    for (uint32_t i = 0; i < POOL_PAGES; i++) {
        pool_addresses[i] = target + (uint64_t)i * PAGE_BYTES;
    }
    for (uint32_t i = 0; i < QUEUE_PAGES; i++) {
        queue_addresses[i] = target + (uint64_t)i * PAGE_BYTES;
    }
    if (queues) {
        own.page_device_address = queue_addresses;
    }
    VERIFY(netbuf_pool_bookkeeping_bytes(BUFFERS) <= sizeof(bookkeeping));
    status = netbuf_pool_init(&pool, buffers.base, BUFFERS, 2048, pool_addresses, bookkeeping);
    if (status == STATUS_OK) {
        status = netdev_attach(
            &(struct netdev_attach_request){
                .device = &info->devices[0],
                .pool = &pool,
                .dma = own,
                .state = state,
                .environment = {now_ns, relax, NULL, (void *)(uintptr_t)info},
            },
            &dev);
    }
    if (status == STATUS_OK) {
        use(info, dev);
    }
    return status;
}

status_t cell_main(const struct cell_info *info)
{
    uint64_t targets = config_u64(info, "targets", 10);
    uint64_t word = 0;
    status_t status = supervisor_ready();

    for (uint64_t i = 0; i < targets && status == STATUS_OK; i++) {
        /* Every third one: where the other cells' functions see their DMA memory, and this one's
         * ends. */
        uint64_t target = i % 3u == 2u ? CELL_DMA_ADDRESS + info->dma_bytes + i * PAGE_BYTES
                                       : FIRST_TARGET + i * TARGET_STEP;
        status = try_target(info, target, i % 2u == 1u);
    }
    if (status != STATUS_OK) {
        log_line("%s", status_text(status));
        return status;
    }
    log_line("%lu wrong addresses given", targets);
    while ((word & CELL_EVENT_SHUTDOWN) == 0) {
        (void)notification_wait(CELL_SLOT_NOTIFICATION, DEADLINE_NEVER, &word);
    }
    supervisor_shutdown_done();
}
