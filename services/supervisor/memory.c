// SPDX-License-Identifier: MIT OR Apache-2.0
#include "services/supervisor/supervisor.h"

/* ---- Slots and capabilities ------------------------------------------------------------------ */

status_t slots_take(struct supervisor *s, uint32_t count, cap_slot_t *first)
{
    if (count > s->boot->table_slots - s->next_slot) {
        return STATUS_NO_MEMORY;
    }
    *first = s->next_slot;
    s->next_slot += count;
    return STATUS_OK;
}

/* The kernel does a bounded step a call, and each step gets closer to the end. */
void cap_revoke_all(cap_ref_t ref)
{
    while (cap_revoke(ref) == STATUS_AGAIN) {
    }
}

void cap_remove(cap_ref_t ref)
{
    cap_revoke_all(ref);
    while (cap_delete(ref) == STATUS_AGAIN) {
    }
}

/* ---- Untyped memory -------------------------------------------------------------------------- */

status_t retype(cap_slot_t untyped, struct retype_request request)
{
    uint32_t left = request.count;

    while (left > 0) {
        request.count = left < RETYPE_COUNT_MAX ? left : RETYPE_COUNT_MAX;
        status_t status = untyped_retype(untyped, request);
        if (status == STATUS_AGAIN) {
            continue;
        }
        if (status != STATUS_OK) {
            return status;
        }
        left -= request.count;
        request.first += request.count;
    }
    return STATUS_OK;
}

status_t retype_own(struct supervisor *s, struct retype_request request)
{
    status_t status = STATUS_NO_MEMORY;

    for (uint32_t i = 0; i < s->boot->untyped_count && status == STATUS_NO_MEMORY; i++) {
        status = retype(s->boot->untyped[i].slot, request);
    }
    return status;
}

status_t untyped_take(struct supervisor *s, uint64_t bytes, cap_slot_t slot)
{
    return retype_own(s, (struct retype_request){OBJECT_UNTYPED, bytes, slot, 1});
}

uint64_t untyped_free_bytes(const struct supervisor *s)
{
    uint64_t total = 0;

    for (uint32_t i = 0; i < s->boot->untyped_count; i++) {
        uint64_t values[2];
        if (untyped_info(s->boot->untyped[i].slot, values) == STATUS_OK) {
            total += values[1];
        }
    }
    return total;
}

/* ---- Windows --------------------------------------------------------------------------------- */

status_t windows_make(const struct window_range *range)
{
    return retype(range->untyped,
                  (struct retype_request){OBJECT_SEGMENT, 0, range->first, range->count});
}

/* Pages that one call can take from `page` on: not beyond the window, the call's limit, `left`. */
static uint32_t pages_in_call(uint64_t page, uint64_t left)
{
    uint64_t in_window = SEGMENT_PAGES - page % SEGMENT_PAGES;
    uint64_t count = left < in_window ? left : in_window;

    return (uint32_t)(count < POPULATE_PAGES_MAX ? count : POPULATE_PAGES_MAX);
}

static cap_slot_t window_of(const struct window_range *range, uint64_t page)
{
    return range->first + (cap_slot_t)(page / SEGMENT_PAGES);
}

status_t windows_populate(const struct window_range *range, uint64_t first_page, uint64_t count,
                          uint32_t rights)
{
    uint64_t page = first_page;

    while (count > 0) {
        uint32_t part = pages_in_call(page, count);
        status_t status = segment_populate(window_of(range, page), (uint32_t)(page % SEGMENT_PAGES),
                                           part, range->untyped, rights);
        if (status == STATUS_AGAIN) {
            continue;
        }
        if (status != STATUS_OK) {
            return status;
        }
        page += part;
        count -= part;
    }
    return STATUS_OK;
}

status_t windows_protect(const struct window_range *range, uint64_t first_page, uint64_t count,
                         uint32_t rights)
{
    uint64_t page = first_page;

    while (count > 0) {
        uint32_t part = pages_in_call(page, count);
        status_t status =
            segment_protect(window_of(range, page), (uint32_t)(page % SEGMENT_PAGES), part, rights);
        if (status != STATUS_OK) {
            return status;
        }
        page += part;
        count -= part;
    }
    return STATUS_OK;
}

/* The device memory that holds the whole range; NULL if none does. */
static const struct boot_range *device_memory_find(const struct supervisor *s, uint64_t base,
                                                   uint64_t bytes)
{
    for (uint32_t i = 0; i < s->boot->device_memory_count; i++) {
        const struct boot_range *range = &s->boot->device_memory[i];
        if (base >= range->base && bytes <= range->bytes &&
            base - range->base <= range->bytes - bytes) {
            return range;
        }
    }
    return NULL;
}

status_t windows_populate_device(const struct supervisor *s, const struct window_range *range,
                                 uint64_t first_page, const struct boot_range *physical,
                                 uint32_t rights)
{
    const struct boot_range *memory = device_memory_find(s, physical->base, physical->bytes);
    uint64_t page = first_page;
    uint64_t left = physical->bytes >> PAGE_SHIFT;

    if (memory == NULL) {
        return STATUS_NOT_FOUND;
    }
    uint64_t offset = physical->base - memory->base;
    while (left > 0) {
        struct device_pages pages = {
            .first_page = (uint32_t)(page % SEGMENT_PAGES),
            .count = pages_in_call(page, left),
            .memory = memory->slot,
            .offset = offset,
            .rights = rights | PAGE_UNCACHED,
        };
        status_t status = segment_populate_device(window_of(range, page), pages);
        if (status != STATUS_OK) {
            return status;
        }
        page += pages.count;
        left -= pages.count;
        offset += (uint64_t)pages.count << PAGE_SHIFT;
    }
    return STATUS_OK;
}

/* ---- Attaching ------------------------------------------------------------------------------- */

static status_t cell_table_add(struct cell *cell, uint64_t address)
{
    cap_slot_t slot = cell->slots.tables + cell->tables_made;

    if (cell->tables_made == cell->plan.table_count) {
        return STATUS_NO_MEMORY;
    }
    status_t status =
        retype(cell->slots.untyped, (struct retype_request){OBJECT_PAGE_TABLE, 0, slot, 1});
    if (status == STATUS_OK) {
        cell->tables_made++;
        status = aspace_map_table(cell->slots.aspace, slot, address);
    }
    return status;
}

status_t windows_attach(struct cell *cell, const struct window_range *range, uint64_t address,
                        uint32_t rights)
{
    uint32_t done = 0;

    while (done < range->count) {
        uint64_t at = address + (uint64_t)done * SEGMENT_BYTES;
        status_t status = segment_attach(range->first + done, cell->slots.aspace, at, rights);
        if (status == STATUS_OK) {
            done++;
        } else if (status == STATUS_MISSING_TABLE) {
            status = cell_table_add(cell, at);
        }
        if (status != STATUS_OK) {
            return status;
        }
    }
    return STATUS_OK;
}

static status_t own_table_add(struct supervisor *s, uint64_t address)
{
    cap_slot_t slot;
    status_t status = slots_take(s, 1, &slot);

    if (status == STATUS_OK) {
        status = retype_own(s, (struct retype_request){OBJECT_PAGE_TABLE, 0, slot, 1});
    }
    if (status == STATUS_OK) {
        status = aspace_map_table(BOOT_SLOT_ASPACE, slot, address);
    }
    return status;
}

status_t windows_attach_own(struct supervisor *s, const struct window_range *range,
                            uint64_t address)
{
    uint32_t done = 0;

    while (done < range->count) {
        uint64_t at = address + (uint64_t)done * SEGMENT_BYTES;
        status_t status =
            segment_attach(range->first + done, BOOT_SLOT_ASPACE, at, RIGHT_READ | RIGHT_WRITE);
        if (status == STATUS_OK) {
            done++;
        } else if (status == STATUS_MISSING_TABLE) {
            status = own_table_add(s, at);
        }
        if (status != STATUS_OK) {
            return status;
        }
    }
    return STATUS_OK;
}

uint64_t addresses_take(struct supervisor *s, uint64_t bytes)
{
    uint64_t address = s->next_address;

    s->next_address += bytes;
    return address;
}
