// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * SYN cookies (RFC 4987, 3.6): while a listener's backlog is full, the answer to a SYN carries all
 * that has to be remembered, and nothing is kept.
 *
 * Initial sequence number: 5 bits of a clock of 64 s, 3 bits for the peer's segment size, 24 bits
 * of a keyed hash over these, the ends and the peer's sequence number. What else the peer offered
 * goes into the low bits of our timestamp, which comes back with the acknowledgement; without
 * timestamps there is neither window scaling nor SACK. A cookie is good for one to two minutes, and
 * only at a listener whose backlog was full in that time.
 */
#include "lib/net/tcp_cookie.h"

#define CLOCK_NS (64u * NS_PER_S)
#define COOKIE_LIFE_NS (2u * CLOCK_NS)
#define HASH_MASK 0xffffffu
#define TS_BITS 6u /* of the timestamp: 1 SACK, 4 window scale, 1 whether there is one */
#define TS_SACK 0x20u
#define TS_SCALED 0x10u

/* Least segment size that each index stands for; the usual ones of links and tunnels. */
static const uint16_t sizes[8] = {88, 536, 1024, 1220, 1360, 1420, 1440, 1460};

static uint32_t size_index(uint32_t mss)
{
    uint32_t index = 7;

    while (index > 0 && sizes[index] > mss) {
        index--;
    }
    return index;
}

struct cookie {
    const struct tcp_ends *ends;
    uint32_t peer_sequence; /* of the SYN */
    uint32_t clock;
    uint32_t index;
};

static uint32_t make_cookie(const struct net_stack *stack, const struct cookie *cookie)
{
    struct {
        uint64_t word[3];
        struct ipv6_ends v6;
    } input = {{(uint64_t)cookie->ends->remote_address << 32 | cookie->peer_sequence,
                (uint64_t)cookie->ends->remote_port << 48 |
                    (uint64_t)cookie->ends->local_port << 32 | cookie->index,
                cookie->clock},
               {{{0}}, {{0}}}};

    if (is_ipv6_tag(cookie->ends->remote_address)) {
        input.v6 = *cookie->ends->v6;
    } else {
        store_be32(input.v6.local.byte, stack->address);
    }
    uint32_t hash = (uint32_t)siphash(&stack->secret, &input, sizeof input) & HASH_MASK;
    return (cookie->clock & 31u) << 27 | cookie->index << 24 | hash;
}

void tcp_cookie_answer(struct net_stack *stack, struct tcp_listener *listener,
                       const struct tcp_segment *segment, struct tcp_ends ends)
{
    struct cookie cookie = {.ends = &ends,
                            .peer_sequence = segment->sequence,
                            .clock = (uint32_t)(stack->now / CLOCK_NS),
                            .index = size_index(segment->mss != 0 ? segment->mss : 536u)};
    struct tcp_syn_options options = {.mss = tcp_own_mss(stack, ends.remote_address),
                                      .timestamps = segment->has_timestamps};

    if (segment->has_timestamps) {
        uint32_t told = segment->sack_permitted ? TS_SACK : 0u;
        if (segment->has_window_scale) {
            uint32_t scale = segment->window_scale;
            told |= TS_SCALED | (scale < TCP_WINDOW_SCALE_MAX ? scale : TCP_WINDOW_SCALE_MAX);
        }
        /* The last moment at which our clock's low bits said just that. */
        uint32_t now = tcp_timestamp_now(stack);
        uint32_t value = (now & ~((1u << TS_BITS) - 1u)) | told;
        options.timestamp = seq_after(value, now) ? value - (1u << TS_BITS) : value;
        options.timestamp_echo = segment->timestamp;
        options.sack = segment->sack_permitted;
        options.scaled = segment->has_window_scale;
        options.window_scale = stack->receive_shift;
    }
    listener->cookies_until = stack->now + COOKIE_LIFE_NS;
    stack->counters.tcp_syn_cookies_sent++;
    tcp_send_syn_ack(stack, segment, make_cookie(stack, &cookie), &options);
}

bool tcp_cookie_check(struct net_stack *stack, const struct tcp_listener *listener,
                      const struct tcp_segment *segment, struct tcp_segment *syn)
{
    struct tcp_ends ends = {.remote_address = segment->ip->source,
                            .remote_port = segment->source_port,
                            .local_port = segment->destination_port,
                            .v6 = ipv6_ends_of(segment->ip)};
    uint32_t sequence = segment->acknowledgment - 1u;
    uint32_t clock = (uint32_t)(stack->now / CLOCK_NS);
    uint32_t age = (clock - (sequence >> 27)) & 31u;
    struct cookie cookie = {.ends = &ends,
                            .peer_sequence = segment->sequence - 1u,
                            .clock = clock - age,
                            .index = sequence >> 24 & 7u};

    if (stack->now >= listener->cookies_until || age > 1u || ends.remote_port == 0 ||
        (segment->flags & (TCP_SYN | TCP_RST)) != 0 || make_cookie(stack, &cookie) != sequence) {
        return false;
    }
    *syn = (struct tcp_segment){.sequence = cookie.peer_sequence,
                                .mss = sizes[cookie.index],
                                .window = segment->window,
                                .ip = segment->ip,
                                .has_timestamps = segment->has_timestamps,
                                .timestamp = segment->timestamp};
    if (segment->has_timestamps) {
        syn->sack_permitted = (segment->timestamp_echo & TS_SACK) != 0;
        syn->has_window_scale = (segment->timestamp_echo & TS_SCALED) != 0;
        syn->window_scale = segment->timestamp_echo & 15u;
    }
    stack->counters.tcp_syn_cookies_taken++;
    return true;
}
