// SPDX-License-Identifier: MIT OR Apache-2.0
#include "services/nic/server/server.h"

#include "lib/base/bytes.h"

#define FRAME_BYTES_MIN 14u
#define VLAN_TAG_BYTES 4u
#define STOP_POLL_NS 10000000ull
#define RESTART_PAUSE_NS 1000000000ull

enum owner { OWNER_CLIENT = 0, OWNER_SERVER = 1 }; /* SERVER: lent for receiving */

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
    memset(server->owner, OWNER_CLIENT, server->config.ring->buffer_count);
    memset(server->sending, 0, server->config.ring->buffer_count * sizeof server->sending[0]);
    server->queue_head = server->queue_given = server->queue_tail = 0;
    server->outstanding = 0;
    server->status_asked = false;
    server->link = false;
    return true;
}

/* ---- Completions ------------------------------------------------------------------------------
 */

static void complete(struct nic_server *server, const struct ring_completion *completion)
{
    server->outstanding--;
    ring_finish(&server->ring, completion);
}

static void complete_status(struct nic_server *server, uint64_t user_data, int32_t result)
{
    const struct netdev *dev = server->dev;
    uint64_t value = (uint64_t)dev->mtu_bytes << 48;

    for (uint32_t i = 0; i < 6; i++) {
        value |= (uint64_t)dev->mac[i] << (8u * i);
    }
    complete(server, &(struct ring_completion){
                         .user_data = user_data,
                         .result = result,
                         .buffer = NETBUF_NONE,
                         .value = value,
                     });
}

/* Answers the question for the link state when there is something to tell. */
static bool serve_status(struct nic_server *server)
{
    if (!server->status_asked || server->status_known == (uint64_t)server->link) {
        return false;
    }
    server->status_asked = false;
    complete_status(server, server->status_user_data, server->link ? 1 : 0);
    return true;
}

static void refuse(struct nic_server *server, const struct ring_submission *submission,
                   status_t status)
{
    server->counters.refused++;
    complete(server, &(struct ring_completion){
                         .user_data = submission->user_data,
                         .result = status,
                         .buffer = submission->buffer,
                     });
}

/* ---- Submissions ------------------------------------------------------------------------------
 */

static bool accept_receive(struct nic_server *server, const struct ring_submission *submission)
{
    uint32_t buffer = submission->buffer;

    if (buffer >= server->pool.buffer_count || server->owner[buffer] != OWNER_CLIENT ||
        server->sending[buffer] != 0) {
        return false;
    }
    server->owner[buffer] = OWNER_SERVER;
    server->user_data[buffer] = submission->user_data;
    server->pool.references[buffer] = 0;
    server->pool.free_stack[server->pool.free_count++] = buffer;
    return true;
}

static bool accept_transmit(struct nic_server *server, const struct ring_submission *submission)
{
    uint32_t buffer = submission->buffer;
    uint32_t buffer_bytes = server->pool.buffer_bytes;

    if (buffer >= server->pool.buffer_count || server->owner[buffer] != OWNER_CLIENT ||
        submission->length > buffer_bytes ||
        submission->offset > buffer_bytes - submission->length) {
        return false;
    }
    if (submission->length < FRAME_BYTES_MIN ||
        submission->length > server->dev->mtu_bytes + FRAME_BYTES_MIN + VLAN_TAG_BYTES) {
        refuse(server, submission, STATUS_INVALID_ARGUMENT);
        return true;
    }
    server->queue[server->queue_tail++ & (server->ring.entries - 1u)] = (struct nic_transmission){
        .frame = {buffer, (uint16_t)submission->offset, (uint16_t)submission->length},
        .user_data = submission->user_data,
    };
    /* One reference for the NIC, one until the completion (N2). */
    server->pool.references[buffer] = (uint16_t)(server->pool.references[buffer] + 2u);
    server->sending[buffer]++;
    return true;
}

static void accept_status(struct nic_server *server, const struct ring_submission *submission)
{
    if (server->status_asked) {
        refuse(server, submission, STATUS_BUSY);
        return;
    }
    server->status_asked = true;
    server->status_user_data = submission->user_data;
    server->status_known = submission->argument;
}

/* False: a violation. */
static bool accept_one(struct nic_server *server)
{
    struct ring_submission submission;

    ring_accept(&server->ring, &submission);
    server->outstanding++;
    switch (submission.operation) {
    case RING_NET_RECEIVE:
        return accept_receive(server, &submission);
    case RING_NET_TRANSMIT:
        return accept_transmit(server, &submission);
    case RING_NET_STATUS:
        accept_status(server, &submission);
        return true;
    case RING_NOP:
        complete(server, &(struct ring_completion){.user_data = submission.user_data});
        return true;
    default:
        refuse(server, &submission, STATUS_INVALID_CALL);
        return true;
    }
}

/* Takes a burst of submissions. False: a violation; *worked is set if there were any. */
static bool accept_burst(struct nic_server *server, bool *worked)
{
    uint32_t pending = ring_pending(&server->ring.submit);

    if (pending == 0) {
        return true;
    }
    if (pending == RING_VIOLATION) {
        return false;
    }
    uint32_t count = pending < NETDEV_BURST_MAX ? pending : NETDEV_BURST_MAX;
    uint32_t room = ring_room(&server->ring.complete, server->outstanding + count);
    if (room == RING_VIOLATION || room < server->outstanding + count) {
        return false; /* N1: more outstanding than the ring has entries */
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!accept_one(server)) {
            return false;
        }
    }
    ring_release(&server->ring.submit);
    *worked = true;
    return true;
}

/* ---- Frames -----------------------------------------------------------------------------------
 */

/* Gives queued frames to the NIC. */
static bool give(struct nic_server *server)
{
    struct netframe frames[NETDEV_BURST_MAX];
    uint32_t count = server->queue_tail - server->queue_given;

    if (count == 0) {
        return false;
    }
    count = count < NETDEV_BURST_MAX ? count : NETDEV_BURST_MAX;
    for (uint32_t i = 0; i < count; i++) {
        frames[i] = server->queue[(server->queue_given + i) & (server->ring.entries - 1u)].frame;
    }
    uint32_t taken = server->dev->ops->transmit(server->dev, frames, count);
    server->queue_given += taken;
    return taken > 0;
}

static bool complete_received(struct nic_server *server)
{
    struct netframe frames[NETDEV_BURST_MAX];
    uint32_t count = server->dev->ops->receive(server->dev, frames, NETDEV_BURST_MAX);

    for (uint32_t i = 0; i < count; i++) {
        uint32_t buffer = frames[i].buffer;
        server->pool.references[buffer] = 0; /* back to the client, not to the free stack */
        server->owner[buffer] = OWNER_CLIENT;
        complete(server, &(struct ring_completion){
                             .user_data = server->user_data[buffer],
                             .result = frames[i].length,
                             .buffer = buffer,
                             .value = frames[i].offset,
                         });
    }
    return count > 0;
}

/* Completes transmissions in the order they were asked for. */
static bool complete_sent(struct nic_server *server)
{
    uint32_t before = server->queue_head;

    while (server->queue_head != server->queue_given) {
        const struct nic_transmission *sent =
            &server->queue[server->queue_head & (server->ring.entries - 1u)];
        uint32_t buffer = sent->frame.buffer;
        if (server->pool.references[buffer] >= 2u * server->sending[buffer]) {
            break; /* N2: the NIC has finished none of them */
        }
        server->pool.references[buffer]--;
        server->sending[buffer]--;
        complete(server, &(struct ring_completion){
                             .user_data = sent->user_data,
                             .result = sent->frame.length,
                             .buffer = buffer,
                         });
        server->queue_head++;
    }
    return server->queue_head != before;
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
    if (!accept_burst(server, &worked)) {
        end_session(server);
        return true;
    }
    if (!ring_server_alive(&server->ring)) {
        return true; /* what was taken may be another session's; all is dropped with this one */
    }
    worked = give(server) || worked;
    worked = complete_received(server) || worked;
    worked = complete_sent(server) || worked;
    worked = serve_status(server) || worked;
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
    if (!ring_server_alive(&server->ring) || !server->dev->ops->arm(server->dev)) {
        ring_disarm(&server->ring.submit);
        return false;
    }
    return true;
}

void nic_server_disarm(struct nic_server *server)
{
    if (server->ring.session == RING_SESSION_OPEN) {
        ring_disarm(&server->ring.submit);
        server->dev->ops->disarm(server->dev);
    }
}

time_ns_t nic_server_deadline(const struct nic_server *server)
{
    if (ring_server_called(&server->ring)) {
        return server->restart_at_ns;
    }
    return server->dev != NULL ? server->tick_at_ns : DEADLINE_NEVER;
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
           round_up(buffer_count * sizeof(uint64_t)) + round_up(buffer_count * sizeof(uint16_t)) +
           round_up(buffer_count);
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
    server->user_data = (uint64_t *)(void *)memory;
    memory += round_up(ring->buffer_count * sizeof(uint64_t));
    server->sending = (uint16_t *)(void *)memory;
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
