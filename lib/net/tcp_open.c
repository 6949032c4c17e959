// SPDX-License-Identifier: MIT OR Apache-2.0
/* Opening TCP connections: LISTEN, SYN-SENT, SYN-RECEIVED (RFC 9293, 3.10.7.2 to 3.10.7.4). */
#include "lib/net/tcp_cookie.h"

/* Takes irs, segment size and options from the peer's SYN. */
static void take_syn(struct tcp_connection *c, const struct tcp_segment *segment)
{
    struct net_stack *stack = c->stack;
    uint32_t mss = segment->mss != 0 ? segment->mss : TCP_DEFAULT_MSS;
    uint32_t own = tcp_path_mss(stack, c->remote_address);

    c->irs = segment->sequence;
    c->rcv_nxt = c->irs + 1u;
    c->last_ack_sent = c->rcv_nxt;
    c->rcv_adv = c->rcv_nxt +
                 (stack->receive_window_bytes < 0xffffu ? stack->receive_window_bytes : 0xffffu);
    if (segment->has_timestamps && (c->flags & TCP_FLAG_TIMESTAMPS) != 0) {
        c->timestamp_recent = segment->timestamp;
        c->timestamp_recent_at = stack->now;
    } else {
        c->flags &= ~(uint32_t)TCP_FLAG_TIMESTAMPS;
    }
    if (segment->has_window_scale && (c->flags & TCP_FLAG_WINDOW_SCALE) != 0) {
        c->send_shift = segment->window_scale < TCP_WINDOW_SCALE_MAX ? segment->window_scale
                                                                     : TCP_WINDOW_SCALE_MAX;
        c->receive_shift = stack->receive_shift;
    } else {
        c->flags &= ~(uint32_t)TCP_FLAG_WINDOW_SCALE;
        c->receive_shift = 0;
    }
    if (!segment->sack_permitted) {
        c->flags &= ~(uint32_t)TCP_FLAG_SACK;
    }
    ecn_take_syn(c, segment);
    /* A tiny segment size would make every byte cost a packet. */
    mss = mss < 88u ? 88u : mss;
    c->mss = mss < own ? mss : own;
    if ((c->flags & TCP_FLAG_TIMESTAMPS) != 0) {
        c->mss -= TCP_TIMESTAMPS_BYTES;
    }
    congestion_init(c);
}

/* The window in a SYN is never scaled (RFC 7323, 2.2). */
static void take_first_window(struct tcp_connection *c, const struct tcp_segment *segment,
                              uint32_t window)
{
    c->snd_wnd = window;
    c->snd_wnd_max = window;
    c->snd_wl1 = segment->sequence;
    c->snd_wl2 = segment->acknowledgment;
}

static void established(struct tcp_connection *c, const struct tcp_segment *segment)
{
    tcp_leave_half_open(c);
    c->retransmit_deadline = DEADLINE_NEVER;
    if (c->backoff != 0) {
        c->rto_ns = 3u * NS_PER_S; /* RFC 6298, 5.7 */
        c->flags &= ~(uint32_t)TCP_FLAG_ROUND_TRIP;
    } else if ((c->flags & TCP_FLAG_ROUND_TRIP) != 0) {
        c->flags &= ~(uint32_t)TCP_FLAG_ROUND_TRIP;
        rtt_sample(c, c->stack->now - c->rtt_start);
    }
    c->backoff = 0;
    c->snd_una = segment->acknowledgment;
    c->recover = c->iss;
    c->state = (c->flags & TCP_FLAG_FIN_QUEUED) != 0 ? TCP_FIN_WAIT_1 : TCP_ESTABLISHED;
    c->flags &= ~(uint32_t)TCP_FLAG_SEND_SYN;
    tcp_activate(c);
}

static void prepare_syn(struct tcp_connection *c, struct tcp_ends ends)
{
    c->iss = tcp_initial_sequence(c->stack, ends);
    c->snd_una = c->snd_nxt = c->snd_max = c->iss;
    c->send_end = c->iss + 1u;
    c->flags |= TCP_FLAG_SEND_SYN | TCP_FLAG_TIMESTAMPS | TCP_FLAG_SACK | TCP_FLAG_WINDOW_SCALE;
    c->receive_shift = c->stack->receive_shift;
    tcp_activate(c);
}

static bool connect_valid(const struct net_stack *stack, const struct tcp_connect_request *request)
{
    return request->ops != NULL && request->port != 0 &&
           (request->v6 != NULL ||
            (ipv4_is_host(request->address) && request->address != stack->address &&
             !ipv4_is_broadcast(stack, request->address)));
}

/* Whether there is a way to the peer; completes the ends of an IPv6 one. */
static status_t connect_route(struct net_stack *stack, struct tcp_ends *ends, struct ipv6_ends *v6)
{
    if (ends->v6 == NULL) {
        return ipv4_route(stack, ends->remote_address) == IPV4_ANY ? STATUS_UNREACHABLE : STATUS_OK;
    }
    *v6 = *ends->v6;
    ends->v6 = v6;
    ends->remote_address = ipv6_tag(stack, &v6->remote);
    return ipv6_complete(stack, v6);
}

/* Whether answers to such a connection come to this instance. */
static bool owns_ends(const struct net_stack *stack, const struct tcp_ends *ends)
{
    uint8_t flow[36];
    uint32_t addresses = ends->v6 != NULL ? 32u : 8u;

    if (stack->owns == NULL) {
        return true;
    }
    if (ends->v6 != NULL) {
        memcpy(flow, ends->v6, 32);
    } else {
        store_be32(flow, ends->remote_address);
        store_be32(flow + 4, stack->address);
    }
    store_be16(flow + addresses, ends->remote_port);
    store_be16(flow + addresses + 2u, ends->local_port);
    return stack->owns(stack->owns_context, flow, addresses + 4u);
}

/* A local port that makes the pair of ends unique; 0: none. */
static uint16_t free_port(struct net_stack *stack, struct tcp_ends ends)
{
    uint32_t start = (uint32_t)stack_random(stack);

    for (uint32_t i = 0; i < EPHEMERAL_PORTS; i++) {
        ends.local_port = (uint16_t)(EPHEMERAL_PORT_FIRST + (start + i) % EPHEMERAL_PORTS);
        if (owns_ends(stack, &ends) && tcp_lookup(stack, ends) == NULL) {
            return ends.local_port;
        }
    }
    return 0;
}

status_t tcp_connect(struct net_stack *stack, const struct tcp_connect_request *request,
                     struct tcp_connection **connection)
{
    struct tcp_ends ends = {.remote_address = request->address,
                            .remote_port = request->port,
                            .local_port = request->local_port,
                            .v6 = request->v6};
    struct ipv6_ends v6;

    if (!connect_valid(stack, request)) {
        return STATUS_INVALID_ARGUMENT;
    }
    status_t status = connect_route(stack, &ends, &v6);
    if (status != STATUS_OK) {
        return status;
    }
    if (ends.local_port == 0) {
        ends.local_port = free_port(stack, ends);
    } else if (tcp_lookup(stack, ends) != NULL) {
        return STATUS_IN_USE;
    }
    struct tcp_connection *c = ends.local_port != 0 ? tcp_allocate(stack, ends) : NULL;
    if (c == NULL) {
        return STATUS_NO_MEMORY;
    }
    c->ops = request->ops;
    c->user = request->user;
    c->flags |= TCP_FLAG_ATTACHED | TCP_FLAG_ACTIVE_OPEN;
    stack->counters.tcp_active_opens++;
    c->state = TCP_SYN_SENT;
    c->flags |= stack->ecn ? TCP_FLAG_ECN : 0;
    prepare_syn(c, ends);
    *connection = c;
    return STATUS_OK;
}

/* A connection of the listener in SYN-RECEIVED from the peer's SYN; NULL: the table is full. */
static struct tcp_connection *accept_syn(struct net_stack *stack, struct tcp_listener *listener,
                                         const struct tcp_segment *syn, struct tcp_ends ends)
{
    struct tcp_connection *c = tcp_allocate(stack, ends);

    if (c == NULL) {
        stack->counters.tcp_syn_dropped++;
        return NULL;
    }
    stack->counters.tcp_passive_opens++;
    c->ops = listener->ops;
    c->listener = (uint8_t)(listener - stack->listeners);
    c->state = TCP_SYN_RECEIVED;
    prepare_syn(c, ends);
    take_syn(c, syn);
    take_first_window(c, syn, syn->window);
    return c;
}

struct tcp_connection *tcp_accept_cookie(struct net_stack *stack, const struct tcp_segment *segment)
{
    struct tcp_ends ends = {.remote_address = segment->ip->source,
                            .remote_port = segment->source_port,
                            .local_port = segment->destination_port,
                            .v6 = ipv6_ends_of(segment->ip)};
    struct tcp_listener *listener = tcp_find_listener(stack, ends.local_port);
    struct tcp_segment syn;

    if (listener == NULL || !tcp_cookie_check(stack, listener, segment, &syn)) {
        return NULL;
    }
    struct tcp_connection *c = accept_syn(stack, listener, &syn, ends);
    if (c != NULL) {
        c->iss = c->snd_una = segment->acknowledgment - 1u;
        c->snd_nxt = c->snd_max = c->send_end = segment->acknowledgment;
        c->flags &= ~(uint32_t)TCP_FLAG_SEND_SYN;
    }
    return c;
}

void tcp_input_listen(struct net_stack *stack, const struct tcp_segment *segment)
{
    struct tcp_ends ends = {.remote_address = segment->ip->source,
                            .remote_port = segment->source_port,
                            .local_port = segment->destination_port,
                            .v6 = ipv6_ends_of(segment->ip)};
    struct tcp_listener *listener = tcp_find_listener(stack, ends.local_port);

    if ((segment->flags & TCP_RST) != 0) {
        return;
    }
    if (listener == NULL || (segment->flags & TCP_ACK) != 0) {
        stack->counters.tcp_no_connection++;
        tcp_send_reset_for(stack, segment);
        return;
    }
    if ((segment->flags & (TCP_SYN | TCP_FIN)) != TCP_SYN || ends.remote_port == 0) {
        stack->counters.tcp_malformed++;
        return;
    }
    if (listener->half_open_count >= listener->backlog) {
        tcp_cookie_answer(stack, listener, segment, ends);
        return;
    }
    struct tcp_connection *c = accept_syn(stack, listener, segment, ends);
    if (c == NULL) {
        return;
    }
    c->flags |= TCP_FLAG_HALF_OPEN;
    listener->half_open_count++;
    list_append(&listener->half_open, &c->age);
}

void tcp_input_syn_sent(struct tcp_connection *c, const struct tcp_segment *segment)
{
    bool has_ack = (segment->flags & TCP_ACK) != 0;

    if (has_ack && (seq_at_or_before(segment->acknowledgment, c->iss) ||
                    seq_after(segment->acknowledgment, c->snd_max))) {
        tcp_send_reset_for(c->stack, segment);
        return;
    }
    if ((segment->flags & TCP_RST) != 0) {
        if (has_ack) {
            tcp_finish(c, STATUS_RESET);
        }
        return;
    }
    if ((segment->flags & TCP_SYN) == 0) {
        return;
    }
    take_syn(c, segment);
    take_first_window(c, segment, segment->window);
    if (!has_ack) {
        /* Both opened at the same time (RFC 9293, figure 7). */
        c->state = TCP_SYN_RECEIVED;
        c->flags |= TCP_FLAG_SEND_SYN;
        tcp_activate(c);
        return;
    }
    established(c, segment);
    c->flags |= TCP_FLAG_ACK_NOW;
    c->stack->counters.tcp_connected++;
    if (c->ops->on_connected != NULL) {
        c->ops->on_connected(c, c->user);
    }
}

bool tcp_input_syn_received(struct tcp_connection *c, const struct tcp_segment *segment)
{
    struct net_stack *stack = c->stack;

    if (!seq_after(segment->acknowledgment, c->snd_una) ||
        seq_after(segment->acknowledgment, c->snd_max)) {
        tcp_send_reset_for(stack, segment);
        return false;
    }
    established(c, segment);
    take_first_window(c, segment, segment->window << c->send_shift);
    if ((c->flags & TCP_FLAG_ACTIVE_OPEN) != 0) {
        stack->counters.tcp_connected++;
        if (c->ops->on_connected != NULL) {
            c->ops->on_connected(c, c->user);
        }
        return c->state != TCP_CLOSED;
    }
    c->flags |= TCP_FLAG_ATTACHED;
    if (!c->ops->on_accept(c, stack->listeners[c->listener].user)) {
        c->flags &= ~(uint32_t)TCP_FLAG_ATTACHED;
        stack->counters.tcp_syn_dropped++;
        tcp_reset(c, STATUS_CANCELLED);
        return false;
    }
    stack->counters.tcp_accepted++;
    return c->state != TCP_CLOSED;
}
