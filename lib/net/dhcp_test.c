// SPDX-License-Identifier: MIT OR Apache-2.0
/* The DHCP client against a server that the test plays, friendly and hostile. */
#include "lib/net/sim_fake.h"
#include "tests/check.h"

#define OFFERED IPV4(10, 0, 0, 50)
#define SERVER SIM_ADDRESS(1)

enum mood {
    FRIENDLY,
    SILENT,
    REFUSING, /* NAK to every request */
    GARBAGE,  /* random options */
    WRONG_XID,
    OTHER_MAC,
    BAD_MASK,
    BAD_ADDRESS,
    NO_LEASE,
    BAD_GATEWAY,
    TRUNCATED,
};

struct server {
    struct sim *sim;
    struct udp_socket *socket;
    enum mood mood;
    unsigned discovers, requests, declines, changes;
    uint32_t lease_s;
    bool last_was_unicast;
    bool address_taken; /* somebody answers ARP for OFFERED */
};

static uint8_t message_type(const uint8_t *data, uint32_t length)
{
    /* The client puts it first. */
    return length > 242u && data[240] == 53u ? data[242] : 0;
}

static uint8_t *word_option(uint8_t *at, uint8_t option, uint32_t value)
{
    at[0] = option;
    at[1] = 4;
    store_be32(at + 2, value);
    return at + 6;
}

static uint32_t fill_reply(struct server *server, uint8_t *to, const uint8_t *asked, uint8_t type)
{
    uint8_t *at = to + 240;

    memset(to, 0, 400);
    to[0] = 2;
    to[1] = 1;
    to[2] = 6;
    memcpy(to + 4, asked + 4, 4);
    to[4] ^= server->mood == WRONG_XID;
    store_be32(to + 16, server->mood == BAD_ADDRESS ? IPV4(224, 1, 2, 3) : OFFERED);
    memcpy(to + 28, asked + 28, 6);
    to[33] ^= server->mood == OTHER_MAC;
    store_be32(to + 236, 0x63825363);
    at[0] = 53;
    at[1] = 1;
    at[2] = type;
    at += 3;
    at = word_option(at, 54, SERVER);
    at = word_option(at, 1, server->mood == BAD_MASK ? 0xff00ff00u : 0xffffff00u);
    at = word_option(at, 3, server->mood == BAD_GATEWAY ? IPV4(1, 2, 3, 4) : SERVER);
    at = word_option(at, 6, IPV4(10, 0, 0, 3));
    if (server->mood != NO_LEASE) {
        at = word_option(at, 51, server->lease_s);
    }
    if (server->mood == GARBAGE) {
        for (unsigned i = 0; i < 60; i++) {
            to[240u + wire_random(&server->sim->wire) % 100u] =
                (uint8_t)wire_random(&server->sim->wire);
        }
        at += 60;
    }
    *at++ = 255;
    return server->mood == TRUNCATED ? 246u + (uint32_t)(wire_random(&server->sim->wire) % 10u)
                                     : (uint32_t)(at - to);
}

/* To the broadcast address, or to the offered one, which the client does not have yet. */
static void reply(struct server *server, const uint8_t *asked, uint8_t type)
{
    struct net_stack *stack = server->sim->stack[1];
    uint8_t data[400];
    uint8_t frame[14 + 28 + 400];
    uint32_t length = fill_reply(server, data, asked, type);
    bool broadcast = server->requests % 2u == 0;

    ethernet_write(frame, server->sim->wire.end[0].dev.mac, stack->dev->mac, ETHERTYPE_IPV4);
    struct ipv4_header header = {.source = SERVER,
                                 .destination = broadcast ? IPV4_BROADCAST : OFFERED,
                                 .total_length = length + 28u,
                                 .protocol = PROTOCOL_UDP};
    ipv4_write(frame + 14, &header);
    store_be16(frame + 34, 67);
    store_be16(frame + 36, 68);
    store_be16(frame + 38, (uint16_t)(length + 8u));
    store_be16(frame + 40, 0);
    memcpy(frame + 42, data, length);
    wire_inject(&server->sim->wire, 0, frame, length + 42u);
}

static void take_request(struct udp_socket *socket, void *user, const struct udp_datagram *datagram)
{
    struct server *server = user;
    uint8_t type = message_type(datagram->data, datagram->length);

    (void)socket;
    CHECK_EQ(datagram->source_port, 68);
    CHECK(datagram->length >= 300);
    server->discovers += type == 1u;
    server->requests += type == 3u;
    server->declines += type == 4u;
    server->last_was_unicast = datagram->destination == SERVER;
    if (server->mood == SILENT) {
        return;
    }
    if (type == 1u) {
        reply(server, datagram->data, 2);
    } else if (type == 3u) {
        reply(server, datagram->data, server->mood == REFUSING ? 6 : 5);
    }
}

static bool answer_arp(void *user, unsigned from, uint8_t *data, uint32_t length)
{
    struct server *server = user;
    uint8_t answer[60] = {0};

    /* A broadcast datagram from 0.0.0.0 is not for an ordinary socket: show it to the server. */
    if (from == 0 && length > 42u && data[23] == PROTOCOL_UDP && load_be16(data + 36) == 67u &&
        load_be32(data + 26) == IPV4_ANY) {
        struct udp_datagram datagram = {.source_port = load_be16(data + 34),
                                        .destination = load_be32(data + 30),
                                        .data = data + 42,
                                        .length = length - 42u};
        CHECK_EQ(load_be32(data + 30), IPV4_BROADCAST);
        take_request(NULL, server, &datagram);
        return false;
    }
    if (from == 0 && server->address_taken && load_be16(data + 12) == ETHERTYPE_ARP &&
        load_be32(data + 38) == OFFERED) {
        ethernet_write(answer, data + 6, (const uint8_t *)"\x02zzzzz", ETHERTYPE_ARP);
        memcpy(answer + 14, data + 14, 6);
        store_be16(answer + 20, ARP_REPLY);
        memcpy(answer + 22, "\x02zzzzz", 6);
        store_be32(answer + 28, OFFERED);
        wire_inject(&server->sim->wire, 0, answer, sizeof answer);
    }
    return true;
}

static void count_change(void *user)
{
    ((struct server *)user)->changes++;
}

static void server_start(struct server *server, enum mood mood)
{
    struct sim_config config = {.seed = 11, .dhcp = {true, false}};

    config.stack[0].host_name = "hallows";
    *server = (struct server){.mood = mood, .lease_s = 3600, .sim = sim_create(&config)};
    CHECK_EQ(udp_bind(server->sim->stack[1], 67, take_request, server, &server->socket), STATUS_OK);
    server->sim->wire.tap = answer_arp;
    server->sim->wire.tap_user = server;
    stack_on_interface_change(server->sim->stack[0], count_change, server);
}

static bool configured(struct server *server)
{
    struct stack_interface interface;

    stack_interface(server->sim->stack[0], &interface);
    return interface.configured;
}

TEST(obtains_a_lease)
{
    struct server server;
    struct stack_interface interface;

    server_start(&server, FRIENDLY);
    sim_run(server.sim, NS_PER_S);
    stack_interface(server.sim->stack[0], &interface);
    CHECK(interface.configured);
    CHECK_EQ(interface.address, OFFERED);
    CHECK_EQ(interface.netmask, 0xffffff00);
    CHECK_EQ(interface.gateway, SERVER);
    CHECK_EQ(interface.dns_server, IPV4(10, 0, 0, 3));
    CHECK_EQ(interface.source, STACK_ADDRESS_DHCP);
    CHECK_EQ(server.discovers, 1);
    CHECK_EQ(server.requests, 1);
    CHECK_EQ(server.changes, 1);
    CHECK_EQ(sim_buffers_used(server.sim, 0), 0);
    sim_destroy(server.sim);
}

TEST(renews_by_unicast_and_keeps_the_address)
{
    struct server server;

    server_start(&server, FRIENDLY);
    sim_run(server.sim, 1900u * NS_PER_S);
    CHECK_EQ(server.requests, 2);
    CHECK(server.last_was_unicast);
    sim_run(server.sim, 100000u * NS_PER_S);
    CHECK(configured(&server));
    CHECK_EQ(server.discovers, 1);
    CHECK_EQ(server.changes, 1);
    CHECK(server.requests > 50 && server.requests < 60);
    sim_destroy(server.sim);
}

TEST(rebinds_then_loses_the_lease_when_nobody_answers)
{
    struct server server;

    server_start(&server, FRIENDLY);
    sim_run(server.sim, NS_PER_S);
    CHECK(configured(&server));
    server.mood = SILENT;
    sim_run(server.sim, 3590u * NS_PER_S);
    CHECK(configured(&server));
    CHECK(server.requests >= 6 && server.requests < 20);
    sim_run(server.sim, 20u * NS_PER_S);
    CHECK(!configured(&server));
    CHECK_EQ(server.changes, 2);
    server.mood = FRIENDLY;
    sim_run(server.sim, 100u * NS_PER_S);
    CHECK(configured(&server));
    sim_destroy(server.sim);
}

TEST(backs_off_while_nobody_answers)
{
    struct server server;

    server_start(&server, SILENT);
    sim_run(server.sim, 1000u * NS_PER_S);
    CHECK(server.discovers > 15 && server.discovers < 25);
    CHECK(!configured(&server));
    server.mood = FRIENDLY;
    sim_run(server.sim, 70u * NS_PER_S);
    CHECK(configured(&server));
    sim_destroy(server.sim);
}

TEST(declines_an_address_that_is_taken)
{
    struct server server;

    server_start(&server, FRIENDLY);
    server.address_taken = true;
    sim_run(server.sim, 5u * NS_PER_S);
    CHECK(!configured(&server));
    CHECK_EQ(server.declines, 1);
    server.address_taken = false;
    sim_run(server.sim, 20u * NS_PER_S);
    CHECK(configured(&server));
    CHECK_EQ(server.discovers, 2);
    sim_destroy(server.sim);
}

TEST(starts_again_after_a_refusal)
{
    struct server server;

    server_start(&server, REFUSING);
    sim_run(server.sim, 10u * NS_PER_S);
    CHECK(!configured(&server));
    CHECK(server.discovers >= 4 && server.discovers <= 12);
    server.mood = FRIENDLY;
    sim_run(server.sim, 10u * NS_PER_S);
    CHECK(configured(&server));
    server.mood = REFUSING; /* the renewal too: the address goes at once */
    sim_run(server.sim, 1810u * NS_PER_S);
    CHECK(!configured(&server));
    sim_destroy(server.sim);
}

TEST(hostile_replies_change_nothing)
{
    static const enum mood moods[] = {GARBAGE,     WRONG_XID, OTHER_MAC, BAD_MASK,
                                      BAD_ADDRESS, NO_LEASE,  TRUNCATED};

    for (unsigned i = 0; i < sizeof moods / sizeof moods[0]; i++) {
        struct server server;
        server_start(&server, moods[i]);
        sim_run(server.sim, 300u * NS_PER_S);
        CHECK(moods[i] == GARBAGE || !configured(&server));
        CHECK(stack_counters(server.sim->stack[0])->dhcp_malformed > 0);
        CHECK(server.discovers < 40);
        server.mood = FRIENDLY;
        sim_run(server.sim, 100u * NS_PER_S);
        CHECK(moods[i] == GARBAGE || configured(&server));
        sim_destroy(server.sim);
    }
}

TEST(a_gateway_elsewhere_is_left_out)
{
    struct server server;
    struct stack_interface interface;

    server_start(&server, BAD_GATEWAY);
    server.lease_s = 1; /* as if it were a minute */
    sim_run(server.sim, 5u * NS_PER_S);
    stack_interface(server.sim->stack[0], &interface);
    CHECK(interface.configured);
    CHECK_EQ(interface.gateway, IPV4_ANY);
    sim_run(server.sim, 600u * NS_PER_S);
    CHECK(server.requests < 30);
    sim_destroy(server.sim);
}
