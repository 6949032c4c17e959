// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Neighbour discovery (RFC 4861): a set-associative cache. The states stand at enum nd_state.
 * An entry is made only for a neighbour that we send to or that asks for us.
 */
#include "lib/net/internal.h"

#define ND_REACHABLE_NS (30u * NS_PER_S) /* RFC 4861, 10 */
#define ND_DELAY_NS (5u * NS_PER_S)
#define ND_RETRY_NS NS_PER_S
#define ND_TRIES 3u
#define ND_MESSAGE_BYTES (ICMP_BYTES + 16u)
#define NA_SOLICITED 0x40000000u
#define NA_OVERRIDE 0x20000000u

bool nd_option(const uint8_t *at, uint32_t length, uint8_t kind, const uint8_t **value)
{
    *value = NULL;
    while (length != 0) {
        uint32_t size = length >= 8u ? at[1] * 8u : 0;
        if (size == 0 || size > length) {
            return false;
        }
        if (at[0] == kind && *value == NULL) {
            *value = at + 2;
        }
        at += size;
        length -= size;
    }
    return true;
}

static struct nd_entry *nd_set(struct net_stack *stack, const struct ipv6_address *address)
{
    return stack->v6.nd[ipv6_tag(stack, address) & (ND_SETS - 1u)];
}

static struct nd_entry *nd_find(struct net_stack *stack, const struct ipv6_address *address)
{
    struct nd_entry *set = nd_set(stack, address);

    for (uint32_t i = 0; i < ND_WAYS; i++) {
        if (set[i].state != ND_FREE && ipv6_equal(&set[i].address, address)) {
            return &set[i];
        }
    }
    return NULL;
}

static void nd_free(struct net_stack *stack, struct nd_entry *entry)
{
    for (uint32_t i = 0; i < entry->pending_count; i++) {
        netbuf_drop(stack->pool, entry->pending[i].buffer);
        stack->counters.nd_unresolved++;
    }
    stack->v6.nd_pending -= entry->pending_count;
    entry->pending_count = 0;
    entry->state = ND_FREE;
    entry->address = ipv6_any;
}

void nd_flush(struct net_stack *stack)
{
    for (uint32_t i = 0; i < ND_SETS * ND_WAYS; i++) {
        nd_free(stack, &stack->v6.nd[i / ND_WAYS][i % ND_WAYS]);
    }
}

/* A fresh entry; in a full set an unanswered one makes room, else the one unused for longest. */
static struct nd_entry *nd_allocate(struct net_stack *stack, const struct ipv6_address *address)
{
    struct nd_entry *set = nd_set(stack, address);
    struct nd_entry *victim = &set[0];

    for (uint32_t i = 0; i < ND_WAYS; i++) {
        struct nd_entry *entry = &set[i];
        if (entry->state == ND_FREE) {
            victim = entry;
            break;
        }
        bool worse = entry->state == ND_INCOMPLETE && victim->state != ND_INCOMPLETE;
        bool same = (entry->state == ND_INCOMPLETE) == (victim->state == ND_INCOMPLETE);
        if (worse || (same && entry->used < victim->used)) {
            victim = entry;
        }
    }
    nd_free(stack, victim);
    victim->address = *address;
    victim->tries = 0;
    victim->used = stack->now;
    return victim;
}

static void nd_set_deadline(struct net_stack *stack, struct nd_entry *entry, time_ns_t deadline)
{
    entry->deadline = deadline;
    if (deadline < stack->v6.nd_deadline) {
        stack->v6.nd_deadline = deadline;
        stack_due(stack, deadline);
    }
}

void ipv6_solicited_node(const struct ipv6_address *address, struct ipv6_address *group)
{
    *group = (struct ipv6_address){{0xff, 2, [11] = 1, [12] = 0xff}}; /* RFC 4291, 2.7.1 */
    memcpy(group->byte + 13, address->byte + 13, 3);
}

static void nd_solicit(struct net_stack *stack, const struct ipv6_ends *ends,
                       const struct ipv6_address *target)
{
    uint8_t body[24] = {[16] = ND_OPTION_SOURCE, [17] = 1};
    struct icmp6_send send = {.ends = *ends, .type = ICMP6_NEIGHBOUR_SOLICITATION, .body = body};

    memcpy(body, target, 16);
    memcpy(body + 18, stack->dev->mac, 6);
    send.length = ipv6_is_any(&ends->local) ? 16u : 24u;
    stack->counters.nd_solicitations_out++;
    icmp6_send(stack, &send);
}

void nd_probe(struct net_stack *stack, const struct ipv6_address *address)
{
    struct ipv6_ends ends = {.local = ipv6_any};

    ipv6_solicited_node(address, &ends.remote);
    nd_solicit(stack, &ends, address);
}

/* Asks the neighbour itself in PROBE, everyone otherwise. */
static void nd_ask(struct net_stack *stack, const struct nd_entry *entry)
{
    const struct ipv6_address *source = ipv6_source(stack, &entry->address);
    struct ipv6_ends ends = {.remote = entry->address};

    if (source == NULL) {
        return;
    }
    ends.local = *source;
    if (entry->state != ND_PROBE) {
        ipv6_solicited_node(&entry->address, &ends.remote);
    }
    nd_solicit(stack, &ends, &entry->address);
}

static void nd_transmit_to(struct net_stack *stack, struct nd_entry *entry, struct netframe frame)
{
    memcpy(netbuf_data(stack->pool, frame.buffer) + frame.offset, entry->header, ETHERNET_BYTES);
    entry->used = stack->now;
    (void)stack_transmit(stack, frame);
}

static void nd_set_mac(struct net_stack *stack, struct nd_entry *entry, const uint8_t *mac)
{
    ethernet_write(entry->header, mac, stack->dev->mac, ETHERTYPE_IPV6);
}

static void nd_send_pending(struct net_stack *stack, struct nd_entry *entry)
{
    for (uint32_t i = 0; i < entry->pending_count; i++) {
        nd_transmit_to(stack, entry, entry->pending[i]);
    }
    stack->v6.nd_pending -= entry->pending_count;
    entry->pending_count = 0;
}

static bool mac_is_host(const uint8_t *mac)
{
    return mac != NULL && (mac[0] & 1u) == 0;
}

void nd_learn(struct net_stack *stack, const struct ipv6_address *address, const uint8_t *mac)
{
    struct nd_entry *entry = nd_find(stack, address);

    if (!mac_is_host(mac)) {
        return;
    }
    if (entry == NULL) {
        entry = nd_allocate(stack, address);
    } else if (entry->state != ND_INCOMPLETE && memcmp(entry->header, mac, 6) == 0) {
        return;
    }
    nd_set_mac(stack, entry, mac);
    entry->state = ND_STALE;
    entry->deadline = DEADLINE_NEVER;
    nd_send_pending(stack, entry);
}

/* ---- Receiving -------------------------------------------------------------------------------*/

static void nd_advertise(struct net_stack *stack, const struct ipv6_ends *ends, uint32_t flags)
{
    uint8_t body[24] = {[16] = ND_OPTION_TARGET, [17] = 1};
    struct icmp6_send send = {.ends = *ends,
                              .type = ICMP6_NEIGHBOUR_ADVERTISEMENT,
                              .word = flags,
                              .body = body,
                              .length = sizeof body};

    memcpy(body, &ends->local, 16);
    memcpy(body + 18, stack->dev->mac, 6);
    icmp6_send(stack, &send);
}

void nd_announce(struct net_stack *stack, const struct ipv6_address *address)
{
    struct ipv6_ends ends = {.remote = ipv6_all_nodes, .local = *address};

    nd_advertise(stack, &ends, NA_OVERRIDE);
}

static void nd_solicitation(struct net_stack *stack, const struct ipv4_packet *ip,
                            const uint8_t *mac)
{
    struct ipv6_ends ends = *ipv6_ends_of(ip);
    struct ipv6_address target;
    bool unspecified = ipv6_is_any(&ends.remote);

    memcpy(&target, ip->payload + ICMP_BYTES, 16);
    struct ipv6_own *own = ipv6_find_own(stack, &target);
    if (own == NULL || own->state == OWN_DUPLICATE) {
        return;
    }
    stack->counters.nd_solicitations_in++;
    if (own->state == OWN_TENTATIVE) {
        if (unspecified) {
            slaac_duplicate(stack, own); /* someone else tries it too (RFC 4862, 5.4.3) */
        }
        return;
    }
    ends.local = target;
    if (unspecified) {
        ends.remote = ipv6_all_nodes;
        nd_advertise(stack, &ends, NA_OVERRIDE);
        return;
    }
    if (mac != NULL) {
        nd_learn(stack, &ends.remote, mac);
    } else if (ip->broadcast || nd_find(stack, &ends.remote) == NULL) {
        /* Multicast has the option (RFC 4861, 4.3); else an answer would cost a question. */
        stack->counters.icmp6_malformed++;
        return;
    }
    nd_advertise(stack, &ends, NA_SOLICITED | NA_OVERRIDE);
}

/* RFC 4861, 7.2.5. */
static void nd_advertisement(struct net_stack *stack, const struct ipv4_packet *ip,
                             const uint8_t *mac)
{
    uint32_t flags = load_be32(ip->payload + 4);
    struct ipv6_address target;

    memcpy(&target, ip->payload + ICMP_BYTES, 16);
    struct ipv6_own *own = ipv6_find_own(stack, &target);
    if (own != NULL) {
        if (own->state == OWN_TENTATIVE) {
            slaac_duplicate(stack, own);
        } else if (own->state == OWN_READY) {
            stack->counters.nd_duplicates++;
        }
        return;
    }
    stack->counters.nd_advertisements_in++;
    struct nd_entry *entry = nd_find(stack, &target);
    if (entry == NULL || (entry->state == ND_INCOMPLETE && !mac_is_host(mac)) ||
        (mac != NULL && !mac_is_host(mac))) {
        return;
    }
    bool changed = mac != NULL && memcmp(entry->header, mac, 6) != 0;
    if (entry->state != ND_INCOMPLETE && changed && (flags & NA_OVERRIDE) == 0) {
        if (entry->state == ND_REACHABLE) {
            entry->state = ND_STALE;
            entry->deadline = DEADLINE_NEVER;
        }
        return;
    }
    bool fresh = entry->state == ND_INCOMPLETE;
    if (mac != NULL) {
        nd_set_mac(stack, entry, mac);
    }
    if ((flags & NA_SOLICITED) != 0) {
        entry->state = ND_REACHABLE;
        entry->tries = 0;
        nd_set_deadline(stack, entry, stack->now + ND_REACHABLE_NS);
    } else if (fresh || changed) {
        entry->state = ND_STALE;
        entry->deadline = DEADLINE_NEVER;
    }
    nd_send_pending(stack, entry);
}

void nd_input(struct net_stack *stack, const struct ipv4_packet *ip)
{
    bool solicitation = ip->payload[0] == ICMP6_NEIGHBOUR_SOLICITATION;
    const uint8_t *mac = NULL;

    /* RFC 4861, 7.1: a target that is a host's, sound options, and no link-layer address nor
     * solicited flag where it makes no sense. */
    bool valid = ip->length >= ND_MESSAGE_BYTES &&
                 nd_option(ip->payload + ND_MESSAGE_BYTES, ip->length - ND_MESSAGE_BYTES,
                           solicitation ? ND_OPTION_SOURCE : ND_OPTION_TARGET, &mac);
    if (valid) {
        struct ipv6_address target;
        memcpy(&target, ip->payload + ICMP_BYTES, 16);
        bool unspecified = ipv6_is_any(&ipv6_ends_of(ip)->remote);
        valid = ipv6_is_host(&target);
        if (solicitation) {
            valid = valid && (!unspecified || mac == NULL);
        } else {
            bool solicited = (load_be32(ip->payload + 4) & NA_SOLICITED) != 0;
            valid = valid && !unspecified && !(ip->broadcast && solicited);
        }
    }
    if (!valid) {
        stack->counters.icmp6_malformed++;
    } else if (solicitation) {
        nd_solicitation(stack, ip, mac);
    } else {
        nd_advertisement(stack, ip, mac);
    }
}

/* ---- Sending ---------------------------------------------------------------------------------*/

static void nd_wait(struct net_stack *stack, struct nd_entry *entry, struct netframe frame)
{
    if (entry->pending_count == ND_PENDING_MAX) {
        netbuf_drop(stack->pool, entry->pending[0].buffer);
        stack->counters.nd_unresolved++;
        stack->v6.nd_pending--;
        entry->pending_count--;
        memmove(entry->pending, entry->pending + 1,
                entry->pending_count * sizeof entry->pending[0]);
    }
    if (stack->v6.nd_pending == ND_PENDING_TOTAL_MAX) {
        netbuf_drop(stack->pool, frame.buffer);
        stack->counters.nd_unresolved++;
        return;
    }
    stack->v6.nd_pending++;
    entry->pending[entry->pending_count++] = frame;
}

static void nd_transmit_slow(struct net_stack *stack, const struct ipv6_address *next_hop,
                             struct netframe frame)
{
    struct nd_entry *entry = nd_find(stack, next_hop);

    if (entry == NULL) {
        entry = nd_allocate(stack, next_hop);
        entry->state = ND_INCOMPLETE;
        entry->tries = 1;
        nd_set_deadline(stack, entry, stack->now + ND_RETRY_NS);
        nd_wait(stack, entry, frame);
        nd_ask(stack, entry);
        return;
    }
    if (entry->state == ND_INCOMPLETE) {
        nd_wait(stack, entry, frame);
        return;
    }
    if (entry->state == ND_STALE) {
        entry->state = ND_DELAY;
        entry->tries = 0;
        nd_set_deadline(stack, entry, stack->now + ND_DELAY_NS);
    }
    stack->v6.nd_recent = entry;
    nd_transmit_to(stack, entry, frame);
}

void nd_transmit(struct net_stack *stack, const struct ipv6_address *next_hop,
                 struct netframe frame)
{
    struct nd_entry *entry = stack->v6.nd_recent;

    if (ipv6_is_multicast(next_hop)) {
        uint8_t mac[6] = {0x33, 0x33}; /* RFC 2464, 7 */
        memcpy(mac + 2, next_hop->byte + 12, 4);
        ethernet_write(netbuf_data(stack->pool, frame.buffer) + frame.offset, mac, stack->dev->mac,
                       ETHERTYPE_IPV6);
        (void)stack_transmit(stack, frame);
    } else if (entry != NULL && entry->state >= ND_REACHABLE && entry->state != ND_STALE &&
               ipv6_equal(&entry->address, next_hop)) {
        nd_transmit_to(stack, entry, frame);
    } else {
        nd_transmit_slow(stack, next_hop, frame);
    }
}

void nd_suspect(struct net_stack *stack, const struct ipv6_address *remote)
{
    struct ipv6_address next_hop;

    if (!ipv6_route(stack, remote, &next_hop)) {
        return;
    }
    struct nd_entry *entry = nd_find(stack, &next_hop);
    if (entry != NULL && entry->state == ND_REACHABLE) {
        entry->state = ND_STALE;
        entry->deadline = DEADLINE_NEVER;
    }
}

static void nd_due(struct net_stack *stack, struct nd_entry *entry)
{
    if (entry->state == ND_REACHABLE) {
        entry->state = ND_STALE;
        entry->deadline = DEADLINE_NEVER;
        return;
    }
    if (entry->tries >= ND_TRIES) {
        nd_free(stack, entry);
        return;
    }
    entry->state = entry->state == ND_DELAY ? ND_PROBE : entry->state;
    entry->tries++;
    entry->deadline = stack->now + ND_RETRY_NS;
    nd_ask(stack, entry);
}

time_ns_t nd_tick(struct net_stack *stack)
{
    if (stack->now < stack->v6.nd_deadline) {
        return stack->v6.nd_deadline;
    }
    time_ns_t next = DEADLINE_NEVER;
    stack->v6.nd_deadline = 0; /* nothing set below moves the stack's own deadline */
    for (uint32_t i = 0; i < ND_SETS * ND_WAYS; i++) {
        struct nd_entry *entry = &stack->v6.nd[i / ND_WAYS][i % ND_WAYS];
        if (entry->state == ND_FREE || entry->state == ND_STALE) {
            continue;
        }
        if (stack->now >= entry->deadline) {
            nd_due(stack, entry);
        }
        if (entry->state != ND_FREE && entry->state != ND_STALE && entry->deadline < next) {
            next = entry->deadline;
        }
    }
    stack->v6.nd_deadline = next;
    return next;
}
