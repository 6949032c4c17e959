// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The controller memory buffer (Base 3.1.11 to 3.1.18): memory of the controller's that the host
 * reaches through a BAR, and the controller without the bus. Submission queues go to its beginning,
 * a page each; what is left is for data.
 */
#include "drivers/nvme/nvme_internal.h"
#include "lib/base/bytes.h"

/* Where the controller shall see it: far above any memory of a machine. */
#define OWN_ADDRESS (1ull << 46)

void nvme_enable_controller_memory(const struct nvme *nvme)
{
    volatile uint8_t *registers = nvme->config.registers;

    if (nvme->memory_address != 0) {
        mmio_write32(registers + NVME_REG_CMBMSC + 4, (uint32_t)(OWN_ADDRESS >> 32));
        mmio_write32(registers + NVME_REG_CMBMSC, (uint32_t)OWN_ADDRESS | NVME_CMBMSC_ENABLE);
    }
}

void nvme_take_controller_memory(struct nvme *nvme)
{
    if (!nvme->config.controller_memory || (nvme->capabilities & NVME_CAP_CMBS) == 0) {
        return;
    }
    nvme->memory_address = OWN_ADDRESS;
    nvme_enable_controller_memory(nvme);
    uint32_t location = nvme_register(nvme, NVME_REG_CMBLOC);
    uint32_t size = nvme_register(nvme, NVME_REG_CMBSZ);
    uint32_t bar = NVME_CMBLOC_BAR(location);
    uint32_t shift = NVME_CMBSZ_UNIT_SHIFT(size);
    uint64_t offset = (uint64_t)NVME_CMBLOC_OFFSET(location) << shift;
    uint64_t bytes = (uint64_t)NVME_CMBSZ_COUNT(size) << shift;
    uint64_t queues = (uint64_t)nvme->port_count * PAGE_BYTES;

    if (bar > 5u || shift > 36u || nvme->config.bar[bar] == NULL ||
        offset > nvme->config.bar_bytes[bar] || bytes > nvme->config.bar_bytes[bar] - offset ||
        bytes < queues || (offset & (PAGE_BYTES - 1u)) != 0) {
        nvme->memory_address = 0; /* nothing of it is used, enabled or not */
        return;
    }
    uint8_t *base = (uint8_t *)(uintptr_t)nvme->config.bar[bar] + offset;
    uint64_t used = 0;
    if ((size & NVME_CMBSZ_QUEUES) != 0) {
        for (uint32_t i = 0; i < nvme->port_count; i++) {
            struct nvme_port *port = nvme->ports[i];
            port->submissions = base + used;
            port->submissions_address = nvme->memory_address + used;
            used += PAGE_BYTES;
            nvme_port_renew(port);
        }
    }
    if ((size & NVME_CMBSZ_DATA) == NVME_CMBSZ_DATA) {
        nvme->memory = base + used;
        nvme->memory_bytes = bytes - used;
        nvme->memory_address += used;
    }
}

uint64_t nvme_memory_address(const struct nvme *nvme, const void *data, uint64_t bytes)
{
    uint64_t offset = (uint64_t)((uintptr_t)data - (uintptr_t)nvme->memory);

    return nvme->memory_bytes != 0 && offset < nvme->memory_bytes &&
                   bytes <= nvme->memory_bytes - offset
               ? nvme->memory_address + offset
               : 0;
}
