// SPDX-License-Identifier: MIT OR Apache-2.0
/* Rings between cells. Their memory is the supervisor's, so that it outlives either side. */
#include "services/supervisor/supervisor.h"

#include "lib/base/bytes.h"

/* Slots of doorbells in a cell's table, behind the most irqs that it can have. */
#define DOORBELL_SLOT (CELL_SLOT_FIRST_DYNAMIC + CELL_DEVICES_MAX * CELL_IRQS_MAX)
#define RING_SLACK_PAGES 4u

_Static_assert(DOORBELL_SLOT + CELL_RINGS_MAX <= CELL_SLOT_WAKE, "all doorbells have a slot");

static bool is_end(const struct ring *ring, uint32_t cell_index)
{
    return ring->description->client_cell == cell_index ||
           ring->description->server_cell == cell_index;
}

/* Which of its rings this is for the cell: how many of its rings come before. */
static uint32_t number_for(const struct supervisor *s, const struct ring *ring, uint32_t cell_index)
{
    uint32_t number = 0;

    for (const struct ring *r = s->rings; r < ring; r++) {
        number += is_end(r, cell_index) ? 1u : 0u;
    }
    return number;
}

static uint64_t pool_bytes(const struct system_ring *d)
{
    uint64_t bytes = (uint64_t)d->buffer_count * d->buffer_bytes;

    return (bytes + PAGE_BYTES - 1u) & ~(uint64_t)(PAGE_BYTES - 1u);
}

/* ---- Once ------------------------------------------------------------------------------------ */

static status_t ring_prepare(struct supervisor *s, struct ring *ring)
{
    const struct system_ring *d = ring->description;
    uint64_t header = RING_ENTRIES_OFFSET + (uint64_t)d->entries * (sizeof(struct ring_submission) +
                                                                    sizeof(struct ring_completion));
    cap_slot_t untyped;

    ring->pool_offset = (header + PAGE_BYTES - 1u) & ~(uint64_t)(PAGE_BYTES - 1u);
    ring->bytes = ring->pool_offset + pool_bytes(d);
    ring->window_count = (uint32_t)((ring->bytes + SEGMENT_BYTES - 1u) >> SEGMENT_SHIFT);
    status_t status = slots_take(s, 1u + ring->window_count, &untyped);
    if (status != STATUS_OK) {
        return status;
    }
    ring->windows = untyped + 1u;
    uint64_t pages = (ring->bytes >> PAGE_SHIFT) + ring->window_count + RING_SLACK_PAGES;
    struct window_range range = {untyped, ring->windows, ring->window_count};
    uint64_t address = addresses_take(s, (uint64_t)ring->window_count * SEGMENT_BYTES);
    status = untyped_take(s, pages << PAGE_SHIFT, untyped);
    if (status == STATUS_OK) {
        status = windows_make(&range);
    }
    if (status == STATUS_OK) {
        status = windows_populate(&range, 0, ring->bytes >> PAGE_SHIFT, RIGHT_READ | RIGHT_WRITE);
    }
    if (status == STATUS_OK) {
        status = windows_attach_own(s, &range, address);
    }
    if (status != STATUS_OK) {
        return status;
    }
    ring->shared = (struct ring_shared *)address;
    ring->shared->magic = RING_MAGIC;
    ring->shared->version = RING_VERSION;
    ring->shared->entries = d->entries;
    ring->shared->client_state = RING_STATE_CLOSED;
    ring->shared->server_state = RING_STATE_CLOSED;
    return STATUS_OK;
}

/* Badged copies of both ends' notifications: for the supervisor, and to copy from. */
static status_t doorbells_make(struct supervisor *s, struct ring *ring)
{
    uint32_t client = ring->description->client_cell;
    uint32_t server = ring->description->server_cell;
    status_t status = slots_take(s, 2, &ring->client_doorbell);

    ring->server_doorbell = ring->client_doorbell + 1u;
    if (status == STATUS_OK) {
        status = cap_mint(ring->client_doorbell, s->cells[client].slots.threads[0].notification,
                          RIGHT_SEND, CELL_EVENT_RING(number_for(s, ring, client)));
    }
    if (status == STATUS_OK) {
        status = cap_mint(ring->server_doorbell, s->cells[server].slots.threads[0].notification,
                          RIGHT_SEND, CELL_EVENT_RING(number_for(s, ring, server)));
    }
    return status;
}

status_t rings_prepare(struct supervisor *s)
{
    for (uint32_t i = 0; i < s->ring_count; i++) {
        s->rings[i].description = &s->system.rings[i];
        status_t status = ring_prepare(s, &s->rings[i]);
        if (status == STATUS_OK) {
            status = doorbells_make(s, &s->rings[i]);
        }
        if (status != STATUS_OK) {
            log_line("ring %s: %s", s->rings[i].description->name, status_text(status));
            return status;
        }
    }
    return STATUS_OK;
}

/* ---- Per incarnation ------------------------------------------------------------------------- */

uint64_t rings_pool_pages(const struct supervisor *s, const struct cell *cell)
{
    uint64_t pages = 0;

    for (uint32_t i = 0; i < s->ring_count && cell->description->device_count > 0; i++) {
        if (is_end(&s->rings[i], cell->index)) {
            pages += pool_bytes(s->rings[i].description) >> PAGE_SHIFT;
        }
    }
    return pages;
}

uint64_t rings_bytes(const struct supervisor *s, const struct cell *cell)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < s->ring_count; i++) {
        if (is_end(&s->rings[i], cell->index)) {
            bytes += (uint64_t)s->rings[i].window_count * SEGMENT_BYTES;
        }
    }
    return bytes;
}

/* Device addresses of the pool's pages, for a cell that drives a device. */
static status_t pool_addresses_fill(const struct supervisor *s, const struct cell *cell,
                                    const struct ring *ring, const struct cell_ring *at,
                                    uint64_t *addresses)
{
    uint64_t first = ring->pool_offset >> PAGE_SHIFT;
    uint64_t end = ring->bytes >> PAGE_SHIFT;

    for (uint64_t page = first; page < end; page++) {
        const struct io_page where = {ring->windows, (uint64_t)at->address, page};
        status_t status = device_address(s, cell, &where, &addresses[page - first]);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return STATUS_OK;
}

status_t rings_connect(struct supervisor *s, struct cell *cell, struct cell_info *info)
{
    uint64_t address = CELL_RING_ADDRESS;
    uint64_t list = cell->plan.ring_address_offset;

    for (uint32_t i = 0; i < s->ring_count; i++) {
        struct ring *ring = &s->rings[i];
        const struct system_ring *d = ring->description;
        if (!is_end(ring, cell->index)) {
            continue;
        }
        uint32_t number = info->ring_count++;
        struct cell_ring *out = &info->rings[number];
        struct window_range range = {0, ring->windows, ring->window_count};
        memcpy(out->name, d->name, sizeof(out->name));
        out->role = d->client_cell == cell->index ? CELL_RING_CLIENT : CELL_RING_SERVER;
        out->kind = d->kind;
        out->entries = d->entries;
        out->buffer_count = d->buffer_count;
        out->buffer_bytes = d->buffer_bytes;
        out->address = (void *)address;
        out->bytes = ring->bytes;
        out->pool_offset = ring->pool_offset;
        out->doorbell_slot = DOORBELL_SLOT + number;
        status_t status = windows_attach(cell, &range, address, RIGHT_READ | RIGHT_WRITE);
        if (status == STATUS_OK) {
            status = iospace_show(s, cell, &range, address);
        }
        if (status == STATUS_OK) {
            bool client = out->role == CELL_RING_CLIENT;
            status = cap_copy(cap_ref(cell->slots.table, out->doorbell_slot),
                              client ? ring->server_doorbell : ring->client_doorbell, RIGHT_SEND);
        }
        if (status == STATUS_OK && cell->description->device_count > 0) {
            out->pool_page_device_address = (const uint64_t *)(CELL_INFO_ADDRESS + list);
            status = pool_addresses_fill(s, cell, ring, out, (uint64_t *)(cell->info + list));
            list += (pool_bytes(d) >> PAGE_SHIFT) * sizeof(uint64_t);
        }
        if (status != STATUS_OK) {
            return status;
        }
        address += (uint64_t)ring->window_count * SEGMENT_BYTES;
    }
    return STATUS_OK;
}

void rings_disconnect(struct supervisor *s, struct cell *cell)
{
    for (uint32_t i = 0; i < s->ring_count; i++) {
        struct ring *ring = &s->rings[i];
        if (!is_end(ring, cell->index)) {
            continue;
        }
        bool client = ring->description->client_cell == cell->index;
        uint32_t *state = client ? &ring->shared->client_state : &ring->shared->server_state;
        __atomic_store_n(state, RING_STATE_CLOSED, __ATOMIC_RELEASE);
        (void)notification_signal(client ? ring->server_doorbell : ring->client_doorbell);
    }
}
