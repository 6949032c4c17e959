// SPDX-License-Identifier: MIT OR Apache-2.0
/* TCP connections: the table, birth and end. */
#include "lib/net/fast.h"
#include "lib/net/tcp_internal.h"

void tcp_table_init(struct net_stack *stack)
{
    list_init(&stack->active);
    list_init(&stack->free_connections);
    list_init(&stack->time_wait);
    list_init(&stack->waiting);
    stack->hash_key[0] = stack_random(stack);
    stack->hash_key[1] = stack_random(stack) | 1u;
    stack->timestamp_offset = (uint32_t)stack_random(stack);
    for (uint32_t i = 0; i < stack->connections_max; i++) {
        struct tcp_connection *c = &stack->connections[i];
        c->stack = stack;
        list_init(&c->active);
        list_init(&c->age);
        list_init(&c->waiting);
        list_init(&c->wheel);
        list_append(&stack->free_connections, &c->age);
    }
    for (uint32_t i = 0; i < STACK_LISTENERS_MAX; i++) {
        list_init(&stack->listeners[i].half_open);
    }
}

/* Addresses and ports as they stand in the peer's packets. */
static struct tcp_connection **tcp_bucket(struct net_stack *stack, struct tcp_ends ends)
{
    uint32_t ports = (uint32_t)ends.remote_port << 16 | ends.local_port;

    return tcp_bucket_of(stack, __builtin_bswap32(ends.remote_address), __builtin_bswap32(ports));
}

static struct tcp_ends tcp_ends_of(const struct tcp_connection *c)
{
    return (struct tcp_ends){c->remote_address, c->remote_port, c->local_port, &c->v6};
}

/* Behind equal tags there may be different addresses. */
static bool tcp_same_v6(const struct tcp_connection *c, const struct tcp_ends *ends)
{
    return !is_ipv6_tag(ends->remote_address) || memcmp(&c->v6, ends->v6, sizeof c->v6) == 0;
}

struct tcp_connection *tcp_lookup(struct net_stack *stack, struct tcp_ends ends)
{
    struct tcp_connection *c = *tcp_bucket(stack, ends);

    while (c != NULL &&
           (c->remote_address != ends.remote_address || c->remote_port != ends.remote_port ||
            c->local_port != ends.local_port || !tcp_same_v6(c, &ends))) {
        c = c->hash_next;
    }
    return c;
}

static void tcp_unlink(struct tcp_connection *c)
{
    struct tcp_connection **link = tcp_bucket(c->stack, tcp_ends_of(c));

    while (*link != c) {
        link = &(*link)->hash_next;
    }
    *link = c->hash_next;
}

/* Back to the free list; nothing may refer to it any more. */
static void tcp_free(struct tcp_connection *c)
{
    ASSERT(c->state == TCP_CLOSED && c->send_head == NETBUF_NONE && c->receive_head == NETBUF_NONE);
    list_remove(&c->active);
    c->flags = 0;
    list_append(&c->stack->free_connections, &c->age);
    c->stack->connection_count--;
}

struct tcp_connection *tcp_allocate(struct net_stack *stack, struct tcp_ends ends)
{
    if (list_is_empty(&stack->free_connections) && !list_is_empty(&stack->time_wait)) {
        struct tcp_connection *oldest =
            LIST_MEMBER(stack->time_wait.next, struct tcp_connection, age);
        if ((oldest->flags & TCP_FLAG_ATTACHED) == 0) {
            tcp_finish(oldest, STATUS_OK);
            tcp_free(oldest);
        }
    }
    struct list *node = list_pop(&stack->free_connections);
    if (node == NULL) {
        return NULL;
    }
    struct tcp_connection *c = LIST_MEMBER(node, struct tcp_connection, age);
    memset(c, 0, sizeof *c);
    c->stack = stack;
    list_init(&c->active);
    list_init(&c->age);
    list_init(&c->waiting);
    list_init(&c->wheel);
    c->remote_address = ends.remote_address;
    c->remote_port = ends.remote_port;
    c->local_port = ends.local_port;
    if (is_ipv6_tag(ends.remote_address)) {
        c->v6 = *ends.v6;
        c->flags = TCP_FLAG_V6;
    }
    c->peer_ends =
        (uint64_t)__builtin_bswap32(stack->address) << 32 | __builtin_bswap32(ends.remote_address);
    c->peer_ports = __builtin_bswap32((uint32_t)ends.remote_port << 16 | ends.local_port);
    c->send_head = c->send_tail = c->send_cursor = NETBUF_NONE;
    c->receive_head = c->receive_tail = NETBUF_NONE;
    c->retransmit_deadline = c->ack_deadline = c->misc_deadline = DEADLINE_NEVER;
    c->wheel_deadline = DEADLINE_NEVER;
    c->rto_ns = TCP_RTO_INITIAL;
    c->mss = TCP_DEFAULT_MSS;
    c->opened = c->last_receive = c->last_send = stack->now;
    struct tcp_connection **bucket = tcp_bucket(stack, ends);
    c->hash_next = *bucket;
    *bucket = c;
    stack->connection_count++;
    return c;
}

uint32_t tcp_initial_sequence(struct net_stack *stack, struct tcp_ends ends)
{
    uint64_t input[6] = {(uint64_t)ends.remote_address << 32 | stack->address,
                         (uint64_t)ends.remote_port << 16 | ends.local_port};
    size_t bytes = 16;

    if (is_ipv6_tag(ends.remote_address)) {
        memcpy(&input[2], ends.v6, sizeof *ends.v6);
        bytes = sizeof input;
    }
    /* A clock of about 4 us plus a keyed hash of the ends (RFC 6528, 3). */
    return (uint32_t)(stack->now >> 12) + (uint32_t)siphash(&stack->secret, input, bytes);
}

void tcp_leave_half_open(struct tcp_connection *c)
{
    if ((c->flags & TCP_FLAG_HALF_OPEN) != 0) {
        c->flags &= ~(uint32_t)TCP_FLAG_HALF_OPEN;
        c->stack->listeners[c->listener].half_open_count--;
        list_remove(&c->age);
    }
}

void tcp_finish(struct tcp_connection *c, status_t reason)
{
    struct net_stack *stack = c->stack;

    if (c->state == TCP_CLOSED) {
        return;
    }
    bool opening = c->state == TCP_SYN_SENT || c->state == TCP_SYN_RECEIVED;
    bool open = c->state == TCP_ESTABLISHED || c->state == TCP_CLOSE_WAIT;

    stack->counters.tcp_attempts_failed += opening;
    stack->counters.tcp_open_resets += open;
    stack->counters.tcp_closed += reason == STATUS_OK;
    stack->counters.tcp_reset_in += reason == STATUS_RESET;
    stack->counters.tcp_timed_out += reason == STATUS_TIMED_OUT;
    tcp_leave_half_open(c);
    list_remove(&c->age);
    list_remove(&c->waiting);
    list_remove(&c->wheel);
    c->retransmit_deadline = c->ack_deadline = c->misc_deadline = DEADLINE_NEVER;
    tcp_unlink(c);
    tcp_send_queue_drop(c);
    c->state = TCP_CLOSED;
    bool attached = (c->flags & TCP_FLAG_ATTACHED) != 0;
    if (attached && reason == STATUS_OK) {
        /* In order: what is unread, the end, and on_closed come from the active pass. */
        tcp_activate(c);
        return;
    }
    tcp_receive_queue_drop(c);
    c->flags &= ~(uint32_t)TCP_FLAG_ATTACHED;
    c->flags |= TCP_FLAG_FREE_DUE;
    tcp_activate(c);
    if (attached) {
        c->ops->on_closed(c, c->user, reason);
    }
}

void tcp_reset(struct tcp_connection *c, status_t reason)
{
    if (c->state == TCP_CLOSED) {
        return;
    }
    if (c->state != TCP_SYN_SENT && c->state != TCP_TIME_WAIT) {
        tcp_send_reset(c);
    }
    tcp_finish(c, reason);
}

void tcp_enter_time_wait(struct tcp_connection *c)
{
    c->state = TCP_TIME_WAIT;
    tcp_send_queue_drop(c);
    c->retransmit_deadline = DEADLINE_NEVER;
    c->misc_deadline = c->stack->now + TCP_TIME_WAIT_NS;
    list_remove(&c->age);
    list_append(&c->stack->time_wait, &c->age);
    tcp_timer_update(c);
    tcp_activate(c);
}

struct tcp_listener *tcp_find_listener(struct net_stack *stack, uint16_t port)
{
    for (uint32_t i = 0; i < STACK_LISTENERS_MAX; i++) {
        if (stack->listeners[i].ops != NULL && stack->listeners[i].port == port) {
            return &stack->listeners[i];
        }
    }
    return NULL;
}

void tcp_address_lost(struct net_stack *stack)
{
    for (uint32_t i = 0; i < stack->connections_max; i++) {
        struct tcp_connection *c = &stack->connections[i];
        if (c->state != TCP_CLOSED && !is_ipv6_tag(c->remote_address)) {
            tcp_finish(c, STATUS_UNREACHABLE);
        }
    }
}

void tcp_address6_lost(struct net_stack *stack, const struct ipv6_address *address)
{
    for (uint32_t i = 0; i < stack->connections_max; i++) {
        struct tcp_connection *c = &stack->connections[i];
        if (c->state != TCP_CLOSED && is_ipv6_tag(c->remote_address) &&
            ipv6_equal(&c->v6.local, address)) {
            tcp_finish(c, STATUS_UNREACHABLE);
        }
    }
}

/* Both directions are closed and everything has been read: lets the application go. */
static void tcp_check_closed(struct tcp_connection *c)
{
    bool closed = c->state == TCP_CLOSED || c->state == TCP_TIME_WAIT;

    if (!closed || (c->flags & TCP_FLAG_ATTACHED) == 0 || (c->flags & TCP_FLAG_END_DUE) != 0 ||
        c->receive_unread != 0) {
        return;
    }
    c->flags &= ~(uint32_t)TCP_FLAG_ATTACHED;
    if (c->state == TCP_CLOSED) {
        tcp_receive_queue_drop(c);
        c->flags |= TCP_FLAG_FREE_DUE;
    }
    c->ops->on_closed(c, c->user, STATUS_OK);
}

static void tcp_run_one(struct tcp_connection *c)
{
    uint32_t due = TCP_FLAG_END_DUE | TCP_FLAG_SENDABLE_DUE | TCP_FLAG_FREE_DUE;
    if ((c->flags & due) == 0 && c->receive_unread == 0 && tcp_output_fast(c)) {
        return;
    }
    bool unread = c->receive_unread != 0 || (c->flags & TCP_FLAG_END_DUE) != 0;

    if (unread && (c->flags & TCP_FLAG_FREE_DUE) == 0) {
        tcp_deliver(c);
    }
    if ((c->flags & TCP_FLAG_SENDABLE_DUE) != 0) {
        c->flags &= ~(uint32_t)TCP_FLAG_SENDABLE_DUE;
        if ((c->flags & TCP_FLAG_ATTACHED) != 0 && c->state != TCP_CLOSED) {
            c->ops->on_sendable(c, c->user);
        }
    }
    tcp_check_closed(c);
    if ((c->flags & TCP_FLAG_FREE_DUE) != 0) {
        tcp_free(c);
        return;
    }
    if (c->state != TCP_CLOSED && !tcp_output_fast(c)) {
        tcp_output(c);
    }
}

void tcp_run_active(struct net_stack *stack)
{
    struct list work;
    struct list *node;

    /* Those that callbacks activate while this runs get their turn in a second round; a third is
     * left to the next poll, so that the work of one poll is bounded. */
    for (unsigned round = 0; round < 2 && !list_is_empty(&stack->active); round++) {
        list_init(&work);
        list_move(&work, &stack->active);
        while ((node = list_pop(&work)) != NULL) {
            tcp_run_one(LIST_MEMBER(node, struct tcp_connection, active));
        }
    }
}
