// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The usual frame on its short way in: to our MAC address, IPv4 without options or fragments, and
 *   - a datagram with a checksum, from a host that was sent to, for a bound port; or
 *   - TCP with nothing but timestamps, ACK and data, in order, for an established connection.
 * Checks all that ethernet_input, ipv4_input and udp_input or tcp_input check, and does what they
 * do; before the first change it is sure. They take every other frame. Fields are compared in
 * memory order where their value does not matter.
 */
#include "lib/net/fast.h"
#include "lib/net/ipv4_out.h"

#define TYPE_AND_VERSION 0x450008u /* IPv4, header of 20 bytes */
#define UDP_FRAME_BYTES_MIN (ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES)
/* Data offset and flags, in memory order. */
#define TCP_PUSH_WORD ((uint32_t)TCP_PSH << 8)
#define TCP_PLAIN_WORD ((uint32_t)TCP_ACK << 8 | TCP_BYTES << 2)
#define TCP_STAMPED_WORD ((uint32_t)TCP_ACK << 8 | (TCP_BYTES + TCP_TIMESTAMPS_BYTES) << 2)
#define TCP_STAMPS_MEMORY __builtin_bswap32(TCP_TIMESTAMPS_WORD)
/* One copy for whole frames, in the burst's own loop. */
#define ALWAYS_INLINE inline __attribute__((always_inline))
#define UNUSUAL                                                                                    \
    (TCP_FLAG_PAUSED | TCP_FLAG_FIN_SEEN | TCP_FLAG_PERSIST | TCP_FLAG_RECOVERY |                  \
     TCP_FLAG_FIN_QUEUED | TCP_FLAG_WANTS_SPACE | TCP_FLAG_V6 | TCP_FLAG_SACKED |                  \
     TCP_FLAG_PROBED | TCP_FLAG_ECN)

static inline bool ipv4_sum_is_right(const uint8_t *ip)
{
    uint64_t sum = checksum_add_word(load_le64(ip), load_le64(ip + 8));

    return checksum_is_right(checksum_add_word(sum, load_le32(ip + 16)));
}

/* Of a TCP packet of `length` bytes. */
static inline bool segment_sum_is_right(const uint8_t *ip, uint32_t length)
{
    uint64_t pseudo = __builtin_bswap16((uint16_t)length) + (PROTOCOL_TCP << 8);

    pseudo = checksum_add_word(load_le64(ip + 12), pseudo);
    return checksum_is_right(checksum_add_packet(pseudo, ip + IPV4_BYTES, length));
}

/* ---- UDP -------------------------------------------------------------------------------------*/

/* The sum of the data of a UDP packet of `length` bytes, 0 if it is not known. False: with the
 * headers it is wrong. */
static inline bool datagram_sum(const struct netframe *frame, const uint8_t *ip, uint32_t length,
                                uint64_t *data_sum)
{
    const uint8_t *udp = ip + IPV4_BYTES;
    uint64_t pseudo = __builtin_bswap16((uint16_t)length) + (PROTOCOL_UDP << 8);
    uint64_t head =
        checksum_add_word(checksum_add_word(load_le64(ip + 12), load_le64(udp)), pseudo);

    if ((frame->offset & NETFRAME_SUM_FLAGS) != 0) {
        /* With a right checksum the data makes up for all else: nothing need be added. */
        *data_sum = (frame->offset & NETFRAME_SUM_RIGHT) != 0 ? ~head : 0;
        return true;
    }
    *data_sum = length >= UDP_BYTES + 8u
                    ? checksum_add_packet(0, udp + UDP_BYTES, length - UDP_BYTES)
                    : checksum_add(0, udp + UDP_BYTES, length - UDP_BYTES);
    return checksum_is_right(checksum_add_word(*data_sum, head));
}

static ALWAYS_INLINE bool datagram(struct net_stack *stack, const struct netframe *frame,
                                   const uint8_t *ip, uint32_t length)
{
    const uint8_t *udp = ip + IPV4_BYTES;
    uint32_t peer = load_le32(ip + 12);
    uint16_t port = load_be16(udp + 2);

    if (load_be16(udp + 4) != length || load_le16(udp + 6) == 0 || peer == 0 ||
        ipv4_path_of(stack, peer)->peer != peer || load_be32(ip + 16) != stack->address ||
        port == DHCP_CLIENT_PORT) {
        return false;
    }
    struct udp_socket *socket = udp_find(stack, port);
    if (socket == NULL || !ipv4_sum_is_right(ip)) {
        return false;
    }
    /* The data's sum by itself: it may serve an answer. */
    uint64_t data_sum;
    if (!datagram_sum(frame, ip, length, &data_sum)) {
        return false;
    }
    struct udp_datagram datagram; /* each member by itself: an initialiser would clear it first */
    datagram.source = __builtin_bswap32(peer);
    datagram.destination = stack->address;
    datagram.v6 = NULL;
    datagram.source_port = load_be16(udp);
    datagram.destination_port = port;
    datagram.data = udp + UDP_BYTES;
    datagram.length = length - UDP_BYTES;
    datagram.buffer = frame->buffer;
    datagram.offset = (frame->offset & NETFRAME_OFFSET) + UDP_FRAME_BYTES_MIN;
    datagram.data_sum = data_sum;
    stack->counters.ipv4_in++;
    stack->counters.udp_in++;
    stack->receive_buffer = frame->buffer;
    socket->receive(socket, socket->user, &datagram);
    return true;
}

/* ---- TCP -------------------------------------------------------------------------------------*/

/* Everything that was sent is acknowledged, it is one buffer, and its round trip is being timed:
 * what tcp_ack_advance does. */
static inline void all_acknowledged(struct tcp_connection *c, uint32_t acknowledgment)
{
    struct net_stack *stack = c->stack;
    uint32_t acked = acknowledgment - c->snd_una;
    uint32_t buffer = c->send_head;

    c->flags &= ~(uint32_t)TCP_FLAG_ROUND_TRIP;
    rtt_take(c, stack->now - c->rtt_start);
    c->backoff = 0;
    c->duplicate_acks = 0;
    c->snd_una = acknowledgment;
    c->bytes_out += acked;
    c->send_head = c->send_tail = NETBUF_NONE;
    c->send_count = 0;
    stack->meta[buffer].queued = 0;
    netbuf_drop(stack->pool, buffer);
    c->retransmit_deadline = DEADLINE_NEVER;
    /* A window that was not used is not shown to be too small (RFC 7661, 4). */
    if (acked >= c->cwnd / 2u) {
        congestion_acked(c, acked);
    }
}

/* Gives the data to the application; what it leaves goes the general way. */
static inline void deliver(struct tcp_connection *c, const struct netframe *frame,
                           const uint8_t *data, uint32_t length)
{
    c->rcv_nxt += length;
    c->unacked_bytes += length;
    c->flags |= TCP_FLAG_ACK_DELAYED;
    tcp_activate(c);
    c->stack->receive_buffer = frame->buffer;
    c->bytes_in += length;
    uint32_t consumed = c->ops->on_receive(c, c->user, data, length);
    if (consumed != length) {
        tcp_deliver_rest(c, frame->buffer, data, (struct tcp_consumed){length, consumed});
    }
}

/* What the general way needs to know of an acknowledgement. */
static __attribute__((noinline)) void acknowledged_slow(struct tcp_connection *c,
                                                        const uint8_t *tcp, uint32_t length)
{
    bool stamped = (c->flags & TCP_FLAG_TIMESTAMPS) != 0;
    struct tcp_segment segment = {.sequence = load_be32(tcp + 4),
                                  .acknowledgment = load_be32(tcp + 8),
                                  .window = load_be16(tcp + 14),
                                  .length = length,
                                  .flags = tcp[13],
                                  .has_timestamps = stamped,
                                  .timestamp_echo = stamped ? load_be32(tcp + 28) : 0};

    (void)tcp_ack_input(c, &segment);
}

/* tcp_ack_input for new data or an acknowledgement of something new. */
static inline void acknowledged(struct tcp_connection *c, uint32_t acknowledgment,
                                const uint8_t *tcp, uint32_t length)
{
    if (acknowledgment != c->snd_una) {
        if (acknowledgment != c->snd_max || c->send_head != c->send_tail ||
            c->send_cursor != NETBUF_NONE || c->send_head == NETBUF_NONE ||
            (c->flags & TCP_FLAG_ROUND_TRIP) == 0) {
            acknowledged_slow(c, tcp, length);
            return;
        }
        all_acknowledged(c, acknowledgment);
    } else if (c->send_cursor != NETBUF_NONE) {
        acknowledged_slow(c, tcp, length);
        return;
    }
    uint32_t window = (uint32_t)load_be16(tcp + 14) << c->send_shift;
    c->snd_wl1 = c->rcv_nxt;
    c->snd_wl2 = acknowledgment;
    c->snd_wnd = window;
    if (window > c->snd_wnd_max) {
        c->snd_wnd_max = window;
    }
}

/* Whether the connection may take a segment of `length` bytes of data so. */
static inline bool is_usual(const struct tcp_connection *c, const uint8_t *tcp, uint32_t length,
                            bool stamped)
{
    uint32_t wanted = TCP_FLAG_ATTACHED | (stamped ? TCP_FLAG_TIMESTAMPS : 0u);
    uint32_t acked = load_be32(tcp + 8) - c->snd_una;

    return (c->flags & (UNUSUAL | TCP_FLAG_ATTACHED | TCP_FLAG_TIMESTAMPS)) == wanted &&
           c->state == TCP_ESTABLISHED && load_be32(tcp + 4) == c->rcv_nxt &&
           c->receive_head == NETBUF_NONE && length <= c->rcv_adv - c->rcv_nxt &&
           acked <= c->snd_max - c->snd_una && (acked | length) != 0 &&
           !(stamped && seq_before(load_be32(tcp + 24), c->timestamp_recent));
}

/* With `headers` not 0 that many bytes of the frame lie before the data, which lies apart. */
static ALWAYS_INLINE bool segment_input(struct net_stack *stack, const struct netframe *frame,
                                        const uint8_t *ip, uint32_t length, uint32_t headers)
{
    const uint8_t *tcp = ip + IPV4_BYTES;
    uint32_t kind = load_le16(tcp + 12) & ~TCP_PUSH_WORD;
    bool stamped = kind == TCP_STAMPED_WORD;
    uint32_t header = stamped ? TCP_BYTES + TCP_TIMESTAMPS_BYTES : TCP_BYTES;

    if (!(stamped ? load_le32(tcp + TCP_BYTES) == TCP_STAMPS_MEMORY : kind == TCP_PLAIN_WORD) ||
        length < header || (headers != 0 && headers != ETHERNET_BYTES + IPV4_BYTES + header) ||
        !ipv4_sum_is_right(ip) ||
        ((frame->offset & NETFRAME_SUM_FLAGS) == 0 && !segment_sum_is_right(ip, length))) {
        return false;
    }
    uint64_t ends = load_le64(ip + 12);
    uint32_t ports = load_le32(tcp);
    struct tcp_connection *c = *tcp_bucket_of(stack, (uint32_t)ends, ports);
    while (c != NULL && (c->peer_ends != ends || c->peer_ports != ports)) {
        c = c->hash_next;
    }
    length -= header;
    if (c == NULL || !is_usual(c, tcp, length, stamped)) {
        return false;
    }
    stack->counters.ipv4_in++;
    stack->counters.tcp_in++;
    stack->counters.tcp_fast_path++;
    if (stamped && seq_at_or_before(c->rcv_nxt, c->last_ack_sent)) {
        c->timestamp_recent = load_be32(tcp + 24);
        c->timestamp_recent_at = stack->now;
    }
    c->last_receive = stack->now;
    c->keepalive_probes = 0;
    acknowledged(c, load_be32(tcp + 8), tcp, length);
    if (length != 0) {
        deliver(c, frame, headers != 0 ? netbuf_data(stack->pool, frame->buffer) : tcp + header,
                length);
    }
    return true;
}

static ALWAYS_INLINE bool input_fast(struct net_stack *stack, const struct netframe *frame,
                                     const uint8_t *at, uint32_t headers)
{
    const uint8_t *ip = at + ETHERNET_BYTES;

    if (frame->length < UDP_FRAME_BYTES_MIN) {
        return false;
    }
    uint64_t type = load_le64(at + 12);
    uint32_t fragment = load_le32(ip + 6);
    uint32_t total = __builtin_bswap16((uint16_t)(type >> 32));
    if ((load_le64(at) ^ load_le64(stack->dev->mac)) << 16 != 0 ||
        (type & 0xffffffu) != TYPE_AND_VERSION || (fragment & 0xff3fu) != 0 ||
        total > frame->length - ETHERNET_BYTES) {
        return false;
    }
    uint32_t protocol = fragment >> 24;
    if (protocol == PROTOCOL_TCP && total >= IPV4_BYTES + TCP_BYTES) {
        return segment_input(stack, frame, ip, total - IPV4_BYTES, headers);
    }
    return headers == 0 && protocol == PROTOCOL_UDP && total >= IPV4_BYTES + UDP_BYTES &&
           datagram(stack, frame, ip, total - IPV4_BYTES);
}

/* A frame whose data lies apart. It stays there if it is the next of a connection and the device
 * has found its sum right; all else is made whole first. */
static __attribute__((noinline)) void input_split(struct net_stack *stack, struct netframe frame)
{
    const uint8_t *at = frame_data(stack->pool, &frame);
    uint32_t headers = frame_front_bytes(&frame);

    if ((frame.offset & NETFRAME_SUM_RIGHT) != 0 &&
        headers >= ETHERNET_BYTES + IPV4_BYTES + TCP_BYTES &&
        input_fast(stack, &frame, at, headers)) {
        stack->counters.tcp_split_in++;
        return;
    }
    frame_join(stack->pool, &frame);
    ethernet_input(stack, &frame, at);
}

void input_burst(struct net_stack *stack, const struct netframe *frames, uint32_t count)
{
    struct netbuf_pool *pool = stack->pool;

    for (const struct netframe *frame = frames; frame != frames + count; frame++) {
        if (frame_is_split(frame)) {
            input_split(stack, *frame);
            netbuf_drop(pool, frame->buffer);
            continue;
        }
        const uint8_t *at = netbuf_data(pool, frame->buffer) + (frame->offset & NETFRAME_OFFSET);
        if (!input_fast(stack, frame, at, 0)) {
            ethernet_input(stack, frame, at);
        }
        netbuf_drop(pool, frame->buffer);
    }
}
