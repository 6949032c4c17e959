// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Start-up, reset and housekeeping (virtio 1.2 §3.1.1):
 *
 *   attach ---> RESETTING --status reads 0: bring_up--> RUNNING
 *                ^   |                                   |
 *   restart.at_ns|   | deadline passed, set-up refused   | protocol broken, NEEDS_RESET
 *                |   v                                   |
 *               BROKEN <---------------------------------+
 *
 * With several pairs COMMANDED lies between RESETTING and RUNNING, until the device has answered;
 * and BROKEN lasts until the others have parked.
 *
 * Buffers stay lent until status has read 0: until then the device may still write them.
 */
#include "drivers/net/virtio/virtio_net.h"

#include "lib/base/bytes.h"

#define RESET_TIMEOUT_NS 10000000000ull
#define COMMAND_TIMEOUT_NS 10000000000ull
#define RESET_POLL_NS 1000000ull
#define HALT_POLL_NS 10000000ull /* the other pairs look once a second */
#define WATCH_NS 1000000000ull

/* ---- Reset ----------------------------------------------------------------------------------- */

static void start_reset(struct virtio_net *nic, time_ns_t now_ns)
{
    nic->state = VIRTIO_NET_RESETTING;
    nic->link = false;
    nic->deadline_ns = now_ns + RESET_TIMEOUT_NS;
    virtio_net_status_write(nic, 0);
}

/* Takes back every lent buffer; only once the device is reset. */
void virtio_net_reclaim(struct virtio_net *nic)
{
    for (uint32_t i = 0; i < VIRTIO_QUEUE_SIZE_MAX; i++) {
        if (nic->rx_buffer[i] != NETBUF_NONE) {
            netbuf_drop(nic->netdev.pool, nic->rx_buffer[i]);
            nic->rx_buffer[i] = NETBUF_NONE;
        }
    }
    for (uint32_t i = 0; i < VIRTIO_NET_TX_SLOTS_MAX; i++) {
        if (nic->tx_buffer[i] != NETBUF_NONE) {
            netbuf_drop(nic->netdev.pool, nic->tx_buffer[i] & VIRTIO_NET_TX_BUFFER);
            nic->tx_buffer[i] = NETBUF_NONE;
            nic->netdev.counters.tx_dropped++;
        }
    }
    nic->rx_lent = 0;
}

void virtio_net_run(struct virtio_net *nic, time_ns_t now_ns)
{
    nic->state = VIRTIO_NET_RUNNING;
    restart_running(&nic->restart, now_ns);
    if ((nic->features & VIRTIO_F_RING_PACKED) != 0) {
        virtio_net_packed_refill(nic);
    } else {
        virtio_net_refill(nic);
    }
}

static const struct netdev_ops operations;
static const struct netdev_ops operations_packed;

/* The device has let go of everything: sets it up. */
static status_t start(struct virtio_net *nic, time_ns_t now_ns)
{
    virtio_net_reclaim(nic);
    status_t status = virtio_net_bring_up(nic);
    if (status != STATUS_OK) {
        return status;
    }
    bool packed = (nic->features & VIRTIO_F_RING_PACKED) != 0;
    nic->netdev.ops = packed ? &operations_packed : &operations;
    nic->netdev.model = packed ? "virtio-net, packed queues" : "virtio-net, split queues";
    nic->state = VIRTIO_NET_COMMANDED;
    nic->deadline_ns = now_ns + COMMAND_TIMEOUT_NS;
    if (nic->netdev.queues > 1u) {
        virtio_net_send_command(nic);
    }
    return STATUS_OK;
}

/* Whether the device has got as far as it can without us: AGAIN while it has not. */
static status_t advance(struct virtio_net *nic, time_ns_t now_ns)
{
    status_t status = STATUS_OK;

    if (nic->state == VIRTIO_NET_RESETTING) {
        status = virtio_net_status_read(nic) != 0 ? STATUS_AGAIN : start(nic, now_ns);
    }
    if (status == STATUS_OK && nic->netdev.queues > 1u) {
        status = virtio_net_command_ended(nic);
    }
    return status == STATUS_AGAIN && now_ns >= nic->deadline_ns ? STATUS_DEVICE_TIMEOUT : status;
}

/* One step of a reset. Returns OK when the device runs, AGAIN while it resets. */
static status_t continue_reset(struct virtio_net *nic, time_ns_t now_ns)
{
    bool resetting = nic->state == VIRTIO_NET_RESETTING;
    status_t status = advance(nic, now_ns);

    if (status == STATUS_OK) {
        virtio_net_run(nic, now_ns);
        group_run(&nic->group);
    } else if (status != STATUS_AGAIN && !(resetting && status == STATUS_DEVICE_TIMEOUT)) {
        virtio_net_status_write(nic, 0);
    }
    return status;
}

static void choose_restart(struct virtio_net *nic, time_ns_t now_ns)
{
    restart_choose(&nic->restart, now_ns);
    nic->netdev.counters.resets++;
    group_halt(&nic->group);
}

/* Whether a device that runs asks for a reset, or needs one. */
static bool needs_reset(struct virtio_net *nic, time_ns_t now_ns)
{
    bool packed = (nic->features & VIRTIO_F_RING_PACKED) != 0;

    if (!packed && !virtio_net_reap(nic)) { /* what has ended is not outstanding */
        return true;
    }
    bool outstanding = nic->tx_free_count < nic->tx_slots;
    return group_reset_asked(&nic->group) ||
           (virtio_net_status_read(nic) & VIRTIO_STATUS_NEEDS_RESET) != 0 ||
           restart_stuck(&nic->restart, nic->reaped, nic->link && outstanding, now_ns);
}

static time_ns_t tick(struct netdev *dev, time_ns_t now_ns)
{
    struct virtio_net *nic = (struct virtio_net *)dev;

    if (nic->state == VIRTIO_NET_STOPPED) {
        return DEADLINE_NEVER;
    }
    if (nic->state == VIRTIO_NET_RUNNING) {
        if (!needs_reset(nic, now_ns)) {
            nic->link = virtio_net_read_link(nic);
            group_set_link(&nic->group, nic->link);
            return now_ns + WATCH_NS;
        }
        nic->state = VIRTIO_NET_BROKEN;
        nic->restart.at_ns = 0;
        nic->link = false;
    }
    if (nic->state == VIRTIO_NET_BROKEN) {
        if (nic->restart.at_ns == 0) {
            choose_restart(nic, now_ns);
        }
        if (now_ns < nic->restart.at_ns) {
            return nic->restart.at_ns;
        }
        if (!group_is_halted(&nic->group)) {
            return now_ns + HALT_POLL_NS;
        }
        start_reset(nic, now_ns);
    }
    status_t status = continue_reset(nic, now_ns);
    if (status == STATUS_OK) {
        return now_ns + WATCH_NS;
    }
    if (status == STATUS_AGAIN) {
        return now_ns + RESET_POLL_NS;
    }
    nic->state = VIRTIO_NET_BROKEN;
    choose_restart(nic, now_ns);
    return nic->restart.at_ns;
}

static bool link_up(struct netdev *dev)
{
    return ((struct virtio_net *)dev)->link;
}

static status_t stop(struct netdev *dev)
{
    struct virtio_net *nic = (struct virtio_net *)dev;

    nic->state = VIRTIO_NET_STOPPED;
    nic->link = false;
    virtio_net_status_write(nic, 0);
    if (virtio_net_status_read(nic) != 0) {
        return STATUS_AGAIN;
    }
    virtio_net_reclaim(nic);
    return STATUS_OK;
}

static const struct netdev_ops operations_packed = {
    .receive = virtio_net_packed_receive,
    .transmit = virtio_net_packed_transmit,
    .transmit_large = virtio_net_packed_transmit,
    .arm = virtio_net_packed_arm,
    .disarm = virtio_net_packed_disarm,
    .link_up = link_up,
    .tick = tick,
    .stop = stop,
    .attach_queue = virtio_net_attach_queue,
};

static const struct netdev_ops operations = {
    .receive = virtio_net_receive,
    .transmit = virtio_net_transmit,
    .transmit_large = virtio_net_transmit_large,
    .arm = virtio_net_arm,
    .disarm = virtio_net_disarm,
    .link_up = link_up,
    .tick = tick,
    .stop = stop,
    .attach_queue = virtio_net_attach_queue,
};

/* ---- Attach ---------------------------------------------------------------------------------- */

bool virtio_net_supported(const struct cell_device *device)
{
    return device->pci_vendor == VIRTIO_PCI_VENDOR &&
           (device->pci_device == VIRTIO_PCI_NET ||
            device->pci_device == VIRTIO_PCI_NET_TRANSITIONAL);
}

static status_t find_windows(struct virtio_net *nic)
{
    status_t status;

    if ((status = pci_virtio_window(nic->device, PCI_VIRTIO_COMMON, VIRTIO_COMMON_BYTES,
                                    &nic->common, NULL)) != STATUS_OK ||
        (status = pci_virtio_window(nic->device, PCI_VIRTIO_NOTIFY, sizeof(uint16_t), &nic->notify,
                                    &nic->notify_multiplier)) != STATUS_OK) {
        return status;
    }
    /* The device structure is optional (§4.1.4.6). */
    if (pci_virtio_window(nic->device, PCI_VIRTIO_DEVICE, VIRTIO_NET_CONFIG_BYTES, &nic->config,
                          NULL) != STATUS_OK) {
        nic->config.bytes = 0;
    }
    return STATUS_OK;
}

status_t virtio_net_attach(const struct netdev_attach_request *request, struct netdev **dev)
{
    const struct netdev_environment *environment = &request->environment;
    struct virtio_net *nic = request->state;
    status_t status;

    memset(nic, 0, sizeof *nic);
    memset(nic->rx_buffer, 0xff, sizeof nic->rx_buffer);
    memset(nic->tx_buffer, 0xff, sizeof nic->tx_buffer);
    nic->netdev.ops = &operations;
    nic->netdev.pool = request->pool;
    nic->device = request->device;
    nic->dma = request->dma;
    nic->wants_sums = request->receive_sums;
    nic->wanted_pairs =
        request->queues < request->device->irq_count ? request->queues : request->device->irq_count;
    nic->first = nic;
    restart_init(&nic->restart);
    if ((status = find_windows(nic)) != STATUS_OK ||
        (status = pci_msix_fill(request->device)) != STATUS_OK) {
        return status;
    }
    time_ns_t now_ns = environment->now_ns(environment->context);
    time_ns_t deadline_ns = now_ns + NETDEV_ATTACH_TIMEOUT_NS;
    start_reset(nic, now_ns);
    nic->deadline_ns = deadline_ns;
    while ((status = continue_reset(nic, now_ns)) == STATUS_AGAIN) {
        environment->relax(environment->context);
        now_ns = environment->now_ns(environment->context);
    }
    if (status == STATUS_OK) {
        *dev = &nic->netdev;
    }
    return status;
}
