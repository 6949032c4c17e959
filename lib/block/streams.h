// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * One block device through which many tenants of a shared drive are served (share.h): each request
 * says by its placement whose it is (BLOCK_PLACED), and waits under that tenant's contract.
 * Requests without one, and those of placements that are nobody's, are tenant 0's.
 *
 * All tenants see the whole drive. Where the drive has placement handles of its own, writes of a
 * stream go to handle `placement` modulo their number.
 *
 * Thread rule: one owner; nothing here locks.
 */
#ifndef LIB_BLOCK_STREAMS_H
#define LIB_BLOCK_STREAMS_H

#include "lib/block/share.h"

#define STREAMS_MAX 32u

struct streams {
    struct block_device block; /* what users take */
    struct share *share;
    uint8_t tenant_of[STREAMS_MAX];
    uint32_t next; /* tenant whose completions are told first */
};

/* `share` has its tenant 0, for what is nobody's, admitted with whole_drive. */
void streams_init(struct streams *streams, struct share *share);
/* Requests with `placement` (below STREAMS_MAX) are `tenant`'s from now on. */
void streams_assign(struct streams *streams, uint32_t placement, const struct share_tenant *tenant);

#endif
