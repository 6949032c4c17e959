// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/net/stack.h"

#include "lib/net/fast.h"
#include "lib/net/tcp_internal.h"

#define DEFAULT_CONNECTIONS 1024u
#define CONNECTIONS_MAX (1u << 20)
#define DEFAULT_QUEUE_BYTES (256u * 1024u)
#define QUEUE_BYTES_MIN 4096u
#define QUEUE_BYTES_MAX (1u << 29)
#define RESERVE_BUFFERS_MAX 256u
#define MTU_BYTES_MIN 576u
/* A device that takes no frames is asked again after this time. */
#define TX_RETRY_NS NS_PER_MS

static uint32_t connections_of(const struct stack_config *config)
{
    return config->connections != 0 ? config->connections : DEFAULT_CONNECTIONS;
}

static uint32_t hash_size_of(const struct stack_config *config)
{
    uint32_t size = 64;

    while (size < 2u * connections_of(config)) {
        size *= 2u;
    }
    return size;
}

static size_t round_up_64(size_t bytes)
{
    return (bytes + 63u) & ~(size_t)63u;
}

size_t stack_memory_bytes(const struct stack_config *config)
{
    return round_up_64(sizeof(struct net_stack)) +
           round_up_64(config->dev->pool->buffer_count * sizeof(struct buffer_meta)) +
           round_up_64(hash_size_of(config) * sizeof(struct tcp_connection *)) +
           round_up_64(connections_of(config) * sizeof(struct tcp_connection));
}

static bool queue_bytes_valid(uint32_t bytes)
{
    return bytes == 0 || (bytes >= QUEUE_BYTES_MIN && bytes <= QUEUE_BYTES_MAX);
}

static bool config_valid(const struct stack_config *config)
{
    const struct netdev *dev = config->dev;

    if (config->connections > CONNECTIONS_MAX || !queue_bytes_valid(config->receive_window_bytes) ||
        !queue_bytes_valid(config->send_queue_bytes) ||
        config->reserve_buffers >= dev->pool->buffer_count || dev->mtu_bytes < MTU_BYTES_MIN ||
        dev->pool->buffer_bytes < STACK_HEADROOM_BYTES + dev->mtu_bytes) {
        return false;
    }
    if (config->ipv6_mode == STACK_IPV6_STATIC &&
        (config->prefix6_bits < 1u || config->prefix6_bits > 126u ||
         !ipv6_is_host(&config->address6) || ipv6_is_link_local(&config->address6))) {
        return false;
    }
    if (config->ipv6_mode != STACK_IPV6_OFF && dev->mtu_bytes < IPV6_MTU_MIN) {
        return false;
    }
    return config->address == IPV4_ANY ||
           (config->prefix_bits >= 1u && config->prefix_bits <= 30u &&
            ipv4_is_host(config->address));
}

static void stack_take_sizes(struct net_stack *stack, const struct stack_config *config)
{
    uint32_t quarter = stack->pool->buffer_count / 4u;

    stack->connections_max = connections_of(config);
    stack->congestion = (uint8_t)config->congestion;
    stack->ecn = config->ecn;
    stack->receive_window_bytes =
        config->receive_window_bytes != 0 ? config->receive_window_bytes : DEFAULT_QUEUE_BYTES;
    stack->send_queue_bytes =
        config->send_queue_bytes != 0 ? config->send_queue_bytes : DEFAULT_QUEUE_BYTES;
    /* Room for small writes too, which fill their buffers badly. */
    stack->send_buffers_max = stack->send_queue_bytes / 512u + 16u;
    stack->receive_buffers_max = stack->receive_window_bytes / 1024u + 16u;
    stack->reserve_buffers = quarter < RESERVE_BUFFERS_MAX ? quarter : RESERVE_BUFFERS_MAX;
    if (config->reserve_buffers != 0) {
        stack->reserve_buffers = config->reserve_buffers;
    }
    while (stack->receive_window_bytes >> stack->receive_shift > 0xffffu) {
        stack->receive_shift++;
    }
}

static void stack_place(struct net_stack *stack, const struct stack_config *config)
{
    uint8_t *at = (uint8_t *)stack + round_up_64(sizeof *stack);

    stack->meta = (void *)at;
    at += round_up_64(stack->pool->buffer_count * sizeof(struct buffer_meta));
    stack->hash = (void *)at;
    stack->hash_mask = hash_size_of(config) - 1u;
    at += round_up_64((stack->hash_mask + 1u) * sizeof(struct tcp_connection *));
    stack->connections = (void *)at;
}

status_t stack_init(struct net_stack **out, const struct stack_config *config, void *memory,
                    size_t bytes, time_ns_t now)
{
    struct net_stack *stack = memory;

    if (!config_valid(config)) {
        return STATUS_INVALID_ARGUMENT;
    }
    if (((uintptr_t)memory & 63u) != 0) {
        return STATUS_MISALIGNED;
    }
    size_t needed = stack_memory_bytes(config);
    if (bytes < needed) {
        return STATUS_NO_MEMORY;
    }
    memset(memory, 0, needed);
    stack->dev = config->dev;
    stack->pool = config->dev->pool;
    stack->link = config->dev->ops->link_up(config->dev);
    stack->now = now;
    stack->receive_buffer = NETBUF_NONE;
    stack->host_name = config->host_name;
    stack->owns = config->owns;
    stack->owns_context = config->owns_context;
    memcpy(&stack->secret, config->secret, sizeof stack->secret);
    stack->arp_deadline = DEADLINE_NEVER;
    stack->dhcp.deadline = DEADLINE_NEVER;
    stack->next_deadline = now;
    memset(stack->udp_bucket, UDP_NONE, sizeof stack->udp_bucket);
    stack_take_sizes(stack, config);
    stack_place(stack, config);
    tcp_table_init(stack);
    tcp_timer_init(stack);
    if (config->address != IPV4_ANY) {
        struct interface_address to = {.address = config->address,
                                       .netmask = ~(0xffffffffu >> config->prefix_bits),
                                       .gateway = config->gateway};
        stack_set_address(stack, &to);
    } else if (!config->follower) {
        dhcp_start(stack);
    }
    ipv6_start(stack, config);
    *out = stack;
    return STATUS_OK;
}

void stack_set_address(struct net_stack *stack, const struct interface_address *to)
{
    bool same = stack->address == to->address && stack->netmask == to->netmask &&
                stack->gateway == to->gateway && stack->dns_server == to->dns_server;

    if (same) {
        return;
    }
    if (stack->address != to->address) {
        tcp_address_lost(stack);
        arp_flush(stack);
    }
    bool announce = to->address != IPV4_ANY && stack->address != to->address;
    stack->address = to->address;
    stack->netmask = to->netmask;
    stack->gateway = to->gateway;
    stack->route_destination = stack->route_neighbour = IPV4_ANY;
    ipv4_paths_forget(stack);
    stack->dns_server = to->dns_server;
    if (announce) {
        arp_announce(stack);
    }
    if (stack->interface_changed != NULL) {
        stack->interface_changed(stack->interface_user);
    }
}

void stack_follow(struct net_stack *stack, const struct stack_interface *to)
{
    stack_set_address(stack, &(struct interface_address){.address = to->address,
                                                         .netmask = to->netmask,
                                                         .gateway = to->gateway,
                                                         .dns_server = to->dns_server});
}

bool stack_owns_packet(const struct net_stack *stack, const struct ipv4_packet *ip, bool is_v6)
{
    uint8_t flow[36];
    uint32_t addresses = is_v6 ? 32u : 8u;
    bool ports = (ip->protocol == PROTOCOL_TCP || ip->protocol == PROTOCOL_UDP) && ip->length >= 4u;

    if (stack->owns == NULL) {
        return true;
    }
    memcpy(flow, ip->header + (is_v6 ? 8u : 12u), addresses);
    memcpy(flow + addresses, ip->payload, ports ? 4u : 0u);
    return stack->owns(stack->owns_context, flow, ports ? addresses + 4u : 0u);
}

void stack_on_interface_change(struct net_stack *stack, void (*changed)(void *user), void *user)
{
    stack->interface_changed = changed;
    stack->interface_user = user;
}

void stack_interface(const struct net_stack *stack, struct stack_interface *interface)
{
    interface->link_up = stack->dev->ops->link_up(stack->dev);
    interface->configured = stack->address != IPV4_ANY;
    interface->source = stack->dhcp.state == DHCP_OFF ? STACK_ADDRESS_STATIC : STACK_ADDRESS_DHCP;
    interface->address = stack->address;
    interface->netmask = stack->netmask;
    interface->gateway = stack->gateway;
    interface->dns_server = stack->dns_server;
    memcpy(interface->mac, stack->dev->mac, sizeof interface->mac);
    interface->mtu_bytes = stack->dev->mtu_bytes;
    interface->lease_end = stack->dhcp.state >= DHCP_BOUND ? stack->dhcp.lease_end : DEADLINE_NEVER;
    interface->address6_count = 0;
    for (uint32_t i = 0; i < STACK_IPV6_ADDRESSES_MAX; i++) {
        if (stack->v6.own[i].state == OWN_READY) {
            interface->address6[interface->address6_count++] = stack->v6.own[i].address;
        }
    }
    interface->gateway6 = stack->v6.routers[0].address;
    interface->dns_server6 = stack->now < stack->v6.dns_until ? stack->v6.dns_server : ipv6_any;
}

const struct stack_counters *stack_counters(const struct net_stack *stack)
{
    return &stack->counters;
}

uint32_t stack_receive_buffer(const struct net_stack *stack)
{
    return stack->receive_buffer;
}

/* ---- Sending ---------------------------------------------------------------------------------*/

void stack_hand_over(struct net_stack *stack)
{
    if (stack->tx_count == 0) {
        return;
    }
    uint32_t taken = stack->tx_large
                         ? stack->dev->ops->transmit_large(stack->dev, stack->tx, stack->tx_count)
                         : stack->dev->ops->transmit(stack->dev, stack->tx, stack->tx_count);
    stack->counters.tx_frames += taken;
    stack->tx_count -= taken;
    if (stack->tx_count != 0) {
        memmove(stack->tx, stack->tx + taken, stack->tx_count * sizeof stack->tx[0]);
    } else {
        stack->tx_large = false;
    }
}

uint32_t stack_take_buffer(struct net_stack *stack)
{
    uint32_t buffer = netbuf_take(stack->pool);

    if (buffer == NETBUF_NONE) {
        stack->counters.tx_no_buffer++;
    }
    return buffer;
}

/* ---- Running ---------------------------------------------------------------------------------*/

static bool ethernet_is_for_us(const struct net_stack *stack, const uint8_t *destination)
{
    const uint8_t *mac = stack->dev->mac;
    uint32_t first = load_le32(destination);
    uint16_t last = load_le16(destination + 4);

    return (first == load_le32(mac) && last == load_le16(mac + 4)) ||
           (first == 0xffffffffu && last == 0xffffu) ||
           (destination[0] == 0x33u && destination[1] == 0x33u && /* RFC 2464, 7 */
            stack->v6.mode != STACK_IPV6_OFF);
}

void ethernet_input(struct net_stack *stack, const struct netframe *frame, const uint8_t *at)
{
    if (frame->length < ETHERNET_BYTES || !ethernet_is_for_us(stack, at)) {
        stack->counters.ethernet_dropped++;
        return;
    }
    switch (load_be16(at + 12)) {
    case ETHERTYPE_IPV4:
        ipv4_input(stack, frame);
        break;
    case ETHERTYPE_ARP:
        arp_input(stack, at + ETHERNET_BYTES, frame->length - ETHERNET_BYTES);
        break;
    case ETHERTYPE_IPV6:
        if (stack->v6.mode != STACK_IPV6_OFF) {
            ipv6_input(stack, frame);
            break;
        }
        /* fall through */
    default:
        stack->counters.ethernet_dropped++;
        break;
    }
}

static time_ns_t earlier(time_ns_t a, time_ns_t b)
{
    return a < b ? a : b;
}

/* A cable that was plugged in again may lead elsewhere: neighbours and switches are told. */
static void stack_watch_link(struct net_stack *stack)
{
    bool link = stack->dev->ops->link_up(stack->dev);

    if (link == stack->link) {
        return;
    }
    stack->link = link;
    if (link && stack->address != IPV4_ANY) {
        arp_announce(stack);
    }
    if (stack->interface_changed != NULL) {
        stack->interface_changed(stack->interface_user);
    }
}

static void stack_run_due(struct net_stack *stack)
{
    stack->next_deadline = DEADLINE_NEVER;
    if (stack->now >= stack->device_deadline) {
        stack->device_deadline = stack->dev->ops->tick(stack->dev, stack->now);
        stack_watch_link(stack);
    }
    time_ns_t next = tcp_tick(stack);
    next = earlier(next, arp_tick(stack));
    next = earlier(next, dhcp_tick(stack));
    next = earlier(next, nd_tick(stack));
    next = earlier(next, slaac_tick(stack));
    next = earlier(next, reassembly_tick(stack));
    next = earlier(next, dns_tick(stack));
    stack_due(stack, earlier(next, stack->device_deadline));
}

void stack_flush(struct net_stack *stack)
{
    if (!list_is_empty(&stack->waiting)) {
        tcp_wake_waiting(stack);
    }
    if (!list_is_empty(&stack->active)) {
        tcp_run_active(stack);
    }
    stack_hand_over(stack);
}

static void stack_set_now(struct net_stack *stack, time_ns_t now)
{
    if (now > stack->now) {
        stack->now = now;
    }
}

uint32_t stack_poll(struct net_stack *stack, time_ns_t now)
{
    struct netframe frames[NETDEV_BURST_MAX];

    stack_set_now(stack, now);
    uint32_t count = stack->dev->ops->receive(stack->dev, frames, NETDEV_BURST_MAX);
    stack->counters.rx_frames += count;
    input_burst(stack, frames, count);
    stack->receive_buffer = NETBUF_NONE;
    if (stack->now >= stack->next_deadline) {
        stack_run_due(stack);
    }
    stack_flush(stack);
    return count;
}

time_ns_t stack_deadline(const struct net_stack *stack)
{
    if (stack->tx_count != 0 || !list_is_empty(&stack->active)) {
        return earlier(stack->now + TX_RETRY_NS, stack->next_deadline);
    }
    return stack->next_deadline;
}

time_ns_t stack_tick(struct net_stack *stack, time_ns_t now)
{
    stack_set_now(stack, now);
    if (stack->now >= stack->next_deadline) {
        stack_run_due(stack);
    }
    stack_flush(stack);
    return stack_deadline(stack);
}

/* ---- Small services --------------------------------------------------------------------------*/

uint64_t stack_random(struct net_stack *stack)
{
    uint64_t input[2] = {0x72616e646f6dull, stack->random_counter++};

    return siphash(&stack->secret, input, sizeof input);
}

bool rate_limit_take(struct rate_limit *limit, time_ns_t now, time_ns_t interval, uint32_t burst)
{
    if (limit->refilled == 0) {
        limit->refilled = now;
        limit->tokens = burst;
    }
    uint64_t fresh = (now - limit->refilled) / interval;
    if (fresh != 0) {
        limit->refilled += fresh * interval;
        limit->tokens = fresh >= burst - limit->tokens ? burst : limit->tokens + (uint32_t)fresh;
    }
    if (limit->tokens == 0) {
        return false;
    }
    limit->tokens--;
    return true;
}
