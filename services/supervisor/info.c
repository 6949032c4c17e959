// SPDX-License-Identifier: MIT OR Apache-2.0
/* What a new incarnation is told: hallows/cell.h's page and the lists behind it. */
#include "services/supervisor/supervisor.h"

#include "lib/base/bytes.h"

#define PCI_WINDOW_32_BASE 0x100000ull  /* above what PCs keep below 1 MiB */
#define PCI_WINDOW_32_END 0xfec00000ull /* I/O APIC, HPET, local APIC and firmware lie above */
#define PCI_4G 0x100000000ull

/* The address, in the cell, of the byte at `offset` in its information window. */
static const void *info_address(uint64_t offset)
{
    return (const void *)(CELL_INFO_ADDRESS + offset);
}

/* ---- DMA ------------------------------------------------------------------------------------- */

static status_t dma_fill(struct supervisor *s, struct cell *cell, struct cell_info *info)
{
    uint64_t *addresses = (uint64_t *)(cell->info + cell->plan.dma_address_offset);
    cap_slot_t first = cell->slots.windows + plan_dma_window(&cell->plan);
    uint32_t pages = cell->plan.dma_windows * SEGMENT_PAGES;

    for (uint32_t page = 0; page < pages; page++) {
        const struct io_page at = {first, CELL_DMA_ADDRESS, page};
        status_t status = device_address(s, cell, &at, &addresses[page]);
        if (status != STATUS_OK) {
            return status;
        }
    }
    info->dma = (void *)CELL_DMA_ADDRESS;
    info->dma_bytes = cell->description->dma_bytes;
    info->dma_page_device_address = info_address(cell->plan.dma_address_offset);
    return STATUS_OK;
}

/* ---- Devices --------------------------------------------------------------------------------- */

struct device_area {
    struct window_range range;
    uint64_t page; /* next unused */
};

static status_t area_show(struct supervisor *s, struct device_area *area, uint64_t base,
                          uint64_t bytes, uint32_t rights, void **address)
{
    struct boot_range physical = {.base = base, .bytes = bytes};
    uint64_t pages = (bytes + PAGE_BYTES - 1u) >> PAGE_SHIFT;

    physical.bytes = pages << PAGE_SHIFT;
    status_t status = windows_populate_device(s, &area->range, area->page, &physical, rights);
    if (status == STATUS_OK) {
        *address = (void *)(CELL_DEVICE_ADDRESS + (area->page << PAGE_SHIFT));
        area->page += pages;
    }
    return status;
}

static status_t device_fill(struct supervisor *s, struct device_area *area,
                            const struct device *device, struct cell_device *out)
{
    const struct pci_function *f = device->function;
    void *address;

    memcpy(out->name, device->description->name, sizeof(out->name));
    out->kind = device->description->kind;
    out->pci_vendor = f->vendor;
    out->pci_device = f->device;
    out->pci_address = f->address;
    uint64_t config = s->boot->ecam_base + (((uint64_t)f->address << PAGE_SHIFT) -
                                            ((uint64_t)s->boot->ecam_first_bus << 20));
    status_t status = area_show(s, area, config, PAGE_BYTES, RIGHT_READ, &address);
    if (status != STATUS_OK) {
        return status;
    }
    out->config = address;
    for (uint32_t i = 0; i < 6u; i++) {
        uint64_t bytes =
            f->bar_bytes[i] < PLAN_BAR_BYTES_MAX ? f->bar_bytes[i] : PLAN_BAR_BYTES_MAX;
        if (bytes == 0) {
            continue;
        }
        status = area_show(s, area, f->bar_base[i], bytes, RIGHT_READ | RIGHT_WRITE, &address);
        if (status != STATUS_OK) {
            return status;
        }
        out->bar[i] = address;
        out->bar_bytes[i] = bytes;
    }
    return STATUS_OK;
}

static status_t devices_fill(struct supervisor *s, struct cell *cell, struct cell_info *info)
{
    struct device_area area = {
        .range = {cell->slots.untyped, cell->slots.windows + plan_device_window(&cell->plan),
                  cell->plan.device_windows},
    };
    cap_slot_t slot = CELL_SLOT_FIRST_DYNAMIC;

    info->device_count = cell->description->device_count;
    for (uint32_t i = 0; i < info->device_count; i++) {
        struct device *device = cell->devices[i];
        struct cell_device *out = &info->devices[i];
        status_t status = device_fill(s, &area, device, out);
        if (status == STATUS_OK) {
            status = device_irqs_make(s, cell, i);
        }
        for (uint32_t irq = 0; irq < device->irqs_made && status == STATUS_OK; irq++) {
            out->msi[irq].address = device->msi[irq][0];
            out->msi[irq].data = (uint32_t)device->msi[irq][1];
            out->msi[irq].irq_slot = slot;
            status = cap_copy(cap_ref(cell->slots.table, slot++), device->irqs + irq, RIGHTS_ALL);
        }
        if (status != STATUS_OK) {
            log_line("%s: device %s: %s", cell->description->name, out->name, status_text(status));
            return status;
        }
        out->irq_count = device->irqs_made;
    }
    return STATUS_OK;
}

/* ---- The pci service ------------------------------------------------------------------------- */

/* The largest piece of [base, end) that is device memory. */
static void window_find(const struct supervisor *s, uint64_t base, uint64_t end,
                        uint64_t *best_base, uint64_t *best_bytes)
{
    *best_base = 0;
    *best_bytes = 0;
    for (uint32_t i = 0; i < s->boot->device_memory_count; i++) {
        uint64_t low = s->boot->device_memory[i].base;
        uint64_t high = low + s->boot->device_memory[i].bytes;
        low = low > base ? low : base;
        high = high < end ? high : end;
        if (high > low && high - low > *best_bytes) {
            *best_base = low;
            *best_bytes = high - low;
        }
    }
}

static void pci_fill(const struct supervisor *s, struct cell_info *info)
{
    uint64_t buses = s->boot->ecam_last_bus - s->boot->ecam_first_bus + 1ull;
    uint64_t ecam = s->boot->ecam_base;
    uint64_t ecam_end = ecam == 0 ? PCI_WINDOW_32_BASE : ecam + (buses << 20);
    const uint64_t areas[3][2] = {
        {PCI_WINDOW_32_BASE, ecam < PCI_WINDOW_32_END ? ecam : PCI_WINDOW_32_END},
        {ecam_end < PCI_WINDOW_32_END ? ecam_end : PCI_WINDOW_32_BASE, PCI_WINDOW_32_END},
        {ecam_end > PCI_4G ? ecam_end : PCI_4G, UINT64_MAX},
    };

    info->ecam = ecam == 0 ? NULL : (volatile void *)CELL_ECAM_ADDRESS;
    info->ecam_first_bus = s->boot->ecam_first_bus;
    info->ecam_last_bus = s->boot->ecam_last_bus;
    for (uint32_t i = 0; i < 3u; i++) {
        window_find(s, areas[i][0], areas[i][1], &info->pci_window_base[i],
                    &info->pci_window_bytes[i]);
    }
}

/* ---- All ------------------------------------------------------------------------------------- */

status_t cell_info_fill(struct supervisor *s, struct cell *cell)
{
    const struct system_cell *d = cell->description;
    struct cell_info *info = (struct cell_info *)cell->info;

    info->magic = CELL_INFO_MAGIC;
    info->version = CELL_INFO_VERSION;
    info->cell_index = cell->index;
    memcpy(info->name, d->name, sizeof(info->name));
    info->generation = cell->generation;
    info->thread_count = cell_threads(cell);
    info->flags = d->flags;
    info->time = s->boot->time;
    info->unix_ns_at_zero = s->unix_ns_at_zero;
    info->heap = (void *)CELL_HEAP_ADDRESS;
    info->heap_bytes = d->heap_bytes;
    memcpy(cell->info + cell->plan.config_offset, system_cell_config(&s->system, d),
           d->config_bytes);
    info->config = info_address(cell->plan.config_offset);
    info->config_bytes = d->config_bytes;
    status_t status = dma_fill(s, cell, info);
    if (status == STATUS_OK) {
        status = devices_fill(s, cell, info);
    }
    if (status == STATUS_OK) {
        status = rings_connect(s, cell, info);
    }
    if (status == STATUS_OK && (d->flags & CELL_FLAG_PCI) != 0) {
        pci_fill(s, info);
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct window_range range = {cell->slots.untyped,
                                 cell->slots.windows + plan_info_window(&cell->plan), 1};
    return windows_protect(&range, 0, cell->plan.info_pages, RIGHT_READ);
}
