// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * ARP (RFC 826) with a set-associative neighbour cache.
 *
 * FREE -> INCOMPLETE (asked, packets wait) -> REACHABLE (for ARP_REACHABLE_NS after an answer) ->
 * PROBE (asked again, still used) -> REACHABLE, or FREE after ARP_TRIES unanswered requests.
 * An entry is made only for a neighbour that we ask for or that asks for us.
 */
#include "lib/net/internal.h"

#define ARP_REACHABLE_NS (60u * NS_PER_S)
#define ARP_RETRY_NS NS_PER_S
#define ARP_TRIES 4u
#define ARP_DEFEND_INTERVAL (10u * NS_PER_S) /* RFC 5227, 2.4 */

static const uint8_t mac_broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

void ethernet_write(uint8_t *at, const uint8_t *destination, const uint8_t *source, uint16_t type)
{
    memcpy(at, destination, 6);
    memcpy(at + 6, source, 6);
    store_be16(at + 12, type);
}

struct arp_send {
    uint16_t operation;
    ipv4_t sender;
    ipv4_t target;
    const uint8_t *target_mac;
};

static void arp_send(struct net_stack *stack, const struct arp_send *arp)
{
    uint32_t buffer = stack_take_buffer(stack);

    if (buffer == NETBUF_NONE) {
        return;
    }
    uint8_t *at = netbuf_data(stack->pool, buffer);
    bool request = arp->operation == ARP_REQUEST;
    ethernet_write(at, arp->target_mac, stack->dev->mac, ETHERTYPE_ARP);
    uint8_t *packet = at + ETHERNET_BYTES;
    store_be16(packet, 1);
    store_be16(packet + 2, ETHERTYPE_IPV4);
    packet[4] = 6;
    packet[5] = 4;
    store_be16(packet + 6, arp->operation);
    memcpy(packet + 8, stack->dev->mac, 6);
    store_be32(packet + 14, arp->sender);
    if (request) {
        memset(packet + 18, 0, 6);
    } else {
        memcpy(packet + 18, arp->target_mac, 6);
    }
    store_be32(packet + 24, arp->target);
    /* Padded to the shortest Ethernet frame. */
    memset(packet + ARP_BYTES, 0, 18);
    stack->counters.arp_requests_out += request;
    struct netframe frame = {.buffer = buffer, .offset = 0, .length = 60};
    (void)stack_transmit(stack, frame);
}

static void arp_request(struct net_stack *stack, const struct arp_entry *entry)
{
    struct arp_send arp = {ARP_REQUEST, stack->address, entry->address, mac_broadcast};

    if (entry->state == ARP_PROBE && entry->tries <= 2u) {
        arp.target_mac = entry->header; /* unicast first (RFC 1122, 2.3.2.1) */
    }
    arp_send(stack, &arp);
}

void arp_announce(struct net_stack *stack)
{
    struct arp_send arp = {ARP_REQUEST, stack->address, stack->address, mac_broadcast};

    arp_send(stack, &arp);
}

void arp_probe(struct net_stack *stack, ipv4_t address)
{
    struct arp_send arp = {ARP_REQUEST, IPV4_ANY, address, mac_broadcast};

    arp_send(stack, &arp);
}

static struct arp_entry *arp_set(struct net_stack *stack, ipv4_t address)
{
    uint32_t mixed = (address ^ (uint32_t)stack->hash_key[0]) * 0x9e3779b1u;

    return stack->arp[mixed >> 28];
}

_Static_assert(ARP_SETS == 16u, "the set is the hash's top four bits");

static struct arp_entry *arp_find(struct net_stack *stack, ipv4_t address)
{
    struct arp_entry *set = arp_set(stack, address);

    for (uint32_t i = 0; i < ARP_WAYS; i++) {
        if (set[i].address == address && set[i].state != ARP_FREE) {
            return &set[i];
        }
    }
    return NULL;
}

struct arp_entry *arp_reachable(struct net_stack *stack, ipv4_t neighbour)
{
    struct arp_entry *entry = arp_find(stack, neighbour);

    return entry != NULL && entry->state >= ARP_REACHABLE ? entry : NULL;
}

static void arp_free(struct net_stack *stack, struct arp_entry *entry)
{
    if (entry->state >= ARP_REACHABLE) {
        ipv4_paths_forget(stack);
    }
    for (uint32_t i = 0; i < entry->pending_count; i++) {
        netbuf_drop(stack->pool, entry->pending[i].buffer);
        stack->counters.arp_unresolved++;
    }
    stack->arp_pending -= entry->pending_count;
    entry->pending_count = 0;
    entry->state = ARP_FREE;
    entry->address = IPV4_ANY;
}

void arp_flush(struct net_stack *stack)
{
    for (uint32_t i = 0; i < ARP_SETS * ARP_WAYS; i++) {
        arp_free(stack, &stack->arp[i / ARP_WAYS][i % ARP_WAYS]);
    }
}

/* A fresh entry; the one in the set that is due first makes room. */
static struct arp_entry *arp_allocate(struct net_stack *stack, ipv4_t address)
{
    struct arp_entry *set = arp_set(stack, address);
    struct arp_entry *victim = &set[0];

    for (uint32_t i = 0; i < ARP_WAYS; i++) {
        if (set[i].state == ARP_FREE) {
            victim = &set[i];
            break;
        }
        if (set[i].deadline < victim->deadline) {
            victim = &set[i];
        }
    }
    arp_free(stack, victim);
    victim->address = address;
    victim->tries = 0;
    victim->used = false;
    return victim;
}

static void arp_set_deadline(struct net_stack *stack, struct arp_entry *entry, time_ns_t deadline)
{
    entry->deadline = deadline;
    if (deadline < stack->arp_deadline) {
        stack->arp_deadline = deadline;
        stack_due(stack, deadline);
    }
}

static void arp_resolved(struct net_stack *stack, struct arp_entry *entry, const uint8_t *mac)
{
    if (memcmp(entry->header, mac, 6) != 0) {
        ipv4_paths_forget(stack);
    }
    ethernet_write(entry->header, mac, stack->dev->mac, ETHERTYPE_IPV4);
    entry->state = ARP_REACHABLE;
    entry->tries = 0;
    entry->used = false;
    arp_set_deadline(stack, entry, stack->now + ARP_REACHABLE_NS);
    for (uint32_t i = 0; i < entry->pending_count; i++) {
        arp_transmit_to(stack, entry, entry->pending[i]);
    }
    stack->arp_pending -= entry->pending_count;
    entry->pending_count = 0;
}

static void arp_conflict(struct net_stack *stack)
{
    stack->counters.arp_conflicts++;
    if (stack->arp_defended == 0 || stack->now - stack->arp_defended >= ARP_DEFEND_INTERVAL) {
        stack->arp_defended = stack->now;
        arp_announce(stack);
    }
}

void arp_input(struct net_stack *stack, const uint8_t *packet, uint32_t length)
{
    struct arp_packet arp;

    if (!arp_decode(packet, length, &arp) || (arp.sender_mac[0] & 1u) != 0 ||
        (arp.sender != IPV4_ANY && !ipv4_is_host(arp.sender))) {
        stack->counters.arp_malformed++;
        return;
    }
    bool from_us = memcmp(arp.sender_mac, stack->dev->mac, 6) == 0;
    if (stack->dhcp.state == DHCP_PROBING && !from_us &&
        (arp.sender == stack->dhcp.offered ||
         (arp.sender == IPV4_ANY && arp.target == stack->dhcp.offered))) {
        dhcp_conflict(stack, stack->dhcp.offered);
        return;
    }
    if (stack->address == IPV4_ANY || from_us) {
        return;
    }
    if (arp.sender == stack->address) {
        arp_conflict(stack);
        return;
    }
    struct arp_entry *entry = arp.sender != IPV4_ANY ? arp_find(stack, arp.sender) : NULL;
    bool asks_us = arp.operation == ARP_REQUEST && arp.target == stack->address;
    if (entry == NULL && asks_us && arp.sender != IPV4_ANY &&
        ((arp.sender ^ stack->address) & stack->netmask) == 0) {
        entry = arp_allocate(stack, arp.sender);
    }
    if (entry != NULL) {
        arp_resolved(stack, entry, arp.sender_mac);
    }
    stack->counters.arp_replies_in += arp.operation == ARP_REPLY;
    if (asks_us) {
        stack->counters.arp_requests_in++;
        struct arp_send reply = {ARP_REPLY, stack->address, arp.sender, arp.sender_mac};
        arp_send(stack, &reply);
    }
}

static void arp_wait(struct net_stack *stack, ipv4_t neighbour, struct netframe frame)
{
    struct arp_entry *entry = arp_find(stack, neighbour);

    if (entry == NULL) {
        entry = arp_allocate(stack, neighbour);
        entry->state = ARP_INCOMPLETE;
        entry->tries = 1;
        arp_set_deadline(stack, entry, stack->now + ARP_RETRY_NS);
        arp_request(stack, entry);
    }
    if (entry->pending_count == 0 && stack->arp_pending == ARP_PENDING_TOTAL_MAX) {
        netbuf_drop(stack->pool, frame.buffer);
        stack->counters.arp_unresolved++;
        return;
    }
    if (entry->pending_count == ARP_PENDING_MAX || stack->arp_pending == ARP_PENDING_TOTAL_MAX) {
        /* The oldest gives way (RFC 1122, 2.3.2.2). */
        netbuf_drop(stack->pool, entry->pending[0].buffer);
        stack->counters.arp_unresolved++;
        stack->arp_pending--;
        entry->pending_count--;
        memmove(entry->pending, entry->pending + 1,
                entry->pending_count * sizeof entry->pending[0]);
    }
    stack->arp_pending++;
    entry->pending[entry->pending_count++] = frame;
}

void arp_transmit_slow(struct net_stack *stack, ipv4_t neighbour, struct netframe frame)
{
    if (neighbour == IPV4_BROADCAST) {
        uint8_t *at = netbuf_data(stack->pool, frame.buffer) + frame.offset;
        ethernet_write(at, mac_broadcast, stack->dev->mac, ETHERTYPE_IPV4);
        (void)stack_transmit(stack, frame);
        return;
    }
    struct arp_entry *entry = arp_find(stack, neighbour);
    if (entry == NULL || entry->state == ARP_INCOMPLETE) {
        arp_wait(stack, neighbour, frame);
        return;
    }
    stack->arp_recent = entry;
    arp_transmit_to(stack, entry, frame);
}

void arp_suspect(struct net_stack *stack, ipv4_t neighbour)
{
    struct arp_entry *entry = arp_find(stack, neighbour);

    /* Not one that has just answered, so that many connections cause one request. */
    if (entry == NULL || entry->state != ARP_REACHABLE ||
        entry->deadline > stack->now + ARP_REACHABLE_NS - ARP_RETRY_NS) {
        return;
    }
    entry->state = ARP_PROBE;
    entry->tries = ARP_TRIES - 1u; /* to everyone at once, and only twice */
    arp_set_deadline(stack, entry, stack->now + ARP_RETRY_NS);
    arp_request(stack, entry);
}

static void arp_entry_due(struct net_stack *stack, struct arp_entry *entry)
{
    if ((entry->state == ARP_REACHABLE && !entry->used) || entry->tries >= ARP_TRIES) {
        arp_free(stack, entry);
        return;
    }
    if (entry->state == ARP_REACHABLE) {
        entry->state = ARP_PROBE;
    }
    entry->tries++;
    entry->deadline = stack->now + ARP_RETRY_NS;
    arp_request(stack, entry);
}

time_ns_t arp_tick(struct net_stack *stack)
{
    if (stack->now < stack->arp_deadline) {
        return stack->arp_deadline;
    }
    time_ns_t next = DEADLINE_NEVER;
    for (uint32_t i = 0; i < ARP_SETS * ARP_WAYS; i++) {
        struct arp_entry *entry = &stack->arp[i / ARP_WAYS][i % ARP_WAYS];
        if (entry->state != ARP_FREE && stack->now >= entry->deadline) {
            arp_entry_due(stack, entry);
        }
        if (entry->state != ARP_FREE && entry->deadline < next) {
            next = entry->deadline;
        }
    }
    stack->arp_deadline = next;
    return next;
}
