// SPDX-License-Identifier: MIT OR Apache-2.0
/* Received checksums that the device has looked at, or that were left open on the same machine. */
#include "lib/net/sim_fake.h"
#include "tests/check.h"

#define DATA_MAX 1472u

struct ends {
    struct sim *sim;
    struct udp_socket *server, *client;
    unsigned count; /* datagrams that came back */
    uint32_t length;
    uint8_t data[DATA_MAX];
};

/* Back from the same buffer, with the sum that came with it. */
static void echo(struct udp_socket *socket, void *user, const struct udp_datagram *datagram)
{
    struct ends *ends = user;
    struct udp_send_request request = {.address = datagram->source,
                                       .v6 = datagram->v6,
                                       .port = datagram->source_port,
                                       .buffer = datagram->buffer,
                                       .offset = datagram->offset,
                                       .length = datagram->length,
                                       .data_sum = datagram->data_sum};

    netbuf_hold(&ends->sim->pool[1], datagram->buffer);
    CHECK_EQ(udp_send_buffer(socket, &request), STATUS_OK);
}

static void take(struct udp_socket *socket, void *user, const struct udp_datagram *datagram)
{
    struct ends *ends = user;

    (void)socket;
    ends->count++;
    ends->length = datagram->length;
    memcpy(ends->data, datagram->data, datagram->length);
}

static void open_ends(struct ends *ends, enum wire_sums sums)
{
    struct sim_config config = {.seed = 5, .sums = {WIRE_SUMS_NONE, sums}};

    *ends = (struct ends){.sim = sim_create(&config)};
    CHECK_EQ(udp_bind(ends->sim->stack[1], 7, echo, ends, &ends->server), STATUS_OK);
    CHECK_EQ(udp_bind(ends->sim->stack[0], 0, take, ends, &ends->client), STATUS_OK);
}

static void close_ends(struct ends *ends)
{
    CHECK_EQ(sim_buffers_used(ends->sim, 0), 0);
    CHECK_EQ(sim_buffers_used(ends->sim, 1), 0);
    sim_destroy(ends->sim);
}

/* The answer's checksum is looked at by the other end: what was spared here is right all the same.
 */
TEST(answers_carry_right_sums)
{
    for (enum wire_sums sums = WIRE_SUMS_NONE; sums <= WIRE_SUMS_OPEN; sums++) {
        struct ends ends;
        uint8_t data[DATA_MAX];
        unsigned sent = 0;

        open_ends(&ends, sums);
        for (uint32_t i = 0; i < sizeof data; i++) {
            data[i] = (uint8_t)(i * 7u + i / 256u);
        }
        for (uint32_t length = 0; length <= sizeof data; length += length < 20u ? 1u : 91u) {
            for (unsigned kind = 0; kind < 3; kind++) { /* zeroes and ones, too */
                memset(data, kind == 1 ? 0 : 0xff, kind == 0 ? 0 : length);
                CHECK_EQ(udp_send(ends.client, SIM_ADDRESS(1), 7, data, length), STATUS_OK);
                sim_run(ends.sim, 10u * NS_PER_MS);
                CHECK_EQ(ends.count, ++sent);
                CHECK_EQ(ends.length, length);
                CHECK_EQ(memcmp(ends.data, data, length), 0);
            }
        }
        close_ends(&ends);
    }
}

/* Changes a byte of the datagrams that go to the server. */
static bool spoil(void *user, unsigned from, uint8_t *data, uint32_t length)
{
    const uint32_t *at = user;

    if (from == 0 && length > *at && load_be16(data + 12) == ETHERTYPE_IPV4) {
        data[*at] ^= 0x10u;
    }
    return true;
}

/* A sum that the device has not found right is looked at here; one that it has is not, by the short
 * way nor the general one. A wrong datagram comes back as wrong as it was: its sum is not made
 * good. IPv4's header is always looked at. */
TEST(only_the_devices_word_spares_the_sum)
{
    for (enum wire_sums sums = WIRE_SUMS_NONE; sums <= WIRE_SUMS_OPEN; sums++) {
        struct ends ends;
        uint32_t at = ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES + 5u;
        uint8_t data[64] = {1, 2, 3};

        open_ends(&ends, sums);
        const struct stack_counters *server = stack_counters(ends.sim->stack[1]);
        const struct stack_counters *client = stack_counters(ends.sim->stack[0]);
        CHECK_EQ(udp_send(ends.client, SIM_ADDRESS(1), 7, data, sizeof data), STATUS_OK);
        sim_run(ends.sim, 10u * NS_PER_MS);
        CHECK_EQ(ends.count, 1);
        ends.sim->wire.tap = spoil;
        ends.sim->wire.tap_user = &at;
        CHECK_EQ(udp_send(ends.client, SIM_ADDRESS(1), 7, data, sizeof data), STATUS_OK);
        sim_run(ends.sim, 10u * NS_PER_MS);
        CHECK_EQ(ends.count, 1);
        CHECK_EQ(server->udp_malformed, sums != WIRE_SUMS_CLAIMED);
        CHECK_EQ(client->udp_malformed, sums == WIRE_SUMS_CLAIMED);
        at = ETHERNET_BYTES + 8u; /* hops */
        CHECK_EQ(udp_send(ends.client, SIM_ADDRESS(1), 7, data, sizeof data), STATUS_OK);
        sim_run(ends.sim, 10u * NS_PER_MS);
        CHECK_EQ(ends.count, 1);
        CHECK_EQ(server->ipv4_bad_checksum, 1);
        close_ends(&ends);
    }
}

/* IPv6 asks for a checksum: none is no claim that can be believed. */
TEST(a_datagram_without_a_sum_is_no_ipv6_datagram)
{
    struct ends ends;
    uint8_t frame[ETHERNET_BYTES + IPV6_BYTES + UDP_BYTES] = {0};
    uint8_t *ip = frame + ETHERNET_BYTES;
    struct sim_config config = {.seed = 5, .sums = {WIRE_SUMS_NONE, WIRE_SUMS_CLAIMED}};
    struct ipv6_ends addresses = {SIM_ADDRESS6(0), SIM_ADDRESS6(1)};

    config.stack[0].ipv6_mode = config.stack[1].ipv6_mode = STACK_IPV6_STATIC;
    ends = (struct ends){.sim = sim_create(&config)};
    CHECK_EQ(udp_bind(ends.sim->stack[1], 7, echo, &ends, &ends.server), STATUS_OK);
    sim_run(ends.sim, 3u * NS_PER_S);
    memcpy(frame, ends.sim->wire.end[1].dev.mac, 6);
    store_be16(frame + 12, ETHERTYPE_IPV6);
    ip[0] = 0x60;
    store_be16(ip + 4, UDP_BYTES);
    ip[6] = PROTOCOL_UDP;
    ip[7] = 64;
    memcpy(ip + 8, &addresses, sizeof addresses);
    store_be16(ip + IPV6_BYTES, 1000);
    store_be16(ip + IPV6_BYTES + 2, 7);
    store_be16(ip + IPV6_BYTES + 4, UDP_BYTES);
    const struct stack_counters *counters = stack_counters(ends.sim->stack[1]);
    for (uint32_t sum = 0; sum < 2; sum++) {
        store_be16(ip + IPV6_BYTES + 6, (uint16_t)sum);
        wire_inject(&ends.sim->wire, 1, frame, sizeof frame);
        sim_run(ends.sim, 10u * NS_PER_MS);
        CHECK_EQ(counters->udp_in, sum);
        CHECK_EQ(counters->udp_malformed, 1);
    }
    sim_destroy(ends.sim);
}
