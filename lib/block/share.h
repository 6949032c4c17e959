// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * One drive shared by tenants with contracts. Each tenant has a block device of its own: a range of
 * the drive's blocks, and a share of its time that the others cannot take.
 *
 * The drive is described by what it can do (struct share_drive, declared or measured): it works on
 * `units` requests at a time, each taking so long. A contract asks for requests and bytes a second;
 * both become drive time a second, and no more than SHARE_PROMISED_PERCENT of it is promised.
 *
 * Scheduling is start-time fair queueing with a bounded depth, SFQ(D) (Jin, Chase, Kaur: Interposed
 * Proportional Sharing for a Storage Service Utility, SIGMETRICS 2004): each request gets a start
 * tag that grows with the drive time of its tenant's requests, divided by its contract; the least
 * tag goes next. So the promised share is there whenever it is wanted, and what nobody wants is
 * divided among those who do, in proportion. No more than `units` requests are at the drive, so
 * that nothing queues up where no policy reaches. SHARE_LATENCY tenants within their contract go
 * first, and one unit is kept free for them.
 *
 * Thread rule: one owner of all tenants; nothing here locks. Polling any tenant polls the drive.
 */
#ifndef LIB_BLOCK_SHARE_H
#define LIB_BLOCK_SHARE_H

#include "lib/block/block.h"

#define SHARE_TENANTS_MAX 64u
#define SHARE_QUEUE 32u /* requests of one tenant, waiting or at the drive */
#define SHARE_PROMISED_PERCENT 90u

enum share_class { SHARE_NORMAL = 0, SHARE_LATENCY };

struct share_drive {
    struct block_device *block;
    uint32_t units;                       /* requests at a time at full speed, > 1 */
    uint32_t read_ns, write_ns;           /* of a unit's time, for each request */
    uint32_t read_byte_ps, write_byte_ps; /* and for each byte, picoseconds */
};

struct share_contract {
    uint64_t blocks;           /* capacity; whole zones on a zoned drive */
    uint64_t bytes_per_second; /* counted as writes, which are dearer */
    uint32_t iops;
    enum share_class service;
    bool whole_drive; /* it sees all blocks of the drive, as others may; `blocks` is not looked at.
                         Tenants that share zones, say. */
};

struct share_slot {
    struct block_request request; /* as the tenant gave it */
    uint8_t next;
};

struct share_tenant {
    struct block_device block; /* the tenant's */
    struct share *share;
    struct share_contract contract;
    uint64_t first_block;
    uint64_t weight;              /* promised drive time, ns a second */
    uint64_t tag;                 /* start tag of its next request */
    int64_t credit_ns;            /* SHARE_LATENCY: of its contract, not yet used */
    time_ns_t credit_at;          /* when that was */
    uint8_t waiting[SHARE_QUEUE]; /* slots, a ring */
    uint32_t waiting_first, waiting_count;
    uint32_t flying, done_count;
    uint8_t free_slots[SHARE_QUEUE];
    uint32_t free_count;
    struct share_slot slots[SHARE_QUEUE];
    struct block_completion done[SHARE_QUEUE];
    uint64_t dispatched, bytes, drive_ns; /* counters */
};

struct share {
    struct share_drive drive;
    uint64_t promised_ns;  /* a second */
    uint64_t given_blocks; /* to tenants, from the drive's first on */
    uint64_t now_tag;      /* of what was dispatched last */
    uint32_t flying;
    uint32_t latency_tenants;
    uint32_t count;
    uint64_t backlog; /* a bit for each tenant with requests waiting */
    struct share_tenant tenants[SHARE_TENANTS_MAX];
};

/* Takes over the drive. INVALID_ARGUMENT: a description without time or units. */
status_t share_init(struct share *share, const struct share_drive *drive) HALLOWS_MUST_CHECK;

/* Admits a tenant, whose block device then stays valid. Refused, nothing changes:
 *   FULL              the drive cannot promise that much time
 *   TOO_LARGE         nor that many blocks, or SHARE_TENANTS_MAX
 *   INVALID_ARGUMENT  no blocks, or part of a zone */
status_t share_admit(struct share *share, const struct share_contract *contract,
                     struct share_tenant **tenant) HALLOWS_MUST_CHECK;

/* Drive time a second that a contract needs, and that the drive can promise in all, ns. */
uint64_t share_promise_ns(const struct share *share, const struct share_contract *contract);
uint64_t share_can_promise_ns(const struct share *share);

/* Drive time of a request, ns. */
uint64_t share_cost_ns(const struct share *share, const struct block_request *request);

/* What polling a tenant does: takes the drive's completions and sends what may go; and gives out
 * up to `max` completions of the tenant. For those who serve many tenants (streams.h). */
void share_poll(struct share *share, time_ns_t now_ns);
uint32_t share_take(struct share_tenant *tenant, struct block_completion *completions,
                    uint32_t max);

/* Measures a drive's `read_ns` from a run: `count` requests, `units` at a time, took `span_ns`. */
static inline uint32_t share_measured_ns(uint64_t span_ns, uint64_t count, uint32_t units)
{
    return count == 0 ? 0 : (uint32_t)(span_ns * units / count);
}

#endif
