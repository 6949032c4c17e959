// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * virtio-net 1.x over PCI with split or packed queues: a receive and a transmit queue, or up to
 * NETDEV_QUEUES_MAX such pairs, each a struct virtio_net of its own (drivers/net/group.h says how
 * they share a reset). Interface and life cycle: drivers/net/driver.h. Source: virtio 1.2 §3.1
 * (start-up), §4.1 (PCI), §5.1 (network device).
 *
 * Needed of the device: VERSION_1. Used when offered: MAC, STATUS, MTU, EVENT_IDX, ACCESS_PLATFORM,
 * ORDER_PLATFORM, CSUM, HOST_TSO4, GUEST_CSUM where the owner looks at what it says, RING_PACKED
 * (then without EVENT_IDX). For several pairs CTRL_VQ and RING_RESET, and RSS, by which the device
 * chooses a flow's pair as software does, or MQ, where it chooses by itself (netdev.unsteered).
 *
 * Invariants, outside the functions of the driver:
 *   V1 rx_buffer[i] is a buffer that the device may write, or NETBUF_NONE and i is in rx_empty.
 *   V2 tx_buffer[i] is a buffer that the device may read, or NETBUF_NONE and i is in tx_free. With
 *      VIRTIO_NET_TX_LARGE it is the first of a packet's, linked by tx_next; the others have
 *      VIRTIO_NET_TX_PART too.
 *   V3 rx_lent = the buffers of V1 <= rx_limit <= half of the pool.
 */
#ifndef DRIVERS_NET_VIRTIO_VIRTIO_NET_H
#define DRIVERS_NET_VIRTIO_VIRTIO_NET_H

#include "drivers/net/driver.h"
#include "drivers/net/group.h"
#include "drivers/net/restart.h"
#include "drivers/net/virtio/virtio_packed.h"
#include "drivers/net/virtio/virtio_queue.h"
#include "drivers/pci/pci.h"

/* Where in a buffer a received frame lies: the device's header goes before it, the IP header of an
 * untagged frame behind it is 16-byte aligned. */
#define VIRTIO_NET_RX_OFFSET 66u
/* Where a pair's DMA memory has what: two queues, a page of headers; the first pair's also the
 * control queue and its command. */
#define VIRTIO_NET_HEADERS_AT (VIRTIO_NET_QUEUES * VIRTIO_QUEUE_DMA_BYTES)
#define VIRTIO_NET_CONTROL_AT (VIRTIO_NET_HEADERS_AT + PAGE_BYTES)
#define VIRTIO_NET_COMMAND_AT (VIRTIO_NET_CONTROL_AT + VIRTIO_QUEUE_DMA_BYTES)
_Static_assert(VIRTIO_NET_COMMAND_AT + PAGE_BYTES <= NETDEV_DMA_BYTES, "a pair's memory");
/* A transmission takes two descriptors, the constant header and the frame. */
#define VIRTIO_NET_TX_SLOTS_MAX (VIRTIO_QUEUE_SIZE_MAX / 2u)
/* Used receive slots are shown to the device again, and finished transmissions taken back, so many
 * at a time, or when the owner goes to sleep or runs short. */
#define VIRTIO_NET_LOT 16u
#define VIRTIO_NET_TX_LARGE 0x80000000u
#define VIRTIO_NET_TX_PART 0x40000000u /* also in NETBUF_NONE */
#define VIRTIO_NET_TX_BUFFER 0x3fffffffu
#define VIRTIO_NET_TX_END 0xffffu

enum virtio_net_state {
    VIRTIO_NET_RUNNING = 1,
    VIRTIO_NET_BROKEN = 2,    /* to be reset at restart.at_ns */
    VIRTIO_NET_RESETTING = 3, /* status 0 written, not yet read back */
    VIRTIO_NET_STOPPED = 4,
    VIRTIO_NET_COMMANDED = 5, /* the first of several pairs: told of them, has not answered yet */
    VIRTIO_NET_PARKED = 6,    /* another pair: waits for the device to run again */
    VIRTIO_NET_STOPPING = 7,  /* another pair: its queues are being reset */
};

struct virtio_net {
    struct netdev netdev; /* first: the ops get this */
    enum virtio_net_state state;
    bool link; /* as last seen by tick */
    bool tx_refused;
    bool wants_sums; /* [const] */
    uint16_t rx_lent;
    uint16_t rx_limit;
    uint16_t rx_lot; /* VIRTIO_NET_LOT, or less so that the device keeps most of rx_limit */
    uint16_t rx_empty_count;
    uint16_t tx_slots;
    uint16_t tx_free_count;
    uint32_t frame_bytes_max;
    struct virtio_queue rx;
    struct virtio_queue tx;
    struct virtio_packed rx_packed; /* with RING_PACKED, over the memory of rx and tx */
    struct virtio_packed tx_packed;
    uint32_t rx_buffer[VIRTIO_QUEUE_SIZE_MAX];
    uint32_t tx_buffer[VIRTIO_NET_TX_SLOTS_MAX];
    uint16_t rx_empty[VIRTIO_QUEUE_SIZE_MAX];
    uint16_t tx_free[VIRTIO_NET_TX_SLOTS_MAX];
    uint16_t tx_next[VIRTIO_NET_TX_SLOTS_MAX];

    /* Cold. */
    const struct cell_device *device;
    struct dma_region dma;
    struct pci_window common;
    struct pci_window notify;
    struct pci_window config; /* bytes 0 if there is none */
    uint32_t notify_multiplier;
    uint64_t features;
    time_ns_t deadline_ns; /* RESETTING, COMMANDED */
    uint64_t reaped;
    struct restart restart;
    uint32_t wanted_pairs;     /* [const] at most */
    struct virtio_net *first;  /* the pair that owns reset and link; itself there */
    struct netdev_group group; /* of the first; not used with one pair */
    /* Of the first, valid while the group runs: the queues of all pairs, and the control queue. */
    struct virtio_queue queues[VIRTIO_NET_QUEUES * NETDEV_QUEUES_MAX];
    struct virtio_queue control;
};

_Static_assert(sizeof(struct virtio_net) <= NETDEV_STATE_BYTES, "the caller's memory");

bool virtio_net_supported(const struct cell_device *device);
/* As netdev_attach, for a device that virtio_net_supported knows. */
status_t virtio_net_attach(const struct netdev_attach_request *request,
                           struct netdev **dev) HALLOWS_MUST_CHECK;

/* ---- Between the driver's files ------------------------------------------------------------- */

/* Registers of the common structure. */
static inline uint8_t virtio_net_read8(const struct virtio_net *nic, uint32_t at)
{
    return mmio_read8(nic->common.base + at);
}

static inline uint16_t virtio_net_read16(const struct virtio_net *nic, uint32_t at)
{
    return mmio_read16(nic->common.base + at);
}

static inline void virtio_net_write16(const struct virtio_net *nic, uint32_t at, uint16_t value)
{
    mmio_write16(nic->common.base + at, value);
}

static inline void virtio_net_write64(const struct virtio_net *nic, uint32_t at, uint64_t value)
{
    mmio_write32(nic->common.base + at, (uint32_t)value);
    mmio_write32(nic->common.base + at + 4, (uint32_t)(value >> 32));
}

static inline void virtio_net_status_write(const struct virtio_net *nic, uint8_t status)
{
    mmio_write8(nic->common.base + VIRTIO_COMMON_DEVICE_STATUS, status);
}

static inline uint8_t virtio_net_status_read(const struct virtio_net *nic)
{
    return virtio_net_read8(nic, VIRTIO_COMMON_DEVICE_STATUS);
}

/* From a device that has been reset to one whose queues run, but for buffers and steering; with the
 * first pair's slots empty (virtio_net_setup.c). UNSUPPORTED, DEVICE_ERROR. */
status_t virtio_net_bring_up(struct virtio_net *nic) HALLOWS_MUST_CHECK;
/* All slots of a pair empty, in memory that is all zero. */
void virtio_net_setup_slots(struct virtio_net *nic);
bool virtio_net_read_link(const struct virtio_net *nic);
/* Takes back every lent buffer; only once the device touches none. */
void virtio_net_reclaim(struct virtio_net *nic);
/* The pair's slots are empty: lends it buffers. */
void virtio_net_run(struct virtio_net *nic, time_ns_t now_ns);

/* Several pairs (virtio_net_queues.c). */
status_t virtio_net_attach_queue(struct netdev *dev, const struct netdev_queue_request *request,
                                 struct netdev **out) HALLOWS_MUST_CHECK;
/* Tells the device how many pairs there are and, if it can be told, how to choose. */
void virtio_net_send_command(struct virtio_net *nic);
/* What it said to that: OK, DEVICE_ERROR, AGAIN: nothing yet. */
status_t virtio_net_command_ended(const struct virtio_net *nic) HALLOWS_MUST_CHECK;

/* The hot operations (virtio_net_data.c). */
uint32_t virtio_net_receive(struct netdev *dev, struct netframe *frames, uint32_t max);
uint32_t virtio_net_transmit(struct netdev *dev, const struct netframe *frames, uint32_t count);
bool virtio_net_arm(struct netdev *dev);
void virtio_net_disarm(struct netdev *dev);
/* Transmission with a device that sums or cuts (virtio_net_large.c). */
uint32_t virtio_net_transmit_large(struct netdev *dev, const struct netframe *frames,
                                   uint32_t count);
/* The address of the header for the packet whose first frame is this, at that slot. */
uint64_t virtio_net_header(struct virtio_net *nic, uint32_t slot, struct netframe frame);
/* Frames of the packet at the front; 0: they do not fit the free slots. */
uint32_t virtio_net_parts(const struct virtio_net *nic, const struct netframe *frames,
                          uint32_t count);
/* The hot operations over packed queues (virtio_net_packed.c); plain and large frames alike. */
uint32_t virtio_net_packed_receive(struct netdev *dev, struct netframe *frames, uint32_t max);
uint32_t virtio_net_packed_transmit(struct netdev *dev, const struct netframe *frames,
                                    uint32_t count);
bool virtio_net_packed_arm(struct netdev *dev);
void virtio_net_packed_disarm(struct netdev *dev);
void virtio_net_packed_refill(struct virtio_net *nic);
/* Marks received frames with what the device's headers say of their sums (virtio_net_sums.c). */
void virtio_net_mark_sums(struct virtio_net *nic, struct netframe *frames, uint32_t count);
/* Takes back what was sent. False: the device is broken. */
bool virtio_net_reap(struct virtio_net *nic);
/* Frees what was sent from the slot, linked ones too; false: the device may not end that one. */
bool virtio_net_release(struct virtio_net *nic, uint32_t slot);
/* Lends buffers to the empty receive slots and tells the device. */
void virtio_net_refill(struct virtio_net *nic);

#endif
