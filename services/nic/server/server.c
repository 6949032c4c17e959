// SPDX-License-Identifier: MIT OR Apache-2.0
#include "services/nic/server/server_internal.h"

#include "lib/base/bytes.h"

#define STOP_POLL_NS 10000000ull
#define RESTART_PAUSE_NS 1000000000ull
#define ROOM_RETRY_NS 1000000ull

static void ring_doorbell(struct nic_server *server)
{
    const struct netdev_environment *environment = &server->config.environment;
    environment->doorbell(environment->context, server->config.ring->doorbell_slot);
}

/* ---- The NIC ----------------------------------------------------------------------------------
 */

/* No buffer is out: the client's session is over and the NIC stopped. */
static status_t start_nic(struct nic_server *server)
{
    const struct cell_ring *ring = server->config.ring;
    status_t status = netbuf_pool_init(&server->pool, (uint8_t *)ring->address + ring->pool_offset,
                                       ring->buffer_count, ring->buffer_bytes,
                                       ring->pool_page_device_address, server->bookkeeping);

    if (status != STATUS_OK) {
        return status;
    }
    server->pool.free_count = 0; /* the client has lent nothing yet */
    status = netdev_attach(
        &(struct netdev_attach_request){
            .device = server->config.device,
            .pool = &server->pool,
            .dma = server->config.dma,
            .state = server->driver_state,
            .environment = server->config.environment,
        },
        &server->dev);
    if (status != STATUS_OK) {
        server->dev = NULL;
    }
    server->tick_at_ns = 0;
    return status;
}

/* Lets go of everything of the client's. False: the NIC is not down yet. */
static bool let_go(struct nic_server *server)
{
    if (server->dev != NULL) {
        if (server->dev->ops->stop(server->dev) != STATUS_OK) {
            return false;
        }
        server->dev = NULL;
    }
    server->link = false;
    nic_operations_reset(server);
    return true;
}

/* ---- The loop ---------------------------------------------------------------------------------
 */

static void end_session(struct nic_server *server)
{
    server->counters.violations++;
    ring_server_close(&server->ring);
    ring_doorbell(server);
}

/* Meets a client that begins a session, or goes on waiting for one. True: it is open. */
static bool meet_client(struct nic_server *server, time_ns_t now_ns)
{
    if (!ring_server_called(&server->ring)) {
        return ring_server_connect(&server->ring);
    }
    if (now_ns < server->restart_at_ns) {
        return false;
    }
    if (!let_go(server)) {
        server->restart_at_ns = now_ns + STOP_POLL_NS;
        return false;
    }
    if (start_nic(server) != STATUS_OK) {
        server->counters.restarts++;
        server->restart_at_ns = now_ns + RESTART_PAUSE_NS;
        return false;
    }
    server->restart_at_ns = 0;
    server->counters.sessions++;
    ring_server_answer(&server->ring);
    ring_doorbell(server);
    return false;
}

static void tick(struct nic_server *server, time_ns_t now_ns)
{
    if (server->dev != NULL && now_ns >= server->tick_at_ns) {
        server->tick_at_ns = server->dev->ops->tick(server->dev, now_ns);
    }
    server->link = server->dev != NULL && server->dev->ops->link_up(server->dev);
}

bool nic_server_poll(struct nic_server *server, time_ns_t now_ns)
{
    bool worked = false;

    tick(server, now_ns);
    if (server->ring.session != RING_SESSION_OPEN || !ring_server_alive(&server->ring)) {
        if (server->ring.session == RING_SESSION_OPEN) {
            server->ring.session = RING_SESSION_CLOSED;
        }
        if (!meet_client(server, now_ns)) {
            return false;
        }
    }
    if (!nic_accept(server, &worked)) {
        end_session(server);
        return true;
    }
    if (!ring_server_alive(&server->ring)) {
        return true; /* what was taken may be another session's; all is dropped with this one */
    }
    if (!nic_move_frames(server, &worked)) {
        end_session(server);
        return true;
    }
    worked = nic_serve_status(server) || worked;
    worked = nic_serve_endings(server) || worked;
    if (server->room_short) {
        server->retry_at_ns = now_ns + ROOM_RETRY_NS;
    }
    if (worked && ring_publish(&server->ring.complete)) {
        ring_doorbell(server);
    }
    return worked;
}

bool nic_server_arm(struct nic_server *server)
{
    if (server->ring.session != RING_SESSION_OPEN) {
        /* A client rings at each step that it makes. */
        return (!ring_server_called(&server->ring) || server->restart_at_ns != 0) &&
               !ring_server_connect(&server->ring);
    }
    if (!ring_arm(&server->ring.submit)) {
        return false;
    }
    /* While frames wait for room the NIC has nothing to tell about them; what it has sent meanwhile
     * is looked for at retry_at_ns. */
    if (!ring_server_alive(&server->ring) ||
        !(server->room_short ? ring_arm_room(&server->ring.complete)
                             : server->dev->ops->arm(server->dev))) {
        ring_disarm(&server->ring.submit);
        return false;
    }
    return true;
}

void nic_server_disarm(struct nic_server *server)
{
    if (server->ring.session == RING_SESSION_OPEN) {
        ring_disarm(&server->ring.submit);
        if (server->room_short) {
            ring_disarm_room(&server->ring.complete);
        } else {
            server->dev->ops->disarm(server->dev);
        }
    }
}

time_ns_t nic_server_deadline(const struct nic_server *server)
{
    if (ring_server_called(&server->ring)) {
        return server->restart_at_ns;
    }
    if (server->dev == NULL) {
        return DEADLINE_NEVER;
    }
    return server->room_short && server->retry_at_ns < server->tick_at_ns ? server->retry_at_ns
                                                                          : server->tick_at_ns;
}

status_t nic_server_stop(struct nic_server *server)
{
    if (server->ring.session != RING_SESSION_CLOSED) {
        ring_server_close(&server->ring);
        ring_doorbell(server);
    }
    return let_go(server) ? STATUS_OK : STATUS_AGAIN;
}

/* ---- Start ------------------------------------------------------------------------------------
 */

static size_t round_up(size_t bytes)
{
    return (bytes + 63u) & ~(size_t)63u;
}

size_t nic_server_memory_bytes(uint32_t buffer_count, uint32_t entries)
{
    return NETDEV_STATE_BYTES + round_up(netbuf_pool_bookkeeping_bytes(buffer_count)) +
           round_up(entries * sizeof(struct nic_transmission)) +
           round_up(ring_chains_bytes(entries)) + round_up(buffer_count * sizeof(uint64_t)) +
           2u * round_up(buffer_count * sizeof(uint16_t)) + round_up(buffer_count);
}

static status_t check_config(const struct nic_server_config *config)
{
    const struct cell_ring *ring = config->ring;
    uint64_t pool_bytes = (uint64_t)ring->buffer_count * ring->buffer_bytes;

    if (ring->role != CELL_RING_SERVER || !ring_entries_valid(ring->entries) ||
        ring->pool_offset < ring_bytes(ring->entries) || ring->pool_offset > ring->bytes ||
        pool_bytes > ring->bytes - ring->pool_offset || ring->pool_page_device_address == NULL ||
        (uintptr_t)config->memory % 64u != 0) {
        return STATUS_INVALID_ARGUMENT;
    }
    return config->memory_bytes < nic_server_memory_bytes(ring->buffer_count, ring->entries)
               ? STATUS_NO_MEMORY
               : STATUS_OK;
}

status_t nic_server_init(struct nic_server *server, const struct nic_server_config *config)
{
    const struct cell_ring *ring = config->ring;
    uint8_t *memory = config->memory;
    status_t status = check_config(config);

    if (status != STATUS_OK) {
        return status;
    }
    memset(server, 0, sizeof *server);
    status = ring_server_init(&server->ring, ring->address, ring->entries);
    if (status != STATUS_OK) {
        return status;
    }
    server->config = *config;
    server->driver_state = memory;
    memory += NETDEV_STATE_BYTES;
    server->bookkeeping = memory;
    memory += round_up(netbuf_pool_bookkeeping_bytes(ring->buffer_count));
    server->queue = (struct nic_transmission *)(void *)memory;
    memory += round_up(ring->entries * sizeof(struct nic_transmission));
    server->chain_memory = memory;
    memory += round_up(ring_chains_bytes(ring->entries));
    server->user_data = (uint64_t *)(void *)memory;
    memory += round_up(ring->buffer_count * sizeof(uint64_t));
    server->sending = (uint16_t *)(void *)memory;
    memory += round_up(ring->buffer_count * sizeof(uint16_t));
    server->chain_of = (uint16_t *)(void *)memory;
    memory += round_up(ring->buffer_count * sizeof(uint16_t));
    server->owner = memory;
    /* The device is reset before the ring opens: it may still be running for a former life. */
    status = start_nic(server);
    if (status != STATUS_OK) {
        return status;
    }
    (void)let_go(server);
    ring_server_start(&server->ring);
    ring_doorbell(server);
    return STATUS_OK;
}
