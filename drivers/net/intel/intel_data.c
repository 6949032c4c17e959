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
    while (nic->tx_head != nic->tx_tail) {
        uint32_t last = nic->tx_last[nic->tx_head];
        uint32_t status = __atomic_load_n(&nic->tx[last].status, __ATOMIC_ACQUIRE);
        if ((status & INTEL_TX_DONE) == 0) {
            return;
        }
        uint32_t end = (last + 1u) & INTEL_RING_MASK;
        while (nic->tx_head != end) {
            netbuf_drop(nic->netdev.pool, nic->tx_buffer[nic->tx_head]);
            nic->tx_buffer[nic->tx_head] = NETBUF_NONE;
            nic->tx_head = (nic->tx_head + 1u) & INTEL_RING_MASK;
            nic->reaped++;
        }
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

static inline void lend(struct intel_nic *nic, uint32_t buffer)
{
    struct intel_rx_descriptor *descriptor = &nic->rx[nic->rx_tail];

    uint64_t address = netbuf_device_address(nic->netdev.pool, buffer);
    uint64_t headers = nic->netdev.splits_headers ? address + NETFRAME_SPLIT_AT : 0;

    descriptor->address = address;
    /* Also what the device will write: no stale "done" may stand there; the headers' place is even.
     */
    descriptor->status = (uint32_t)headers;
    descriptor->length = (uint16_t)(headers >> 32);
    descriptor->vlan = (uint16_t)(headers >> 48);
    nic->rx_buffer[nic->rx_tail] = buffer;
    nic->rx_tail = (nic->rx_tail + 1u) & INTEL_RING_MASK;
}

static uint32_t lent(const struct intel_nic *nic)
{
    return (nic->rx_tail - nic->rx_head) & INTEL_RING_MASK;
}

void intel_refill(struct intel_nic *nic)
{
    for (uint32_t count = lent(nic); count < nic->rx_limit; count++) {
        uint32_t buffer = netbuf_take(nic->netdev.pool);
        if (buffer == NETBUF_NONE) {
            break;
        }
        lend(nic, buffer);
    }
    if (nic->rx_shown != nic->rx_tail) {
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

/* Takes the next finished slot. Returns false if there is none. */
static inline bool receive_one(struct intel_nic *nic, struct netframe *frame)
{
    const struct intel_rx_descriptor *descriptor = &nic->rx[nic->rx_head];
    uint32_t status = __atomic_load_n(&descriptor->status, __ATOMIC_ACQUIRE);

    if (nic->rx_head == nic->rx_tail || (status & INTEL_RX_DONE) == 0) {
        return false;
    }
    uint32_t length = __atomic_load_n(&descriptor->length, __ATOMIC_RELAXED);
    uint32_t place = nic->netdev.splits_headers ? split_place(descriptor, status, &length) : 0;
    uint32_t sums = nic->netdev.receives_sums && (status & INTEL_RX_SUMMED) != 0 &&
                            (status & INTEL_RX_SUM_WRONG) == 0
                        ? NETFRAME_SUM_RIGHT
                        : 0;
    frame->buffer = nic->rx_buffer[nic->rx_head];
    frame->offset = (uint16_t)(place | sums);
    /* Length 0 marks a frame to be dropped: damaged, too long, or spread over several buffers. */
    frame->length = (status & INTEL_RX_END_OF_PACKET) == 0 ||
                            (status & nic->chip->rx_errors) != 0 || length > nic->frame_bytes_max ||
                            length < FRAME_BYTES_MIN
                        ? 0
                        : (uint16_t)length;
    nic->rx_buffer[nic->rx_head] = NETBUF_NONE;
    nic->rx_head = (nic->rx_head + 1u) & INTEL_RING_MASK;
    return true;
}

uint32_t intel_receive(struct netdev *dev, struct netframe *frames, uint32_t max)
{
    struct intel_nic *nic = nic_of(dev);
    uint32_t taken = 0;
    uint64_t bytes = 0;

    if (nic->state != INTEL_RUNNING) {
        return 0;
    }
    reap(nic);
    for (uint32_t i = 0; i < max && receive_one(nic, &frames[taken]); i++) {
        if (frames[taken].length == 0) {
            dev->counters.rx_errors++;
            netbuf_drop(dev->pool, frames[taken].buffer);
            continue;
        }
        bytes += frames[taken].length;
        taken++;
    }
    dev->counters.rx_frames += taken;
    dev->counters.rx_bytes += bytes;
    uint32_t hidden = (nic->rx_tail - nic->rx_shown) & INTEL_RING_MASK;
    if (lent(nic) + INTEL_RX_LOT <= nic->rx_limit || hidden >= INTEL_RX_LOT) {
        intel_refill(nic);
    }
    return taken;
}

uint32_t intel_transmit(struct netdev *dev, const struct netframe *frames, uint32_t count)
{
    struct intel_nic *nic = nic_of(dev);
    const struct intel_chip *chip = nic->chip;

    if (nic->state != INTEL_RUNNING) {
        return 0;
    }
    reap(nic);
    uint32_t room = INTEL_RING_SIZE - 1u - in_flight(nic);
    uint32_t taken = count < room ? count : room;
    if (taken < count) {
        nic->tx_refused = true;
    }
    if (taken == 0) {
        return 0;
    }
    uint32_t last = (nic->tx_tail + taken - 1u) & INTEL_RING_MASK;
    nic->tx_last[nic->tx_tail] = (uint8_t)last;
    for (uint32_t i = 0; i < taken; i++) {
        ASSERT(frames[i].buffer < dev->pool->buffer_count);
        ASSERT(frames[i].offset + frames[i].length <= dev->pool->buffer_bytes);
        struct intel_tx_descriptor *descriptor = &nic->tx[nic->tx_tail];
        descriptor->address = netbuf_device_address(dev->pool, frames[i].buffer) + frames[i].offset;
        descriptor->command =
            chip->tx_command | frames[i].length | (nic->tx_tail == last ? INTEL_TX_REPORT : 0u);
        descriptor->status = chip->tx_payload_shift < 32u
                                 ? (uint32_t)frames[i].length << chip->tx_payload_shift
                                 : 0u;
        nic->tx_buffer[nic->tx_tail] = frames[i].buffer;
        nic->tx_tail = (nic->tx_tail + 1u) & INTEL_RING_MASK;
        dev->counters.tx_bytes += frames[i].length;
    }
    dev->counters.tx_frames += taken;
    mmio_fence();
    intel_write(nic, nic->tx_block + INTEL_QUEUE_TAIL, nic->tx_tail);
    dev->counters.doorbells++;
    return taken;
}

static bool rx_is_waiting(const struct intel_nic *nic)
{
    return nic->rx_head != nic->rx_tail &&
           (__atomic_load_n(&nic->rx[nic->rx_head].status, __ATOMIC_ACQUIRE) & INTEL_RX_DONE) != 0;
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
    intel_refill(nic);
    /* A sleeper that waits for room or buffers must be woken by finished transmissions, too. */
    bool tx_wanted = in_flight(nic) != 0 &&
                     (nic->tx_refused || lent(nic) < nic->rx_limit || dev->pool->free_count == 0);
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
