// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Start-up, reset and housekeeping:
 *
 *   attach ---> RESETTING --settled, RST = 0, address read: start--> STARTING
 *                ^   |                                                  |
 *   restart.at_ns|   | deadline passed                   queues enabled,| PHY told
 *                |   v                                                  v
 *               BROKEN <--deadline passed; STATUS all ones; stuck--- RUNNING
 *
 * With several pairs BROKEN goes to RESETTING by way of HALTING, until the others have parked.
 *
 * Buffers stay lent until the reset is over: until then the device may still write them.
 * A virtual function asks for its address by mailbox and is reset when the physical one was.
 * The link comes up later, when the PHY has negotiated; tick watches it.
 */
#include "drivers/net/intel/intel_nic.h"

#include "lib/base/bytes.h"

#define RESET_TIMEOUT_NS 10000000000ull
#define START_TIMEOUT_NS 10000000000ull
/* After CTRL.RST nothing is to be accessed for 1 ms; the NVM is read again within 20 ms. */
#define SETTLE_NS 20000000ull
#define POLL_NS 1000000ull
#define LINK_POLL_NS 50000000ull
#define HALT_POLL_NS 10000000ull /* the others look once a second */
#define WATCH_NS 1000000000ull
#define MTU 1500u
#define ETHERNET_HEADER_BYTES 14u
#define VLAN_TAG_BYTES 4u

static void mask_all(const struct intel_nic *nic)
{
    intel_write(nic, nic->chip->mask_clear, 0xffffffffu);
    if (nic->chip->mask_clear == INTEL_82576_EIMC && !nic->chip->is_virtual) {
        intel_write(nic, INTEL_82576_IMC, 0xffffffffu);
    }
}

static void start_reset(struct intel_nic *nic, time_ns_t now_ns)
{
    nic->link = false;
    nic->settled_ns = now_ns + SETTLE_NS;
    nic->deadline_ns = now_ns + RESET_TIMEOUT_NS;
    nic->asked_ns = 0;
    mask_all(nic);
    if (nic->chip->is_virtual) {
        intel_write(nic, INTEL_CTRL, INTEL_CTRL_RST);
        return;
    }
    intel_write(nic, INTEL_RCTL, 0);
    intel_write(nic, INTEL_TCTL, 0);
    intel_write(nic, INTEL_CTRL, intel_read(nic, INTEL_CTRL) | INTEL_CTRL_RST);
}

void intel_reclaim(struct intel_nic *nic)
{
    struct netbuf_pool *pool = nic->netdev.pool;

    for (uint32_t i = nic->rx_head; i != nic->rx_tail; i = (i + 1u) & INTEL_RING_MASK) {
        netbuf_drop(pool, nic->rx_buffer[i]);
    }
    for (uint32_t i = nic->tx_head; i != nic->tx_tail; i = (i + 1u) & INTEL_RING_MASK) {
        netbuf_drop(pool, nic->tx_buffer[i]);
        nic->netdev.counters.tx_dropped++;
    }
    nic->rx_head = nic->rx_tail = nic->rx_shown = 0;
    nic->tx_head = nic->tx_tail = 0;
    nic->tx_refused = false;
}

/* Whether the reset is over; with it the device's accesses to memory. */
static bool is_reset(const struct intel_nic *nic, time_ns_t now_ns)
{
    return now_ns >= nic->settled_ns && (intel_read(nic, INTEL_CTRL) & INTEL_CTRL_RST) == 0;
}

static void setup_queue(const struct intel_nic *nic, uint32_t block, size_t dma_offset)
{
    uint64_t address = dma_device_address(&nic->dma, dma_offset);

    intel_write(nic, block + INTEL_QUEUE_BASE_LOW, (uint32_t)address);
    intel_write(nic, block + INTEL_QUEUE_BASE_HIGH, (uint32_t)(address >> 32));
    intel_write(nic, block + INTEL_QUEUE_BYTES, PAGE_BYTES);
    intel_write(nic, block + INTEL_QUEUE_HEAD, 0);
    intel_write(nic, block + INTEL_QUEUE_TAIL, 0);
    intel_write(nic, block + INTEL_QUEUE_CONTROL,
                intel_read(nic, block + INTEL_QUEUE_CONTROL) | INTEL_QUEUE_ENABLE);
}

/* The station address, which the device has read from its NVM. False: not yet, or not valid. */
static bool read_mac(struct intel_nic *nic)
{
    uint32_t low = intel_read(nic, INTEL_RAL0);
    uint32_t high = intel_read(nic, INTEL_RAH0);

    if ((high & INTEL_RAH_VALID) == 0 || (low & 1u) != 0) {
        return false;
    }
    for (uint32_t i = 0; i < 4; i++) {
        nic->netdev.mac[i] = (uint8_t)(low >> (8u * i));
    }
    nic->netdev.mac[4] = (uint8_t)high;
    nic->netdev.mac[5] = (uint8_t)(high >> 8);
    return true;
}

static void start_mac(const struct intel_nic *nic)
{
    intel_write(nic, INTEL_RXCSUM, intel_read(nic, INTEL_RXCSUM) | INTEL_RXCSUM_SUMS);
    intel_write(nic, INTEL_TCTL,
                INTEL_TCTL_EN | INTEL_TCTL_PAD | INTEL_TCTL_COLLISIONS | INTEL_TCTL_DISTANCE);
    intel_write(nic, INTEL_RCTL,
                INTEL_RCTL_EN | INTEL_RCTL_MULTICAST | INTEL_RCTL_BROADCAST | INTEL_RCTL_STRIP_CRC);
}

static void start_link(const struct intel_nic *nic)
{
    intel_write(nic, INTEL_CTRL, intel_read(nic, INTEL_CTRL) | INTEL_CTRL_SLU);
    intel_write(nic, INTEL_MDIC,
                INTEL_MDIC_WRITE | INTEL_MDIC_PHY_1 | PHY_CONTROL << INTEL_MDIC_REGISTER_SHIFT |
                    PHY_CONTROL_NEGOTIATE | PHY_CONTROL_RESTART_NEGOTIATION);
}

/* From a reset device to one whose queues and link are coming up. */
static void start(struct intel_nic *nic, time_ns_t now_ns)
{
    bool physical = !nic->chip->is_virtual;

    mask_all(nic);
    for (uint32_t i = 0; i < INTEL_MTA_WORDS && physical; i++) {
        intel_write(nic, INTEL_MTA + 4u * i, 0);
    }
    nic->chip->setup_interrupts(nic);
    nic->chip->setup_queues(nic);
    if (physical) {
        start_mac(nic);
    }
    for (uint32_t queue = 0; queue < nic->netdev.queues; queue++) {
        uint32_t step = queue * nic->chip->queue_step;
        memset(nic->dma.base + queue * NETDEV_DMA_BYTES, 0, 2u * PAGE_BYTES);
        setup_queue(nic, nic->chip->rx_block + step, queue * NETDEV_DMA_BYTES);
        setup_queue(nic, nic->chip->tx_block + step, queue * NETDEV_DMA_BYTES + PAGE_BYTES);
    }
    if (physical) {
        start_link(nic);
    }
    nic->state = INTEL_STARTING;
    nic->deadline_ns = now_ns + START_TIMEOUT_NS;
}

static bool is_started(const struct intel_nic *nic)
{
    for (uint32_t queue = 0; queue < nic->netdev.queues; queue++) {
        uint32_t at = queue * nic->chip->queue_step + INTEL_QUEUE_CONTROL;
        if ((intel_read(nic, nic->chip->rx_block + at) & INTEL_QUEUE_ENABLE) == 0 ||
            (intel_read(nic, nic->chip->tx_block + at) & INTEL_QUEUE_ENABLE) == 0) {
            return false;
        }
    }
    return nic->chip->is_virtual || (intel_read(nic, INTEL_MDIC) & INTEL_MDIC_READY) != 0;
}

/* One step towards RUNNING. Returns OK when there, AGAIN while it takes time. */
static status_t advance(struct intel_nic *nic, time_ns_t now_ns)
{
    if (nic->state == INTEL_RESETTING && is_reset(nic, now_ns)) {
        intel_reclaim(nic);
        if (nic->chip->is_virtual ? intel_virtual_address(nic, now_ns) : read_mac(nic)) {
            start(nic, now_ns);
        }
    }
    if (nic->state == INTEL_STARTING && is_started(nic)) {
        if (!nic->chip->is_virtual && (intel_read(nic, INTEL_MDIC) & INTEL_MDIC_ERROR) != 0) {
            return STATUS_DEVICE_ERROR;
        }
        nic->state = INTEL_RUNNING;
        restart_running(&nic->restart, now_ns);
        intel_refill(nic);
        group_run(&nic->group);
        return STATUS_OK;
    }
    return now_ns < nic->deadline_ns ? STATUS_AGAIN : STATUS_DEVICE_TIMEOUT;
}

static void fail(struct intel_nic *nic, time_ns_t now_ns)
{
    nic->state = INTEL_BROKEN;
    nic->link = false;
    group_halt(&nic->group);
    nic->netdev.counters.resets++;
    restart_choose(&nic->restart, now_ns);
}

/* Looks after a device that runs. */
static time_ns_t watch(struct intel_nic *nic, time_ns_t now_ns)
{
    uint32_t status = intel_read(nic, INTEL_STATUS);
    intel_reap(nic); /* what has ended is not outstanding */
    bool outstanding = nic->link && nic->tx_head != nic->tx_tail;

    if (status == 0xffffffffu || (nic->chip->is_virtual && intel_virtual_was_reset(nic)) ||
        group_reset_asked(&nic->group) ||
        restart_stuck(&nic->restart, nic->reaped, outstanding, now_ns)) {
        fail(nic, now_ns);
        return nic->restart.at_ns;
    }
    nic->link = (status & INTEL_STATUS_LU) != 0;
    group_set_link(&nic->group, nic->link);
    return now_ns + (nic->link ? WATCH_NS : LINK_POLL_NS);
}

static time_ns_t tick(struct netdev *dev, time_ns_t now_ns)
{
    struct intel_nic *nic = (struct intel_nic *)dev;

    switch (nic->state) {
    case INTEL_RUNNING:
        return watch(nic, now_ns);
    case INTEL_STOPPING:
    case INTEL_STOPPED:
        return DEADLINE_NEVER;
    case INTEL_BROKEN:
        if (now_ns < nic->restart.at_ns) {
            return nic->restart.at_ns;
        }
        nic->state = INTEL_HALTING;
        /* fall through */
    case INTEL_HALTING:
        if (!intel_others_parked(nic)) {
            return now_ns + HALT_POLL_NS;
        }
        nic->state = INTEL_RESETTING;
        start_reset(nic, now_ns);
        return now_ns + POLL_NS;
    default:
        break;
    }
    status_t status = advance(nic, now_ns);
    if (status == STATUS_OK || status == STATUS_AGAIN) {
        return now_ns + POLL_NS;
    }
    fail(nic, now_ns);
    return nic->restart.at_ns;
}

static bool link_up(struct netdev *dev)
{
    const struct intel_nic *nic = (const struct intel_nic *)dev;
    return nic->state == INTEL_RUNNING && nic->link;
}

/* The reset is over when RST reads 0; the settling time is for the next start. */
static status_t stop(struct netdev *dev)
{
    struct intel_nic *nic = (struct intel_nic *)dev;

    if (nic->state != INTEL_STOPPING && nic->state != INTEL_STOPPED) {
        start_reset(nic, 0);
        nic->state = INTEL_STOPPING;
    }
    if (nic->state == INTEL_STOPPING) {
        if ((intel_read(nic, INTEL_CTRL) & INTEL_CTRL_RST) != 0) {
            return STATUS_AGAIN;
        }
        intel_reclaim(nic);
        nic->state = INTEL_STOPPED;
    }
    return STATUS_OK;
}

static const struct netdev_ops operations = {
    .receive = intel_receive,
    .transmit = intel_transmit,
    .transmit_large = intel_transmit_large,
    .arm = intel_arm,
    .disarm = intel_disarm,
    .link_up = link_up,
    .tick = tick,
    .stop = stop,
    .attach_queue = intel_attach_queue,
};

/* ---- Attach ---------------------------------------------------------------------------------- */

bool intel_nic_supported(const struct cell_device *device)
{
    return device->pci_vendor == INTEL_PCI_VENDOR && intel_find_chip(device->pci_device) != NULL;
}

void intel_init_pair(struct intel_nic *nic, struct netbuf_pool *pool, uint32_t number)
{
    uint32_t half_pool = pool->buffer_count / 2u;
    size_t at = number * NETDEV_DMA_BYTES;

    nic->netdev.pool = pool;
    nic->netdev.queue = (uint16_t)number;
    nic->rx_block = nic->chip->rx_block + number * nic->chip->queue_step;
    nic->tx_block = nic->chip->tx_block + number * nic->chip->queue_step;
    if (nic->netdev.queues > 1u) {
        nic->rx_cause = nic->tx_cause = 1u << number;
    }
    nic->rx = (struct intel_rx_descriptor *)(void *)(nic->dma.base + at);
    nic->tx = (struct intel_tx_descriptor *)(void *)(nic->dma.base + at + PAGE_BYTES);
    nic->rx_limit = half_pool < INTEL_RING_SIZE - 1u ? half_pool : INTEL_RING_SIZE - 1u;
    nic->rx_lot = nic->rx_limit / 4u < INTEL_RX_LOT ? nic->rx_limit / 4u : INTEL_RX_LOT;
    restart_init(&nic->restart);
}

static void init(struct intel_nic *nic, const struct netdev_attach_request *request)
{
    /* An owner that wants several pairs has a thread for each vector: one pair then has the first.
     */
    bool two_vectors = request->device->irq_count > 1 && request->queues < 2u;

    memset(nic, 0, sizeof *nic);
    nic->netdev.ops = &operations;
    nic->netdev.mtu_bytes = MTU;
    nic->device = request->device;
    nic->dma = request->dma;
    nic->chip = intel_find_chip(request->device->pci_device);
    nic->netdev.queues = (uint16_t)intel_queues(request);
    nic->netdev.offloads = nic->chip->offloads;
    nic->netdev.receives_sums = request->receive_sums;
    nic->netdev.splits_headers = request->split_headers && nic->chip->splits;
    nic->netdev.model = nic->chip->model;
    nic->first = nic;
    nic->rx_cause = nic->chip->rx_cause;
    nic->tx_cause = two_vectors ? nic->chip->tx_cause_two : nic->chip->tx_cause_one;
    nic->frame_bytes_max = MTU + ETHERNET_HEADER_BYTES + VLAN_TAG_BYTES;
    intel_init_pair(nic, request->pool, 0);
}

status_t intel_nic_attach(const struct netdev_attach_request *request, struct netdev **dev)
{
    const struct netdev_environment *environment = &request->environment;
    struct intel_nic *nic = request->state;
    const struct intel_chip *chip = intel_find_chip(request->device->pci_device);
    struct pci_window registers;
    status_t status = pci_bar_window(request->device, 0, 0, chip->register_bytes, &registers);

    if (status != STATUS_OK || (status = pci_msix_fill(request->device)) != STATUS_OK) {
        return status;
    }
    init(nic, request);
    nic->registers = registers.base;
    time_ns_t now_ns = environment->now_ns(environment->context);
    nic->state = INTEL_RESETTING;
    start_reset(nic, now_ns);
    nic->deadline_ns = now_ns + NETDEV_ATTACH_TIMEOUT_NS;
    while ((status = advance(nic, now_ns)) == STATUS_AGAIN) {
        environment->relax(environment->context);
        now_ns = environment->now_ns(environment->context);
    }
    if (status != STATUS_OK) {
        start_reset(nic, now_ns);
        return status;
    }
    *dev = &nic->netdev;
    return STATUS_OK;
}
