// SPDX-License-Identifier: MIT OR Apache-2.0
/* A port's sleep, and a port as a block device. */
#include "drivers/nvme/nvme_internal.h"

static void set_interrupt_mask(const struct nvme_port *port, bool masked)
{
    volatile uint8_t *entry = port->vector.entry;

    if (entry != NULL) {
        mmio_write32(entry + NVME_MSIX_CONTROL, masked ? NVME_MSIX_MASKED : 0);
    }
}

void nvme_fill_vector(const struct nvme_port *port)
{
    volatile uint8_t *entry = port->vector.entry;

    if (entry != NULL) {
        mmio_write32(entry + NVME_MSIX_CONTROL, NVME_MSIX_MASKED);
        mmio_write32(entry + NVME_MSIX_ADDRESS_LOW, (uint32_t)port->vector.address);
        mmio_write32(entry + NVME_MSIX_ADDRESS_HIGH, (uint32_t)(port->vector.address >> 32));
        mmio_write32(entry + NVME_MSIX_DATA, port->vector.data);
    }
}

bool nvme_arm(struct nvme_port *port)
{
    if (port->local_count != 0) {
        return false;
    }
    if (port->epoch == NVME_GRANT_DEAD || port->nvme->state == NVME_STOPPED) {
        return true; /* nothing will come */
    }
    if (!nvme_port_lives(port) || port->vector.entry == NULL) {
        return false;
    }
    nvme_tell_head(port);
    if (!port->parked) {
        port->nvme->shared_armed += !port->own_vector;
        port->parked = true;
    }
    set_interrupt_mask(port, false);
    mmio_fence();
    if (nvme_completion_waits(&port->queue) || port->grant != port->epoch) {
        nvme_disarm(port);
        return false;
    }
    return true;
}

void nvme_disarm(struct nvme_port *port)
{
    if (port->parked) {
        port->parked = false;
        mmio_fence(); /* before the grant is looked at: the controller writes it, then looks here */
        if (port->own_vector || --port->nvme->shared_armed == 0) {
            set_interrupt_mask(port, true);
        }
    }
}

time_ns_t nvme_next_due(const struct nvme_port *port)
{
    const struct nvme *nvme = port->nvme;

    if (port->local_count != 0) {
        return DEADLINE_NOW;
    }
    if (port->epoch == NVME_GRANT_DEAD || nvme->state == NVME_STOPPED) {
        return DEADLINE_NEVER;
    }
    if (port->epoch != port->grant || port->epoch == 0) {
        return DEADLINE_NOW;
    }
    return port->queue.free_count == port->queue.depth && !port->shares ? DEADLINE_NEVER
                                                                        : port->next_check_ns;
}

/* ---- The same as a block device; `block` is the first member ---- */

static uint32_t block_submit(struct block_device *dev, const struct block_request *requests,
                             uint32_t count, time_ns_t now_ns)
{
    return nvme_submit((struct nvme_port *)dev, requests, count, now_ns);
}

static uint32_t block_poll(struct block_device *dev, struct block_completion *completions,
                           uint32_t max, time_ns_t now_ns)
{
    return nvme_poll((struct nvme_port *)dev, completions, max, now_ns);
}

static bool block_arm(struct block_device *dev)
{
    return nvme_arm((struct nvme_port *)dev);
}

static void block_disarm(struct block_device *dev)
{
    nvme_disarm((struct nvme_port *)dev);
}

static time_ns_t block_next_due(struct block_device *dev)
{
    return nvme_next_due((struct nvme_port *)dev);
}

_Static_assert(offsetof(struct nvme_port, block) == 0, "a block device is a port");

const struct block_device_ops nvme_block_ops = {block_submit, block_poll, block_arm, block_disarm,
                                                block_next_due};
