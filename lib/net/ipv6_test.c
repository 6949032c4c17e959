// SPDX-License-Identifier: MIT OR Apache-2.0
/* IPv6 below TCP: own addresses, neighbours, routers, echo, UDP, bad packets. One stack and a peer
 * played by hand; tcp_test.c lets two stacks talk. NET_FUZZ_FRAMES, NET_FUZZ_SEED as there. */
#include "lib/net/sim_fake.h"
#include "tests/check.h"

#include <stdlib.h>

#define FRAMES 64u
#define STACK_LINK_LOCAL                                                                           \
    ((struct ipv6_address){{0xfe, 0x80, [8] = 0, 'h', 'l', 0xff, 0xfe, 'w', 's', 0}})

static struct ipv6_address peer = {{0xfe, 0x80, [15] = 9}};
static const struct ipv6_address own = {{0xfd, [15] = 1}};

static struct {
    struct sim *sim;
    struct net_stack *stack;
    struct netdev *dev;
    uint8_t frames[FRAMES][WIRE_FRAME_BYTES];
    uint32_t lengths[FRAMES];
    uint32_t count, first;
    uint64_t sent_frames, sent_bytes;
    unsigned datagrams;
} s;

static bool capture(void *user, unsigned from, uint8_t *data, uint32_t length)
{
    (void)user;
    if (from == 0 && load_be16(data + 12) == ETHERTYPE_IPV6) {
        s.sent_frames++;
        s.sent_bytes += length;
        if (s.count < FRAMES) {
            uint32_t at = (s.first + s.count++) % FRAMES;
            memcpy(s.frames[at], data, length);
            s.lengths[at] = length;
        }
    }
    return false;
}

static const uint8_t *next_frame(void)
{
    if (s.count == 0) {
        return NULL;
    }
    const uint8_t *frame = s.frames[s.first];
    s.first = (s.first + 1u) % FRAMES;
    s.count--;
    return frame;
}

static void start(enum stack_ipv6_mode mode)
{
    struct sim_config config = {.seed = 4};

    memset(&s, 0, sizeof s);
    config.stack[0].ipv6_mode = mode;
    s.sim = sim_create(&config);
    s.stack = s.sim->stack[0];
    s.dev = &s.sim->wire.end[0].dev;
    s.sim->wire.tap = capture;
}

static void settle_addresses(void)
{
    sim_run(s.sim, 2u * NS_PER_S);
    s.count = 0;
}

static void stop(void)
{
    sim_run(s.sim, 300u * NS_PER_S);
    sim_settle(s.sim); /* the device gives the last buffers back */
    CHECK_EQ(sim_buffers_used(s.sim, 0), 0);
    sim_destroy(s.sim);
}

/* Sends an IPv6 packet from `from` to `to`; the checksum at `field` of the payload is set right
 * unless `field` is 0. */
struct packet {
    struct ipv6_address from, to;
    uint8_t protocol, hops;
    uint32_t field;
};
static uint32_t make(uint8_t *frame, const struct packet *packet, const void *payload,
                     uint32_t length)
{
    struct ipv6_ends ends = {packet->from, packet->to};
    uint8_t mac[6];

    memcpy(mac, s.dev->mac, 6);
    if (ipv6_is_multicast(&packet->to)) {
        memcpy(mac, "\x33\x33", 2);
        memcpy(mac + 2, packet->to.byte + 12, 4);
    }
    ethernet_write(frame, mac, s.sim->wire.end[1].dev.mac, ETHERTYPE_IPV6);
    store_be32(frame + 14, 6u << 28);
    store_be32(frame + 18, length << 16 | (uint32_t)packet->protocol << 8 | packet->hops);
    memcpy(frame + 22, &ends, 32);
    memcpy(frame + 54, payload, length);
    if (packet->field != 0) {
        store_native16(frame + 54 + packet->field, 0);
        uint64_t sum = ipv6_pseudo_sum(&ends, packet->protocol, length);
        store_native16(frame + 54 + packet->field,
                       checksum_finish(checksum_add(sum, frame + 54, length)));
    }
    return 54u + length;
}

static void put(const struct packet *packet, const void *payload, uint32_t length)
{
    uint8_t frame[WIRE_FRAME_BYTES];

    wire_inject(&s.sim->wire, 0, frame, make(frame, packet, payload, length));
    sim_settle(s.sim);
}

static void put_icmp6(const struct ipv6_address *from, const struct ipv6_address *to,
                      const void *message, uint32_t length)
{
    struct packet packet = {*from, *to, PROTOCOL_ICMP6, 255, 2};

    put(&packet, message, length);
}

/* The peer asks for `target`, so that its own hardware address is known too. */
static void solicit(const struct ipv6_address *target)
{
    uint8_t message[32] = {ICMP6_NEIGHBOUR_SOLICITATION, [24] = ND_OPTION_SOURCE, [25] = 1};
    struct ipv6_address group;

    memcpy(message + 8, target, 16);
    memcpy(message + 26, s.sim->wire.end[1].dev.mac, 6);
    ipv6_solicited_node(target, &group);
    put_icmp6(&peer, &group, message, sizeof message);
}

static void advertise_router(uint32_t valid, uint32_t preferred)
{
    uint8_t message[16 + 32 + 8 + 8] = {ICMP6_ROUTER_ADVERTISEMENT, [4] = 77, [7] = 200};

    message[16] = ND_OPTION_PREFIX;
    message[17] = 4;
    message[18] = 64;
    message[19] = 0xc0;
    store_be32(message + 20, valid);
    store_be32(message + 24, preferred);
    message[32] = 0xfd;
    message[33] = 0x77;
    message[48] = ND_OPTION_MTU;
    message[49] = 1;
    store_be32(message + 52, 1400);
    message[56] = ND_OPTION_SOURCE;
    message[57] = 1;
    memcpy(message + 58, s.sim->wire.end[1].dev.mac, 6);
    put_icmp6(&peer, &ipv6_all_nodes, message, sizeof message);
}

TEST(addresses_as_text)
{
    static const char *const same[] = {
        "::",         "::1",    "fe80::1",       "2001:db8::8:800:200c:417a", "1:2:3:4:5:6:7:8",
        "1:0:0:4::8", "ff02::", "1::3:4:5:6:7:8"};
    static const char *const bad[] = {"",        ":",
                                      ":::",     "1",
                                      "1::2::3", "1:2:3:4:5:6:7",
                                      "12345::", "1:2:3:4:5:6:7:8:9",
                                      "g::",     "1:",
                                      "::1 ",    "1:2:3:4:5:6:7::8:9"};
    char text[IPV6_TEXT_BYTES];
    struct ipv6_address address;
    uint32_t bits = 0;

    for (unsigned i = 0; i < sizeof same / sizeof same[0]; i++) {
        CHECK_EQ(ipv6_parse(same[i], &address, NULL), STATUS_OK);
        ipv6_format(&address, text);
        CHECK_TEXT(text, i == 7 ? "1:0:3:4:5:6:7:8" : same[i]);
    }
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_EQ(ipv6_parse(bad[i], &address, NULL), STATUS_INVALID_ARGUMENT);
    }
    CHECK_EQ(ipv6_parse("fd00::5/64", &address, &bits), STATUS_OK);
    CHECK_EQ(bits, 64);
    CHECK_EQ(ipv6_parse("fd00::5/129", &address, &bits), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(ipv6_parse("fd00::5", &address, &bits), STATUS_INVALID_ARGUMENT);
}

TEST(a_link_local_address_is_tried_before_use)
{
    struct stack_interface interface;

    start(STACK_IPV6_AUTO);
    sim_settle(s.sim);
    const uint8_t *frame = next_frame();
    CHECK(frame != NULL);
    if (frame != NULL) { /* RFC 4862, 5.4.2: from nobody, for it, without a link-layer option */
        CHECK_EQ(frame[54], ICMP6_NEIGHBOUR_SOLICITATION);
        CHECK(ipv6_is_any((const struct ipv6_address *)(const void *)(frame + 22)));
        CHECK_EQ(load_be16(frame + 18), 24);
    }
    stack_interface(s.stack, &interface);
    CHECK_EQ(interface.address6_count, 0);
    sim_run(s.sim, 1100u * NS_PER_MS);
    stack_interface(s.stack, &interface);
    CHECK_EQ(interface.address6_count, 1);
    CHECK_EQ(interface.address6[0].byte[0], 0xfe);
    CHECK_EQ(interface.address6[0].byte[11], 0xff);
    CHECK_EQ(interface.address6[0].byte[12], 0xfe);
    CHECK_EQ(interface.address6[0].byte[15], 0);
    frame = next_frame(); /* and then a router is asked for */
    CHECK(frame != NULL && frame[54] == ICMP6_ROUTER_SOLICITATION);
    stop();
}

TEST(an_address_that_someone_has_is_not_used)
{
    struct stack_interface interface;
    uint8_t message[24] = {ICMP6_NEIGHBOUR_ADVERTISEMENT, [4] = 0x20};

    start(STACK_IPV6_STATIC);
    sim_settle(s.sim);
    memcpy(message + 8, &own, 16);
    put_icmp6(&peer, &ipv6_all_nodes, message, sizeof message);
    sim_run(s.sim, 5u * NS_PER_S);
    stack_interface(s.stack, &interface);
    CHECK_EQ(interface.address6_count, 1); /* the link-local one */
    CHECK_EQ(stack_counters(s.stack)->nd_duplicates, 1);
    stop();
}

TEST(a_router_gives_addresses_and_takes_them_back)
{
    struct stack_interface interface;

    start(STACK_IPV6_AUTO);
    settle_addresses();
    advertise_router(10000, 5000);
    sim_run(s.sim, 2u * NS_PER_S);
    stack_interface(s.stack, &interface);
    CHECK_EQ(interface.address6_count, 2);
    CHECK_EQ(interface.address6[1].byte[0], 0xfd);
    CHECK_EQ(interface.address6[1].byte[1], 0x77);
    CHECK(ipv6_equal(&interface.gateway6, &peer));
    CHECK_EQ(s.stack->v6.mtu_bytes, 1400);
    struct ipv6_ends far = {.remote = {{0x20, 1, [15] = 5}}};
    CHECK_EQ(ipv6_complete(s.stack, &far), STATUS_OK);
    CHECK(ipv6_equal(&far.local, &interface.address6[1]));
    advertise_router(1, 1); /* no less than two hours are left (RFC 4862, 5.5.3) */
    sim_run(s.sim, 100u * NS_PER_S);
    stack_interface(s.stack, &interface);
    CHECK_EQ(interface.address6_count, 2);
    sim_run(s.sim, 7200u * NS_PER_S);
    stack_interface(s.stack, &interface);
    CHECK_EQ(interface.address6_count, 1);
    struct ipv6_ends gone = {.remote = {{0x20, 1, [15] = 5}}};
    CHECK_EQ(ipv6_complete(s.stack, &gone), STATUS_UNREACHABLE);
    stop();
}

TEST(neighbours_are_answered_and_asked)
{
    uint8_t echo[16] = {ICMP6_ECHO_REQUEST, [8] = 'p'};

    start(STACK_IPV6_STATIC);
    settle_addresses();
    solicit(&own);
    const uint8_t *frame = next_frame();
    CHECK(frame != NULL);
    if (frame != NULL) {
        CHECK_EQ(frame[54], ICMP6_NEIGHBOUR_ADVERTISEMENT);
        CHECK_EQ(frame[58], 0x60); /* solicited, override */
        CHECK_EQ(frame[21], 255);
        CHECK(memcmp(frame + 62, &own, 16) == 0);
        CHECK(memcmp(frame + 80, s.dev->mac, 6) == 0);
    }
    put_icmp6(&peer, &own, echo, sizeof echo);
    frame = next_frame();
    CHECK(frame != NULL && frame[54] == ICMP6_ECHO_REPLY && frame[62] == 'p');
    /* STALE, so used for a while and then asked. */
    sim_run(s.sim, 6u * NS_PER_S);
    frame = next_frame();
    CHECK(frame != NULL && frame[54] == ICMP6_NEIGHBOUR_SOLICITATION);
    sim_run(s.sim, 5u * NS_PER_S);
    /* Nobody answered: the next packet waits for a new answer, and is dropped without one. */
    s.count = 0;
    put_icmp6(&peer, &own, echo, sizeof echo);
    frame = next_frame();
    CHECK(frame != NULL && frame[54] == ICMP6_NEIGHBOUR_SOLICITATION &&
          frame[0] == 0x33); /* to the group */
    sim_run(s.sim, 5u * NS_PER_S);
    CHECK_EQ(stack_counters(s.stack)->nd_unresolved, 1);
    stop();
}

static void take_datagram(struct udp_socket *socket, void *user,
                          const struct udp_datagram *datagram)
{
    (void)user;
    s.datagrams++;
    CHECK(datagram->v6 != NULL);
    if (datagram->v6 == NULL) {
        return;
    }
    if (s.datagrams % 2u == 0) {
        (void)udp_send_v6(socket, datagram->v6, datagram->source_port, datagram->data,
                          datagram->length);
        return;
    }
    netbuf_hold(s.stack->pool, datagram->buffer);
    struct udp_send_request request = {.v6 = datagram->v6,
                                       .port = datagram->source_port,
                                       .buffer = datagram->buffer,
                                       .offset = datagram->offset,
                                       .length = datagram->length};
    (void)udp_send_buffer(socket, &request);
}

TEST(datagrams_come_and_go)
{
    struct packet packet = {peer, own, PROTOCOL_UDP, 64, 6};
    uint8_t datagram[12] = {0x30, 0x39, 0, 7, 0, 12, 0, 0, 'a', 'b', 'c', 'd'};
    struct udp_socket *socket;

    start(STACK_IPV6_STATIC);
    settle_addresses();
    CHECK_EQ(udp_bind(s.stack, 7, take_datagram, NULL, &socket), STATUS_OK);
    solicit(&own);
    s.count = 0;
    for (unsigned i = 0; i < 2; i++) {
        put(&packet, datagram, sizeof datagram);
        const uint8_t *frame = next_frame();
        CHECK(frame != NULL);
        if (frame != NULL) {
            struct ipv6_ends ends;
            memcpy(&ends, frame + 22, 32);
            CHECK(ipv6_equal(&ends.remote, &own) && ipv6_equal(&ends.local, &peer));
            CHECK(memcmp(frame + 62, "abcd", 4) == 0);
            uint64_t sum = ipv6_pseudo_sum(&ends, PROTOCOL_UDP, 12);
            CHECK_EQ(checksum_fold(checksum_add(sum, frame + 54, 12)), 0xffff);
        }
    }
    packet.field = 0; /* no checksum: not with IPv6 */
    put(&packet, datagram, sizeof datagram);
    CHECK_EQ(stack_counters(s.stack)->udp_malformed, 1);
    packet.field = 6;
    datagram[3] = 8; /* nobody there */
    put(&packet, datagram, sizeof datagram);
    const uint8_t *frame = next_frame();
    CHECK(frame != NULL && frame[54] == ICMP6_UNREACHABLE && frame[55] == 4);
    CHECK_EQ(s.datagrams, 2);
    stop();
}

TEST(extension_headers_are_walked)
{
    /* Hop-by-hop with PadN, destination options with an option to skip, then an echo request. */
    uint8_t payload[8 + 8 + 8 + 16] = {IPV6_DESTINATION, 0, 1,    4, 0, 0, 0, 0, /* PadN */
                                       IPV6_FRAGMENT,    0, 0x1e, 4, 0, 0, 0, 0};
    struct packet packet = {peer, own, IPV6_HOP_BY_HOP, 64, 0};
    uint8_t echo[16] = {ICMP6_ECHO_REQUEST};
    struct ipv6_ends ends = {peer, own};

    start(STACK_IPV6_STATIC);
    settle_addresses();
    solicit(&own);
    s.count = 0;
    payload[16] = PROTOCOL_ICMP6; /* an atomic fragment (RFC 6946) */
    uint64_t sum = ipv6_pseudo_sum(&ends, PROTOCOL_ICMP6, sizeof echo);
    store_native16(echo + 2, checksum_finish(checksum_add(sum, echo, sizeof echo)));
    memcpy(payload + 24, echo, sizeof echo);
    put(&packet, payload, sizeof payload);
    const uint8_t *frame = next_frame();
    CHECK(frame != NULL && frame[54] == ICMP6_ECHO_REPLY);
    payload[10] = 0x9e; /* unknown, tell the sender */
    put(&packet, payload, sizeof payload);
    frame = next_frame();
    CHECK(frame != NULL && frame[54] == ICMP6_PARAMETER && frame[55] == 2);
    CHECK(frame != NULL && load_be32(frame + 58) == 50);
    payload[10] = 0x5e; /* unknown, drop in silence */
    put(&packet, payload, sizeof payload);
    CHECK(next_frame() == NULL);
    payload[10] = 0x1e;
    payload[11] = 5; /* longer than its header */
    put(&packet, payload, sizeof payload);
    payload[11] = 4;
    payload[9] = 200; /* longer than the packet */
    put(&packet, payload, sizeof payload);
    CHECK_EQ(stack_counters(s.stack)->ipv6_malformed, 2);
    CHECK(next_frame() == NULL);
    stop();
}

TEST(discovery_from_afar_is_dropped)
{
    uint8_t message[32] = {ICMP6_NEIGHBOUR_SOLICITATION, [24] = ND_OPTION_SOURCE, [25] = 1};
    struct packet packet = {peer, own, PROTOCOL_ICMP6, 254, 2};

    start(STACK_IPV6_STATIC);
    settle_addresses();
    memcpy(message + 8, &own, 16);
    put(&packet, message, sizeof message);
    packet.hops = 255;
    message[25] = 0; /* an option without length */
    put(&packet, message, sizeof message);
    message[25] = 2; /* longer than the message */
    put(&packet, message, sizeof message);
    put(&packet, message, 20);
    CHECK_EQ(stack_counters(s.stack)->icmp6_malformed, 4);
    CHECK(next_frame() == NULL);
    stop();
}

static uint64_t draw(uint64_t below)
{
    return wire_random(&s.sim->wire) % below;
}

TEST(random_packets)
{
    static const uint8_t protocols[] = {
        PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_ICMP6, PROTOCOL_ICMP6, 0, 43, 44, 60};
    const char *text = getenv("NET_FUZZ_FRAMES");
    uint64_t frames = text != NULL ? strtoull(text, NULL, 0) : 30000u;
    struct ipv6_address any = ipv6_any;
    struct udp_socket *socket;

    start(STACK_IPV6_AUTO);
    s.sim->wire.random =
        getenv("NET_FUZZ_SEED") != NULL ? strtoull(getenv("NET_FUZZ_SEED"), NULL, 0) : 7u;
    settle_addresses();
    CHECK_EQ(udp_bind(s.stack, 7, take_datagram, NULL, &socket), STATUS_OK);
    for (uint64_t i = 0; i < frames; i++) {
        uint8_t payload[1300];
        uint32_t length = (uint32_t)draw(draw(8) == 0 ? 1300 : 80);
        for (uint32_t k = 0; k < length; k++) {
            payload[k] = (uint8_t)(draw(3) == 0 ? 0 : wire_random(&s.sim->wire));
        }
        struct packet packet = {draw(16) == 0 ? any : peer, STACK_LINK_LOCAL, protocols[draw(8)],
                                draw(2) == 0 ? 64 : 255, 0};
        packet.from.byte[15] = draw(2) == 0 ? 9 : (uint8_t)draw(256);
        packet.to.byte[8] = 0;
        if (draw(4) == 0) {
            packet.to = ipv6_all_nodes;
        } else if (draw(4) == 0) {
            ipv6_solicited_node(&s.stack->v6.own[0].address, &packet.to);
        } else {
            packet.to = s.stack->v6.own[0].address;
        }
        if (packet.protocol == PROTOCOL_ICMP6 && length > 8u && draw(4) != 0) {
            static const uint8_t types[] = {1, 2, 3, 4, 128, 133, 134, 135, 136, 137};
            payload[0] = types[draw(10)];
            payload[1] = draw(8) == 0;
            if (length > 24u) {
                memcpy(payload + 8, draw(2) == 0 ? &s.stack->v6.own[0].address : &packet.from, 16);
                payload[25] = (uint8_t)draw(4);
            }
        }
        if (packet.protocol == PROTOCOL_UDP && length > 8u) {
            store_be32(payload, 0x12340007u);
            store_be16(payload + 4, (uint16_t)length);
        }
        packet.field = packet.protocol == PROTOCOL_TCP   ? 16u
                       : packet.protocol == PROTOCOL_UDP ? 6u
                                                         : 2u;
        packet.field =
            length > packet.field + 2u && protocols[0] != 0 && draw(16) != 0 ? packet.field : 0;
        uint64_t before_frames = s.sent_frames;
        uint64_t before_bytes = s.sent_bytes;
        put(&packet, payload, length);
        /* One question about the sender may come with the answer; ages-old packets wait no more. */
        CHECK(s.sent_frames - before_frames <= 2u + ND_PENDING_MAX);
        CHECK(s.sent_bytes - before_bytes <= 8u * (54u + length + 100u));
        s.count = 0;
        if (draw(64) == 0) {
            sim_run(s.sim, draw(3u * NS_PER_S));
        }
    }
    sim_run(s.sim, 10000u * NS_PER_S);
    CHECK_EQ(sim_buffers_used(s.sim, 0), 0);
    sim_destroy(s.sim);
}
