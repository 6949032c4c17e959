// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The receive queue: received buffers, by sequence, not overlapping. First those in order that the
 * application has not consumed (`receive_unread` bytes, up to rcv_nxt), then those out of order.
 */
#include "lib/net/tcp_internal.h"

#define COALESCE_BYTES 512u /* smaller payloads are copied behind the last one */

static struct buffer_meta *meta_of(const struct tcp_connection *c, uint32_t buffer)
{
    return &c->stack->meta[buffer];
}

static uint32_t end_of(const struct buffer_meta *meta)
{
    return meta->sequence + meta->length;
}

uint32_t tcp_receive_window(const struct tcp_connection *c)
{
    uint32_t limit = c->stack->receive_window_bytes;
    uint32_t space = limit > c->receive_unread ? limit - c->receive_unread : 0;
    uint32_t most = 0xffffu << c->receive_shift; /* that the header can tell */
    uint32_t offered = c->rcv_adv - c->rcv_nxt;
    space = space < most ? space : most;
    uint32_t useful = limit / 2u < 2u * c->mss ? limit / 2u : 2u * c->mss;
    useful = useful > 1u << c->receive_shift ? useful : 1u << c->receive_shift;

    /* Small steps are not announced (RFC 9293, 3.8.6.2.2). */
    return space > offered && space - offered >= useful ? space : offered;
}

void tcp_window_update(struct tcp_connection *c)
{
    if (tcp_receive_window(c) > c->rcv_adv - c->rcv_nxt) {
        c->flags |= TCP_FLAG_ACK_NOW;
        tcp_activate(c);
    }
}

void tcp_receive_queue_drop(struct tcp_connection *c)
{
    while (c->receive_head != NETBUF_NONE) {
        uint32_t buffer = c->receive_head;
        c->receive_head = meta_of(c, buffer)->next;
        meta_of(c, buffer)->queued = 0;
        netbuf_drop(c->stack->pool, buffer);
    }
    c->receive_tail = NETBUF_NONE;
    c->receive_count = 0;
    c->receive_unread = 0;
}

/* Takes out what follows `previous` (NETBUF_NONE: the head), with its reference. */
static uint32_t queue_remove_after(struct tcp_connection *c, uint32_t previous)
{
    uint32_t *link = previous == NETBUF_NONE ? &c->receive_head : &meta_of(c, previous)->next;
    uint32_t buffer = *link;

    *link = meta_of(c, buffer)->next;
    if (c->receive_tail == buffer) {
        c->receive_tail = previous;
    }
    meta_of(c, buffer)->queued = 0;
    c->receive_count--;
    return buffer;
}

/* Puts a buffer, whose meta is filled but for `next`, behind `previous`; takes its reference. */
static void queue_insert_after(struct tcp_connection *c, uint32_t previous, uint32_t buffer)
{
    uint32_t *link = previous == NETBUF_NONE ? &c->receive_head : &meta_of(c, previous)->next;

    meta_of(c, buffer)->next = *link;
    meta_of(c, buffer)->queued = 1;
    *link = buffer;
    if (c->receive_tail == previous) {
        c->receive_tail = buffer;
    }
    c->receive_count++;
}

/* Copies a small payload behind the tail's when it continues it. */
static bool queue_coalesce(struct tcp_connection *c, const struct tcp_segment *segment)
{
    const struct netbuf_pool *pool = c->stack->pool;
    uint32_t tail = c->receive_tail;

    if (tail == NETBUF_NONE || segment->length > COALESCE_BYTES) {
        return false;
    }
    struct buffer_meta *meta = meta_of(c, tail);
    if (end_of(meta) != segment->sequence || pool->references[tail] != 1 ||
        meta->offset + meta->length + segment->length > pool->buffer_bytes) {
        return false;
    }
    memcpy(netbuf_data(pool, tail) + meta->offset + meta->length, segment->data, segment->length);
    meta->length = (uint16_t)(meta->length + segment->length);
    return true;
}

/* The last queued buffer that starts at or before `sequence`. */
static uint32_t queue_position(const struct tcp_connection *c, uint32_t sequence)
{
    uint32_t previous = NETBUF_NONE;
    uint32_t buffer = c->receive_head;

    if (c->receive_tail != NETBUF_NONE &&
        seq_at_or_before(meta_of(c, c->receive_tail)->sequence, sequence)) {
        return c->receive_tail;
    }
    while (buffer != NETBUF_NONE && seq_at_or_before(meta_of(c, buffer)->sequence, sequence)) {
        previous = buffer;
        buffer = meta_of(c, buffer)->next;
    }
    return previous;
}

/* Queues the part of the segment that is new. Returns the buffer from which on rcv_nxt may have to
 * advance, NETBUF_NONE if nothing was queued. */
static uint32_t queue_segment(struct tcp_connection *c, const struct tcp_segment *segment)
{
    struct net_stack *stack = c->stack;
    uint32_t start = segment->sequence;
    uint32_t end = start + segment->length;

    if (queue_coalesce(c, segment)) {
        return c->receive_tail;
    }
    uint32_t previous = queue_position(c, start);
    if (previous != NETBUF_NONE && seq_before(start, end_of(meta_of(c, previous)))) {
        start = end_of(meta_of(c, previous));
    }
    if (seq_at_or_before(end, start)) {
        stack->counters.tcp_duplicate++;
        return NETBUF_NONE;
    }
    uint32_t next = previous == NETBUF_NONE ? c->receive_head : meta_of(c, previous)->next;
    while (next != NETBUF_NONE && seq_before(meta_of(c, next)->sequence, end)) {
        if (seq_after(end_of(meta_of(c, next)), end)) {
            end = meta_of(c, next)->sequence;
            break;
        }
        next = meta_of(c, next)->next;
        netbuf_drop(stack->pool, queue_remove_after(c, previous));
    }
    uint32_t buffer = segment->ip->buffer;
    const uint8_t *data = segment->data + (start - segment->sequence);
    *meta_of(c, buffer) = (struct buffer_meta){
        .sequence = start,
        .offset = (uint16_t)(data - netbuf_data(stack->pool, buffer)),
        .length = (uint16_t)(end - start),
    };
    netbuf_hold(stack->pool, buffer);
    queue_insert_after(c, previous, buffer);
    return buffer;
}

/* What the application left and may have later. */
static uint32_t bytes_left(struct tcp_connection *c, struct tcp_consumed taken)
{
    uint32_t left = taken.consumed < taken.length ? taken.length - taken.consumed : 0;

    if (left != 0 && c->state != TCP_CLOSED && (c->flags & TCP_FLAG_ATTACHED) == 0) {
        tcp_reset(c, STATUS_CANCELLED);
    }
    if (c->state == TCP_CLOSED && (c->flags & TCP_FLAG_ATTACHED) == 0) {
        return 0;
    }
    c->bytes_in -= left;
    return left;
}

/* Gives `length` bytes at `data` to the application. Returns how many it left; the connection may
 * be closed, or let go, afterwards. */
static uint32_t give(struct tcp_connection *c, uint32_t buffer, const uint8_t *data,
                     uint32_t length)
{
    c->stack->receive_buffer = buffer;
    c->bytes_in += length;
    uint32_t consumed = c->ops->on_receive(c, c->user, data, length);
    return bytes_left(c, (struct tcp_consumed){length, consumed});
}

void tcp_deliver(struct tcp_connection *c)
{
    struct net_stack *stack = c->stack;

    if (c->receive_unread == 0 && (c->flags & TCP_FLAG_END_DUE) == 0) {
        return;
    }
    while (c->receive_unread != 0 &&
           (c->flags & (TCP_FLAG_PAUSED | TCP_FLAG_ATTACHED)) == TCP_FLAG_ATTACHED) {
        uint32_t buffer = queue_remove_after(c, NETBUF_NONE);
        struct buffer_meta *meta = meta_of(c, buffer);
        uint32_t length = meta->length;
        c->receive_unread -= length;
        uint32_t left = give(c, buffer, netbuf_data(stack->pool, buffer) + meta->offset, length);
        if (left == 0) {
            netbuf_drop(stack->pool, buffer);
            continue;
        }
        meta->sequence += length - left;
        meta->offset = (uint16_t)(meta->offset + length - left);
        meta->length = (uint16_t)left;
        queue_insert_after(c, NETBUF_NONE, buffer);
        c->receive_unread += left;
        c->flags |= TCP_FLAG_PAUSED;
    }
    if (c->receive_unread == 0 && (c->flags & TCP_FLAG_END_DUE) != 0) {
        c->flags &= ~(uint32_t)TCP_FLAG_END_DUE;
        if ((c->flags & TCP_FLAG_ATTACHED) != 0) {
            c->ops->on_end(c, c->user);
        }
    }
    if (c->state != TCP_CLOSED) {
        tcp_window_update(c);
    }
}

static void count_received(struct tcp_connection *c, uint32_t bytes)
{
    c->unacked_bytes += bytes;
    c->flags |= TCP_FLAG_ACK_DELAYED;
    tcp_activate(c);
}

void tcp_deliver_rest(struct tcp_connection *c, uint32_t buffer, const uint8_t *data,
                      struct tcp_consumed taken)
{
    uint32_t left = bytes_left(c, taken);

    if (left == 0) {
        return;
    }
    data += taken.length - left;
    *meta_of(c, buffer) = (struct buffer_meta){
        .sequence = c->rcv_nxt - left,
        .offset = (uint16_t)(data - netbuf_data(c->stack->pool, buffer)),
        .length = (uint16_t)left,
    };
    netbuf_hold(c->stack->pool, buffer);
    queue_insert_after(c, NETBUF_NONE, buffer);
    c->receive_unread += left;
    c->flags |= TCP_FLAG_PAUSED;
}

void tcp_deliver_direct(struct tcp_connection *c, const struct tcp_segment *segment)
{
    uint32_t buffer = segment->ip->buffer;

    c->rcv_nxt += segment->length;
    count_received(c, segment->length);
    c->stack->receive_buffer = buffer;
    c->bytes_in += segment->length;
    uint32_t consumed = c->ops->on_receive(c, c->user, segment->data, segment->length);
    tcp_deliver_rest(c, buffer, segment->data, (struct tcp_consumed){segment->length, consumed});
}

/* rcv_nxt moves over what is now in order, from `buffer` on. */
static void advance_receive(struct tcp_connection *c, uint32_t buffer)
{
    uint32_t before = c->rcv_nxt;

    while (buffer != NETBUF_NONE && seq_at_or_before(meta_of(c, buffer)->sequence, c->rcv_nxt)) {
        if (seq_after(end_of(meta_of(c, buffer)), c->rcv_nxt)) {
            c->rcv_nxt = end_of(meta_of(c, buffer));
        }
        buffer = meta_of(c, buffer)->next;
    }
    c->receive_unread += c->rcv_nxt - before;
    count_received(c, c->rcv_nxt - before);
}

/* Takes out of the queue what lies before `end`: it comes with another segment. */
static void queue_trim(struct tcp_connection *c, uint32_t end)
{
    while (c->receive_head != NETBUF_NONE) {
        struct buffer_meta *meta = meta_of(c, c->receive_head);
        if (seq_after(end_of(meta), end)) {
            uint32_t cut = seq_before(meta->sequence, end) ? end - meta->sequence : 0;
            meta->sequence += cut;
            meta->offset = (uint16_t)(meta->offset + cut);
            meta->length = (uint16_t)(meta->length - cut);
            return;
        }
        netbuf_drop(c->stack->pool, queue_remove_after(c, NETBUF_NONE));
    }
}

/* Data at rcv_nxt with nothing unread before it: it needs no place in the queue, so that it is
 * taken even when there is no buffer left. */
static void receive_next(struct tcp_connection *c, const struct tcp_segment *segment)
{
    bool gap = c->receive_head != NETBUF_NONE;

    if (gap) {
        queue_trim(c, segment->sequence + segment->length);
    }
    tcp_deliver_direct(c, segment);
    if (!gap || c->state == TCP_CLOSED) {
        return;
    }
    c->flags |= TCP_FLAG_ACK_NOW;
    advance_receive(c, c->receive_head);
    tcp_deliver(c);
}

void tcp_receive_data(struct tcp_connection *c, const struct tcp_segment *segment)
{
    struct net_stack *stack = c->stack;
    bool in_order = segment->sequence == c->rcv_nxt;

    if (in_order && c->receive_unread == 0 && (c->flags & TCP_FLAG_PAUSED) == 0) {
        receive_next(c, segment);
        return;
    }
    if (c->receive_count >= stack->receive_buffers_max || !stack_data_buffer_free(stack)) {
        stack->counters.tcp_receive_dropped++;
        c->flags |= TCP_FLAG_ACK_NOW;
        tcp_activate(c);
        return;
    }
    uint32_t buffer = queue_segment(c, segment);
    if (!in_order) {
        /* At once, so that the peer's fast retransmit can count it (RFC 5681, 4.2). */
        stack->counters.tcp_out_of_order++;
        c->last_sack = segment->sequence;
        tcp_send_ack(c);
        return;
    }
    advance_receive(c, buffer);
    tcp_deliver(c);
}

void tcp_check_fin(struct tcp_connection *c)
{
    if ((c->flags & TCP_FLAG_FIN_SEEN) == 0 || c->rcv_nxt != c->fin_sequence) {
        return;
    }
    switch (c->state) {
    case TCP_ESTABLISHED:
        c->state = TCP_CLOSE_WAIT;
        break;
    case TCP_FIN_WAIT_1:
        c->state = TCP_CLOSING;
        break;
    case TCP_FIN_WAIT_2:
        tcp_enter_time_wait(c);
        break;
    default:
        return;
    }
    c->rcv_nxt++;
    c->flags |= TCP_FLAG_ACK_NOW | TCP_FLAG_END_DUE;
    tcp_activate(c);
}

uint32_t tcp_sack_blocks(const struct tcp_connection *c, struct tcp_sack_block *blocks,
                         uint32_t max)
{
    uint32_t count = 0;
    uint32_t buffer = c->receive_head;

    /* The block with the newest segment comes first (RFC 2018, 4); the others in order. */
    while (buffer != NETBUF_NONE) {
        struct tcp_sack_block block = {.start = meta_of(c, buffer)->sequence};
        block.end = block.start;
        while (buffer != NETBUF_NONE && meta_of(c, buffer)->sequence == block.end) {
            block.end = end_of(meta_of(c, buffer));
            buffer = meta_of(c, buffer)->next;
        }
        if (seq_at_or_before(block.start, c->rcv_nxt)) {
            continue;
        }
        bool newest =
            seq_at_or_before(block.start, c->last_sack) && seq_before(c->last_sack, block.end);
        if (newest) {
            for (uint32_t i = count < max ? count : max - 1u; i > 0; i--) {
                blocks[i] = blocks[i - 1u];
            }
            blocks[0] = block;
            count += count < max;
        } else if (count < max) {
            blocks[count++] = block;
        }
    }
    return count;
}
