// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/net/frames_fake.h"

#include "lib/net/internal.h"

#define BUFFERS 256u
#define BUFFER_BYTES 2048u
#define FRAME_BYTES 512u
#define MEMORY_BYTES (1u << 20)
#define PEER_MAC ((const uint8_t *)"\x02peer\x01")

enum action { ACTION_IPV4 = 0, ACTION_IPV6 = 1, ACTION_ARP = 2, ACTION_RAW = 3 };
#define ACTION_REPAIR 0x04u
#define ACTION_FOLLOW 0x08u /* ports and numbers of the last segment that the stack sent */

static const struct ipv6_address peer6 = {{0xfe, 0x80, [15] = 7}};
static const struct ipv6_address own6 = {{0xfd, [15] = 1}};

static struct {
    struct netdev dev;
    struct netbuf_pool pool;
    struct net_stack *stack;
    const uint8_t *frame; /* to be received next */
    uint32_t length;
    uint64_t sent_frames, sent_bytes;
    uint8_t last[54 + 20]; /* the last TCP segment sent, IPv4 */
    bool has_last;
    unsigned open; /* connections that the application holds */
    time_ns_t now;
    struct tcp_connection *held[8];
} f;

static _Alignas(4096) uint8_t pool_bytes[BUFFERS * BUFFER_BYTES];
static _Alignas(64) uint8_t bookkeeping[BUFFERS * 16u];
static _Alignas(64) uint8_t memory[MEMORY_BYTES];

/* ---- The device ------------------------------------------------------------------------------*/

static uint32_t receive(struct netdev *dev, struct netframe *frames, uint32_t max)
{
    (void)max;
    if (f.frame == NULL) {
        return 0;
    }
    uint32_t buffer = netbuf_take(dev->pool);
    VERIFY(buffer != NETBUF_NONE);
    memcpy(netbuf_data(dev->pool, buffer) + 12, f.frame, f.length);
    frames[0] = (struct netframe){.buffer = buffer, .offset = 12, .length = (uint16_t)f.length};
    f.frame = NULL;
    return 1;
}

static uint32_t transmit(struct netdev *dev, const struct netframe *frames, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *at = netbuf_data(dev->pool, frames[i].buffer) + frames[i].offset;
        VERIFY(frames[i].length >= 14u && frames[i].length <= 14u + dev->mtu_bytes);
        VERIFY(frames[i].offset + frames[i].length <= BUFFER_BYTES);
        f.sent_frames++;
        f.sent_bytes += frames[i].length;
        if (load_be16(at + 12) == ETHERTYPE_IPV4 && at[23] == PROTOCOL_TCP) {
            memcpy(f.last, at, 54);
            f.has_last = true;
        }
        netbuf_drop(dev->pool, frames[i].buffer);
    }
    return count;
}

static bool yes(struct netdev *dev)
{
    (void)dev;
    return true;
}

static void disarm(struct netdev *dev)
{
    (void)dev;
}

static time_ns_t device_tick(struct netdev *dev, time_ns_t now)
{
    (void)dev;
    (void)now;
    return DEADLINE_NEVER;
}

static const struct netdev_ops device_ops = {.receive = receive,
                                             .transmit = transmit,
                                             .arm = yes,
                                             .disarm = disarm,
                                             .link_up = yes,
                                             .tick = device_tick};

/* ---- The application -------------------------------------------------------------------------*/

static bool on_accept(struct tcp_connection *c, void *user)
{
    (void)user;
    for (unsigned i = 0; i < 8u; i++) {
        if (f.held[i] == NULL) {
            f.held[i] = c;
            tcp_set_user(c, &f.held[i]);
            f.open++;
            return true;
        }
    }
    return false;
}

static uint32_t on_receive(struct tcp_connection *c, void *user, const uint8_t *data,
                           uint32_t length)
{
    (void)user;
    return tcp_send(c, data, length);
}

static void on_sendable(struct tcp_connection *c, void *user)
{
    (void)user;
    tcp_receive_resume(c);
}

static void on_end(struct tcp_connection *c, void *user)
{
    (void)c;
    (void)user;
}

static void on_closed(struct tcp_connection *c, void *user, status_t reason)
{
    (void)c;
    (void)reason;
    *(struct tcp_connection **)user = NULL;
    f.open--;
}

static const struct tcp_ops ops = {.on_accept = on_accept,
                                   .on_receive = on_receive,
                                   .on_end = on_end,
                                   .on_sendable = on_sendable,
                                   .on_closed = on_closed};

static void on_datagram(struct udp_socket *socket, void *user, const struct udp_datagram *datagram)
{
    (void)user;
    if (datagram->v6 != NULL) {
        (void)udp_send_v6(socket, datagram->v6, datagram->source_port, datagram->data,
                          datagram->length);
    } else {
        (void)udp_send(socket, datagram->source, datagram->source_port, datagram->data,
                       datagram->length);
    }
}

static void let_go(unsigned i, bool abort)
{
    struct tcp_connection *c = f.held[i];

    if (c == NULL) {
        return;
    }
    f.held[i] = NULL;
    f.open--;
    if (abort) {
        tcp_abort(c);
    } else {
        tcp_close(c);
    }
}

/* ---- Frames ----------------------------------------------------------------------------------*/

static void settle(void)
{
    for (unsigned i = 0; i < 20; i++) {
        (void)stack_poll(f.stack, f.now);
    }
}

static void pass(time_ns_t ns)
{
    time_ns_t until = f.now + ns;

    for (unsigned i = 0; i < 100000u; i++) {
        time_ns_t due = stack_tick(f.stack, f.now);
        if (due > until) {
            f.now = until;
            (void)stack_tick(f.stack, f.now);
            return;
        }
        VERIFY(due > f.now);
        f.now = due;
    }
}

static void follow_last(uint8_t *ip, uint32_t length)
{
    if (!f.has_last || length < 40u) {
        return;
    }
    const uint8_t *tcp = f.last + 34;
    uint32_t next = load_be32(tcp + 4) + ((tcp[13] & (TCP_SYN | TCP_FIN)) != 0);
    memcpy(ip + 20, tcp + 2, 2);
    memcpy(ip + 22, tcp, 2);
    memcpy(ip + 24, tcp + 8, 4);
    store_be32(ip + 28, next);
}

static void repair_transport(uint8_t *at, uint32_t length, uint8_t protocol, uint64_t pseudo)
{
    uint32_t field = protocol == PROTOCOL_TCP ? 16u : protocol == PROTOCOL_UDP ? 6u : 2u;

    if (length < field + 2u) {
        return;
    }
    store_native16(at + field, 0);
    uint64_t sum = protocol == PROTOCOL_ICMP ? 0 : pseudo;
    store_native16(at + field, checksum_finish(checksum_add(sum, at, length)));
}

static void repair_ipv4(uint8_t *ip, uint32_t length, uint8_t action)
{
    if (length < 20u) {
        return;
    }
    ip[0] = 0x45;
    store_be16(ip + 2, (uint16_t)length);
    store_be32(ip + 12, IPV4(10, 0, 0, 2u + (ip[15] & 3u)));
    store_be32(ip + 16, IPV4(10, 0, 0, 1));
    if ((action & ACTION_FOLLOW) != 0 && ip[9] == PROTOCOL_TCP) {
        follow_last(ip, length);
    }
    store_native16(ip + 10, 0);
    store_native16(ip + 10, checksum_finish(ipv4_header_sum(ip)));
    uint64_t pseudo =
        pseudo_header_sum(load_be32(ip + 12), load_be32(ip + 16), ip[9], length - 20u);
    repair_transport(ip + 20, length - 20u, ip[9], pseudo);
}

static void repair_ipv6(uint8_t *ip, uint32_t length)
{
    if (length < 40u) {
        return;
    }
    struct ipv6_ends ends = {peer6, own6};
    ip[0] = 0x60;
    store_be16(ip + 4, (uint16_t)(length - 40u));
    memcpy(ip + 8, &ends, sizeof ends);
    repair_transport(ip + 40, length - 40u, ip[6], ipv6_pseudo_sum(&ends, ip[6], length - 40u));
}

static uint32_t make_frame(uint8_t *frame, const uint8_t *bytes, uint32_t length, uint8_t action)
{
    static const uint16_t types[4] = {ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_ARP,
                                      ETHERTYPE_IPV4};

    ethernet_write(frame, f.dev.mac, PEER_MAC, types[action & 3u]);
    memcpy(frame + 14, bytes, length);
    if ((action & ACTION_REPAIR) != 0) {
        if ((action & 3u) == ACTION_IPV4) {
            repair_ipv4(frame + 14, length, action);
        } else if ((action & 3u) == ACTION_IPV6) {
            repair_ipv6(frame + 14, length);
        }
    }
    return 14u + length;
}

static void put(const uint8_t *frame, uint32_t length, struct frames_result *result)
{
    uint64_t frames = f.sent_frames;
    uint64_t bytes = f.sent_bytes;
    bool vouched = f.open != 0 || stack_connections(f.stack) != 0;
    /* Answers to earlier frames may wait for the way to their receiver. */
    bool waiting = f.stack->arp_pending + f.stack->v6.nd_pending != 0;

    f.frame = frame;
    f.length = length;
    settle();
    result->frames++;
    if (vouched || waiting || f.open != 0) {
        return; /* a peer that has shown its address may be sent more */
    }
    frames = f.sent_frames - frames;
    bytes = f.sent_bytes - bytes > length ? f.sent_bytes - bytes - length : 0;
    result->worst_frames = frames > result->worst_frames ? frames : result->worst_frames;
    result->worst_bytes = bytes > result->worst_bytes ? bytes : result->worst_bytes;
}

static void act(uint8_t action)
{
    switch (action >> 4) {
    case 1:
        pass(50u * NS_PER_MS);
        break;
    case 2:
        pass(5u * NS_PER_S);
        break;
    case 3:
        let_go(0, false);
        break;
    case 4:
        let_go(0, true);
        break;
    case 5:
        if (f.held[0] != NULL) {
            tcp_shutdown(f.held[0]);
        }
        break;
    case 6:
        if (f.held[0] != NULL) {
            (void)tcp_send(f.held[0], memory, 3000);
        }
        break;
    case 7:
        pass(100u * NS_PER_S);
        break;
    default:
        break;
    }
    settle();
}

static void start(void)
{
    struct stack_config config = {.dev = &f.dev,
                                  .connections = 16,
                                  .address = IPV4(10, 0, 0, 1),
                                  .prefix_bits = 24,
                                  .ipv6_mode = STACK_IPV6_STATIC,
                                  .address6 = own6,
                                  .prefix6_bits = 64,
                                  .secret = {1}}; /* fixed, so that inputs repeat */
    struct udp_socket *socket;
    struct frames_result unused = {0};
    uint8_t frame[60] = {0};

    memset(&f, 0, sizeof f);
    f.now = NS_PER_S;
    f.dev = (struct netdev){.ops = &device_ops, .pool = &f.pool, .mtu_bytes = 1500};
    memcpy(f.dev.mac, "\x02stack", 6);
    status_t status =
        netbuf_pool_init(&f.pool, pool_bytes, BUFFERS, BUFFER_BYTES, NULL, bookkeeping);
    VERIFY(status == STATUS_OK && stack_memory_bytes(&config) <= sizeof memory);
    status = stack_init(&f.stack, &config, memory, sizeof memory, f.now);
    VERIFY(status == STATUS_OK);
    status = tcp_listen(f.stack, 80, 2, &ops, NULL);
    VERIFY(status == STATUS_OK);
    status = udp_bind(f.stack, 7, on_datagram, NULL, &socket);
    VERIFY(status == STATUS_OK);
    pass(3u * NS_PER_S);
    /* The peer is known to ARP and to neighbour discovery. */
    ethernet_write(frame, f.dev.mac, PEER_MAC, ETHERTYPE_ARP);
    memcpy(frame + 14, "\x00\x01\x08\x00\x06\x04\x00\x01", 8);
    memcpy(frame + 22, PEER_MAC, 6);
    store_be32(frame + 28, IPV4(10, 0, 0, 2));
    store_be32(frame + 38, IPV4(10, 0, 0, 1));
    put(frame, sizeof frame, &unused);
    nd_learn(f.stack, &peer6, PEER_MAC);
}

void frames_run(const uint8_t *data, size_t bytes, struct frames_result *result)
{
    uint8_t frame[FRAME_BYTES];
    size_t i = 0;

    start();
    while (i + 2u <= bytes) {
        uint32_t length = data[i];
        uint8_t action = data[i + 1u];
        i += 2u;
        length = length < bytes - i ? length : (uint32_t)(bytes - i);
        put(frame, make_frame(frame, data + i, length, action), result);
        act(action);
        i += length;
    }
    result->accepted += stack_counters(f.stack)->tcp_accepted;
    for (unsigned k = 0; k < 8u; k++) {
        let_go(k, k % 2u == 0);
    }
    pass(2000u * NS_PER_S);
    settle();
    VERIFY(stack_connections(f.stack) == 0);
    VERIFY(f.pool.free_count == BUFFERS);
}
