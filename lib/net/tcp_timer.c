// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * TCP timers: one wheel entry a connection, at or before its earliest deadline. A deadline that
 * moves later does not touch the wheel; the entry fires early and is put back.
 */
#include "lib/net/tcp_internal.h"

#define BACKOFF_SHIFT_MAX 10u
/* After this many timeouts in a row the neighbour's address itself is in doubt. */
#define SUSPECT_TIMEOUTS 2u
#define PERSIST_SILENCE_MAX (4u * TCP_RTO_MAX)

void tcp_timer_init(struct net_stack *stack)
{
    for (uint32_t i = 0; i < TCP_WHEEL_SLOTS; i++) {
        list_init(&stack->wheel[i]);
    }
    stack->wheel_tick = stack->now >> TCP_TICK_SHIFT;
}

static time_ns_t earliest_deadline(const struct tcp_connection *c)
{
    time_ns_t earliest = c->retransmit_deadline;

    earliest = c->ack_deadline < earliest ? c->ack_deadline : earliest;
    return c->misc_deadline < earliest ? c->misc_deadline : earliest;
}

void tcp_timer_update(struct tcp_connection *c)
{
    struct net_stack *stack = c->stack;
    time_ns_t earliest = earliest_deadline(c);

    if (earliest >= c->wheel_deadline) {
        return;
    }
    uint64_t tick = (earliest + (1u << TCP_TICK_SHIFT) - 1u) >> TCP_TICK_SHIFT;
    /* Never a slot of the past, even when nothing has run the wheel for a while; slots that are
     * still to be run may then be taken early, which does no harm. */
    uint64_t first = (stack->now >> TCP_TICK_SHIFT) + 1u;
    first = first > stack->wheel_tick ? first : stack->wheel_tick;
    if (tick < first) {
        tick = first;
    } else if (tick > first + TCP_WHEEL_SLOTS - 2u) {
        tick = first + TCP_WHEEL_SLOTS - 2u;
    }
    uint32_t slot = tick % TCP_WHEEL_SLOTS;
    list_remove(&c->wheel);
    list_append(&stack->wheel[slot], &c->wheel);
    stack->wheel_bits[slot / 64u] |= 1ull << (slot % 64u);
    c->wheel_deadline = tick << TCP_TICK_SHIFT;
    stack_due(stack, c->wheel_deadline);
}

void tcp_arm_retransmit(struct tcp_connection *c)
{
    uint32_t shift = c->backoff < BACKOFF_SHIFT_MAX ? c->backoff : BACKOFF_SHIFT_MAX;
    uint64_t wait = c->rto_ns << shift;

    wait = wait < TCP_RTO_MAX ? wait : TCP_RTO_MAX;
    c->flags &= ~(uint32_t)(TCP_FLAG_PROBE_TIMER | TCP_FLAG_REORDER_TIMER);
    if (rack_probe_time(c, &wait)) {
        c->flags |= TCP_FLAG_PROBE_TIMER;
    }
    c->retransmit_deadline = c->stack->now + wait;
    tcp_timer_update(c);
}

static void count_backoff(struct tcp_connection *c)
{
    if (c->backoff < 255u) {
        c->backoff++;
    }
}

static void persist_due(struct tcp_connection *c)
{
    bool attached = (c->flags & TCP_FLAG_ATTACHED) != 0;

    /* A peer that keeps answering may keep its window closed for as long as the application wants
     * to wait (RFC 9293, 3.8.6.1); without an application there is an end to it. */
    if (attached ? c->backoff >= TCP_DATA_RETRIES &&
                       c->stack->now - c->last_receive > PERSIST_SILENCE_MAX
                 : c->backoff >= TCP_ORPHAN_RETRIES) {
        tcp_reset(c, STATUS_TIMED_OUT);
        return;
    }
    count_backoff(c);
    c->flags &= ~(uint32_t)TCP_FLAG_PERSIST;
    c->flags |= TCP_FLAG_FORCE_SEND;
    tcp_activate(c);
}

static uint32_t retries_max(const struct tcp_connection *c)
{
    if (c->state == TCP_SYN_SENT || c->state == TCP_SYN_RECEIVED) {
        return TCP_SYN_RETRIES;
    }
    return (c->flags & TCP_FLAG_ATTACHED) != 0 ? TCP_DATA_RETRIES : TCP_ORPHAN_RETRIES;
}

static void retransmit_due(struct tcp_connection *c)
{
    if (c->backoff >= retries_max(c)) {
        bool told = (c->flags & TCP_FLAG_SOFT_ERROR) != 0;
        tcp_reset(c, told ? STATUS_UNREACHABLE : STATUS_TIMED_OUT);
        return;
    }
    c->stack->counters.tcp_timeouts++;
    if (c->backoff >= SUSPECT_TIMEOUTS) {
        if (is_ipv6_tag(c->remote_address)) {
            nd_suspect(c->stack, &c->v6.remote);
        } else {
            arp_suspect(c->stack, ipv4_route(c->stack, c->remote_address));
        }
    }
    c->flags &= ~(uint32_t)(TCP_FLAG_ROUND_TRIP | TCP_FLAG_RECOVERY | TCP_FLAG_PROBED |
                            TCP_FLAG_PROBE_REPEAT);
    c->duplicate_acks = 0;
    if (c->state == TCP_SYN_SENT || c->state == TCP_SYN_RECEIVED) {
        c->flags |= TCP_FLAG_SEND_SYN;
    } else {
        /* Everything unacknowledged goes again, in slow start (RFC 5681, 3.1; RFC 6298, 5.4). */
        congestion_timeout(c);
        sack_clear(c, c->backoff != 0); /* a peer may take its report back (RFC 2018, 8) */
        c->recover = c->snd_max;
        c->snd_nxt = c->snd_una;
        c->send_cursor = c->send_head;
    }
    count_backoff(c);
    tcp_arm_retransmit(c);
    tcp_activate(c);
}

static void keepalive_due(struct tcp_connection *c)
{
    time_ns_t due =
        c->last_receive + c->keepalive_idle + c->keepalive_probes * TCP_KEEPALIVE_INTERVAL;

    if (c->stack->now >= due) {
        if (c->keepalive_probes >= TCP_KEEPALIVE_PROBES) {
            tcp_reset(c, STATUS_TIMED_OUT);
            return;
        }
        c->keepalive_probes++;
        due = c->stack->now + TCP_KEEPALIVE_INTERVAL;
        if (c->snd_una == c->snd_max) {
            c->stack->counters.tcp_keepalives++;
            tcp_send_probe(c);
        }
    }
    c->misc_deadline = due;
}

static void misc_due(struct tcp_connection *c)
{
    c->misc_deadline = DEADLINE_NEVER;
    if (c->state == TCP_TIME_WAIT || c->state == TCP_FIN_WAIT_2) {
        if (c->state == TCP_TIME_WAIT || (c->flags & TCP_FLAG_ATTACHED) == 0) {
            tcp_finish(c, STATUS_OK);
            return;
        }
    }
    if (c->keepalive_idle != 0) {
        keepalive_due(c);
    }
}

static void tcp_timer_run(struct tcp_connection *c)
{
    time_ns_t now = c->stack->now;

    if (now >= c->ack_deadline) {
        c->ack_deadline = DEADLINE_NEVER;
        if ((c->flags & TCP_FLAG_ACK_DELAYED) != 0) {
            c->stack->counters.tcp_delayed_acks++;
            c->flags |= TCP_FLAG_ACK_NOW;
            tcp_activate(c);
        }
    }
    if (now >= c->retransmit_deadline) {
        c->retransmit_deadline = DEADLINE_NEVER;
        if ((c->flags & TCP_FLAG_PERSIST) != 0) {
            persist_due(c);
        } else if ((c->flags & TCP_FLAG_PROBE_TIMER) != 0) {
            rack_probe_due(c);
        } else if ((c->flags & TCP_FLAG_REORDER_TIMER) != 0) {
            rack_reorder_due(c);
        } else {
            retransmit_due(c);
        }
    }
    if (c->state != TCP_CLOSED && now >= c->misc_deadline) {
        misc_due(c);
    }
}

static void wheel_run_slot(struct net_stack *stack, uint32_t slot)
{
    struct list due;
    struct list *node;

    stack->wheel_bits[slot / 64u] &= ~(1ull << (slot % 64u));
    list_init(&due);
    list_move(&due, &stack->wheel[slot]);
    while ((node = list_pop(&due)) != NULL) {
        struct tcp_connection *c = LIST_MEMBER(node, struct tcp_connection, wheel);
        c->wheel_deadline = DEADLINE_NEVER;
        tcp_timer_run(c);
        if (c->state != TCP_CLOSED) {
            tcp_timer_update(c);
        }
    }
}

/* The time of the first slot in use from wheel_tick on. */
static time_ns_t wheel_next(const struct net_stack *stack)
{
    uint32_t first = stack->wheel_tick % TCP_WHEEL_SLOTS;

    for (uint32_t i = 0; i <= TCP_WHEEL_SLOTS / 64u; i++) {
        uint32_t word = (first / 64u + i) % (TCP_WHEEL_SLOTS / 64u);
        uint64_t bits = stack->wheel_bits[word];
        if (i == 0) {
            bits &= ~0ull << (first % 64u);
        }
        if (bits != 0) {
            uint32_t slot = word * 64u + (uint32_t)__builtin_ctzll(bits);
            uint64_t ahead = (slot - first) % TCP_WHEEL_SLOTS;
            return (stack->wheel_tick + ahead) << TCP_TICK_SHIFT;
        }
    }
    return DEADLINE_NEVER;
}

time_ns_t tcp_tick(struct net_stack *stack)
{
    uint64_t current = stack->now >> TCP_TICK_SHIFT;
    uint64_t first = stack->wheel_tick;

    if (current >= first) {
        uint64_t count = current - first + 1u;
        if (count > TCP_WHEEL_SLOTS) {
            count = TCP_WHEEL_SLOTS;
        }
        /* New entries go behind the slots that run now. */
        stack->wheel_tick = current + 1u;
        for (uint64_t i = 0; i < count; i++) {
            uint32_t slot = (uint32_t)((first + i) % TCP_WHEEL_SLOTS);
            if ((stack->wheel_bits[slot / 64u] >> (slot % 64u) & 1u) != 0) {
                wheel_run_slot(stack, slot);
            }
        }
    }
    return wheel_next(stack);
}
