// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Intel 82574L (e1000e), 82576 (igb) and its virtual functions: a receive and a transmit queue,
 * MSI-X; on the 82576's physical function up to NETDEV_QUEUES_MAX pairs, each a struct intel_nic of
 * its own, between which the chip's hash of addresses and ports chooses (drivers/net/group.h says
 * how they share a reset). A virtual function needs the cell that drives the physical one
 * (intel_pf.h): that answers its mailbox and lets its queues run. The chips differ in where
 * registers lie, in interrupts and in descriptor commands: struct intel_chip. Interface and life
 * cycle: drivers/net/driver.h.
 *
 * Invariants, outside the functions:
 *   I1 Slots rx_head .. rx_tail - 1 (modulo the ring) hold a buffer that the device may write.
 *   I2 Slots tx_head .. tx_tail - 1 hold a buffer that the device may read; tx_last[i], i the first
 *      slot of a burst, is the burst's last, the one that the device reports.
 *      A context descriptor's slot holds the buffer of the one behind it a second time.
 *   I3 Neither is ever full: a head equal to the tail means empty to the device.
 */
#ifndef DRIVERS_NET_INTEL_INTEL_NIC_H
#define DRIVERS_NET_INTEL_INTEL_NIC_H

#include "drivers/net/driver.h"
#include "drivers/net/group.h"
#include "drivers/net/intel/intel_regs.h"
#include "drivers/net/restart.h"
#include "drivers/pci/pci.h"

#define INTEL_RING_SIZE 256u /* 4096 bytes: one page */
#define INTEL_RING_MASK (INTEL_RING_SIZE - 1u)
/* Refilled receive slots are shown to the device in lots of this, and finished transmissions taken
 * back, or when the owner goes to sleep or runs short. */
#define INTEL_RX_LOT 32u
#define INTEL_TX_LOT 16u

enum intel_state {
    INTEL_RUNNING = 1,
    INTEL_BROKEN = 2,    /* to be reset at restart.at_ns */
    INTEL_RESETTING = 3, /* CTRL.RST written */
    INTEL_STARTING = 4,  /* queues and PHY told to start */
    INTEL_STOPPING = 5,
    INTEL_STOPPED = 6,
    INTEL_HALTING = 7, /* the first pair: waits for the others to park */
    INTEL_PARKED = 8,  /* another pair: waits for the device to run again */
};

struct intel_nic;

struct intel_chip {
    const char *model;
    uint16_t pci_device;
    bool is_virtual; /* no MAC, PHY or filter registers; the address comes by mailbox */
    uint32_t register_bytes;
    uint32_t rx_block;
    uint32_t tx_block;
    uint32_t cause_clear;  /* register: writing a cause's bit clears it */
    uint32_t mask_set;     /* register: lets causes interrupt */
    uint32_t mask_clear;   /* register: keeps causes from it */
    uint32_t rx_cause;     /* with one vector */
    uint32_t tx_cause_one; /* the same for transmission */
    uint32_t tx_cause_two; /* with two vectors or more */
    uint32_t rx_errors;    /* status bits of a frame that is no good */
    uint32_t tx_command;
    uint32_t tx_payload_shift; /* of the length in the status word; 32: not there */
    uint32_t offloads;         /* enum netdev_offload */
    bool splits;               /* can set data apart from headers */
    uint32_t queue_step;       /* from one queue's block to the next; 0: there is one queue */
    void (*setup_interrupts)(const struct intel_nic *nic);
    void (*setup_queues)(const struct intel_nic *nic);
};

struct intel_nic {
    struct netdev netdev; /* first: the ops get this */
    enum intel_state state;
    bool link;
    bool tx_refused;
    uint32_t rx_head, rx_tail, rx_shown;
    uint32_t tx_head, tx_tail;
    uint32_t rx_limit;
    uint32_t rx_lot; /* INTEL_RX_LOT, or less so that the device keeps most of rx_limit */
    uint32_t frame_bytes_max;
    volatile uint8_t *registers;
    struct intel_rx_descriptor *rx;
    struct intel_tx_descriptor *tx;
    uint32_t rx_block, tx_block; /* this pair's */
    uint32_t rx_cause, tx_cause;
    const struct intel_chip *chip;
    uint32_t rx_buffer[INTEL_RING_SIZE];
    uint32_t tx_buffer[INTEL_RING_SIZE];
    uint8_t tx_last[INTEL_RING_SIZE];

    /* Cold. */
    const struct cell_device *device;
    struct dma_region dma;
    time_ns_t asked_ns;    /* virtual, RESETTING: when the mailbox was used; 0: not yet */
    time_ns_t settled_ns;  /* RESETTING, STOPPING: earliest time to touch the device again */
    time_ns_t deadline_ns; /* RESETTING, STARTING */
    uint64_t reaped;
    struct restart restart;
    struct intel_nic *first;   /* the pair that owns reset and link; itself there */
    struct netdev_group group; /* of the first; not used with one pair */
};

_Static_assert(sizeof(struct intel_nic) <= NETDEV_STATE_BYTES, "the caller's memory");

bool intel_nic_supported(const struct cell_device *device);
/* As netdev_attach, for a device that intel_nic_supported knows. */
status_t intel_nic_attach(const struct netdev_attach_request *request,
                          struct netdev **dev) HALLOWS_MUST_CHECK;

/* ---- Between the driver's files ------------------------------------------------------------- */

static inline uint32_t intel_read(const struct intel_nic *nic, uint32_t at)
{
    return mmio_read32(nic->registers + at);
}

static inline void intel_write(const struct intel_nic *nic, uint32_t at, uint32_t value)
{
    mmio_write32(nic->registers + at, value);
}

/* The chip of that device id; NULL if it is none of ours (intel_chips.c). */
const struct intel_chip *intel_find_chip(uint16_t pci_device);

/* A virtual function's side of the mailbox (intel_virtual.c). True when the station address has
 * come; asks for it, again after a while. */
bool intel_virtual_address(struct intel_nic *nic, time_ns_t now_ns);
/* Whether the physical function was reset: then this one's queues have stopped. */
bool intel_virtual_was_reset(const struct intel_nic *nic);

/* Several pairs (intel_queues.c). */
status_t intel_attach_queue(struct netdev *dev, const struct netdev_queue_request *request,
                            struct netdev **out) HALLOWS_MUST_CHECK;
/* Pairs for a device with these interrupts. */
uint32_t intel_queues(const struct netdev_attach_request *request);
/* Key and table of the hash; nothing with one pair. */
void intel_setup_steering(const struct intel_nic *nic);
/* Whether all pairs but the first have let go of the device. */
bool intel_others_parked(struct intel_nic *nic);

/* Parts of the cold half that a pair needs of its own (intel_nic.c). */
void intel_init_pair(struct intel_nic *nic, struct netbuf_pool *pool, uint32_t number);
/* Takes back every lent buffer; only once the device touches none. */
void intel_reclaim(struct intel_nic *nic);

/* The hot operations (intel_data.c). */
uint32_t intel_receive(struct netdev *dev, struct netframe *frames, uint32_t max);
uint32_t intel_transmit(struct netdev *dev, const struct netframe *frames, uint32_t count);
/* The same with offloads (intel_large.c). */
uint32_t intel_transmit_large(struct netdev *dev, const struct netframe *frames, uint32_t count);
/* Takes back what was sent. */
void intel_reap(struct intel_nic *nic);
bool intel_arm(struct netdev *dev);
void intel_disarm(struct netdev *dev);
/* Lends buffers to the empty receive slots and shows the device all that it was not shown. */
void intel_refill(struct intel_nic *nic);

#endif
