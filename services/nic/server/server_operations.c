// SPDX-License-Identifier: MIT OR Apache-2.0
#include "services/nic/server/server_internal.h"

#include "lib/base/bytes.h"

#define FRAME_BYTES_MIN 14u
#define VLAN_TAG_BYTES 4u

void nic_operations_reset(struct nic_server *server)
{
    uint32_t buffer_count = server->config.ring->buffer_count;

    memset(server->owner, NIC_BUFFER_CLIENT, buffer_count);
    memset(server->sending, 0, buffer_count * sizeof server->sending[0]);
    memset(server->pools, 0, sizeof server->pools);
    server->pools[0].count = buffer_count;
    server->pools_removing = 0;
    server->queue_head = server->queue_given = server->queue_tail = 0;
    server->outstanding = 0;
    server->status = (struct nic_watch){0};
    server->receive = (struct nic_watch){0};
    server->receive_lent = 0;
    server->room_short = false;
    ring_chains_init(&server->chains, server->config.ring->entries, server->chain_memory);
}

/* ---- Completions ------------------------------------------------------------------------------
 */

static void complete(struct nic_server *server, const struct ring_completion *completion)
{
    server->outstanding--;
    ring_finish(&server->ring, completion);
}

void nic_finish(struct nic_server *server, uint32_t chain, const struct ring_completion *completion)
{
    complete(server, completion);
    if (chain != RING_CHAIN_NONE) {
        ring_chain_ended(&server->chains, chain, completion->result);
    }
}

void nic_refuse(struct nic_server *server, const struct ring_submission *submission, uint32_t chain,
                status_t status)
{
    server->counters.refused++;
    nic_finish(server, chain,
               &(struct ring_completion){
                   .user_data = submission->user_data,
                   .result = status,
                   .buffer = submission->buffer,
               });
}

uint32_t nic_spare_room(struct nic_server *server)
{
    uint32_t room = ring_room(&server->ring.complete, server->outstanding + NETDEV_BURST_MAX);

    return room == RING_VIOLATION || room < server->outstanding ? RING_VIOLATION
                                                                : room - server->outstanding;
}

/* ---- Submissions ------------------------------------------------------------------------------
 */

bool nic_lend(struct nic_server *server, uint32_t buffer, enum nic_owner owner)
{
    if (buffer >= server->pool.buffer_count || server->owner[buffer] != NIC_BUFFER_CLIENT ||
        server->sending[buffer] != 0) {
        return false;
    }
    server->owner[buffer] = (uint8_t)owner;
    server->pool.references[buffer] = 0;
    server->pool.free_stack[server->pool.free_count++] = buffer;
    return true;
}

static bool start_receive(struct nic_server *server, const struct ring_submission *submission,
                          uint32_t chain)
{
    if (!nic_lend(server, submission->buffer,
                  chain == RING_CHAIN_NONE ? NIC_BUFFER_SERVER : NIC_BUFFER_LINKED)) {
        return false;
    }
    server->user_data[submission->buffer] = submission->user_data;
    if (chain != RING_CHAIN_NONE) {
        server->chain_of[submission->buffer] = (uint16_t)chain;
    }
    return true;
}

static bool start_transmit(struct nic_server *server, const struct ring_submission *submission,
                           uint32_t chain)
{
    uint32_t buffer = submission->buffer;
    uint32_t buffer_bytes = server->pool.buffer_bytes;

    if (buffer >= server->pool.buffer_count || server->owner[buffer] != NIC_BUFFER_CLIENT ||
        submission->length > buffer_bytes ||
        submission->offset > buffer_bytes - submission->length) {
        return false;
    }
    if (submission->length < FRAME_BYTES_MIN ||
        submission->length > server->dev->mtu_bytes + FRAME_BYTES_MIN + VLAN_TAG_BYTES) {
        nic_refuse(server, submission, chain, STATUS_INVALID_ARGUMENT);
        return true;
    }
    server->queue[server->queue_tail++ & (server->ring.entries - 1u)] = (struct nic_transmission){
        .frame = {buffer, (uint16_t)submission->offset, (uint16_t)submission->length},
        .user_data = submission->user_data,
        .chain = chain,
    };
    /* One reference for the NIC, one until the completion (N2). */
    server->pool.references[buffer] = (uint16_t)(server->pool.references[buffer] + 2u);
    server->sending[buffer]++;
    return true;
}

/* Operations with flags, and those that are not for frames. False: a violation. */
static bool start_control(struct nic_server *server, const struct ring_submission *submission,
                          uint32_t chain)
{
    bool multi = (submission->flags & RING_MULTI) != 0;

    if ((submission->flags & ~(uint32_t)(RING_LINK | RING_MULTI)) != 0 ||
        (multi &&
         ((submission->flags & RING_LINK) != 0 || (submission->operation != RING_NET_RECEIVE &&
                                                   submission->operation != RING_NET_STATUS)))) {
        nic_refuse(server, submission, chain, STATUS_INVALID_ARGUMENT);
        return true;
    }
    switch (submission->operation) {
    case RING_NET_RECEIVE:
        return multi ? nic_start_receive_multi(server, submission, chain)
                     : start_receive(server, submission, chain);
    case RING_NET_TRANSMIT:
        return start_transmit(server, submission, chain);
    case RING_NET_LEND:
        return nic_start_lend(server, submission, chain);
    case RING_NET_STATUS:
        nic_start_status(server, submission, chain);
        return true;
    case RING_CANCEL:
        nic_start_cancel(server, submission, chain);
        return true;
    case RING_POOL_ADD:
        nic_start_pool_add(server, submission, chain);
        return true;
    case RING_POOL_REMOVE:
        nic_start_pool_remove(server, submission, chain);
        return true;
    case RING_NOP:
        nic_finish(server, chain, &(struct ring_completion){.user_data = submission->user_data});
        return true;
    default:
        nic_refuse(server, submission, chain, STATUS_INVALID_CALL);
        return true;
    }
}

static void cancel(struct nic_server *server, const struct ring_submission *submission)
{
    complete(server, &(struct ring_completion){
                         .user_data = submission->user_data,
                         .result = STATUS_CANCELLED,
                         .buffer = submission->buffer,
                     });
}

/* False: a violation. */
static bool accept_one(struct nic_server *server)
{
    struct ring_submission submission;
    uint32_t chain = RING_CHAIN_NONE;

    ring_accept(&server->ring, &submission);
    server->outstanding++;
    if (ring_chain_concerns(&server->chains, &submission)) {
        switch (ring_chain_accept(&server->chains, &submission, &chain)) {
        case RING_CHAIN_START:
            return start_control(server, &submission, chain);
        case RING_CHAIN_CANCEL:
            cancel(server, &submission);
            return true;
        default:
            return true;
        }
    }
    if (submission.flags == 0 && submission.operation == RING_NET_RECEIVE) {
        return start_receive(server, &submission, RING_CHAIN_NONE);
    }
    if (submission.flags == 0 && submission.operation == RING_NET_TRANSMIT) {
        return start_transmit(server, &submission, RING_CHAIN_NONE);
    }
    return start_control(server, &submission, RING_CHAIN_NONE);
}

/* What waited for an operation that has ended; a burst at most. False: a violation. */
static bool go_on(struct nic_server *server, bool *worked)
{
    struct ring_submission submission;
    uint32_t chain;

    for (uint32_t i = 0; i < NETDEV_BURST_MAX; i++) {
        enum ring_chain_verdict verdict = ring_chain_next(&server->chains, &submission, &chain);
        if (verdict == RING_CHAIN_NOTHING) {
            break;
        }
        *worked = true;
        if (verdict == RING_CHAIN_CANCEL) {
            cancel(server, &submission);
        } else if (!start_control(server, &submission, chain)) {
            return false;
        }
    }
    return true;
}

bool nic_accept(struct nic_server *server, bool *worked)
{
    uint32_t pending = ring_pending(&server->ring.submit);

    if (pending == RING_VIOLATION) {
        return false;
    }
    if (pending != 0) {
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
    }
    return server->chains.ready_first == RING_CHAIN_NONE || go_on(server, worked);
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

/* A frame in a buffer that was lent in a chain or to the multi-shot receive. */
static void complete_special(struct nic_server *server, enum nic_owner owner,
                             const struct netframe *frame)
{
    struct ring_completion completion = {
        .user_data = server->user_data[frame->buffer],
        .result = frame->length,
        .buffer = frame->buffer,
        .value = frame->offset,
    };

    if (owner == NIC_BUFFER_LINKED) {
        nic_finish(server, server->chain_of[frame->buffer], &completion);
        return;
    }
    completion.user_data = server->receive.user_data;
    completion.flags = RING_MORE;
    server->receive_lent--;
    ring_finish(&server->ring, &completion);
}

/* False: a violation. */
static bool complete_received(struct nic_server *server, bool *worked)
{
    struct netframe frames[NETDEV_BURST_MAX];
    uint32_t max = NETDEV_BURST_MAX;

    if (server->receive.active) {
        uint32_t spare = nic_spare_room(server);
        if (spare == RING_VIOLATION) {
            return false;
        }
        max = spare < max ? spare : max;
        server->room_short = max == 0;
    }
    uint32_t count = server->dev->ops->receive(server->dev, frames, max);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t buffer = frames[i].buffer;
        enum nic_owner owner = server->owner[buffer];
        server->pool.references[buffer] = 0; /* back to the client, not to the free stack */
        server->owner[buffer] = NIC_BUFFER_CLIENT;
        if (owner != NIC_BUFFER_SERVER) {
            complete_special(server, owner, &frames[i]);
            continue;
        }
        complete(server, &(struct ring_completion){
                             .user_data = server->user_data[buffer],
                             .result = frames[i].length,
                             .buffer = buffer,
                             .value = frames[i].offset,
                         });
    }
    *worked = *worked || count > 0;
    return true;
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
        nic_finish(server, sent->chain,
                   &(struct ring_completion){
                       .user_data = sent->user_data,
                       .result = sent->frame.length,
                       .buffer = buffer,
                   });
        server->queue_head++;
    }
    return server->queue_head != before;
}

bool nic_move_frames(struct nic_server *server, bool *worked)
{
    *worked = give(server) || *worked;
    if (!complete_received(server, worked)) {
        return false;
    }
    *worked = complete_sent(server) || *worked;
    return true;
}
