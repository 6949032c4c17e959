// SPDX-License-Identifier: MIT OR Apache-2.0
/* The hot half of the driver: no register is touched but the two tails. */
#include "drivers/net/intel/intel_nic.h"

#include "lib/base/assert.h"

#define FRAME_BYTES_MIN 14u

static struct intel_nic *nic_of(struct netdev *dev)
{
    return (struct intel_nic *)dev;
}

static uint32_t in_flight(const struct intel_nic *nic)
{
    return (nic->tx_tail - nic->tx_head) & INTEL_RING_MASK;
}

/* Takes back what was sent, a burst at a time. */
static inline void reap(struct intel_nic *nic)
{
    /* Locals: stores into the pool must not make the compiler load these again. */
    struct netbuf_pool *pool = nic->netdev.pool;
    uint16_t *references = pool->references;
    uint32_t *free_stack = pool->free_stack;
    uint32_t free_count = pool->free_count;
    uint32_t first = nic->tx_head;
    uint32_t head = first;

    while (head != nic->tx_tail) {
        uint32_t last = nic->tx_last[head];
        uint32_t status = __atomic_load_n(&nic->tx[last].status, __ATOMIC_ACQUIRE);
        if ((status & INTEL_TX_DONE) == 0) {
            break;
        }
        for (uint32_t end = (last + 1u) & INTEL_RING_MASK; head != end;
             head = (head + 1u) & INTEL_RING_MASK) {
            uint32_t buffer = nic->tx_buffer[head];
            if (--references[buffer] == 0) {
                free_stack[free_count++] = buffer;
            }
        }
    }
    if (head != first) {
        pool->free_count = free_count;
        nic->tx_head = head;
        nic->reaped += (head - first) & INTEL_RING_MASK;
        nic->tx_refused = false;
    }
}

/* Shows the device the receive slots that were filled. */
static void show(struct intel_nic *nic)
{
    nic->rx_shown = nic->rx_tail;
    mmio_fence();
    intel_write(nic, nic->rx_block + INTEL_QUEUE_TAIL, nic->rx_tail);
    nic->netdev.counters.doorbells++;
}

static uint32_t lent(const struct intel_nic *nic)
{
    return (nic->rx_tail - nic->rx_head) & INTEL_RING_MASK;
}

/* So many slots are empty that filling them is worth it. */
static inline bool rx_has_a_lot(const struct intel_nic *nic)
{
    return lent(nic) + nic->rx_lot <= nic->rx_limit;
}

void intel_refill(struct intel_nic *nic)
{
    struct netbuf_pool *pool = nic->netdev.pool;
    struct intel_rx_descriptor *ring = nic->rx;
    const uint64_t *addresses = pool->device_address;
    uint16_t *references = pool->references;
    const uint32_t *free = pool->free_stack + pool->free_count;
    uint32_t tail = nic->rx_tail;
    uint32_t empty = nic->rx_limit - lent(nic);
    uint64_t split = nic->netdev.splits_headers ? UINT64_MAX : 0;

    for (uint32_t left = empty < pool->free_count ? empty : pool->free_count; left != 0; left--) {
        uint32_t buffer = *--free;
        references[buffer] = 1;
        ring[tail].address = addresses[buffer];
        /* No stale "done" may stand there: the headers' place is even. */
        ring[tail].written = (addresses[buffer] + NETFRAME_SPLIT_AT) & split;
        nic->rx_buffer[tail] = buffer;
        tail = (tail + 1u) & INTEL_RING_MASK;
    }
    pool->free_count = (uint32_t)(free - pool->free_stack);
    nic->rx_tail = tail;
    if (nic->rx_shown != tail) {
        show(nic);
    }
}

/* The netframe.offset of a finished slot whose headers the chip may have set apart, without the
 * sums' flags; *length, of what it put at the buffer's start, becomes the frame's. A length that
 * cannot be is made too long. */
static uint32_t split_place(const struct intel_rx_descriptor *descriptor, uint32_t status,
                            uint32_t *length)
{
    uint32_t told = (uint32_t)__atomic_load_n(&descriptor->address, __ATOMIC_RELAXED);
    uint32_t headers = told >> INTEL_82576_RX_HEADER_SHIFT & INTEL_82576_RX_HEADER_MASK;

    if ((told & INTEL_82576_RX_SPLIT) == 0 || (status & INTEL_82576_RX_HEADER_TOO_LONG) != 0) {
        return 0;
    }
    if (headers < FRAME_BYTES_MIN || headers > INTEL_HEADER_BYTES) {
        *length = UINT32_MAX;
        return 0;
    }
    *length += headers;
    return NETFRAME_SPLIT | headers;
}

/* Takes up to `max` finished slots. Returns how many frames that gave: damaged ones, those that are
 * too long, and parts of what was spread over several buffers are dropped. */
static inline uint32_t take(struct intel_nic *nic, struct netframe *frames, uint32_t max)
{
    const struct intel_rx_descriptor *ring = nic->rx;
    const uint32_t usual = INTEL_RX_DONE | INTEL_RX_END_OF_PACKET;
    uint32_t looked_at = usual | nic->chip->rx_errors;
    uint32_t summed = nic->netdev.receives_sums ? INTEL_RX_SUMMED : 0;
    bool splits = nic->netdev.splits_headers;
    uint32_t spread = nic->frame_bytes_max - FRAME_BYTES_MIN;
    uint32_t head = nic->rx_head;
    uint32_t tail = nic->rx_tail;
    uint64_t bytes = 0;
    uint32_t taken = 0;

    for (; taken < max && head != tail; head = (head + 1u) & INTEL_RING_MASK) {
        uint64_t written = __atomic_load_n(&ring[head].written, __ATOMIC_ACQUIRE);
        uint32_t status = (uint32_t)written;
        uint32_t length = (uint16_t)(written >> 32);
        if ((status & INTEL_RX_DONE) == 0) {
            break;
        }
        uint32_t place = splits ? split_place(&ring[head], status, &length) : 0;
        if ((status & looked_at) != usual || length - FRAME_BYTES_MIN > spread) {
            nic->netdev.counters.rx_errors++;
            netbuf_drop(nic->netdev.pool, nic->rx_buffer[head]);
            continue;
        }
        bool right = (status & summed) != 0 && (status & INTEL_RX_SUM_WRONG) == 0;
        place |= right ? NETFRAME_SUM_RIGHT : 0;
        frames[taken++] =
            (struct netframe){nic->rx_buffer[head], (uint16_t)place, (uint16_t)length};
        bytes += length;
    }
    nic->rx_head = head;
    nic->netdev.counters.rx_frames += taken;
    nic->netdev.counters.rx_bytes += bytes;
    return taken;
}

/* Somebody waits for room or buffers; receive slots that are empty do only then, too. */
static bool is_short(const struct intel_nic *nic)
{
    return nic->tx_refused || nic->netdev.pool->free_count == 0;
}

static bool rx_is_waiting(const struct intel_nic *nic)
{
    return nic->rx_head != nic->rx_tail &&
           (__atomic_load_n(&nic->rx[nic->rx_head].written, __ATOMIC_ACQUIRE) & INTEL_RX_DONE) != 0;
}

static __attribute__((noinline)) uint32_t receive_some(struct intel_nic *nic,
                                                       struct netframe *frames, uint32_t max)
{
    /* Taking back many at once is cheaper than each by itself, as long as nobody needs them. */
    if (in_flight(nic) >= INTEL_TX_LOT || nic->netdev.pool->free_count == 0) {
        reap(nic);
    }
    uint32_t taken = take(nic, frames, max);
    uint32_t hidden = (nic->rx_tail - nic->rx_shown) & INTEL_RING_MASK;
    if (rx_has_a_lot(nic) || hidden >= nic->rx_lot) {
        intel_refill(nic);
    }
    return taken;
}

/* Nearly all polls find nothing: that costs a few instructions. */
uint32_t intel_receive(struct netdev *dev, struct netframe *frames, uint32_t max)
{
    struct intel_nic *nic = nic_of(dev);

    if (nic->state != INTEL_RUNNING ||
        (!rx_is_waiting(nic) && in_flight(nic) < INTEL_TX_LOT && !rx_has_a_lot(nic))) {
        return 0;
    }
    return receive_some(nic, frames, max);
}

uint32_t intel_transmit(struct netdev *dev, const struct netframe *frames, uint32_t count)
{
    struct intel_nic *nic = nic_of(dev);

    if (nic->state != INTEL_RUNNING) {
        return 0;
    }
    if (INTEL_RING_SIZE - 1u - in_flight(nic) < count) {
        reap(nic);
    }
    uint32_t room = INTEL_RING_SIZE - 1u - in_flight(nic);
    uint32_t taken = count < room ? count : room;
    if (taken < count) {
        nic->tx_refused = true;
    }
    if (taken == 0) {
        return 0;
    }
    struct intel_tx_descriptor *ring = nic->tx;
    const uint64_t *addresses = dev->pool->device_address;
    uint32_t command = nic->chip->tx_command;
    uint32_t shift = nic->chip->tx_payload_shift;
    uint32_t tail = nic->tx_tail;
    uint32_t last = (tail + taken - 1u) & INTEL_RING_MASK;
    uint64_t bytes = 0;
    nic->tx_last[tail] = (uint8_t)last;
    for (uint32_t i = 0; i < taken; i++) {
        struct netframe frame = frames[i];
        ASSERT(frame.buffer < dev->pool->buffer_count);
        ASSERT(frame.offset + frame.length <= dev->pool->buffer_bytes);
        ring[tail].address = addresses[frame.buffer] + frame.offset;
        ring[tail].command = command | frame.length;
        ring[tail].status = (uint32_t)((uint64_t)frame.length << shift);
        nic->tx_buffer[tail] = frame.buffer;
        tail = (tail + 1u) & INTEL_RING_MASK;
        bytes += frame.length;
    }
    ring[last].command |= INTEL_TX_REPORT;
    nic->tx_tail = tail;
    dev->counters.tx_bytes += bytes;
    dev->counters.tx_frames += taken;
    mmio_fence();
    intel_write(nic, nic->tx_block + INTEL_QUEUE_TAIL, tail);
    dev->counters.doorbells++;
    return taken;
}

static bool tx_is_done(const struct intel_nic *nic)
{
    return nic->tx_head != nic->tx_tail &&
           (__atomic_load_n(&nic->tx[nic->tx_last[nic->tx_head]].status, __ATOMIC_ACQUIRE) &
            INTEL_TX_DONE) != 0;
}

bool intel_arm(struct netdev *dev)
{
    struct intel_nic *nic = nic_of(dev);

    if (nic->state != INTEL_RUNNING) {
        return true; /* only tick can help */
    }
    /* Nothing is put off while the owner sleeps. */
    bool was_short = is_short(nic);
    bool sent = tx_is_done(nic);
    reap(nic);
    intel_refill(nic);
    if (sent && was_short) {
        return false; /* who waits for room or buffers has them now */
    }
    /* Then a sleeper must be woken by finished transmissions, too. */
    bool tx_wanted = in_flight(nic) != 0 && is_short(nic);
    uint32_t causes = nic->rx_cause | (tx_wanted ? nic->tx_cause : 0u);
    /* What came while masked still stands as a cause: it is in the ring, which is looked at last.
     */
    intel_write(nic, nic->chip->cause_clear, causes);
    intel_write(nic, nic->chip->mask_set, causes);
    (void)intel_read(nic, INTEL_STATUS); /* the writes have arrived */
    mmio_fence();
    if (rx_is_waiting(nic) || (tx_wanted && tx_is_done(nic))) {
        intel_disarm(dev);
        return false;
    }
    return true;
}

void intel_disarm(struct netdev *dev)
{
    struct intel_nic *nic = nic_of(dev);

    if (nic->state == INTEL_RUNNING) {
        intel_write(nic, nic->chip->mask_clear, nic->rx_cause | nic->tx_cause);
    }
}

void intel_reap(struct intel_nic *nic)
{
    reap(nic);
}
