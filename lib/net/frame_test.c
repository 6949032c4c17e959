// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Hostile frames: every truncation and bad field of every header, then random frames, some of them
 * made from valid ones with repaired checksums. NET_FUZZ_FRAMES sets how many (default 100,000),
 * NET_FUZZ_SEED the seed.
 */
#include "lib/net/script_fake.h"
#include "tests/check.h"

#include <stdlib.h>

static struct script s;

static uint64_t environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text != NULL ? strtoull(text, NULL, 0) : otherwise;
}

static void take_datagram(struct udp_socket *socket, void *user,
                          const struct udp_datagram *datagram)
{
    uint8_t sum = 0;

    for (uint32_t i = 0; i < datagram->length; i++) {
        sum ^= datagram->data[i];
    }
    *(uint8_t *)user ^= sum;
    (void)udp_send(socket, datagram->source, datagram->source_port, datagram->data,
                   datagram->length);
}

/* A frame of this protocol to the stack, with a right IPv4 header and `length` bytes of payload. */
static uint32_t make_frame(uint8_t *frame, uint8_t protocol, const void *payload, uint32_t length)
{
    struct ipv4_header header = {.source = SIM_ADDRESS(1),
                                 .destination = SIM_ADDRESS(0),
                                 .total_length = length + IPV4_BYTES,
                                 .protocol = protocol};

    ethernet_write(frame, s.sim->wire.end[0].dev.mac, s.sim->wire.end[1].dev.mac, ETHERTYPE_IPV4);
    ipv4_write(frame + 14, &header);
    memcpy(frame + 34, payload, length);
    return length + 34u;
}

static void put(const void *frame, uint32_t length)
{
    wire_inject(&s.sim->wire, 0, frame, length);
    sim_settle(s.sim);
    s.count = 0;
}

/* Sets the TCP, UDP or ICMP checksum and the IPv4 one right, as far as the lengths allow. */
static void repair(uint8_t *frame, uint32_t length)
{
    uint8_t *ip = frame + 14;

    if (length < 34u || load_be16(frame + 12) != ETHERTYPE_IPV4) {
        return;
    }
    uint32_t header = (ip[0] & 15u) * 4u;
    uint32_t total = load_be16(ip + 2);
    if (header < 20u || total < header || total > length - 14u) {
        return;
    }
    store_native16(ip + 10, 0);
    store_native16(ip + 10, checksum_finish(checksum_add(0, ip, header)));
    uint8_t *at = ip + header;
    uint32_t bytes = total - header;
    uint32_t field = ip[9] == PROTOCOL_TCP ? 16u : ip[9] == PROTOCOL_UDP ? 6u : 2u;
    if (bytes < field + 2u) {
        return;
    }
    uint64_t sum = ip[9] == PROTOCOL_ICMP
                       ? 0
                       : pseudo_header_sum(load_be32(ip + 12), load_be32(ip + 16), ip[9], bytes);
    store_native16(at + field, 0);
    store_native16(at + field, checksum_finish(checksum_add(sum, at, bytes)));
}

static void make_tcp(uint8_t *at, uint32_t options, uint32_t length)
{
    memset(at, 0, TCP_BYTES + options + length);
    store_be16(at, s.peer_port);
    store_be16(at + 2, s.stack_port);
    store_be32(at + 4, s.seq);
    store_be32(at + 8, s.ack);
    at[12] = (uint8_t)((TCP_BYTES + options) << 2);
    at[13] = TCP_ACK;
    store_be16(at + 14, 1000);
}

TEST(truncated_frames_are_dropped)
{
    uint8_t payload[200] = {0};
    uint8_t frame[300];
    static const uint8_t protocols[] = {PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_ICMP};

    script_start(&s, NULL);
    script_handshake(&s);
    for (unsigned p = 0; p < 3; p++) {
        make_tcp(payload, 12, 30);
        uint32_t length = make_frame(frame, protocols[p], payload, 62);
        repair(frame, length);
        for (uint32_t cut = 0; cut < length; cut++) {
            put(frame, cut);
        }
    }
    const struct stack_counters *counters = stack_counters(s.stack);
    CHECK_EQ(counters->ethernet_dropped, 14 * 3);
    CHECK_EQ(counters->ipv4_malformed, (20 + 62) * 3);
    CHECK_EQ(counters->ipv4_in, 1 + 1); /* the handshake */
    CHECK_EQ(s.received, 0);
    tcp_abort(s.c);
    sim_run(s.sim, 100u * NS_PER_S);
    CHECK_EQ(sim_buffers_used(s.sim, 0), 0);
    script_stop(&s);
}

TEST(wrong_ipv4_fields_are_counted)
{
    const struct stack_counters *counters;
    uint8_t payload[40] = {0};
    uint8_t good[100];
    uint8_t frame[100];

    script_start(&s, NULL);
    counters = stack_counters(s.stack);
    uint32_t length = make_frame(good, 99, payload, 40);
    memcpy(frame, good, length);
    frame[14] = 0x65; /* version 6 */
    put(frame, length);
    memcpy(frame, good, length);
    frame[14] = 0x44; /* header of 16 bytes */
    put(frame, length);
    memcpy(frame, good, length);
    frame[14] = 0x4f; /* header of 60 bytes, with a wrong checksum */
    put(frame, length);
    CHECK_EQ(counters->ipv4_malformed, 2);
    CHECK_EQ(counters->ipv4_bad_checksum, 1);
    memcpy(frame, good, length);
    store_be16(frame + 16, 61); /* longer than the frame */
    put(frame, length);
    memcpy(frame, good, length);
    store_be16(frame + 16, 19);
    put(frame, length);
    CHECK_EQ(counters->ipv4_malformed, 4);
    memcpy(frame, good, length);
    frame[20] = 0x20; /* more fragments */
    repair(frame, length);
    put(frame, length);
    CHECK_EQ(counters->ipv4_fragments, 1);
    memcpy(frame, good, length);
    frame[26] = 224; /* from a multicast group */
    repair(frame, length);
    put(frame, length);
    CHECK_EQ(counters->ipv4_malformed, 5);
    memcpy(frame, good, length);
    store_be32(frame + 26, SIM_ADDRESS(0)); /* from ourselves */
    repair(frame, length);
    put(frame, length);
    CHECK_EQ(counters->ipv4_malformed, 6);
    memcpy(frame, good, length);
    frame[33] = 99;
    repair(frame, length);
    put(frame, length);
    CHECK_EQ(counters->ipv4_not_ours, 1);
    put(good, length);
    CHECK_EQ(counters->ipv4_unknown_protocol, 1);
    CHECK_EQ(counters->icmp_errors_out, 1);
    CHECK_EQ(counters->ipv4_in, 1);
    script_stop(&s);
}

TEST(wrong_tcp_fields_are_counted)
{
    static const uint8_t bad_options[][12] = {
        {2, 0},                               /* no length */
        {2, 1},                               /* shorter than itself */
        {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2}, /* no room for the length */
        {2, 40},                              /* longer than the header */
        {2, 3, 0},                            /* MSS of a wrong size */
        {3, 4, 0, 0},
        {8, 9, 0, 0, 0, 0, 0, 0, 0},
        {5, 9, 0, 0, 0, 0, 0, 0, 0},
        {5, 2},
        {4, 3, 0},
    };
    const struct stack_counters *counters;
    uint8_t payload[100];
    uint8_t frame[200];
    uint32_t length;

    script_start(&s, NULL);
    script_handshake(&s);
    counters = stack_counters(s.stack);
    for (unsigned i = 0; i < sizeof bad_options / sizeof bad_options[0]; i++) {
        make_tcp(payload, 12, 10);
        memcpy(payload + TCP_BYTES, bad_options[i], 12);
        length = make_frame(frame, PROTOCOL_TCP, payload, 42);
        repair(frame, length);
        put(frame, length);
        CHECK_EQ(counters->tcp_malformed, i + 1u);
    }
    make_tcp(payload, 0, 10);
    payload[12] = 0x40; /* header of 16 bytes */
    length = make_frame(frame, PROTOCOL_TCP, payload, 30);
    repair(frame, length);
    put(frame, length);
    payload[12] = 0xf0; /* of 60 */
    length = make_frame(frame, PROTOCOL_TCP, payload, 30);
    repair(frame, length);
    put(frame, length);
    CHECK_EQ(counters->tcp_malformed, 12);
    payload[12] = 0x50;
    length = make_frame(frame, PROTOCOL_TCP, payload, 30);
    repair(frame, length);
    frame[60] ^= 1;
    put(frame, length);
    CHECK_EQ(counters->tcp_bad_checksum, 1);
    CHECK_EQ(s.received, 0);
    frame[60] ^= 1;
    put(frame, length);
    CHECK_EQ(s.received, 10);
    tcp_abort(s.c);
    script_stop(&s);
}

TEST(wrong_udp_fields_are_counted)
{
    const struct stack_counters *counters;
    struct udp_socket *socket;
    uint8_t sum = 0;
    uint8_t payload[20] = {0, 9, 0, 7};
    uint8_t frame[100];

    script_start(&s, NULL);
    counters = stack_counters(s.stack);
    CHECK_EQ(udp_bind(s.stack, 7, take_datagram, &sum, &socket), STATUS_OK);
    static const uint16_t lengths[] = {0, 7, 21, 0xffff};
    for (unsigned i = 0; i < 4; i++) {
        store_be16(payload + 4, lengths[i]);
        put(frame, make_frame(frame, PROTOCOL_UDP, payload, 20));
        CHECK_EQ(counters->udp_malformed, i + 1u);
    }
    store_be16(payload + 4, 20);
    store_be16(payload + 6, 0x1234);
    put(frame, make_frame(frame, PROTOCOL_UDP, payload, 20));
    CHECK_EQ(counters->udp_malformed, 5);
    store_be16(payload + 6, 0); /* no checksum */
    put(frame, make_frame(frame, PROTOCOL_UDP, payload, 20));
    CHECK_EQ(counters->udp_in, 1);
    script_stop(&s);
}

/* ---- Random ----------------------------------------------------------------------------------*/

static uint64_t draw(uint64_t below)
{
    return wire_random(&s.sim->wire) % below;
}

/* A plausible TCP segment around the connection's state, options included. */
static uint32_t random_tcp(uint8_t *frame)
{
    uint8_t payload[1400];
    uint32_t options = 4u * (uint32_t)draw(11);
    uint32_t length = draw(3) == 0 ? (uint32_t)draw(1300) : (uint32_t)draw(3);
    struct tcp_info info = {0};

    s.peer_port = (uint16_t)(40000u + draw(4));
    make_tcp(payload, options, length);
    if (s.c != NULL) {
        tcp_info(s.c, &info);
        store_be16(payload, info.remote_port);
        uint32_t next = s.c->rcv_nxt + (draw(2) == 0 ? 0 : (uint32_t)draw(3000) - 1500u);
        store_be32(payload + 4, next);
        store_be32(payload + 8, s.c->snd_una + (draw(2) == 0 ? 0 : (uint32_t)draw(300) - 20u));
    }
    payload[13] = draw(3) == 0 ? (uint8_t)draw(64) : (uint8_t)(draw(8) == 0 ? TCP_SYN : TCP_ACK);
    store_be16(payload + 14, (uint16_t)wire_random(&s.sim->wire));
    for (uint32_t i = 0; i < options; i++) {
        static const uint8_t kinds[] = {0, 1, 1, 1, 2, 3, 4, 5, 8, 10, 18, 2, 4, 3};
        payload[TCP_BYTES + i] = kinds[draw(sizeof kinds)];
    }
    return make_frame(frame, PROTOCOL_TCP, payload, TCP_BYTES + options + length);
}

static uint32_t random_frame(uint8_t *frame)
{
    static const uint8_t protocols[] = {PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_ICMP, 47};
    uint8_t payload[1400];
    uint32_t length = (uint32_t)draw(draw(4) == 0 ? 1400 : 60);

    for (uint32_t i = 0; i < length; i++) {
        payload[i] = (uint8_t)wire_random(&s.sim->wire);
    }
    switch (draw(8)) {
    case 0: /* nothing but noise */
        memcpy(frame + 14, payload, length);
        ethernet_write(frame, s.sim->wire.end[0].dev.mac, payload,
                       draw(2) == 0 ? ETHERTYPE_ARP : ETHERTYPE_IPV4);
        return 14u + length;
    case 1:
        memcpy(frame + 14, payload, 28);
        ethernet_write(frame, s.sim->wire.end[0].dev.mac, s.sim->wire.end[1].dev.mac,
                       ETHERTYPE_ARP);
        memcpy(frame + 14, "\x00\x01\x08\x00\x06\x04\x00", 7);
        frame[21] = (uint8_t)draw(3);
        store_be32(frame + 28, IPV4(10, 0, 0, draw(256)));
        store_be32(frame + 38, IPV4(10, 0, 0, draw(4)));
        return 14u + 28u + length;
    case 2:
        store_be16(payload + 2, 7);
        store_be16(payload + 4, (uint16_t)draw(length + 2u));
        return make_frame(frame, protocols[draw(4)], payload, length);
    default:
        return random_tcp(frame);
    }
}

/* Opens a connection for the noise to work on. */
static void try_handshake(void)
{
    static const uint8_t offers[] = {2, 4, 2, 0, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 5};
    struct tcp_segment segment;

    sim_settle(s.sim);
    s.count = 0;
    s.peer_port = (uint16_t)(41000u + draw(20000));
    s.seq = (uint32_t)wire_random(&s.sim->wire);
    s.consume = 0xffffffffu;
    s.options = offers;
    s.option_bytes = draw(2) == 0 ? 0 : 4u * (uint32_t)draw(6);
    script_send(&s, TCP_SYN, 0);
    s.option_bytes = 0;
    if (script_expect(&s, &segment)) {
        s.seq++;
        s.ack = segment.sequence + 1u;
        script_send(&s, TCP_ACK, 0);
    }
}

static void work_the_application(void)
{
    static const uint8_t data[5000];

    if (s.c == NULL) {
        try_handshake();
        return;
    }
    switch (draw(40)) {
    case 0:
        tcp_close(s.c);
        s.c = NULL;
        break;
    case 1:
        tcp_abort(s.c);
        s.c = NULL;
        break;
    case 2:
        tcp_shutdown(s.c);
        break;
    case 3:
        s.consume = (uint32_t)draw(5000);
        break;
    case 4:
    case 5:
        s.consume = 0xffffffffu;
        tcp_receive_resume(s.c);
        break;
    default:
        (void)tcp_send(s.c, data, (uint32_t)draw(draw(8) == 0 ? sizeof data : 20));
        break;
    }
}

TEST(random_frames)
{
    uint64_t frames = environment("NET_FUZZ_FRAMES", 100000);
    struct udp_socket *socket;
    uint8_t sum = 0;
    uint8_t frame[WIRE_FRAME_BYTES];

    script_start(&s, NULL);
    s.sim->wire.random = environment("NET_FUZZ_SEED", 42);
    CHECK_EQ(udp_bind(s.stack, 7, take_datagram, &sum, &socket), STATUS_OK);
    for (uint64_t i = 0; i < frames; i++) {
        uint32_t length = random_frame(frame);
        if (draw(8) == 0 && length > 14u) {
            frame[14u + draw(length - 14u)] = (uint8_t)wire_random(&s.sim->wire);
        }
        if (draw(16) == 0) {
            length = (uint32_t)draw(length + 1u);
        }
        if (draw(32) != 0) {
            repair(frame, length);
        }
        wire_inject(&s.sim->wire, 0, frame, length);
        work_the_application();
        if (draw(4) == 0) {
            sim_settle(s.sim);
            s.count = 0;
        }
        if (draw(64) == 0) {
            sim_run(s.sim, draw(NS_PER_S));
            s.count = 0;
        }
        if (draw(2048) == 0) {
            sim_run(s.sim, draw(100u * NS_PER_S));
            s.count = 0;
        }
    }
    const struct stack_counters *counters = stack_counters(s.stack);
    CHECK(counters->tcp_accepted > frames / 1000u);
    CHECK(s.received > frames / 2u);
    if (s.c != NULL) {
        tcp_abort(s.c);
    }
    /* Connections accepted behind s.c's back were never let go: end them with the address. */
    struct interface_address none = {.address = IPV4_ANY};
    stack_set_address(s.stack, &none);
    sim_run(s.sim, 1000u * NS_PER_S);
    CHECK_EQ(stack_connections(s.stack), 0);
    CHECK_EQ(sim_buffers_used(s.sim, 0), 0);
    script_stop(&s);
}
