// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/block/share.h"

#include "lib/base/assert.h"
#include "lib/base/bytes.h"

#define SECOND_NS 1000000000ull
#define TAG_SHIFT 20u    /* tags count drive time over weight, finely */
#define BURST_NS 2000000 /* credit that a latency tenant can save up: 2 ms of its share */
#define REAP 32u
#define COOKIE(tenant, slot) ((uint64_t)(tenant) << 8 | (slot))

status_t share_init(struct share *share, const struct share_drive *drive)
{
    if (drive->units < 2u || drive->read_ns == 0 || drive->write_ns == 0) {
        return STATUS_INVALID_ARGUMENT;
    }
    memset(share, 0, sizeof *share);
    share->drive = *drive;
    if (share->drive.units > drive->block->queue_depth) {
        share->drive.units = drive->block->queue_depth;
    }
    return STATUS_OK;
}

uint64_t share_cost_ns(const struct share *share, const struct block_request *request)
{
    const struct share_drive *drive = &share->drive;
    uint64_t bytes = (uint64_t)request->blocks << drive->block->block_shift;

    switch (request->operation) {
    case BLOCK_READ:
        return drive->read_ns + bytes * drive->read_byte_ps / 1000u;
    case BLOCK_WRITE:
    case BLOCK_ZONE_APPEND:
        return drive->write_ns + bytes * drive->write_byte_ps / 1000u;
    case BLOCK_ZONE_REPORT:
        return drive->read_ns;
    default:
        return drive->write_ns;
    }
}

/* ---- Dispatch ---- */

static void accrue_credit(struct share_tenant *tenant, time_ns_t now_ns)
{
    uint64_t passed = now_ns - tenant->credit_at;
    int64_t most = BURST_NS;

    passed = passed < SECOND_NS ? passed : SECOND_NS;
    tenant->credit_ns += (int64_t)(passed * tenant->weight / SECOND_NS);
    tenant->credit_ns = tenant->credit_ns < most ? tenant->credit_ns : most;
    tenant->credit_at = now_ns;
}

/* The tenant whose next request has the least tag; NULL: none may go now. */
static struct share_tenant *choose(struct share *share, time_ns_t now_ns)
{
    struct share_tenant *best = NULL;
    struct share_tenant *urgent = NULL;

    for (uint64_t left = share->backlog; left != 0; left &= left - 1u) {
        struct share_tenant *tenant = &share->tenants[__builtin_ctzll(left)];
        if (tenant->contract.service == SHARE_LATENCY) {
            accrue_credit(tenant, now_ns);
            if (tenant->credit_ns >= 0 && (urgent == NULL || tenant->tag < urgent->tag)) {
                urgent = tenant;
            }
        }
        if (best == NULL || tenant->tag < best->tag) {
            best = tenant;
        }
    }
    if (urgent != NULL) {
        return urgent;
    }
    return share->flying + (share->latency_tenants != 0 ? 1u : 0u) < share->drive.units ? best
                                                                                        : NULL;
}

static void dispatch(struct share *share, time_ns_t now_ns)
{
    while (share->backlog != 0 && share->flying < share->drive.units) {
        struct share_tenant *tenant = choose(share, now_ns);
        if (tenant == NULL) {
            return;
        }
        uint32_t index = (uint32_t)(tenant - share->tenants);
        uint8_t slot = tenant->waiting[tenant->waiting_first];
        struct block_request request = tenant->slots[slot].request;
        uint64_t cost = share_cost_ns(share, &request);
        request.block += request.operation == BLOCK_FLUSH ? 0 : tenant->first_block;
        request.cookie = COOKIE(index, slot);
        if (share->drive.block->ops->submit(share->drive.block, &request, 1, now_ns) == 0) {
            return;
        }
        share->flying++;
        tenant->flying++;
        tenant->waiting_first = (tenant->waiting_first + 1u) % SHARE_QUEUE;
        if (--tenant->waiting_count == 0) {
            share->backlog &= ~(1ull << index);
        }
        share->now_tag = tenant->tag > share->now_tag ? tenant->tag : share->now_tag;
        tenant->tag += (cost << TAG_SHIFT) / tenant->weight;
        tenant->credit_ns -= (int64_t)cost;
        tenant->dispatched++;
        tenant->drive_ns += cost;
        tenant->bytes += (uint64_t)request.blocks << share->drive.block->block_shift;
    }
}

static void land(struct share *share, const struct block_completion *completion)
{
    struct share_tenant *tenant = &share->tenants[completion->cookie >> 8];
    uint8_t slot = (uint8_t)completion->cookie;
    const struct block_request *request = &tenant->slots[slot].request;
    struct block_completion *done = &tenant->done[tenant->done_count++];

    *done = *completion;
    done->cookie = request->cookie;
    if (request->operation == BLOCK_ZONE_APPEND && completion->status == STATUS_OK) {
        done->block -= tenant->first_block;
    } else if (request->operation == BLOCK_ZONE_REPORT && completion->status == STATUS_OK) {
        struct block_zone *zones = request->data;
        for (uint64_t i = 0; i < completion->block; i++) {
            zones[i].block -= tenant->first_block;
        }
    }
    tenant->free_slots[tenant->free_count++] = slot;
    tenant->flying--;
    share->flying--;
}

/* ---- A tenant's block device ---- */

/* Whether it stays in the tenant's range. */
static bool is_inside(const struct share_tenant *tenant, const struct block_request *request)
{
    uint64_t count = tenant->block.block_count;

    return request->operation == BLOCK_FLUSH ||
           (request->operation != BLOCK_COPY && request->block < count &&
            (request->operation == BLOCK_ZONE_REPORT || request->blocks <= count - request->block));
}

static uint32_t tenant_submit(struct block_device *dev, const struct block_request *requests,
                              uint32_t count, time_ns_t now_ns)
{
    struct share_tenant *tenant = (struct share_tenant *)dev;
    struct share *share = tenant->share;
    uint32_t taken = 0;

    /* A slot stays taken until its completion is told, so that there is always room for it. */
    while (taken < count && tenant->free_count > tenant->done_count) {
        uint8_t slot = tenant->free_slots[--tenant->free_count];
        struct block_request *request = &tenant->slots[slot].request;
        *request = requests[taken++];
        if (!is_inside(tenant, request)) {
            tenant->done[tenant->done_count++] = (struct block_completion){
                .cookie = request->cookie, .status = STATUS_INVALID_ARGUMENT};
            tenant->free_slots[tenant->free_count++] = slot;
            continue;
        }
        if (request->operation == BLOCK_ZONE_REPORT) {
            uint64_t zones = tenant->block.zone_count - request->block / tenant->block.zone_blocks;
            request->blocks = request->blocks < zones ? request->blocks : (uint32_t)zones;
        }
        if (tenant->waiting_count == 0 && tenant->tag < share->now_tag) {
            tenant->tag = share->now_tag; /* time in which it wanted nothing is not saved up */
        }
        tenant->waiting[(tenant->waiting_first + tenant->waiting_count++) % SHARE_QUEUE] = slot;
        share->backlog |= 1ull << (tenant - share->tenants);
    }
    dispatch(share, now_ns);
    return taken;
}

void share_poll(struct share *share, time_ns_t now_ns)
{
    struct block_device *below = share->drive.block;
    struct block_completion got[REAP];
    uint32_t count;

    do {
        count = below->ops->poll(below, got, REAP, now_ns);
        for (uint32_t i = 0; i < count; i++) {
            land(share, &got[i]);
        }
    } while (count == REAP);
    dispatch(share, now_ns);
}

uint32_t share_take(struct share_tenant *tenant, struct block_completion *completions, uint32_t max)
{
    uint32_t count = tenant->done_count < max ? tenant->done_count : max;

    memcpy(completions, tenant->done, count * sizeof *completions);
    tenant->done_count -= count;
    memmove(tenant->done, tenant->done + count, tenant->done_count * sizeof *completions);
    return count;
}

static uint32_t tenant_poll(struct block_device *dev, struct block_completion *completions,
                            uint32_t max, time_ns_t now_ns)
{
    struct share_tenant *tenant = (struct share_tenant *)dev;

    share_poll(tenant->share, now_ns);
    return share_take(tenant, completions, max);
}

static bool tenant_arm(struct block_device *dev)
{
    struct share *share = ((struct share_tenant *)dev)->share;

    for (uint32_t i = 0; i < share->count; i++) {
        if (share->tenants[i].done_count != 0) {
            return false;
        }
    }
    return share->drive.block->ops->arm(share->drive.block);
}

static void tenant_disarm(struct block_device *dev)
{
    struct block_device *below = ((struct share_tenant *)dev)->share->drive.block;

    below->ops->disarm(below);
}

static time_ns_t tenant_next_due(struct block_device *dev)
{
    const struct share_tenant *tenant = (const struct share_tenant *)dev;
    struct block_device *below = tenant->share->drive.block;

    return tenant->done_count != 0 ? DEADLINE_NOW : below->ops->next_due(below);
}

static const struct block_device_ops tenant_ops = {tenant_submit, tenant_poll, tenant_arm,
                                                   tenant_disarm, tenant_next_due};

/* ---- Admission ---- */

uint64_t share_promise_ns(const struct share *share, const struct share_contract *contract)
{
    const struct share_drive *drive = &share->drive;
    uint64_t request_ns = contract->service == SHARE_LATENCY && drive->read_ns > drive->write_ns
                              ? drive->read_ns
                              : drive->write_ns;
    uint64_t bytes = contract->bytes_per_second;

    request_ns = request_ns > drive->read_ns ? request_ns : drive->read_ns;
    if (bytes >> 40 != 0) {
        return UINT64_MAX; /* no drive; and the product below cannot overflow */
    }
    return contract->iops * request_ns + bytes / 1000u * drive->write_byte_ps;
}

uint64_t share_can_promise_ns(const struct share *share)
{
    return (uint64_t)share->drive.units * SECOND_NS / 100u * SHARE_PROMISED_PERCENT;
}

status_t share_admit(struct share *share, const struct share_contract *contract,
                     struct share_tenant **admitted)
{
    const struct block_device *below = share->drive.block;
    uint64_t most = share_can_promise_ns(share);
    uint64_t blocks = contract->whole_drive ? 0 : contract->blocks;
    uint64_t wanted = share_promise_ns(share, contract);

    if ((blocks == 0 && !contract->whole_drive) ||
        ((below->flags & BLOCK_DEVICE_ZONED) != 0 && blocks % below->zone_blocks != 0)) {
        return STATUS_INVALID_ARGUMENT;
    }
    if (share->count == SHARE_TENANTS_MAX || blocks > below->block_count - share->given_blocks) {
        return STATUS_TOO_LARGE;
    }
    if (wanted > most - share->promised_ns) {
        return STATUS_FULL;
    }
    struct share_tenant *tenant = &share->tenants[share->count++];
    tenant->share = share;
    tenant->contract = *contract;
    tenant->first_block = contract->whole_drive ? 0 : share->given_blocks;
    tenant->weight = wanted != 0 ? wanted : 1u;
    tenant->block = *below;
    tenant->block.ops = &tenant_ops;
    tenant->block.block_count = contract->whole_drive ? below->block_count : blocks;
    tenant->block.queue_depth = SHARE_QUEUE;
    tenant->block.flags &= ~(uint32_t)BLOCK_DEVICE_COPY; /* its sources would have to be moved */
    if ((below->flags & BLOCK_DEVICE_ZONED) != 0) {
        tenant->block.zone_count = (uint32_t)(tenant->block.block_count / below->zone_blocks);
    }
    for (uint32_t i = SHARE_QUEUE; i-- > 0;) {
        tenant->free_slots[tenant->free_count++] = (uint8_t)i;
    }
    share->given_blocks += blocks;
    share->promised_ns += wanted;
    share->latency_tenants += contract->service == SHARE_LATENCY;
    *admitted = tenant;
    return STATUS_OK;
}
