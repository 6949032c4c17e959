// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The queue pairs of one NIC, each a struct netdev with an owner (thread) and a pool of its own.
 * Pair 0, the leader, also owns what they share: reset, link, interrupt set-up. This is how a reset
 * passes over the others, without a lock:
 *
 *     leader: group_halt; until group_is_halted; reset the device, set all queues up; group_run
 *     others: group_must_park -> touch neither queue nor buffers any more, group_park;
 *             group_try_run   -> the device has been reset: take lent buffers back, start again
 *
 * Each looks at it when its tick is due; hot paths know only their own state. Nobody waits in a
 * loop: a leader whose others do not come tries again when it is due next.
 *
 * Thread rule: group_halt, _is_halted, _run by the leader; _join, _leave, _must_park, _park,
 * _try_run, _ask_reset, _take, _give by the pair's owner. Everything is [atomic].
 */
#ifndef DRIVERS_NET_GROUP_H
#define DRIVERS_NET_GROUP_H

#include <hallows/types.h>

struct netdev_group {
    uint32_t running; /* 0: queues and buffers are the leader's and the device's */
    uint32_t joined;  /* bit q: pair q has an owner */
    uint32_t parked;  /* bit q: it has let go */
    uint32_t stuck;   /* bit q: it asks for a reset */
    uint32_t link;    /* not 0: up */
    uint32_t taken;   /* a pair that stops uses registers that the pairs share */
};

static inline void group_join(struct netdev_group *group, uint32_t pair)
{
    __atomic_fetch_or(&group->parked, 1u << pair, __ATOMIC_SEQ_CST);
    __atomic_fetch_or(&group->joined, 1u << pair, __ATOMIC_SEQ_CST);
}

/* The device no longer touches the pair's memory. */
static inline void group_leave(struct netdev_group *group, uint32_t pair)
{
    __atomic_fetch_and(&group->joined, ~(1u << pair), __ATOMIC_SEQ_CST);
}

static inline void group_halt(struct netdev_group *group)
{
    __atomic_store_n(&group->link, 0u, __ATOMIC_RELAXED);
    __atomic_store_n(&group->running, 0u, __ATOMIC_SEQ_CST);
}

/* Pairs with group_park: what the others did to their queues came before. */
static inline bool group_is_halted(struct netdev_group *group)
{
    uint32_t joined = __atomic_load_n(&group->joined, __ATOMIC_SEQ_CST);

    return (__atomic_load_n(&group->parked, __ATOMIC_SEQ_CST) & joined) == joined;
}

/* Pairs with group_try_run: reset and set-up of the queues came before. */
static inline void group_run(struct netdev_group *group)
{
    __atomic_store_n(&group->stuck, 0u, __ATOMIC_RELAXED);
    __atomic_store_n(&group->running, 1u, __ATOMIC_SEQ_CST);
}

static inline bool group_must_park(struct netdev_group *group)
{
    return __atomic_load_n(&group->running, __ATOMIC_RELAXED) == 0;
}

static inline void group_park(struct netdev_group *group, uint32_t pair)
{
    __atomic_fetch_or(&group->parked, 1u << pair, __ATOMIC_SEQ_CST);
}

/* For a parked pair: whether it runs again. Takes its mark away first, so that a leader which halts
 * just now either is seen here or sees that this one runs. */
static inline bool group_try_run(struct netdev_group *group, uint32_t pair)
{
    __atomic_fetch_and(&group->parked, ~(1u << pair), __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&group->running, __ATOMIC_SEQ_CST) != 0) {
        return true;
    }
    group_park(group, pair);
    return false;
}

static inline void group_ask_reset(struct netdev_group *group, uint32_t pair)
{
    __atomic_fetch_or(&group->stuck, 1u << pair, __ATOMIC_RELAXED);
}

static inline bool group_reset_asked(struct netdev_group *group)
{
    return __atomic_load_n(&group->stuck, __ATOMIC_RELAXED) != 0;
}

/* False: another pair has taken them. */
static inline bool group_take(struct netdev_group *group)
{
    return __atomic_exchange_n(&group->taken, 1u, __ATOMIC_SEQ_CST) == 0;
}

static inline void group_give(struct netdev_group *group)
{
    __atomic_store_n(&group->taken, 0u, __ATOMIC_SEQ_CST);
}

static inline void group_set_link(struct netdev_group *group, bool up)
{
    __atomic_store_n(&group->link, (uint32_t)up, __ATOMIC_RELAXED);
}

static inline bool group_link(struct netdev_group *group)
{
    return __atomic_load_n(&group->link, __ATOMIC_RELAXED) != 0;
}

#endif
