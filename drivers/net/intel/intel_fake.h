// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Host only: an 82574L, an 82576 or a virtual function of one, with a queue or several each way
 * that work when they are told to, by the rules or against them.
 */
#ifndef DRIVERS_NET_INTEL_INTEL_FAKE_H
#define DRIVERS_NET_INTEL_INTEL_FAKE_H

#include <hallows/cell.h>

#include "drivers/mmio_fake.h"
#include "drivers/net/intel/intel_nic.h"

struct intel_fake {
    struct cell_device device; /* what the driver gets */
    /* Set after init, before the driver attaches. */
    uint8_t mac[6];
    unsigned reset_reads;  /* reads of CTRL until a reset is over */
    unsigned enable_reads; /* reads of RXDCTL until the queue is enabled */
    bool mdic_error;
    bool gone;         /* every read gives ones */
    bool no_answer;    /* virtual: the physical function's cell is away */
    bool mailbox_held; /* virtual: it is writing just now */
    uint32_t answer;   /* virtual: 0: a good one */
    uint32_t mailbox;  /* virtual: what the next read of the register gives, once */
    unsigned asked;    /* virtual: messages sent */

    /* What the driver did. */
    unsigned resets;
    unsigned rx_tail_writes, tx_tail_writes;
    unsigned interrupts;
    uint8_t sent[1 << 16];
    struct intel_tx_descriptor context; /* the last one */
    uint32_t sent_command, sent_status; /* of the packet's first descriptor */
    size_t gathered;                    /* bytes of a packet that is not whole yet */
    size_t sent_bytes;
    unsigned sent_count;
    unsigned faults; /* accesses to memory that is not there */

    const struct intel_chip *chip;
    uint32_t *registers;
    uint8_t *config;
    uint8_t *msix;
    uint32_t causes, mask;
    uint32_t rx_head[NETDEV_QUEUES_MAX], tx_head[NETDEV_QUEUES_MAX];
    unsigned reset_left, enable_left;
    struct mmio_fake window;
};

void intel_fake_init(struct intel_fake *fake, uint16_t pci_device);
void intel_fake_destroy(struct intel_fake *fake);
void intel_fake_set_link(struct intel_fake *fake, bool up);

/* What the device writes behind a received frame. */
struct intel_fake_frame {
    const void *bytes;
    size_t length;         /* copied */
    uint32_t status;       /* or-ed to done and end of packet */
    uint32_t status_less;  /* cleared from them */
    uint16_t told_length;  /* 0: the length */
    uint16_t header_bytes; /* where it is split, if the driver has asked for that; 0: it is not */
    uint16_t told_header;  /* 0: those */
};
/* The queue that the registers choose for a frame. */
uint32_t intel_fake_steer(struct intel_fake *fake, const uint8_t *frame, size_t bytes);
/* Receives a frame; false: its queue has no buffer. */
bool intel_fake_deliver(struct intel_fake *fake, const struct intel_fake_frame *frame);
/* Sends at most `max` of the frames queued; returns how many. */
unsigned intel_fake_send(struct intel_fake *fake, unsigned max);
/* The same from another queue than 0. */
unsigned intel_fake_send_queue(struct intel_fake *fake, uint32_t queue, unsigned max);

#endif
