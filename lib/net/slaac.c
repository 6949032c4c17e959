// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Own IPv6 addresses: made from prefixes and the MAC address (RFC 4291, appendix A), tried for
 * duplicates before use, and what routers announce (RFC 4861, 6.3; RFC 4862, 5.5; RFC 8106).
 */
#include "lib/net/tcp_internal.h"

#define DAD_NS NS_PER_S /* RetransTimer, RFC 4861, 10 */
#define SOLICIT_INTERVAL (4u * NS_PER_S)
#define SOLICITATIONS_MAX 3u
#define TWO_HOURS (7200u * NS_PER_S)
#define PREFIX_OPTION_BYTES 32u
#define PREFIX_ON_LINK 0x80u
#define PREFIX_AUTONOMOUS 0x40u
#define RA_BYTES 16u

static void slaac_due(struct net_stack *stack, time_ns_t deadline)
{
    if (deadline < stack->v6.slaac_deadline) {
        stack->v6.slaac_deadline = deadline;
        stack_due(stack, deadline);
    }
}

static void changed(struct net_stack *stack)
{
    if (stack->interface_changed != NULL) {
        stack->interface_changed(stack->interface_user);
    }
}

/* Lower half from the MAC address (modified EUI-64). */
static void make_address(const struct net_stack *stack, const uint8_t *prefix,
                         struct ipv6_address *address)
{
    const uint8_t *mac = stack->dev->mac;

    memcpy(address->byte, prefix, 8);
    memcpy(address->byte + 8, mac, 3);
    memcpy(address->byte + 13, mac + 3, 3);
    address->byte[8] ^= 2u;
    address->byte[11] = 0xff;
    address->byte[12] = 0xfe;
}

static struct ipv6_own *add_own(struct net_stack *stack, const struct ipv6_address *address)
{
    for (uint32_t i = 0; i < STACK_IPV6_ADDRESSES_MAX; i++) {
        struct ipv6_own *own = &stack->v6.own[i];
        if (own->state == OWN_FREE) {
            *own = (struct ipv6_own){.address = *address,
                                     .state = OWN_TENTATIVE,
                                     .deadline = stack->now + DAD_NS,
                                     .preferred_until = DEADLINE_NEVER,
                                     .valid_until = DEADLINE_NEVER};
            nd_probe(stack, address);
            slaac_due(stack, own->deadline);
            return own;
        }
    }
    return NULL;
}

void ipv6_start(struct net_stack *stack, const struct stack_config *config)
{
    static const uint8_t link_local[8] = {0xfe, 0x80};
    struct ipv6_address address;

    stack->v6.mode = (uint8_t)config->ipv6_mode;
    stack->v6.mtu_bytes = stack->dev->mtu_bytes;
    stack->v6.hop_limit = 64;
    stack->v6.nd_deadline = stack->v6.slaac_deadline = stack->v6.solicit_at = DEADLINE_NEVER;
    if (config->ipv6_mode == STACK_IPV6_OFF) {
        return;
    }
    make_address(stack, link_local, &address);
    (void)add_own(stack, &address);
    if (config->ipv6_mode == STACK_IPV6_STATIC) {
        (void)add_own(stack, &config->address6);
        stack->v6.prefixes[0] = (struct ipv6_prefix){.prefix = config->address6,
                                                     .bits = (uint8_t)config->prefix6_bits,
                                                     .valid_until = DEADLINE_NEVER};
        stack->v6.routers[0] =
            (struct ipv6_router){.address = config->gateway6, .until = DEADLINE_NEVER};
    }
}

static void lose_address(struct net_stack *stack, struct ipv6_own *own, uint8_t state)
{
    own->state = state;
    tcp_address6_lost(stack, &own->address);
    changed(stack);
}

void slaac_duplicate(struct net_stack *stack, struct ipv6_own *own)
{
    stack->counters.nd_duplicates++;
    lose_address(stack, own, OWN_DUPLICATE); /* kept, so that it is not tried again */
}

/* ---- Router advertisements -------------------------------------------------------------------*/

static time_ns_t after_seconds(const struct net_stack *stack, uint32_t seconds)
{
    return seconds == 0xffffffffu ? DEADLINE_NEVER : stack->now + seconds * NS_PER_S;
}

static void take_router(struct net_stack *stack, const struct ipv6_address *address,
                        uint32_t seconds)
{
    struct ipv6_router *chosen = NULL;

    for (uint32_t i = 0; i < IPV6_ROUTERS; i++) {
        struct ipv6_router *router = &stack->v6.routers[i];
        if (ipv6_equal(&router->address, address)) {
            chosen = router;
            break;
        }
        if (chosen == NULL && ipv6_is_any(&router->address)) {
            chosen = router;
        }
    }
    if (chosen == NULL) {
        return;
    }
    chosen->address = seconds != 0 ? *address : ipv6_any;
    chosen->until = stack->now + seconds * NS_PER_S;
}

static void take_on_link(struct net_stack *stack, const struct ipv6_address *prefix, uint8_t bits,
                         time_ns_t until)
{
    struct ipv6_prefix *chosen = NULL;

    for (uint32_t i = 0; i < IPV6_PREFIXES; i++) {
        struct ipv6_prefix *known = &stack->v6.prefixes[i];
        if (known->bits == bits && ipv6_same_prefix(&known->prefix, prefix, bits)) {
            chosen = known;
            break;
        }
        if (chosen == NULL && known->bits == 0) {
            chosen = known;
        }
    }
    if (chosen == NULL) {
        return;
    }
    *chosen = (struct ipv6_prefix){*prefix, bits, until};
    if (until <= stack->now) {
        chosen->bits = 0;
    }
}

/* RFC 4862, 5.5.3: lifetimes of a known address change, but not to less than two hours at once. */
static void take_autonomous(struct net_stack *stack, const struct ipv6_address *prefix,
                            time_ns_t preferred, time_ns_t valid)
{
    struct ipv6_address address;

    make_address(stack, prefix->byte, &address);
    struct ipv6_own *own = ipv6_find_own(stack, &address);
    if (own == NULL && valid > stack->now) {
        own = add_own(stack, &address);
    }
    if (own == NULL) {
        return;
    }
    time_ns_t floor = stack->now + TWO_HOURS;
    if (valid < floor && own->valid_until != DEADLINE_NEVER) {
        valid = own->valid_until < floor ? own->valid_until : floor;
    }
    own->preferred_until = preferred;
    own->valid_until = valid;
    slaac_due(stack, valid);
}

static void take_prefix(struct net_stack *stack, const uint8_t *option)
{
    struct ipv6_address prefix;
    time_ns_t valid = after_seconds(stack, load_be32(option + 4));
    time_ns_t preferred = after_seconds(stack, load_be32(option + 8));
    uint8_t bits = option[2];

    memcpy(&prefix, option + 16, 16);
    if (bits == 0 || bits > 128u || !ipv6_is_host(&prefix) || ipv6_is_link_local(&prefix) ||
        preferred > valid) {
        return;
    }
    if ((option[3] & PREFIX_ON_LINK) != 0) {
        take_on_link(stack, &prefix, bits, valid);
    }
    if ((option[3] & PREFIX_AUTONOMOUS) != 0 && bits == 64u) {
        take_autonomous(stack, &prefix, preferred, valid);
    }
}

static void take_option(struct net_stack *stack, const uint8_t *option, uint32_t size)
{
    if (option[0] == ND_OPTION_PREFIX && size == PREFIX_OPTION_BYTES) {
        take_prefix(stack, option);
    } else if (option[0] == ND_OPTION_MTU && size == 8u) {
        uint32_t mtu = load_be32(option + 4);
        if (mtu >= IPV6_MTU_MIN && mtu <= stack->dev->mtu_bytes) {
            stack->v6.mtu_bytes = (uint16_t)mtu;
        }
    } else if (option[0] == ND_OPTION_RDNSS && size >= 24u) {
        memcpy(&stack->v6.dns_server, option + 8, 16);
        stack->v6.dns_until = after_seconds(stack, load_be32(option + 4));
    }
}

void slaac_router_advertisement(struct net_stack *stack, const struct ipv4_packet *ip)
{
    const struct ipv6_address source = ipv6_ends_of(ip)->remote;
    const uint8_t *at = ip->payload;
    const uint8_t *mac;

    if (ip->length < RA_BYTES || !ipv6_is_link_local(&source) ||
        !nd_option(at + RA_BYTES, ip->length - RA_BYTES, ND_OPTION_SOURCE, &mac)) {
        stack->counters.icmp6_malformed++;
        return;
    }
    if (stack->v6.mode != STACK_IPV6_AUTO) {
        return;
    }
    stack->counters.nd_routers_in++;
    stack->v6.solicit_at = DEADLINE_NEVER;
    stack->v6.hop_limit = at[4] != 0 ? at[4] : stack->v6.hop_limit;
    take_router(stack, &source, load_be16(at + 6));
    if (mac != NULL) {
        nd_learn(stack, &source, mac);
    }
    for (uint32_t i = RA_BYTES; i < ip->length; i += at[i + 1u] * 8u) {
        take_option(stack, at + i, at[i + 1u] * 8u);
    }
    slaac_due(stack, stack->now); /* look at the lifetimes */
}

/* ---- Time ------------------------------------------------------------------------------------*/

static void solicit_router(struct net_stack *stack)
{
    struct icmp6_send send = {
        .ends = {.remote = ipv6_all_routers, .local = stack->v6.own[0].address},
        .type = ICMP6_ROUTER_SOLICITATION};
    uint8_t option[8] = {ND_OPTION_SOURCE, 1};

    memcpy(option + 2, stack->dev->mac, 6);
    send.body = option;
    send.length = sizeof option;
    icmp6_send(stack, &send);
    stack->v6.solicitations++;
    stack->v6.solicit_at = stack->v6.solicitations < SOLICITATIONS_MAX
                               ? stack->now + SOLICIT_INTERVAL
                               : DEADLINE_NEVER;
}

static void own_ready(struct net_stack *stack, struct ipv6_own *own)
{
    own->state = OWN_READY;
    if (own == &stack->v6.own[0] && stack->v6.mode == STACK_IPV6_AUTO) {
        stack->v6.solicit_at = stack->now;
    }
    changed(stack);
}

/* Runs what is due of one own address; returns its next deadline. */
static time_ns_t own_tick(struct net_stack *stack, struct ipv6_own *own)
{
    if (own->state == OWN_TENTATIVE) {
        if (stack->now < own->deadline) {
            return own->deadline;
        }
        own_ready(stack, own);
    }
    if (own->state == OWN_FREE || own->valid_until > stack->now) {
        return own->state == OWN_FREE ? DEADLINE_NEVER : own->valid_until;
    }
    lose_address(stack, own, OWN_FREE);
    return DEADLINE_NEVER;
}

time_ns_t slaac_tick(struct net_stack *stack)
{
    struct ipv6_state *v6 = &stack->v6;
    time_ns_t next = DEADLINE_NEVER;
    time_ns_t due;

    if (stack->now < v6->slaac_deadline) {
        return v6->slaac_deadline;
    }
    v6->slaac_deadline = 0;
    for (uint32_t i = 0; i < STACK_IPV6_ADDRESSES_MAX; i++) {
        due = own_tick(stack, &v6->own[i]);
        next = due < next ? due : next;
    }
    for (uint32_t i = 0; i < IPV6_PREFIXES; i++) {
        if (v6->prefixes[i].bits != 0 && v6->prefixes[i].valid_until <= stack->now) {
            v6->prefixes[i].bits = 0;
        }
        due = v6->prefixes[i].bits != 0 ? v6->prefixes[i].valid_until : DEADLINE_NEVER;
        next = due < next ? due : next;
    }
    for (uint32_t i = 0; i < IPV6_ROUTERS; i++) {
        if (v6->routers[i].until <= stack->now) {
            v6->routers[i].address = ipv6_any;
        }
        due = ipv6_is_any(&v6->routers[i].address) ? DEADLINE_NEVER : v6->routers[i].until;
        next = due < next ? due : next;
    }
    if (stack->now >= v6->solicit_at) {
        solicit_router(stack);
    }
    next = v6->solicit_at < next ? v6->solicit_at : next;
    v6->slaac_deadline = next;
    return next;
}
