// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * DHCP client (RFC 2131, options of RFC 2132).
 *
 * INIT -> SELECTING (DISCOVER sent) -> REQUESTING (REQUEST sent) -> PROBING (does anyone answer ARP
 * for the address?) -> BOUND -> RENEWING at T1 -> REBINDING at T2 -> INIT when the lease ends.
 * A refusal leads back to INIT from REQUESTING, RENEWING and REBINDING.
 */
#include "lib/net/internal.h"

#define DHCP_FIXED_BYTES 240u /* up to and with the magic cookie */
#define DHCP_MESSAGE_BYTES 320u
#define DHCP_COOKIE 0x63825363u
#define DHCP_BOOTREQUEST 1u
#define DHCP_BOOTREPLY 2u

#define DHCP_DISCOVER 1u
#define DHCP_OFFER 2u
#define DHCP_REQUEST 3u
#define DHCP_DECLINE 4u
#define DHCP_ACK 5u
#define DHCP_NAK 6u

#define OPTION_PAD 0u
#define OPTION_SUBNET_MASK 1u
#define OPTION_ROUTER 3u
#define OPTION_DNS 6u
#define OPTION_HOST_NAME 12u
#define OPTION_REQUESTED_ADDRESS 50u
#define OPTION_LEASE 51u
#define OPTION_MESSAGE_TYPE 53u
#define OPTION_SERVER 54u
#define OPTION_PARAMETERS 55u
#define OPTION_T1 58u
#define OPTION_T2 59u
#define OPTION_END 255u
#define HOST_NAME_MAX_BYTES 63u

#define RETRY_FIRST (2u * NS_PER_S)
#define RETRY_SHIFT_MAX 5u
#define REQUEST_TRIES 4u
#define RENEW_RETRY_MIN (60u * NS_PER_S) /* RFC 2131, 4.4.5 */
#define DECLINE_WAIT (10u * NS_PER_S)    /* RFC 2131, 3.1.5 */
#define PROBES 2u
#define PROBE_INTERVAL (100u * NS_PER_MS)
#define LEASE_MIN_S 60u /* a shorter one would be renewed without end */
#define LEASE_FOREVER 0xffffffffu

struct dhcp_reply {
    ipv4_t address;
    ipv4_t netmask, gateway, dns_server, server;
    uint32_t lease_s, t1_s, t2_s;
    uint8_t type;
};

static bool is_bound(const struct dhcp_client *dhcp)
{
    return dhcp->state >= DHCP_BOUND;
}

/* ---- Sending ---------------------------------------------------------------------------------*/

static uint8_t *put_word(uint8_t *at, uint8_t option, uint32_t value)
{
    at[0] = option;
    at[1] = 4;
    store_be32(at + 2, value);
    return at + 6;
}

static uint8_t *put_common(const struct net_stack *stack, uint8_t *at)
{
    static const uint8_t parameters[] = {OPTION_PARAMETERS, 6,          OPTION_SUBNET_MASK,
                                         OPTION_ROUTER,     OPTION_DNS, OPTION_LEASE,
                                         OPTION_T1,         OPTION_T2};

    memcpy(at, parameters, sizeof parameters);
    at += sizeof parameters;
    if (stack->host_name != NULL) {
        size_t length = strnlen(stack->host_name, HOST_NAME_MAX_BYTES);
        at[0] = OPTION_HOST_NAME;
        at[1] = (uint8_t)length;
        memcpy(at + 2, stack->host_name, length);
        at += length != 0 ? 2u + length : 0;
    }
    return at;
}

static void fill_message(const struct net_stack *stack, uint8_t *at, uint8_t type)
{
    const struct dhcp_client *dhcp = &stack->dhcp;
    uint64_t seconds = (stack->now - dhcp->started) / NS_PER_S;

    memset(at, 0, DHCP_MESSAGE_BYTES);
    at[0] = DHCP_BOOTREQUEST;
    at[1] = 1; /* Ethernet */
    at[2] = 6;
    store_be32(at + 4, dhcp->transaction);
    store_be16(at + 8, (uint16_t)(seconds < 0xffffu ? seconds : 0xffffu));
    store_be32(at + 12, is_bound(dhcp) ? stack->address : IPV4_ANY);
    memcpy(at + 28, stack->dev->mac, 6);
    store_be32(at + 236, DHCP_COOKIE);
    at += DHCP_FIXED_BYTES;
    at[0] = OPTION_MESSAGE_TYPE;
    at[1] = 1;
    at[2] = type;
    at += 3;
    if (type == DHCP_DECLINE || (type == DHCP_REQUEST && !is_bound(dhcp))) {
        at = put_word(at, OPTION_REQUESTED_ADDRESS, dhcp->offered);
        at = put_word(at, OPTION_SERVER, dhcp->server);
    }
    if (type != DHCP_DECLINE) {
        at = put_common(stack, at);
    }
    at[0] = OPTION_END;
}

static void dhcp_send(struct net_stack *stack, uint8_t type)
{
    struct dhcp_client *dhcp = &stack->dhcp;
    struct ipv4_send send = {.source = is_bound(dhcp) ? stack->address : IPV4_ANY,
                             .destination =
                                 dhcp->state == DHCP_RENEWING ? dhcp->server : IPV4_BROADCAST,
                             .buffer = stack_take_buffer(stack),
                             .offset = STACK_HEADROOM_BYTES,
                             .length = DHCP_MESSAGE_BYTES};
    struct udp_ports ports = {.source = DHCP_CLIENT_PORT, .destination = DHCP_SERVER_PORT};

    if (send.buffer == NETBUF_NONE) {
        return;
    }
    fill_message(stack, netbuf_data(stack->pool, send.buffer) + send.offset, type);
    dhcp->request_sent = stack->now;
    stack->counters.dhcp_sent += udp_output(stack, &send, ports);
}

/* ---- Steps -----------------------------------------------------------------------------------*/

static void set_deadline(struct net_stack *stack, time_ns_t deadline)
{
    stack->dhcp.deadline = deadline;
    stack_due(stack, deadline);
}

static void enter_init(struct net_stack *stack, time_ns_t wait)
{
    stack->dhcp.state = DHCP_INIT;
    stack->dhcp.tries = 0;
    stack->dhcp.lease_end = DEADLINE_NEVER;
    set_deadline(stack, stack->now + wait);
}

void dhcp_start(struct net_stack *stack)
{
    stack->dhcp.started = stack->now;
    enter_init(stack, 0);
}

/* 2, 4, .. 64 s, each with up to a second of jitter (RFC 2131, 4.1). */
static time_ns_t retry_wait(struct net_stack *stack)
{
    uint32_t shift = stack->dhcp.tries < RETRY_SHIFT_MAX ? stack->dhcp.tries : RETRY_SHIFT_MAX;

    return (RETRY_FIRST << shift) - NS_PER_S / 2u + stack_random(stack) % NS_PER_S;
}

static void send_discover(struct net_stack *stack)
{
    struct dhcp_client *dhcp = &stack->dhcp;

    dhcp->state = DHCP_SELECTING;
    dhcp->transaction = (uint32_t)stack_random(stack);
    dhcp_send(stack, DHCP_DISCOVER);
    set_deadline(stack, stack->now + retry_wait(stack));
    if (dhcp->tries < 255u) {
        dhcp->tries++;
    }
}

static void send_request(struct net_stack *stack)
{
    dhcp_send(stack, DHCP_REQUEST);
    set_deadline(stack, stack->now + retry_wait(stack));
    stack->dhcp.tries++;
}

static void send_probe(struct net_stack *stack)
{
    arp_probe(stack, stack->dhcp.offered);
    stack->dhcp.tries++;
    set_deadline(stack, stack->now + PROBE_INTERVAL);
}

static void take_lease(struct net_stack *stack, const struct dhcp_reply *reply)
{
    struct dhcp_client *dhcp = &stack->dhcp;
    uint32_t lease = reply->lease_s > LEASE_MIN_S ? reply->lease_s : LEASE_MIN_S;

    dhcp->server = reply->server;
    dhcp->netmask = reply->netmask;
    dhcp->gateway = reply->gateway;
    dhcp->dns_server = reply->dns_server;
    if (lease == LEASE_FOREVER) {
        dhcp->renew_at = dhcp->rebind_at = dhcp->lease_end = DEADLINE_NEVER;
        return;
    }
    uint32_t t1 = reply->t1_s;
    uint32_t t2 = reply->t2_s;
    if (t1 == 0 || t2 == 0 || t1 >= t2 || t2 >= lease || t1 < LEASE_MIN_S / 2u) {
        t1 = lease / 2u;
        t2 = lease - lease / 8u;
    }
    dhcp->renew_at = dhcp->request_sent + t1 * NS_PER_S;
    dhcp->rebind_at = dhcp->request_sent + t2 * NS_PER_S;
    dhcp->lease_end = dhcp->request_sent + lease * NS_PER_S;
}

static void bind_address(struct net_stack *stack)
{
    struct dhcp_client *dhcp = &stack->dhcp;
    struct interface_address to = {.address = dhcp->offered,
                                   .netmask = dhcp->netmask,
                                   .gateway = dhcp->gateway,
                                   .dns_server = dhcp->dns_server};

    dhcp->state = DHCP_BOUND;
    stack->counters.dhcp_bound++;
    set_deadline(stack, dhcp->renew_at);
    stack_set_address(stack, &to);
}

static void lose_address(struct net_stack *stack, time_ns_t wait)
{
    struct interface_address none = {.address = IPV4_ANY};

    enter_init(stack, wait);
    stack_set_address(stack, &none);
}

/* Half the time that is left, at least a minute, at most what is left. */
static time_ns_t renew_retry(const struct net_stack *stack, time_ns_t end)
{
    time_ns_t left = end > stack->now ? end - stack->now : 0;
    time_ns_t half = left / 2u > RENEW_RETRY_MIN ? left / 2u : RENEW_RETRY_MIN;

    return half < left ? stack->now + half : end;
}

static void renew(struct net_stack *stack)
{
    struct dhcp_client *dhcp = &stack->dhcp;

    if (stack->now >= dhcp->lease_end) {
        lose_address(stack, 0);
        return;
    }
    if (dhcp->state == DHCP_BOUND) {
        dhcp->transaction = (uint32_t)stack_random(stack);
    }
    dhcp->state = stack->now >= dhcp->rebind_at ? DHCP_REBINDING : DHCP_RENEWING;
    dhcp_send(stack, DHCP_REQUEST);
    set_deadline(stack, renew_retry(stack, dhcp->state == DHCP_RENEWING ? dhcp->rebind_at
                                                                        : dhcp->lease_end));
}

time_ns_t dhcp_tick(struct net_stack *stack)
{
    struct dhcp_client *dhcp = &stack->dhcp;

    if (stack->now < dhcp->deadline) {
        return dhcp->deadline;
    }
    switch (dhcp->state) {
    case DHCP_INIT:
    case DHCP_SELECTING:
        send_discover(stack);
        break;
    case DHCP_REQUESTING:
        if (dhcp->tries >= REQUEST_TRIES) {
            enter_init(stack, 0);
        } else {
            send_request(stack);
        }
        break;
    case DHCP_PROBING:
        if (dhcp->tries >= PROBES) {
            bind_address(stack);
        } else {
            send_probe(stack);
        }
        break;
    case DHCP_BOUND:
    case DHCP_RENEWING:
    case DHCP_REBINDING:
        renew(stack);
        break;
    default:
        dhcp->deadline = DEADLINE_NEVER;
        break;
    }
    return dhcp->deadline;
}

void dhcp_conflict(struct net_stack *stack, ipv4_t address)
{
    if (stack->dhcp.state == DHCP_PROBING && stack->dhcp.offered == address) {
        stack->counters.arp_conflicts++;
        dhcp_send(stack, DHCP_DECLINE);
        enter_init(stack, DECLINE_WAIT);
    }
}

/* ---- Receiving -------------------------------------------------------------------------------*/

static void take_option(struct dhcp_reply *reply, const uint8_t *at, uint32_t length)
{
    uint8_t option = at[0];
    uint32_t word = length >= 4u ? load_be32(at + 2) : 0;

    if (option == OPTION_MESSAGE_TYPE && length == 1u) {
        reply->type = at[2];
    } else if (option == OPTION_SUBNET_MASK && length == 4u) {
        reply->netmask = word;
    } else if (option == OPTION_ROUTER && length % 4u == 0) {
        reply->gateway = word;
    } else if (option == OPTION_DNS && length % 4u == 0) {
        reply->dns_server = word;
    } else if (option == OPTION_SERVER && length == 4u) {
        reply->server = word;
    } else if (option == OPTION_LEASE && length == 4u) {
        reply->lease_s = word;
    } else if (option == OPTION_T1 && length == 4u) {
        reply->t1_s = word;
    } else if (option == OPTION_T2 && length == 4u) {
        reply->t2_s = word;
    }
}

static bool decode_reply(const struct net_stack *stack, const struct udp_datagram *datagram,
                         struct dhcp_reply *reply)
{
    const uint8_t *at = datagram->data;
    uint32_t i = DHCP_FIXED_BYTES;

    if (datagram->length < DHCP_FIXED_BYTES || datagram->source_port != DHCP_SERVER_PORT ||
        at[0] != DHCP_BOOTREPLY || at[1] != 1u || at[2] != 6u ||
        load_be32(at + 4) != stack->dhcp.transaction || memcmp(at + 28, stack->dev->mac, 6) != 0 ||
        load_be32(at + 236) != DHCP_COOKIE) {
        return false;
    }
    *reply = (struct dhcp_reply){.address = load_be32(at + 16)};
    while (i < datagram->length && at[i] != OPTION_END) {
        if (at[i] == OPTION_PAD) {
            i++;
            continue;
        }
        if (datagram->length - i < 2u || at[i + 1u] > datagram->length - i - 2u) {
            return false;
        }
        take_option(reply, at + i, at[i + 1u]);
        i += 2u + at[i + 1u];
    }
    return true;
}

/* Whether an OFFER or ACK can be used; a gateway or DNS server that cannot be is left out. */
static bool check_lease(struct dhcp_reply *reply)
{
    if (reply->netmask == 0) {
        reply->netmask = 0xffffff00u;
    }
    ipv4_t hosts = ~reply->netmask;
    if ((hosts & (hosts + 1u)) != 0 || hosts < 3u || reply->netmask == 0 ||
        !ipv4_is_host(reply->address) || (reply->address & hosts) == 0 ||
        (reply->address & hosts) == hosts || !ipv4_is_host(reply->server)) {
        return false;
    }
    if (((reply->gateway ^ reply->address) & reply->netmask) != 0 ||
        reply->gateway == reply->address || (reply->gateway & hosts) == 0 ||
        (reply->gateway & hosts) == hosts) {
        reply->gateway = IPV4_ANY;
    }
    if (!ipv4_is_host(reply->dns_server)) {
        reply->dns_server = IPV4_ANY;
    }
    return true;
}

static bool take_offer(struct net_stack *stack, struct dhcp_reply *reply)
{
    if (!check_lease(reply)) {
        return false;
    }
    stack->dhcp.offered = reply->address;
    stack->dhcp.server = reply->server;
    stack->dhcp.state = DHCP_REQUESTING;
    stack->dhcp.tries = 0;
    send_request(stack);
    return true;
}

static bool take_ack(struct net_stack *stack, struct dhcp_reply *reply)
{
    struct dhcp_client *dhcp = &stack->dhcp;

    if (!check_lease(reply) || reply->lease_s == 0 || reply->address != dhcp->offered) {
        return false;
    }
    if (dhcp->state != DHCP_REBINDING && reply->server != dhcp->server) {
        return false;
    }
    take_lease(stack, reply);
    if (is_bound(dhcp)) {
        bind_address(stack);
        return true;
    }
    dhcp->state = DHCP_PROBING;
    dhcp->tries = 0;
    send_probe(stack);
    return true;
}

static bool take_nak(struct net_stack *stack, const struct dhcp_reply *reply)
{
    struct dhcp_client *dhcp = &stack->dhcp;

    if (dhcp->state != DHCP_REBINDING && reply->server != dhcp->server) {
        return false;
    }
    stack->counters.dhcp_refused++;
    if (is_bound(dhcp)) {
        lose_address(stack, NS_PER_S);
    } else {
        enter_init(stack, NS_PER_S);
    }
    return true;
}

void dhcp_input(struct net_stack *stack, const struct udp_datagram *datagram)
{
    struct dhcp_client *dhcp = &stack->dhcp;
    struct dhcp_reply reply;
    bool awaits_ack = dhcp->state == DHCP_REQUESTING || dhcp->state == DHCP_RENEWING ||
                      dhcp->state == DHCP_REBINDING;
    bool used = false;

    if (decode_reply(stack, datagram, &reply)) {
        if (reply.type == DHCP_OFFER && dhcp->state == DHCP_SELECTING) {
            used = take_offer(stack, &reply);
        } else if (reply.type == DHCP_ACK && awaits_ack) {
            used = take_ack(stack, &reply);
        } else if (reply.type == DHCP_NAK && awaits_ack) {
            used = take_nak(stack, &reply);
        }
    }
    stack->counters.dhcp_malformed += !used;
}
