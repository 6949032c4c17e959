// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * What the storage services that a cell has rings to tell of their drives (RING_LOG_ACCOUNT): asked
 * now and then, kept until the next answer. All of a ring's pool is used for that, one half for the
 * answer that is kept and one for the one that comes, so the rings are for nothing else.
 *
 * What a service tells is its own affair and is passed on as a text, not as part of one.
 *
 * Thread rule: one owner; nothing here locks or waits.
 */
#ifndef LIB_LOGPORT_ACCOUNTS_H
#define LIB_LOGPORT_ACCOUNTS_H

#include "lib/block/account.h"
#include "lib/logport/logport.h"

#define ACCOUNTS_MAX 8u

struct accounts_service {
    struct logport port;
    uint64_t session;   /* in which it was asked */
    uint32_t bytes;     /* of the answer that is kept; 0: none */
    bool upper;         /* it lies in the pool's upper half */
    bool wanted, asked; /* to be asked; answering */
};

struct accounts {
    uint32_t count;
    struct accounts_service services[ACCOUNTS_MAX];
};

/* With all rings to loglets that the cell has. TOO_LARGE: more than ACCOUNTS_MAX; or as
 * logport_init. */
status_t accounts_init(struct accounts *accounts, const struct cell_info *cell,
                       void (*doorbell)(void *context, cap_slot_t slot)) HALLOWS_MUST_CHECK;
/* Asks all of them anew. */
void accounts_ask(struct accounts *accounts);
/* Elements of an array: a JSON string for each service that has answered. */
void accounts_told(const struct accounts *accounts, const struct account *account);

/* As struct event_source. */
bool accounts_poll(struct accounts *accounts, time_ns_t now_ns);
bool accounts_arm(struct accounts *accounts);
void accounts_disarm(struct accounts *accounts);
time_ns_t accounts_deadline(const struct accounts *accounts);

#endif
