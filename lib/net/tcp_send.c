// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The send queue: pool buffers of at most one segment's payload each, in sequence order, from
 * snd_una's to send_end. A payload starts at least STACK_HEADROOM_BYTES into its buffer, so that it
 * is sent from there with its headers in front.
 */
#include "lib/net/tcp_internal.h"

static struct buffer_meta *meta_of(const struct tcp_connection *c, uint32_t buffer)
{
    return &c->stack->meta[buffer];
}

static void tcp_send_queue_drop_head(struct tcp_connection *c)
{
    uint32_t buffer = c->send_head;
    struct buffer_meta *meta = meta_of(c, buffer);

    c->send_head = meta->next;
    if (c->send_head == NETBUF_NONE) {
        c->send_tail = NETBUF_NONE;
    }
    if (c->send_cursor == buffer) {
        c->send_cursor = c->send_head;
    }
    c->send_count--;
    meta->queued = 0;
    netbuf_drop(c->stack->pool, buffer);
}

void tcp_send_queue_drop(struct tcp_connection *c)
{
    while (c->send_head != NETBUF_NONE) {
        tcp_send_queue_drop_head(c);
    }
}

void tcp_send_queue_acknowledged(struct tcp_connection *c)
{
    while (c->send_head != NETBUF_NONE) {
        const struct buffer_meta *meta = meta_of(c, c->send_head);
        if (seq_after(meta->sequence + meta->length, c->snd_una)) {
            break;
        }
        tcp_send_queue_drop_head(c);
    }
}

uint32_t tcp_send_queue_find(const struct tcp_connection *c, uint32_t sequence)
{
    uint32_t buffer = c->send_head;

    while (buffer != NETBUF_NONE) {
        const struct buffer_meta *meta = meta_of(c, buffer);
        if (seq_before(sequence, meta->sequence + meta->length)) {
            return seq_before(sequence, meta->sequence) ? NETBUF_NONE : buffer;
        }
        buffer = meta->next;
    }
    return NETBUF_NONE;
}

static void tcp_send_queue_append(struct tcp_connection *c, uint32_t buffer, uint32_t offset,
                                  uint32_t length)
{
    struct buffer_meta *meta = meta_of(c, buffer);

    *meta = (struct buffer_meta){.next = NETBUF_NONE,
                                 .sequence = c->send_end,
                                 .offset = (uint16_t)offset,
                                 .length = (uint16_t)length,
                                 .queued = 1};
    if (c->send_tail == NETBUF_NONE) {
        c->send_head = buffer;
    } else {
        meta_of(c, c->send_tail)->next = buffer;
    }
    c->send_tail = buffer;
    if (c->send_cursor == NETBUF_NONE) {
        c->send_cursor = buffer;
    }
    c->send_end += length;
    c->send_count++;
}

static bool tcp_may_send(const struct tcp_connection *c)
{
    return (c->state == TCP_ESTABLISHED || c->state == TCP_CLOSE_WAIT || c->state == TCP_SYN_SENT ||
            c->state == TCP_SYN_RECEIVED) &&
           (c->flags & (TCP_FLAG_FIN_QUEUED | TCP_FLAG_ATTACHED)) == TCP_FLAG_ATTACHED;
}

uint32_t tcp_send_pending(const struct tcp_connection *c)
{
    uint32_t first = c->snd_una;

    if (c->send_head == NETBUF_NONE) {
        return 0;
    }
    if (seq_before(first, meta_of(c, c->send_head)->sequence)) {
        first = meta_of(c, c->send_head)->sequence; /* the SYN is not acknowledged yet */
    }
    return c->send_end - first;
}

/* Bytes and buffers that the queue's own limits still allow. */
static uint32_t tcp_queue_space(const struct tcp_connection *c)
{
    uint32_t pending = tcp_send_pending(c);

    if (!tcp_may_send(c) || pending >= c->stack->send_queue_bytes ||
        c->send_count >= c->stack->send_buffers_max) {
        return 0;
    }
    return c->stack->send_queue_bytes - pending;
}

uint32_t tcp_send_space(const struct tcp_connection *c)
{
    return stack_data_buffer_free(c->stack) ? tcp_queue_space(c) : 0;
}

uint32_t tcp_segment_bytes(const struct tcp_connection *c)
{
    return c->mss;
}

/* Fills the tail's buffer up while none of it has been sent. Returns how much it took. */
static uint32_t tcp_send_fill_tail(struct tcp_connection *c, const uint8_t *data, uint32_t length)
{
    struct net_stack *stack = c->stack;

    if (c->send_tail == NETBUF_NONE) {
        return 0;
    }
    struct buffer_meta *meta = meta_of(c, c->send_tail);
    if (seq_before(meta->sequence, c->snd_max) || meta->length >= c->mss ||
        stack->pool->references[c->send_tail] != 1) {
        return 0;
    }
    uint32_t room = c->mss - meta->length;
    uint32_t behind = stack->pool->buffer_bytes - meta->offset - meta->length;
    room = room < behind ? room : behind;
    uint32_t take = length < room ? length : room;
    memcpy(netbuf_data(stack->pool, c->send_tail) + meta->offset + meta->length, data, take);
    meta->length = (uint16_t)(meta->length + take);
    c->send_end += take;
    if (c->send_cursor == NETBUF_NONE && take != 0) {
        c->send_cursor = c->send_tail;
    }
    return take;
}

/* The queue or the pool is full: on_sendable will follow. */
static void tcp_want_space(struct tcp_connection *c)
{
    c->flags |= TCP_FLAG_WANTS_SPACE;
    if (!stack_data_buffer_free(c->stack) && list_is_empty(&c->waiting)) {
        list_append(&c->stack->waiting, &c->waiting);
    }
}

/* The usual tcp_send: one segment's data, and nothing is queued. */
static inline bool tcp_send_first(struct tcp_connection *c, const void *data, uint32_t length)
{
    struct net_stack *stack = c->stack;
    uint32_t flags = c->flags & (TCP_FLAG_FIN_QUEUED | TCP_FLAG_ATTACHED);

    if (c->send_head != NETBUF_NONE || flags != TCP_FLAG_ATTACHED || c->state != TCP_ESTABLISHED ||
        length - 1u >= c->mss || length > stack->send_queue_bytes ||
        !stack_data_buffer_free(stack)) {
        return false;
    }
    uint32_t buffer = netbuf_take(stack->pool);
    memcpy(netbuf_data(stack->pool, buffer) + STACK_HEADROOM_BYTES, data, length);
    stack->meta[buffer] = (struct buffer_meta){.next = NETBUF_NONE,
                                               .sequence = c->send_end,
                                               .offset = STACK_HEADROOM_BYTES,
                                               .length = (uint16_t)length,
                                               .queued = 1};
    c->send_head = c->send_tail = c->send_cursor = buffer;
    c->send_end += length;
    c->send_count = 1;
    tcp_activate(c);
    return true;
}

uint32_t tcp_send(struct tcp_connection *c, const void *data, uint32_t length)
{
    if (tcp_send_first(c, data, length)) {
        return length;
    }
    struct net_stack *stack = c->stack;
    const uint8_t *from = data;
    uint32_t space = tcp_queue_space(c);
    uint32_t allowed = length < space ? length : space;

    if (!tcp_may_send(c) || length == 0) {
        return 0;
    }
    uint32_t done = tcp_send_fill_tail(c, from, allowed);
    while (done < allowed && c->send_count < stack->send_buffers_max &&
           stack_data_buffer_free(stack)) {
        uint32_t buffer = netbuf_take(stack->pool);
        uint32_t piece = allowed - done < c->mss ? allowed - done : c->mss;
        memcpy(netbuf_data(stack->pool, buffer) + STACK_HEADROOM_BYTES, from + done, piece);
        tcp_send_queue_append(c, buffer, STACK_HEADROOM_BYTES, piece);
        done += piece;
    }
    if (done != 0) {
        tcp_activate(c);
    }
    if (done < length) {
        tcp_want_space(c);
    }
    return done;
}

status_t tcp_send_buffer(struct tcp_connection *c, uint32_t buffer, uint32_t offset,
                         uint32_t length)
{
    const struct netbuf_pool *pool = c->stack->pool;

    if (!tcp_may_send(c)) {
        return STATUS_CLOSED;
    }
    uint32_t headers = ETHERNET_BYTES + TCP_BYTES +
                       (is_ipv6_tag(c->remote_address) ? IPV6_BYTES : IPV4_BYTES) +
                       ((c->flags & TCP_FLAG_TIMESTAMPS) != 0 ? TCP_TIMESTAMPS_BYTES : 0u);
    if (length == 0 || buffer >= pool->buffer_count || offset < headers ||
        offset > pool->buffer_bytes || length > pool->buffer_bytes - offset) {
        return STATUS_INVALID_ARGUMENT;
    }
    if (length > c->mss) {
        return STATUS_TOO_LARGE;
    }
    if (meta_of(c, buffer)->queued != 0) {
        return STATUS_BUSY;
    }
    if (length > tcp_queue_space(c)) {
        tcp_want_space(c);
        return STATUS_FULL;
    }
    tcp_send_queue_append(c, buffer, offset, length);
    tcp_activate(c);
    return STATUS_OK;
}

void tcp_sendable_check(struct tcp_connection *c)
{
    const struct net_stack *stack = c->stack;

    if ((c->flags & TCP_FLAG_WANTS_SPACE) == 0) {
        return;
    }
    /* A quarter of the queue, so that a full one is not topped up byte by byte. */
    if (tcp_send_pending(c) > stack->send_queue_bytes - stack->send_queue_bytes / 4u ||
        c->send_count > stack->send_buffers_max - stack->send_buffers_max / 4u) {
        return;
    }
    if (!stack_data_buffer_free(stack)) {
        tcp_want_space(c);
        return;
    }
    list_remove(&c->waiting);
    c->flags &= ~(uint32_t)TCP_FLAG_WANTS_SPACE;
    c->flags |= TCP_FLAG_SENDABLE_DUE;
    tcp_activate(c);
}

void tcp_wake_waiting(struct net_stack *stack)
{
    uint32_t spare = stack->pool->free_count;

    /* One connection for each eight spare buffers: the first in line get useful amounts. */
    while (spare >= stack->reserve_buffers + 8u && !list_is_empty(&stack->waiting)) {
        struct list *node = list_pop(&stack->waiting);
        tcp_sendable_check(LIST_MEMBER(node, struct tcp_connection, waiting));
        spare -= 8u;
    }
}
