// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * What a driver cell's devices see: exactly its DMA memory and its rings, at the addresses at which
 * the cell itself sees them. Without an IOMMU device addresses are physical and cells are trusted.
 */
#include "services/supervisor/supervisor.h"

/* Faults said for one incarnation; after that their record is left, so that no more are reported.
 */
#define IO_FAULTS_SAID_MAX 8u

bool iospace_used(const struct supervisor *s, const struct cell *cell)
{
    return (s->boot->flags & BOOT_FLAG_IOMMU) != 0 && cell->description->device_count > 0;
}

uint32_t iospace_tables(const struct supervisor *s, const struct cell *cell)
{
    if (!iospace_used(s, cell)) {
        return 0;
    }
    /* One for the whole, and one for each GiB that DMA memory and rings touch. */
    return 3u + (uint32_t)(cell->description->dma_bytes >> 30) +
           (uint32_t)(rings_bytes(s, cell) >> 30);
}

status_t iospace_make(struct supervisor *s, struct cell *cell)
{
    cap_slot_t space = cell->slots.iospace;

    cell->io_faults = 0;
    if (!iospace_used(s, cell)) {
        return STATUS_OK;
    }
    status_t status =
        retype(cell->slots.untyped, (struct retype_request){OBJECT_IOSPACE, 0, space, 1});
    for (uint32_t i = 0; i < cell->description->device_count && status == STATUS_OK; i++) {
        status =
            iospace_assign(space, BOOT_SLOT_PCI_FUNCTIONS, cell->devices[i]->function->address);
    }
    return status == STATUS_OK ? iospace_bind(space, cell->slots.io_event) : status;
}

static status_t io_table_add(struct cell *cell, uint64_t address)
{
    cap_slot_t slot = cell->slots.tables + cell->tables_made;

    if (cell->tables_made == cell->plan.table_count) {
        return STATUS_NO_MEMORY;
    }
    status_t status =
        retype(cell->slots.untyped, (struct retype_request){OBJECT_PAGE_TABLE, 0, slot, 1});
    if (status == STATUS_OK) {
        cell->tables_made++;
        status = iospace_map_table(cell->slots.iospace, slot, address);
    }
    return status;
}

status_t iospace_show(const struct supervisor *s, struct cell *cell,
                      const struct window_range *range, uint64_t address)
{
    uint32_t done = iospace_used(s, cell) ? 0 : range->count;

    while (done < range->count) {
        uint64_t at = address + (uint64_t)done * SEGMENT_BYTES;
        status_t status =
            iospace_attach(range->first + done, cell->slots.iospace, at, RIGHT_READ | RIGHT_WRITE);
        if (status == STATUS_OK) {
            done++;
        } else if (status == STATUS_MISSING_TABLE) {
            status = io_table_add(cell, at);
        }
        if (status != STATUS_OK && status != STATUS_AGAIN) {
            return status;
        }
    }
    return STATUS_OK;
}

status_t device_address(const struct supervisor *s, const struct cell *cell,
                        const struct io_page *page, uint64_t *address)
{
    if (iospace_used(s, cell)) {
        *address = page->address + (page->number << PAGE_SHIFT);
        return STATUS_OK;
    }
    return segment_device_address(page->windows + (cap_slot_t)(page->number / SEGMENT_PAGES),
                                  (uint32_t)(page->number % SEGMENT_PAGES), BOOT_SLOT_IOSPACE,
                                  address);
}

static void fault_say(struct cell *cell, const uint64_t values[2])
{
    uint32_t function = (uint32_t)values[1] & IO_FAULT_FUNCTION;

    log_line("%s: its device %02x:%02x.%u may not %s address 0x%lx (reason %u); refused%s",
             cell->description->name, function >> 8, function >> 3 & 0x1fu, function & 7u,
             (values[1] & IO_FAULT_WRITE) != 0 ? "write to" : "read from", values[0],
             (uint32_t)(values[1] >> IO_FAULT_REASON_SHIFT) & 0xffu,
             cell->io_faults == IO_FAULTS_SAID_MAX ? "; no more are reported" : "");
}

void io_faults_report(struct supervisor *s, uint64_t events)
{
    for (uint32_t i = 0; i < s->cell_count; i++) {
        struct cell *cell = &s->cells[i];
        uint64_t values[2];
        if ((events & EVENT_IO_FAULT(i)) != 0 && cell->io_faults < IO_FAULTS_SAID_MAX &&
            iospace_fault(cell->slots.iospace, values) == STATUS_OK) {
            cell->io_faults++;
            fault_say(cell, values);
        }
    }
}
