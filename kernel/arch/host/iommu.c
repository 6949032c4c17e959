// SPDX-License-Identifier: MIT OR Apache-2.0
/* The host's IOMMU: walks the tables that the core makes and remembers translations until it is
 * told to flush them, so that a missing flush shows. */
#include "kernel/arch/host/machine.h"

/* ---- I/O memory management --------------------------------------------------------------------
 */

#define HOST_IO_DOMAINS 9u
#define HOST_IO_FUNCTIONS 256u
#define HOST_IO_ADDRESS_END ((uint64_t)1 << 39)
#define ENTRY_PRESENT ((uint64_t)1 << 63)
#define HOST_IOTLB_ENTRIES 64u
#define ENTRY_IO 1u /* marks entries of I/O spaces' own tables */

static struct {
    uint32_t domain; /* 0: unused */
    uint32_t rights;
    uint64_t root;
    uint64_t page;
    uint64_t physical;
} iotlb[HOST_IOTLB_ENTRIES];
static uint32_t iotlb_next;

struct io_limits arch_io_limits(void)
{
    return host_machine.no_iommu ? (struct io_limits){0, 0}
                                 : (struct io_limits){HOST_IO_DOMAINS, HOST_IO_ADDRESS_END};
}

void arch_io_space_init(uint64_t pages, uint32_t domain)
{
    VERIFY(domain != 0 && domain < HOST_IO_DOMAINS && pages % PAGE_BYTES == 0);
}

uint64_t arch_io_table_encode(uint64_t physical)
{
    return arch_table_encode(physical) | ENTRY_IO;
}

uint64_t arch_io_attach_encode(uint64_t physical, uint32_t rights)
{
    VERIFY((rights & ~(uint32_t)(RIGHT_READ | RIGHT_WRITE)) == 0);
    return arch_attach_encode(physical, rights) | ENTRY_IO;
}

uint32_t arch_io_attach_rights(uint64_t entry)
{
    return arch_attach_rights(entry);
}

void arch_io_stored(const void *entries, uint32_t bytes)
{
    VERIFY((const uint8_t *)entries >= host_memory && bytes <= PAGE_BYTES);
}

void arch_io_flush(uint32_t domain)
{
    for (uint32_t i = 0; i < HOST_IOTLB_ENTRIES; i++) {
        if (domain == 0 || iotlb[i].domain == domain) {
            iotlb[i].domain = 0;
        }
    }
}

bool arch_io_function_ok(uint32_t function)
{
    return !host_machine.no_iommu && function < HOST_IO_FUNCTIONS;
}

uint32_t arch_io_domain(uint32_t function)
{
    VERIFY(function < HOST_IO_FUNCTIONS);
    return host_machine.io_domain[function];
}

void arch_io_assign(uint32_t function, uint64_t pages, uint32_t domain)
{
    VERIFY(arch_io_domain(function) == 0 && domain != 0);
    host_machine.io_domain[function] = domain;
    host_machine.io_root[function] = pages;
}

void arch_io_unassign(uint32_t function)
{
    uint32_t domain = arch_io_domain(function);

    VERIFY(domain != 0);
    host_machine.io_domain[function] = 0;
    host_machine.io_root[function] = 0;
    host_machine.io_quiet[function] = false;
    arch_io_flush(domain);
}

void arch_io_report(uint32_t function, bool on)
{
    VERIFY(arch_io_domain(function) != 0);
    host_machine.io_quiet[function] = !on;
}

/* What the tables say: the physical page, or 0. */
static uint64_t io_walk(uint64_t root, uint64_t address, uint32_t *rights)
{
    uint64_t table = root;

    *rights = RIGHT_READ | RIGHT_WRITE;
    for (uint32_t level = 3; level > 0; level--) {
        uint64_t entry = ((const uint64_t *)arch_memory(table))[paging_index(address, level)];
        if ((entry & ENTRY_PRESENT) == 0) {
            return 0;
        }
        VERIFY((entry & ENTRY_IO) != 0);
        *rights &= level == 1 ? arch_io_attach_rights(entry) : ~0u;
        table = arch_leaf_physical(entry);
    }
    uint64_t leaf = ((const uint64_t *)arch_memory(table))[paging_index(address, 0)];
    if ((leaf & ENTRY_PRESENT) == 0) {
        return 0;
    }
    *rights &= RIGHT_READ | (arch_entry_writable(leaf) ? RIGHT_WRITE : 0u);
    return arch_leaf_physical(leaf);
}

uint64_t host_io_access(uint32_t function, uint64_t address, bool write)
{
    uint32_t domain = arch_io_domain(function);
    uint64_t root = host_machine.io_root[function];
    uint64_t page = address / PAGE_BYTES;
    uint32_t need = write ? RIGHT_WRITE : RIGHT_READ;
    uint32_t rights;

    if (domain == 0 || address >= HOST_IO_ADDRESS_END) {
        return 0;
    }
    for (uint32_t i = 0; i < HOST_IOTLB_ENTRIES; i++) {
        if (iotlb[i].domain == domain && iotlb[i].page == page && (iotlb[i].rights & need) != 0) {
            return iotlb[i].physical;
        }
    }
    uint64_t physical = io_walk(root, address, &rights);
    if (physical == 0 || (rights & need) == 0) {
        return 0;
    }
    uint32_t i = iotlb_next++ % HOST_IOTLB_ENTRIES;
    iotlb[i].domain = domain;
    iotlb[i].rights = rights;
    iotlb[i].root = root;
    iotlb[i].page = page;
    iotlb[i].physical = physical;
    return physical;
}

bool host_io_fresh(void)
{
    for (uint32_t i = 0; i < HOST_IOTLB_ENTRIES; i++) {
        uint32_t rights;
        if (iotlb[i].domain != 0 &&
            (io_walk(iotlb[i].root, iotlb[i].page * PAGE_BYTES, &rights) != iotlb[i].physical ||
             (iotlb[i].rights & ~rights) != 0)) {
            return false;
        }
    }
    return true;
}

status_t arch_irq_source(uint32_t vector, uint32_t function)
{
    if (host_machine.no_remapping) {
        return STATUS_UNSUPPORTED;
    }
    host_machine.irq_source[vector] = function + 1;
    return STATUS_OK;
}

void arch_irq_forget(uint32_t vector)
{
    host_machine.irq_source[vector] = 0;
    host_machine.irq_cpu[vector] = 0;
}
