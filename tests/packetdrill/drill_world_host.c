// SPDX-License-Identifier: MIT OR Apache-2.0
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/packetdrill/drill_host.h"

#define PATIENCE_NS (600ull * NS_PER_S)
#define SETTLE_NS (5ull * NS_PER_S) /* duplicate address detection */

_Noreturn void assertion_failed(const char *expression, const char *file, int line)
{
    fprintf(stderr, "%s:%d: %s\n", file, line, expression);
    abort();
}

static const uint8_t *gateway_mac(const struct drill *drill)
{
    return drill->sim->wire.end[1].dev.mac;
}

static const uint8_t *our_mac(const struct drill *drill)
{
    return drill->sim->wire.end[0].dev.mac;
}

/* ---- The neighbour ----------------------------------------------------------------------------
 */

/* Every IPv4 address but ours is the gateway. */
static void answer_arp(struct drill *drill, const uint8_t *request)
{
    uint8_t frame[60] = {0};

    ethernet_write(frame, our_mac(drill), gateway_mac(drill), ETHERTYPE_ARP);
    memcpy(frame + 14, "\x00\x01\x08\x00\x06\x04\x00\x02", 8);
    memcpy(frame + 22, gateway_mac(drill), 6);
    memcpy(frame + 28, request + 38, 4);
    memcpy(frame + 32, our_mac(drill), 6);
    memcpy(frame + 38, request + 28, 4);
    wire_inject(&drill->sim->wire, 0, frame, sizeof frame);
}

static uint16_t sum16(const uint8_t *at, size_t length, uint32_t sum)
{
    for (size_t i = 0; i < length; i++) {
        sum += (uint32_t)at[i] << (i % 2u == 0 ? 8u : 0u);
    }
    sum = (sum & 0xffffu) + (sum >> 16);
    sum = (sum & 0xffffu) + (sum >> 16);
    return (uint16_t)~sum;
}

/* A neighbour advertisement (RFC 4861, 4.4) for whatever is asked for. */
static void answer_neighbour(struct drill *drill, const uint8_t *asked)
{
    uint8_t frame[14 + 40 + 32] = {0};
    uint8_t *ip = frame + 14;
    uint8_t *icmp = ip + 40;

    ethernet_write(frame, our_mac(drill), gateway_mac(drill), ETHERTYPE_IPV6);
    memcpy(ip, "\x60\x00\x00\x00\x00\x20\x3a\xff", 8);
    memcpy(ip + 8, asked + 14 + 40 + 8, 16);
    memcpy(ip + 24, asked + 14 + 8, 16);
    memcpy(icmp, "\x88\x00\x00\x00\x60", 5);
    memcpy(icmp + 8, asked + 14 + 40 + 8, 16);
    memcpy(icmp + 24, "\x02\x01", 2);
    memcpy(icmp + 26, gateway_mac(drill), 6);
    store_be16(icmp + 2, sum16(ip + 8, 32 + 32, 32u + 58u));
    wire_inject(&drill->sim->wire, 0, frame, sizeof frame);
}

/* Neighbour discovery, and what goes to groups, is not for the tool. */
static bool is_housekeeping(const uint8_t *ip)
{
    static const uint8_t any[16];

    return ip[0] >> 4 == 6 && (ip[24] == 0xff || (ip[6] == 58 && ip[40] >= 133 && ip[40] <= 137) ||
                               memcmp(ip + 8, any, 16) == 0);
}

static bool capture(void *user, unsigned from, uint8_t *data, uint32_t length)
{
    struct drill *drill = user;
    uint16_t type = load_be16(data + 12);

    if (from != 0) {
        return false;
    }
    if (type == ETHERTYPE_ARP) {
        if (load_be16(data + 20) == ARP_REQUEST && load_be32(data + 28) != 0 &&
            load_be32(data + 28) != load_be32(data + 38)) {
            answer_arp(drill, data);
        }
        return false;
    }
    const uint8_t *ip = data + 14;
    if (type == ETHERTYPE_IPV6 && is_housekeeping(ip)) {
        static const uint8_t any[16];
        if (ip[6] == 58 && ip[40] == 135 && memcmp(ip + 8, any, 16) != 0) {
            answer_neighbour(drill, data);
        }
        return false;
    }
    VERIFY(drill->packet_count < DRILL_PACKETS);
    struct drill_packet *packet =
        &drill->packets[(drill->packet_first + drill->packet_count++) % DRILL_PACKETS];
    /* Short frames are filled up to Ethernet's least size; the packet says its own length. */
    uint32_t bytes = type == ETHERTYPE_IPV6 ? 40u + load_be16(ip + 4) : load_be16(ip + 2);
    VERIFY(bytes <= length - 14u);
    packet->at_ns = drill->sim->now;
    packet->length = bytes;
    memcpy(packet->data, ip, bytes);
    return false;
}

/* ---- Time and packets -------------------------------------------------------------------------
 */

void drill_settle(struct drill *drill)
{
    stack_flush(drill->stack);
    sim_settle(drill->sim);
    pthread_cond_broadcast(&drill->changed);
}

void drill_pass(struct drill *drill, time_ns_t ns)
{
    sim_run(drill->sim, ns);
    drill_settle(drill);
}

bool drill_inject(struct drill *drill, const void *packet, size_t length)
{
    const uint8_t *ip = packet;
    uint8_t frame[WIRE_FRAME_BYTES];

    if (length < 20 || length > sizeof frame - 14u || (ip[0] >> 4 != 4 && ip[0] >> 4 != 6)) {
        return false;
    }
    ethernet_write(frame, our_mac(drill), gateway_mac(drill),
                   ip[0] >> 4 == 4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6);
    memcpy(frame + 14, packet, length);
    wire_inject(&drill->sim->wire, 0, frame, (uint32_t)length + 14u);
    drill_settle(drill);
    return true;
}

const struct drill_packet *drill_next_packet(struct drill *drill)
{
    time_ns_t until = drill->sim->now + PATIENCE_NS;

    while (drill->packet_count == 0 && sim_step(drill->sim, until)) {
    }
    pthread_cond_broadcast(&drill->changed);
    if (drill->packet_count == 0) {
        return NULL;
    }
    const struct drill_packet *packet = &drill->packets[drill->packet_first];
    drill->packet_first = (drill->packet_first + 1u) % DRILL_PACKETS;
    drill->packet_count--;
    return packet;
}

/* ---- Set-up -----------------------------------------------------------------------------------
 */

static _Noreturn void usage(const char *what)
{
    fprintf(stderr, "so_flags: what is \"%s\"?\n", what);
    exit(2);
}

static ipv4_t parse_ipv4(const char *text)
{
    struct in_addr address;

    if (inet_pton(AF_INET, text, &address) != 1) {
        usage(text);
    }
    return ntohl(address.s_addr);
}

static struct ipv6_address parse_ipv6(const char *text)
{
    struct ipv6_address address;

    if (ipv6_parse(text, &address, NULL) != STATUS_OK) {
        usage(text);
    }
    return address;
}

static void set_flag(struct stack_config *config, const char *key, const char *value)
{
    uint32_t number = (uint32_t)strtoul(value, NULL, 0);

    if (strcmp(key, "address") == 0) {
        config->address = parse_ipv4(value);
    } else if (strcmp(key, "prefix") == 0) {
        config->prefix_bits = number;
    } else if (strcmp(key, "gateway") == 0) {
        config->gateway = parse_ipv4(value);
    } else if (strcmp(key, "address6") == 0) {
        config->address6 = parse_ipv6(value);
    } else if (strcmp(key, "prefix6") == 0) {
        config->prefix6_bits = number;
    } else if (strcmp(key, "gateway6") == 0) {
        config->gateway6 = parse_ipv6(value);
    } else if (strcmp(key, "receive_window") == 0) {
        config->receive_window_bytes = number;
    } else if (strcmp(key, "send_queue") == 0) {
        config->send_queue_bytes = number;
    } else if (strcmp(key, "ecn") == 0) {
        config->ecn = number != 0;
    } else if (strcmp(key, "newreno") == 0) {
        config->congestion = number != 0 ? STACK_NEWRENO : STACK_CUBIC;
    } else {
        usage(key);
    }
}

static void set_flags(struct stack_config *config, const char *flags)
{
    char text[512];
    char *rest = NULL;

    snprintf(text, sizeof text, "%s", flags != NULL ? flags : "");
    for (char *item = strtok_r(text, ",", &rest); item != NULL; item = strtok_r(NULL, ",", &rest)) {
        char *value = strchr(item, '=');
        if (value == NULL) {
            usage(item);
        }
        *value = 0;
        set_flag(config, item, value + 1);
    }
}

struct drill *drill_create(const char *flags)
{
    struct drill *drill = calloc(1, sizeof *drill);
    struct sim_config config = {.seed = 3};

    VERIFY(drill != NULL);
    config.stack[0] = (struct stack_config){
        .address = IPV4(192, 168, 0, 1),
        .prefix_bits = 16,
        .gateway = IPV4(192, 168, 0, 2),
        .ipv6_mode = STACK_IPV6_STATIC,
        .address6 = parse_ipv6("fd3d:fa7b:d17d::1"),
        .prefix6_bits = 48,
        .gateway6 = parse_ipv6("fd3d:fa7b:d17d:8888::2"),
    };
    set_flags(&config.stack[0], flags);
    pthread_mutex_init(&drill->lock, NULL);
    pthread_cond_init(&drill->changed, NULL);
    drill->sim = sim_create(&config);
    drill->stack = drill->sim->stack[0];
    drill->sim->wire.tap = capture;
    drill->sim->wire.tap_user = drill;
    drill_pass(drill, SETTLE_NS);
    drill->packet_count = 0;
    return drill;
}

void drill_destroy(struct drill *drill)
{
    sim_destroy(drill->sim);
    pthread_cond_destroy(&drill->changed);
    pthread_mutex_destroy(&drill->lock);
    for (uint32_t i = 0; i < DRILL_SOCKETS; i++) {
        free(drill->descriptors[i]);
    }
    free(drill);
}
