// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/logport/logport.h"

#include "lib/base/assert.h"
#include "lib/base/bytes.h"

#define RING_AGAIN_NS 1000000000ull
#define REST_NS 200000000ull

const struct cell_ring *logport_find(const struct cell_info *cell, const char *name)
{
    for (uint32_t i = 0; i < cell->ring_count && i < CELL_RINGS_MAX; i++) {
        const struct cell_ring *ring = &cell->rings[i];
        if (ring->kind == SYSTEM_RING_LOG && ring->role == CELL_RING_CLIENT &&
            strcmp(ring->name, name) == 0) {
            return ring;
        }
    }
    return NULL;
}

status_t logport_init(struct logport *port, const struct cell_ring *ring,
                      void (*doorbell)(void *context, cap_slot_t slot), void *context)
{
    if (ring->kind != SYSTEM_RING_LOG || ring->role != CELL_RING_CLIENT) {
        return STATUS_INVALID_ARGUMENT;
    }
    memset(port, 0, sizeof *port);
    port->where = ring;
    port->pool = (uint8_t *)ring->address + ring->pool_offset;
    port->pool_bytes = (uint64_t)ring->buffer_count * ring->buffer_bytes;
    port->doorbell = doorbell;
    port->context = context;
    return ring_client_init(&port->ring, ring->address, ring->entries);
}

static void ring_doorbell(struct logport *port)
{
    port->doorbell(port->context, port->where->doorbell_slot);
}

/* What is outstanding is the caller's again once the service has answered. */
static void start_session(struct logport *port, time_ns_t now_ns)
{
    port->rest = false;
    port->due_ns = now_ns + RING_AGAIN_NS;
    ring_client_start(&port->ring);
    ring_doorbell(port);
}

static void leave(struct logport *port)
{
    ring_client_close(&port->ring);
    port->rest = true;
    port->due_ns = 0; /* poll chooses: here is no time */
}

bool logport_poll(struct logport *port, time_ns_t now_ns)
{
    if (port->ring.session == RING_SESSION_OPEN && !ring_client_alive(&port->ring)) {
        if (ring_load(&port->ring.shared->server_generation) != port->ring.peer_generation) {
            start_session(port, now_ns);
        } else {
            leave(port);
        }
    }
    switch (port->ring.session) {
    case RING_SESSION_OPEN:
        return true;
    case RING_SESSION_OPENING:
        if (ring_client_connect(&port->ring)) {
            port->sessions++;
            port->outstanding = 0;
            port->pushed = false;
            ring_doorbell(port);
            return true;
        }
        if (now_ns >= port->due_ns) { /* it is not there yet, or one of us missed a step */
            start_session(port, now_ns);
        }
        return false;
    default:
        if (port->rest && port->due_ns == 0) {
            port->due_ns = now_ns + REST_NS;
        }
        if (now_ns >= port->due_ns) {
            start_session(port, now_ns);
        }
        return false;
    }
}

uint32_t logport_room(struct logport *port)
{
    uint32_t wish = port->ring.entries - port->outstanding;

    if (port->ring.session != RING_SESSION_OPEN || wish == 0) {
        return 0;
    }
    uint32_t room = ring_room(&port->ring.submit, wish);
    if (room == RING_VIOLATION) {
        port->violations++;
        leave(port);
        return 0;
    }
    return room < wish ? room : wish;
}

void logport_submit(struct logport *port, const struct ring_submission *submission)
{
    ASSERT(port->outstanding < port->ring.entries);
    ring_submit(&port->ring, submission);
    port->outstanding++;
    port->pushed = true;
}

void logport_publish(struct logport *port)
{
    if (port->pushed && port->ring.session == RING_SESSION_OPEN) {
        port->pushed = false;
        if (ring_publish(&port->ring.submit)) {
            ring_doorbell(port);
        }
    }
}

uint32_t logport_take(struct logport *port, struct ring_completion *completions, uint32_t max)
{
    if (port->ring.session != RING_SESSION_OPEN) {
        return 0;
    }
    uint32_t pending = ring_pending(&port->ring.complete);
    if (!ring_client_alive(&port->ring)) {
        return 0; /* the next poll sees it, too */
    }
    if (pending == RING_VIOLATION || pending > port->outstanding) {
        port->violations++;
        leave(port);
        return 0;
    }
    uint32_t count = pending < max ? pending : max;
    for (uint32_t i = 0; i < count; i++) {
        ring_reap(&port->ring, &completions[i]);
    }
    port->outstanding -= count;
    ring_release(&port->ring.complete);
    return count;
}

bool logport_arm(struct logport *port)
{
    switch (port->ring.session) {
    case RING_SESSION_OPENING: /* the service rings when it has answered */
        return ring_load(&port->ring.shared->client_generation_seen) != port->ring.generation;
    case RING_SESSION_OPEN:
        if (!ring_arm(&port->ring.complete)) {
            return false;
        }
        if (!ring_client_alive(&port->ring)) {
            ring_disarm(&port->ring.complete);
            return false;
        }
        return true;
    default:
        return port->due_ns != 0;
    }
}

void logport_disarm(struct logport *port)
{
    if (port->ring.session == RING_SESSION_OPEN) {
        ring_disarm(&port->ring.complete);
    }
}

time_ns_t logport_deadline(const struct logport *port)
{
    return port->ring.session == RING_SESSION_OPEN ? DEADLINE_NEVER : port->due_ns;
}

bool logport_fragment(const uint8_t *data, uint32_t bytes, uint32_t *at,
                      struct ring_log_fragment *fragment, const uint8_t **from)
{
    uint32_t first = (*at + 7u) & ~7u;

    if (first > bytes || bytes - first < sizeof *fragment) {
        return false;
    }
    memcpy(fragment, data + first, sizeof *fragment);
    first += (uint32_t)sizeof *fragment;
    if (fragment->bytes > bytes - first || fragment->offset > fragment->total ||
        fragment->bytes > fragment->total - fragment->offset) {
        return false;
    }
    *from = data + first;
    *at = first + fragment->bytes;
    return true;
}
