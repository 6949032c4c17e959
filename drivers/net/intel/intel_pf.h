// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The physical function of an 82576 whose virtual functions belong to other cells: brings up chip
 * and link, gives each virtual function a station address and one pool (queue pair) when it asks by
 * mailbox, and no more. It moves no frame and has no memory that the chip reads or writes.
 *
 * What a virtual function may do: receive what is sent to its address, to all, and to groups; send.
 * It cannot send under another's address where the chip checks that (QEMU's does not), and one
 * that does not take its frames loses them without holding up the others. Whatever it writes into
 * its mailbox is read once; an unknown message is refused, a held mailbox is taken from it.
 *
 * A restart of the physical function resets the chip, virtual functions too: their drivers see
 * it and start again.
 *
 * Thread rule: one owner. Source: Intel 82576EB datasheet 7.10, 8.14.
 */
#ifndef DRIVERS_NET_INTEL_INTEL_PF_H
#define DRIVERS_NET_INTEL_INTEL_PF_H

#include <hallows/cell.h>
#include <hallows/status.h>

#include "drivers/net/intel/intel_regs.h"
#include "drivers/net/restart.h"

enum intel_pf_state {
    INTEL_PF_RESETTING = 1,
    INTEL_PF_STARTING = 2,
    INTEL_PF_RUNNING = 3,
    INTEL_PF_BROKEN = 4, /* to be reset at restart.at_ns */
    INTEL_PF_STOPPED = 5,
};

struct intel_pf_counters {
    uint64_t given;   /* addresses that virtual functions asked for */
    uint64_t refused; /* messages that mean nothing */
    uint64_t resets;  /* of the chip, beyond the first */
};

struct intel_pf {
    const struct cell_device *device;
    volatile uint8_t *registers;
    enum intel_pf_state state;
    bool link;
    bool loopback; /* frames between virtual functions stay in the chip */
    uint8_t mac[6];
    uint32_t pools_on; /* bit v: virtual function v has its address and may run */
    time_ns_t settled_ns;
    time_ns_t deadline_ns;
    struct restart restart;
    struct intel_pf_counters counters;
};

/* Starts a reset. NOT_FOUND, INVALID_ARGUMENT: registers or MSI-X are missing; UNSUPPORTED: not an
 * 82576. The device and its interrupt 0 are the caller's. */
status_t intel_pf_init(struct intel_pf *pf, const struct cell_device *device, bool loopback,
                       time_ns_t now_ns) HALLOWS_MUST_CHECK;
/* Goes on with what takes time, answers mailboxes; call after an interrupt and when due. Returns
 * when it is due next. Bounded: one message of each virtual function. */
time_ns_t intel_pf_work(struct intel_pf *pf, time_ns_t now_ns);
/* Whether virtual functions may come now. */
static inline bool intel_pf_running(const struct intel_pf *pf)
{
    return pf->state == INTEL_PF_RUNNING;
}
/* The station address that virtual function `number` gets: a local one, made of the chip's. */
void intel_pf_address(const struct intel_pf *pf, uint32_t number, uint8_t mac[6]);
/* Stops all queues; virtual functions see a reset. */
void intel_pf_stop(struct intel_pf *pf);

#endif
