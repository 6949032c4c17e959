// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Loss recovery with selective acknowledgements (RFC 6675; RFC 8985 by tcp_rack.c), the scoreboard
 * being a mark on each buffer of the send queue. The walks are as long as the queue and happen only
 * while something is missing.
 */
#include "lib/net/tcp_internal.h"

static struct buffer_meta *meta_of(const struct tcp_connection *c, uint32_t buffer)
{
    return &c->stack->meta[buffer];
}

static uint32_t end_of(const struct buffer_meta *meta)
{
    return meta->sequence + meta->length;
}

static bool covered(const struct tcp_connection *c, const struct tcp_segment *segment,
                    const struct buffer_meta *meta)
{
    for (uint32_t i = 0; i < segment->sack_count; i++) {
        const struct tcp_sack_block *block = &segment->sack[i];
        /* Blocks outside what is in flight mean nothing (RFC 2018, 5; RFC 2883). */
        if (seq_before(c->snd_una, block->start) && seq_before(block->start, block->end) &&
            seq_at_or_before(block->end, c->snd_max) &&
            seq_at_or_before(block->start, meta->sequence) &&
            seq_at_or_before(end_of(meta), block->end)) {
            return true;
        }
    }
    return false;
}

bool sack_input(struct tcp_connection *c, const struct tcp_segment *segment)
{
    bool fresh = false;

    for (uint32_t b = c->send_head; b != NETBUF_NONE; b = meta_of(c, b)->next) {
        struct buffer_meta *meta = meta_of(c, b);
        if (!seq_before(meta->sequence, c->snd_max)) {
            break;
        }
        if (meta->sacked == 0 && covered(c, segment, meta)) {
            meta->sacked = 1;
            rack_delivered(c, meta);
            if ((c->flags & TCP_FLAG_SACKED) == 0 || seq_after(end_of(meta), c->sack_high)) {
                c->sack_high = end_of(meta);
                c->flags |= TCP_FLAG_SACKED;
            }
            fresh = true;
        }
    }
    return fresh;
}

void sack_clear(struct tcp_connection *c, bool forget)
{
    for (uint32_t b = c->send_head; b != NETBUF_NONE; b = meta_of(c, b)->next) {
        struct buffer_meta *meta = meta_of(c, b);
        if (!seq_before(meta->sequence, c->snd_max)) {
            break;
        }
        meta->retransmitted = 0;
        meta->lost = 0;
        if (forget) {
            meta->sacked = 0;
        }
    }
}

uint32_t sack_bytes(const struct tcp_connection *c)
{
    uint32_t bytes = 0;

    for (uint32_t b = c->send_head; b != NETBUF_NONE; b = meta_of(c, b)->next) {
        const struct buffer_meta *meta = meta_of(c, b);
        if (!seq_before(meta->sequence, c->snd_max)) {
            break;
        }
        bytes += meta->sacked != 0 ? meta->length : 0u;
    }
    return bytes;
}

/* Bytes of the buffer that have been sent. */
static uint32_t sent_length(const struct tcp_connection *c, const struct buffer_meta *meta)
{
    uint32_t sent = c->snd_max - meta->sequence;

    return sent < meta->length ? sent : meta->length;
}

/* Whether the buffer counts as lost, with `above` bytes behind it already arrived (IsLost): RACK
 * says so, or, where the network does not reorder, it lies far enough behind or is the first hole
 * of a recovery, which a partial acknowledgement showed. */
static bool is_lost(const struct tcp_connection *c, uint32_t buffer, uint32_t above)
{
    return meta_of(c, buffer)->lost != 0 || ((c->flags & TCP_FLAG_REORDERED) == 0 &&
                                             (above > 2u * c->mss || buffer == c->send_head));
}

/* The estimate of what is on the way (SetPipe). */
static uint32_t pipe_of(const struct tcp_connection *c, uint32_t above)
{
    uint32_t pipe = 0;

    for (uint32_t b = c->send_head; b != NETBUF_NONE; b = meta_of(c, b)->next) {
        const struct buffer_meta *meta = meta_of(c, b);
        if (!seq_before(meta->sequence, c->snd_max)) {
            break;
        }
        if (meta->sacked != 0) {
            above -= meta->length;
            continue;
        }
        pipe += is_lost(c, b, above) ? 0u : sent_length(c, meta);
        pipe += meta->retransmitted != 0 ? sent_length(c, meta) : 0u;
    }
    return pipe;
}

bool sack_output(struct tcp_connection *c)
{
    uint32_t above = sack_bytes(c);

    c->pipe = pipe_of(c, above);
    for (uint32_t b = c->send_head; b != NETBUF_NONE; b = meta_of(c, b)->next) {
        struct buffer_meta *meta = meta_of(c, b);
        if (!seq_before(meta->sequence, c->snd_max)) {
            break;
        }
        if (meta->sacked != 0) {
            above -= meta->length;
            continue;
        }
        if (meta->retransmitted != 0 || !is_lost(c, b, above)) {
            continue;
        }
        uint32_t length = sent_length(c, meta);
        if (c->pipe + length > c->cwnd && c->pipe != 0) {
            break;
        }
        if (!tcp_retransmit_buffer(c, b)) {
            return false;
        }
        meta->retransmitted = 1;
        c->pipe += length;
    }
    return true;
}
