// SPDX-License-Identifier: MIT OR Apache-2.0
/* TCP's calls for the application that are not about one queue: listening, closing, information. */
#include "lib/net/tcp_internal.h"

const char *tcp_state_name(enum tcp_state state)
{
    static const char *const names[] = {"CLOSED",     "SYN-SENT",   "SYN-RECEIVED", "ESTABLISHED",
                                        "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT",   "CLOSING",
                                        "LAST-ACK",   "TIME-WAIT"};

    return (unsigned)state < sizeof names / sizeof names[0] ? names[state] : "?";
}

status_t tcp_listen(struct net_stack *stack, uint16_t port, uint32_t backlog,
                    const struct tcp_ops *ops, void *user)
{
    if (port == 0 || backlog == 0 || ops == NULL || ops->on_accept == NULL) {
        return STATUS_INVALID_ARGUMENT;
    }
    if (tcp_find_listener(stack, port) != NULL) {
        return STATUS_IN_USE;
    }
    for (uint32_t i = 0; i < STACK_LISTENERS_MAX; i++) {
        struct tcp_listener *listener = &stack->listeners[i];
        if (listener->ops == NULL) {
            listener->ops = ops;
            listener->user = user;
            listener->port = port;
            listener->backlog = backlog;
            return STATUS_OK;
        }
    }
    return STATUS_NO_MEMORY;
}

status_t tcp_unlisten(struct net_stack *stack, uint16_t port)
{
    struct tcp_listener *listener = tcp_find_listener(stack, port);

    if (listener == NULL) {
        return STATUS_NOT_FOUND;
    }
    while (!list_is_empty(&listener->half_open)) {
        tcp_reset(LIST_MEMBER(listener->half_open.next, struct tcp_connection, age),
                  STATUS_CANCELLED);
    }
    listener->ops = NULL;
    return STATUS_OK;
}

void tcp_shutdown(struct tcp_connection *c)
{
    if ((c->flags & TCP_FLAG_FIN_QUEUED) != 0) {
        return;
    }
    if (c->state == TCP_ESTABLISHED) {
        c->state = TCP_FIN_WAIT_1;
    } else if (c->state == TCP_CLOSE_WAIT) {
        c->state = TCP_LAST_ACK;
    } else if (c->state != TCP_SYN_SENT && c->state != TCP_SYN_RECEIVED) {
        return;
    }
    c->flags |= TCP_FLAG_FIN_QUEUED;
    tcp_activate(c);
}

void tcp_close(struct tcp_connection *c)
{
    c->flags &= ~(uint32_t)TCP_FLAG_ATTACHED;
    if (c->state == TCP_CLOSED) {
        /* It had ended in order, with data that is now never read. */
        tcp_receive_queue_drop(c);
        c->flags |= TCP_FLAG_FREE_DUE;
        tcp_activate(c);
        return;
    }
    if (c->state == TCP_SYN_SENT) {
        tcp_finish(c, STATUS_CANCELLED);
        return;
    }
    if (c->receive_unread != 0) {
        tcp_reset(c, STATUS_CANCELLED);
        return;
    }
    tcp_receive_queue_drop(c);
    tcp_shutdown(c);
    if (c->state == TCP_FIN_WAIT_2) {
        c->misc_deadline = c->stack->now + TCP_FIN_WAIT_2_NS;
        tcp_timer_update(c);
    }
}

void tcp_abort(struct tcp_connection *c)
{
    c->flags &= ~(uint32_t)TCP_FLAG_ATTACHED;
    if (c->state == TCP_CLOSED) {
        tcp_close(c);
        return;
    }
    tcp_reset(c, STATUS_CANCELLED);
}

void tcp_receive_resume(struct tcp_connection *c)
{
    if ((c->flags & TCP_FLAG_PAUSED) != 0) {
        c->flags &= ~(uint32_t)TCP_FLAG_PAUSED;
        tcp_activate(c);
    }
}

void tcp_set_user(struct tcp_connection *c, void *user)
{
    c->user = user;
}

void *tcp_user(const struct tcp_connection *c)
{
    return c->user;
}

void tcp_set_nagle(struct tcp_connection *c, bool on)
{
    c->flags = on ? c->flags | TCP_FLAG_NAGLE : c->flags & ~(uint32_t)TCP_FLAG_NAGLE;
    if (!on && c->state != TCP_CLOSED) {
        tcp_activate(c);
    }
}

void tcp_set_keepalive(struct tcp_connection *c, time_ns_t idle)
{
    c->keepalive_idle = idle;
    if (idle != 0 && c->state != TCP_CLOSED && c->state != TCP_TIME_WAIT) {
        c->misc_deadline = c->stack->now + idle;
        tcp_timer_update(c);
    }
}

static void timer_info(const struct tcp_connection *c, struct tcp_info *info)
{
    time_ns_t due = c->retransmit_deadline;

    if (due != DEADLINE_NEVER) {
        info->timer = (c->flags & TCP_FLAG_PERSIST) != 0 ? TCP_TIMER_PERSIST
                      : (c->flags & (TCP_FLAG_PROBE_TIMER | TCP_FLAG_REORDER_TIMER)) != 0
                          ? TCP_TIMER_PROBE
                          : TCP_TIMER_RETRANSMIT;
    } else {
        due = c->misc_deadline;
        bool waits = c->state == TCP_TIME_WAIT || c->state == TCP_FIN_WAIT_2;
        info->timer = due == DEADLINE_NEVER ? TCP_TIMER_NONE
                      : waits               ? TCP_TIMER_WAIT
                                            : TCP_TIMER_KEEPALIVE;
    }
    info->timer_in_ns =
        info->timer != TCP_TIMER_NONE && due > c->stack->now ? due - c->stack->now : 0;
}

void tcp_info(const struct tcp_connection *c, struct tcp_info *info)
{
    info->state = (enum tcp_state)c->state;
    timer_info(c, info);
    info->is_v6 = is_ipv6_tag(c->remote_address);
    info->local_address = info->is_v6 ? IPV4_ANY : c->stack->address;
    info->remote_address = info->is_v6 ? IPV4_ANY : c->remote_address;
    info->v6 = c->v6;
    info->local_port = c->local_port;
    info->remote_port = c->remote_port;
    info->send_queue_bytes = tcp_send_pending(c);
    info->receive_queue_bytes = c->receive_unread;
    info->send_window_bytes = c->snd_wnd;
    info->congestion_window_bytes = c->cwnd;
    info->receive_window_bytes = c->rcv_adv - c->rcv_nxt;
    info->segment_bytes = c->mss;
    info->bytes_in = c->bytes_in;
    info->bytes_out = c->bytes_out;
    info->retransmits = c->retransmits;
    info->round_trip_ns = c->srtt_ns;
    info->retransmit_timeout_ns = c->rto_ns;
    info->opened = c->opened;
}

bool stack_connection(const struct net_stack *stack, uint32_t index, struct tcp_info *info)
{
    if (index >= stack->connections_max || stack->connections[index].state == TCP_CLOSED) {
        return false;
    }
    tcp_info(&stack->connections[index], info);
    return true;
}

uint32_t stack_connections_max(const struct net_stack *stack)
{
    return stack->connections_max;
}

uint32_t stack_connections(const struct net_stack *stack)
{
    return stack->connection_count;
}
