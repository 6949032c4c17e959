// SPDX-License-Identifier: MIT OR Apache-2.0
#include "services/nic/server/server_internal.h"

static void done(struct nic_server *server, const struct ring_submission *submission,
                 uint32_t chain)
{
    nic_finish(
        server, chain,
        &(struct ring_completion){.user_data = submission->user_data, .buffer = RING_BUFFER_NONE});
}

/* ---- The multi-shot receive -------------------------------------------------------------------
 */

bool nic_start_receive_multi(struct nic_server *server, const struct ring_submission *submission,
                             uint32_t chain)
{
    if (server->receive.active) {
        nic_refuse(server, submission, chain, STATUS_BUSY);
        return true;
    }
    for (uint32_t i = 0; i < submission->length; i++) {
        if (!nic_lend(server, submission->buffer + i, NIC_BUFFER_MULTI)) {
            return false;
        }
        server->receive_lent++;
    }
    server->receive = (struct nic_watch){
        .active = true,
        .multi = true,
        .chain = chain,
        .user_data = submission->user_data,
    };
    return true;
}

bool nic_start_lend(struct nic_server *server, const struct ring_submission *submission,
                    uint32_t chain)
{
    if (!server->receive.active || server->receive.ending) {
        nic_refuse(server, submission, chain, STATUS_NOT_FOUND);
        return true;
    }
    for (uint64_t left = submission->argument; left != 0; left &= left - 1u) {
        uint32_t buffer = submission->buffer + (uint32_t)__builtin_ctzll(left);
        if (!nic_lend(server, buffer, NIC_BUFFER_MULTI)) {
            return false;
        }
        server->receive_lent++;
    }
    done(server, submission, chain);
    return true;
}

/* ---- The link's state -------------------------------------------------------------------------
 */

void nic_start_status(struct nic_server *server, const struct ring_submission *submission,
                      uint32_t chain)
{
    if (server->status.active) {
        nic_refuse(server, submission, chain, STATUS_BUSY);
        return;
    }
    server->status = (struct nic_watch){
        .active = true,
        .multi = (submission->flags & RING_MULTI) != 0,
        .chain = chain,
        .user_data = submission->user_data,
    };
    server->status_known = submission->argument;
}

bool nic_serve_status(struct nic_server *server)
{
    struct nic_watch *watch = &server->status;
    const struct netdev *dev = server->dev;

    if (!watch->active || server->status_known == (uint64_t)server->link) {
        return false;
    }
    uint32_t spare = watch->multi ? nic_spare_room(server) : 1u;
    if (spare == 0 || spare == RING_VIOLATION) {
        return false; /* the state is told when there is room */
    }
    struct ring_completion completion = {
        .user_data = watch->user_data,
        .result = server->link ? 1 : 0,
        .buffer = RING_BUFFER_NONE,
        .value = (uint64_t)dev->mtu_bytes << 48,
        .flags = watch->multi ? RING_MORE : 0,
    };
    for (uint32_t i = 0; i < 6; i++) {
        completion.value |= (uint64_t)dev->mac[i] << (8u * i);
    }
    server->status_known = (uint64_t)server->link;
    if (watch->multi) {
        ring_finish(&server->ring, &completion);
    } else {
        watch->active = false;
        nic_finish(server, watch->chain, &completion);
    }
    return true;
}

/* ---- Pools ------------------------------------------------------------------------------------
 */

static bool range_is_free(const struct nic_server *server, uint32_t first, uint32_t count)
{
    for (uint32_t i = 0; i < RING_POOLS_MAX; i++) {
        const struct nic_pool *pool = &server->pools[i];
        if (first < pool->first + pool->count && pool->first < first + count) {
            return false;
        }
    }
    return true;
}

void nic_start_pool_add(struct nic_server *server, const struct ring_submission *submission,
                        uint32_t chain)
{
    uint32_t first = submission->buffer;
    uint32_t count = submission->length;
    uint32_t all = server->pool.buffer_count;

    if (submission->argument >= RING_POOLS_MAX || count == 0 || count > all ||
        first > all - count) {
        nic_refuse(server, submission, chain, STATUS_INVALID_ARGUMENT);
        return;
    }
    struct nic_pool *pool = &server->pools[submission->argument];
    if (pool->count != 0 || !range_is_free(server, first, count)) {
        nic_refuse(server, submission, chain, STATUS_IN_USE);
        return;
    }
    *pool = (struct nic_pool){.first = first, .count = count};
    for (uint32_t i = 0; i < count; i++) {
        server->owner[first + i] = NIC_BUFFER_CLIENT;
    }
    done(server, submission, chain);
}

/* What the client has of a pool that is being removed is nobody's from now on (N3). True: nothing
 * of it is in use any more. */
static bool withdraw(struct nic_server *server, const struct nic_pool *pool)
{
    bool unused = true;

    for (uint32_t i = pool->first; i < pool->first + pool->count; i++) {
        if (server->owner[i] == NIC_BUFFER_CLIENT) {
            server->owner[i] = NIC_BUFFER_NONE;
        }
        unused = unused && server->owner[i] == NIC_BUFFER_NONE && server->sending[i] == 0;
    }
    return unused;
}

void nic_start_pool_remove(struct nic_server *server, const struct ring_submission *submission,
                           uint32_t chain)
{
    struct nic_pool *pool =
        submission->argument < RING_POOLS_MAX ? &server->pools[submission->argument] : NULL;

    if (pool == NULL || pool->count == 0 || pool->removing) {
        nic_refuse(server, submission, chain, STATUS_NOT_FOUND);
        return;
    }
    pool->removing = true;
    pool->chain = chain;
    pool->user_data = submission->user_data;
    server->pools_removing++;
    (void)withdraw(server, pool);
}

/* ---- Endings ----------------------------------------------------------------------------------
 */

static bool is_being_removed(const struct nic_server *server, uint32_t buffer)
{
    for (uint32_t i = 0; i < RING_POOLS_MAX; i++) {
        const struct nic_pool *pool = &server->pools[i];
        if (pool->removing && buffer - pool->first < pool->count) {
            return true;
        }
    }
    return false;
}

/* Gives a lent buffer that the NIC does not have back to the client. False: no room to say so. */
static bool give_back(struct nic_server *server, uint32_t buffer)
{
    enum nic_owner owner = server->owner[buffer];
    struct ring_completion completion = {
        .user_data = server->user_data[buffer],
        .result = STATUS_CANCELLED,
        .buffer = buffer,
    };

    if (owner == NIC_BUFFER_MULTI) {
        uint32_t spare = nic_spare_room(server);
        if (spare == 0 || spare == RING_VIOLATION) {
            server->room_short = true;
            return false;
        }
        completion.user_data = server->receive.user_data;
        completion.flags = RING_MORE;
        server->receive_lent--;
        ring_finish(&server->ring, &completion);
    } else {
        nic_finish(server, owner == NIC_BUFFER_LINKED ? server->chain_of[buffer] : RING_CHAIN_NONE,
                   &completion);
    }
    server->owner[buffer] = is_being_removed(server, buffer) ? NIC_BUFFER_NONE : NIC_BUFFER_CLIENT;
    return true;
}

/* Takes lent buffers back that the NIC does not have: those of pools that are being removed, of a
 * multi-shot receive that is ending, and `only`. True: there was one. */
static bool take_back(struct nic_server *server, uint32_t only)
{
    struct netbuf_pool *pool = &server->pool;
    uint32_t kept = 0;
    uint32_t before = pool->free_count;

    for (uint32_t i = 0; i < before; i++) {
        uint32_t buffer = pool->free_stack[i];
        bool wanted = buffer == only ||
                      (server->receive.ending && server->owner[buffer] == NIC_BUFFER_MULTI) ||
                      (server->pools_removing != 0 && is_being_removed(server, buffer));
        if (!wanted || !give_back(server, buffer)) {
            pool->free_stack[kept++] = buffer;
        }
    }
    pool->free_count = kept;
    return kept != before;
}

bool nic_serve_endings(struct nic_server *server)
{
    if (server->pools_removing == 0 && !server->receive.ending) {
        return false;
    }
    bool worked = take_back(server, RING_BUFFER_NONE);
    for (uint32_t i = 0; i < RING_POOLS_MAX && server->pools_removing != 0; i++) {
        struct nic_pool *pool = &server->pools[i];
        if (pool->removing && withdraw(server, pool)) {
            uint32_t chain = pool->chain;
            struct ring_completion completion = {.user_data = pool->user_data,
                                                 .buffer = RING_BUFFER_NONE};
            *pool = (struct nic_pool){0};
            server->pools_removing--;
            nic_finish(server, chain, &completion);
            worked = true;
        }
    }
    if (server->receive.ending && server->receive_lent == 0) {
        uint32_t chain = server->receive.chain;
        struct ring_completion completion = {.user_data = server->receive.user_data,
                                             .result = STATUS_CANCELLED,
                                             .buffer = RING_BUFFER_NONE};
        server->receive = (struct nic_watch){0};
        server->room_short = false;
        nic_finish(server, chain, &completion);
        worked = true;
    }
    return worked;
}

/* ---- Cancelling -------------------------------------------------------------------------------
 */

static status_t cancel_receive(struct nic_server *server, uint64_t user_data)
{
    status_t status = STATUS_NOT_FOUND;

    for (uint32_t i = 0; i < server->pool.buffer_count; i++) {
        bool lent = server->owner[i] == NIC_BUFFER_SERVER || server->owner[i] == NIC_BUFFER_LINKED;
        if (lent && server->user_data[i] == user_data) {
            if (take_back(server, i)) {
                return STATUS_OK;
            }
            status = STATUS_BUSY;
        }
    }
    return status;
}

static status_t cancel_operation(struct nic_server *server, uint64_t user_data)
{
    struct nic_watch *status = &server->status;

    if (server->receive.active && !server->receive.ending &&
        server->receive.user_data == user_data) {
        server->receive.ending = true;
        return STATUS_OK;
    }
    if (status->active && status->user_data == user_data) {
        uint32_t chain = status->chain;
        *status = (struct nic_watch){0};
        nic_finish(server, chain,
                   &(struct ring_completion){.user_data = user_data,
                                             .result = STATUS_CANCELLED,
                                             .buffer = RING_BUFFER_NONE});
        return STATUS_OK;
    }
    if (ring_chain_cancel(&server->chains, user_data)) {
        return STATUS_OK;
    }
    for (uint32_t i = server->queue_head; i != server->queue_tail; i++) {
        if (server->queue[i & (server->ring.entries - 1u)].user_data == user_data) {
            return STATUS_BUSY;
        }
    }
    return cancel_receive(server, user_data);
}

void nic_start_cancel(struct nic_server *server, const struct ring_submission *submission,
                      uint32_t chain)
{
    status_t status = cancel_operation(server, submission->argument);

    nic_finish(server, chain,
               &(struct ring_completion){.user_data = submission->user_data,
                                         .result = status,
                                         .buffer = RING_BUFFER_NONE});
}
