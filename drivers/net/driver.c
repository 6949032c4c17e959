// SPDX-License-Identifier: MIT OR Apache-2.0
#include "drivers/net/driver.h"

#include "drivers/net/intel/intel_nic.h"
#include "drivers/net/virtio/virtio_net.h"

struct driver {
    bool (*supported)(const struct cell_device *device);
    status_t (*attach)(const struct netdev_attach_request *request, struct netdev **dev);
};

static const struct driver drivers[] = {
    {virtio_net_supported, virtio_net_attach},
    {intel_nic_supported, intel_nic_attach},
};

static const struct driver *find_driver(const struct cell_device *device)
{
    for (size_t i = 0; i < sizeof drivers / sizeof drivers[0]; i++) {
        if (drivers[i].supported(device)) {
            return &drivers[i];
        }
    }
    return NULL;
}

bool netdev_supported(const struct cell_device *device)
{
    return find_driver(device) != NULL;
}

status_t netdev_attach(const struct netdev_attach_request *request, struct netdev **dev)
{
    const struct driver *driver = find_driver(request->device);

    if (driver == NULL) {
        return STATUS_UNSUPPORTED;
    }
    uint32_t queues = request->queues != 0 ? request->queues : 1u;
    if (queues > NETDEV_QUEUES_MAX || request->dma.bytes < queues * NETDEV_DMA_BYTES ||
        (uintptr_t)request->dma.base % PAGE_BYTES != 0 || (uintptr_t)request->state % 64 != 0 ||
        request->device->irq_count == 0 || request->pool->buffer_bytes < NETDEV_BUFFER_BYTES_MIN ||
        request->pool->device_address == NULL ||
        (request->split_headers && request->pool->buffer_bytes != PAGE_BYTES)) {
        return STATUS_INVALID_ARGUMENT;
    }
    return driver->attach(request, dev);
}
