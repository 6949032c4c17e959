// SPDX-License-Identifier: MIT OR Apache-2.0
#include "drivers/net/cell/network.h"

#include "drivers/net/cell/address.h"
#include "lib/base/bytes.h"
#include "runtime/cell.h"
#include "runtime/random.h"
#include "runtime/syscall.h"

/* Bursts handled in one round of the loop before the other sources have their turn. */
#define BURSTS_MAX 4u

static time_ns_t now_ns(void *context)
{
    const struct network *network = context;
    return clock_ns(&network->info->time);
}

static void relax(void *context)
{
    (void)context;
    (void)yield();
}

static void doorbell(void *context, cap_slot_t slot)
{
    (void)context;
    (void)notification_signal(slot);
}

/* Cuts `bytes` off the front of what the request has left; NULL if it has not that much. */
static void *take_memory(struct network_request *request, size_t bytes)
{
    void *taken = request->memory;
    size_t rounded = (bytes + 63u) & ~(size_t)63u;

    if (rounded > request->memory_bytes) {
        return NULL;
    }
    request->memory = (uint8_t *)taken + rounded;
    request->memory_bytes -= rounded;
    return taken;
}

static status_t take_for_device(struct network *network, struct network_request *request,
                                uint32_t queues, struct netdev_open_request *open)
{
    *open = (struct netdev_open_request){
        .cell = network->info,
        .buffers = request->buffers,
        .queues = queues,
        .receive_sums = config_bool(network->info, "receive_sums", true),
        .split_headers = config_bool(network->info, "split_headers", false),
        .memory_bytes = netdev_open_memory_bytes(network->info, request->buffers),
        .environment = {now_ns, relax, doorbell, network},
    };
    open->memory = take_memory(request, open->memory_bytes);
    uint64_t dma_bytes = netdev_open_dma_bytes(open);
    return open->memory == NULL ||
                   (dma_bytes != 0 && dma_take(request->dma, dma_bytes, &open->dma) != STATUS_OK)
               ? STATUS_NO_MEMORY
               : STATUS_OK;
}

static void wake(void *context, uint32_t port)
{
    (void)context;
    thread_wake(port);
}

/* Steering between the pairs of a device that runs several. */
static status_t open_steering(struct network *network, struct network_request *request)
{
    size_t bytes = sizeof(struct network_shared) + steer_bytes(network->threads);
    void *memory = take_memory(request, bytes + 64u);

    if (memory == NULL) {
        return STATUS_NO_MEMORY;
    }
    network->steer = steer_init(memory, network->threads);
    network->steer->wake = wake;
    network->shared = (void *)((uint8_t *)memory + steer_bytes(network->threads));
    *network->shared = (struct network_shared){0};
    network->dev = steer_add(network->steer, 0, network->pair);
    return STATUS_OK;
}

static status_t open_device(struct network *network, struct network_request *request)
{
    struct netdev_open_request open;
    uint32_t queues = netdev_open_is_direct(network->info) ? request->threads : 0;

    if (queues > NETDEV_QUEUES_MAX) {
        queues = NETDEV_QUEUES_MAX;
    }
    status_t status = take_for_device(network, request, queues, &open);
    if (status == STATUS_OK) {
        status = netdev_open(&open, &network->pair);
    }
    if (status != STATUS_OK) {
        return status;
    }
    network->dev = network->pair;
    network->threads = network->pair->queues > 1u ? network->pair->queues : 1u;
    return network->threads > 1u ? open_steering(network, request) : STATUS_OK;
}

static status_t read_address(const struct cell_info *info, struct stack_config *config)
{
    const char *address = config_text(info, "address", "dhcp");
    const char *gateway = config_text(info, "gateway", "");

    if (strcmp(address, "dhcp") == 0) {
        return STATUS_OK;
    }
    if (address_parse_network(address, &config->address, &config->prefix_bits) != STATUS_OK) {
        log_line("network: address \"%s\" is neither dhcp nor like 10.0.2.15/24", address);
        return STATUS_INVALID_ARGUMENT;
    }
    if (gateway[0] != '\0' && address_parse(gateway, &config->gateway) != STATUS_OK) {
        log_line("network: gateway \"%s\" is no address like 10.0.2.2", gateway);
        return STATUS_INVALID_ARGUMENT;
    }
    return STATUS_OK;
}

static status_t read_address6(const struct cell_info *info, struct stack_config *config)
{
    const char *address = config_text(info, "address6", "auto");
    const char *gateway = config_text(info, "gateway6", "");

    config->ipv6_mode = STACK_IPV6_AUTO;
    if (strcmp(address, "auto") == 0) {
        return STATUS_OK;
    }
    if (strcmp(address, "off") == 0) {
        config->ipv6_mode = STACK_IPV6_OFF;
        return STATUS_OK;
    }
    config->ipv6_mode = STACK_IPV6_STATIC;
    if (ipv6_parse(address, &config->address6, &config->prefix6_bits) != STATUS_OK) {
        log_line("network: address6 \"%s\" is neither auto, off nor like fd00::5/64", address);
        return STATUS_INVALID_ARGUMENT;
    }
    if (gateway[0] != '\0' && ipv6_parse(gateway, &config->gateway6, NULL) != STATUS_OK) {
        log_line("network: gateway6 \"%s\" is no address like fe80::1", gateway);
        return STATUS_INVALID_ARGUMENT;
    }
    return STATUS_OK;
}

/* What drives the NIC, and what of it is not used. */
static void log_model(const struct netdev *dev)
{
    uint32_t offloads = dev->offloads;

    if (dev->model == NULL) {
        return;
    }
    log_line(
        "network: %s, %u queue pair%s; sums and cuts TCP segments: %s; checks received sums: %s%s",
        dev->model, dev->queues > 1u ? dev->queues : 1u, dev->queues > 1u ? "s" : "",
        (offloads & NETDEV_TX_SEGMENTS) != 0   ? "yes"
        : (offloads & NETDEV_TX_CHECKSUM) != 0 ? "sums"
                                               : "no",
        dev->receives_sums ? "yes" : "no", dev->splits_headers ? "; sets data apart" : "");
}

static status_t open_stack(struct network *network, struct network_request *request)
{
    struct stack_config config = {
        .dev = network->dev,
        .connections = request->connections,
        .receive_window_bytes = request->receive_window_bytes,
        .send_queue_bytes = request->send_queue_bytes,
        .host_name = network->info->name,
        .ecn = config_bool(network->info, "ecn", false),
        .follower = network->dev->queue != 0,
        .owns = network->steer != NULL ? steer_owns : NULL,
        .owns_context = network->dev,
    };
    status_t status = config.follower ? STATUS_OK : read_address(network->info, &config);

    if (status == STATUS_OK) {
        status = read_address6(network->info, &config);
    }
    if (status != STATUS_OK) {
        return status;
    }
    random_bytes(config.secret, sizeof config.secret);
    size_t bytes = stack_memory_bytes(&config);
    void *memory = take_memory(request, bytes);
    return memory == NULL ? STATUS_NO_MEMORY
                          : stack_init(&network->stack, &config, memory, bytes, now_ns(network));
}

static void log_addresses(const struct stack_interface *interface)
{
    if (interface->configured) {
        ipv4_t a = interface->address;
        log_line("network: address %u.%u.%u.%u", a >> 24, a >> 16 & 255u, a >> 8 & 255u, a & 255u);
    } else {
        log_line("network: no address");
    }
    for (uint32_t i = 0; i < interface->address6_count; i++) {
        char text[IPV6_TEXT_BYTES];
        ipv6_format(&interface->address6[i], text);
        log_line("network: address %s", text);
    }
}

/* Lets the other instances know. */
static void share_interface(struct network *network, const struct stack_interface *interface)
{
    struct network_shared *shared = network->shared;
    const uint32_t words[4] = {interface->address, interface->netmask, interface->gateway,
                               interface->dns_server};

    __atomic_fetch_add(&shared->sequence, 1u, __ATOMIC_ACQ_REL);
    for (uint32_t i = 0; i < 4u; i++) {
        __atomic_store_n(&shared->words[i], words[i], __ATOMIC_RELEASE);
    }
    __atomic_fetch_add(&shared->sequence, 1u, __ATOMIC_RELEASE);
    for (uint32_t i = 1; i < network->threads; i++) {
        thread_wake(i);
    }
}

/* What the first instance has told since the last time. */
static void follow_interface(struct network *network)
{
    struct network_shared *shared = network->shared;
    uint32_t sequence = __atomic_load_n(&shared->sequence, __ATOMIC_ACQUIRE);
    uint32_t words[4];

    if (sequence == network->followed || (sequence & 1u) != 0) {
        return;
    }
    for (uint32_t i = 0; i < 4u; i++) {
        words[i] = __atomic_load_n(&shared->words[i], __ATOMIC_ACQUIRE);
    }
    if (__atomic_load_n(&shared->sequence, __ATOMIC_RELAXED) != sequence) {
        return; /* being written: next time */
    }
    network->followed = sequence;
    stack_follow(network->stack, &(struct stack_interface){.address = words[0],
                                                           .netmask = words[1],
                                                           .gateway = words[2],
                                                           .dns_server = words[3]});
}

static void log_interface(void *user)
{
    struct network *network = user;
    struct stack_interface interface;

    stack_interface(network->stack, &interface);
    if (network->shared != NULL) {
        share_interface(network, &interface);
    }
    if (interface.link_up != network->link) {
        network->link = interface.link_up;
        log_line("network: link %s", network->link ? "up" : "down");
        return;
    }
    log_addresses(&interface);
}

status_t network_open(struct network *network, struct network_request *request)
{
    *network = (struct network){.info = request->info};
    status_t status = open_device(network, request);
    if (status == STATUS_OK) {
        const uint8_t *mac = network->dev->mac;
        log_line("network: MAC %02x:%02x:%02x:%02x:%02x:%02x, %u buffers", mac[0], mac[1], mac[2],
                 mac[3], mac[4], mac[5], network->dev->pool->buffer_count);
        log_model(network->dev);
        status = open_stack(network, request);
    }
    if (status != STATUS_OK) {
        log_line("network: cannot start: %s", status_text(status));
        return status;
    }
    stack_on_interface_change(network->stack, log_interface, network);
    log_interface(network);
    return STATUS_OK;
}

status_t network_open_worker(struct network *network, struct network *first, uint32_t thread,
                             struct network_request *request)
{
    struct netdev_open_request open;

    *network = (struct network){.info = request->info,
                                .steer = first->steer,
                                .shared = first->shared,
                                .threads = first->threads};
    status_t status = take_for_device(network, request, 0, &open);
    if (status == STATUS_OK) {
        status = netdev_open_queue(first->pair, thread, &open, &network->pair);
    }
    if (status == STATUS_OK) {
        network->dev = steer_add(first->steer, thread, network->pair);
        status = open_stack(network, request);
    }
    if (status != STATUS_OK) {
        log_line("network: cannot start for worker %u: %s", thread, status_text(status));
    }
    return status;
}

static bool poll_stack(void *context, time_ns_t now)
{
    struct network *network = context;
    if (network->dev->queue != 0) {
        follow_interface(network);
    }
    uint32_t frames = stack_poll(network->stack, now);
    bool worked = frames != 0;

    /* A burst that was not full has emptied the device's queue. */
    for (uint32_t bursts = 1; bursts < BURSTS_MAX && frames == NETDEV_BURST_MAX; bursts++) {
        frames = stack_poll(network->stack, now);
    }
    return worked;
}

static bool arm_device(void *context)
{
    struct network *network = context;
    return network->dev->ops->arm(network->dev);
}

static void disarm_device(void *context)
{
    struct network *network = context;
    network->dev->ops->disarm(network->dev);
}

static time_ns_t deadline(void *context)
{
    return stack_deadline(((struct network *)context)->stack);
}

status_t network_add(struct network *network, struct event_loop *loop)
{
    return event_loop_add(loop, &(struct event_source){
                                    .poll = poll_stack,
                                    .arm = arm_device,
                                    .disarm = disarm_device,
                                    .deadline = deadline,
                                    .context = network,
                                });
}

uint32_t network_window_ns(const struct cell_info *info)
{
    uint64_t window_us = config_u64(info, "poll_us", EVENT_LOOP_WINDOW_NS / 1000u);
    uint64_t most_us = EVENT_LOOP_WINDOW_MAX_NS / 1000u;

    if (!netdev_open_is_direct(info)) {
        return 0;
    }
    return (uint32_t)(window_us < most_us ? window_us : most_us) * 1000u;
}

void network_close(struct network *network)
{
    time_ns_t give_up_ns = now_ns(network) + NETDEV_ATTACH_TIMEOUT_NS;

    while (network->dev->ops->stop(network->dev) == STATUS_AGAIN && now_ns(network) < give_up_ns) {
        (void)yield();
    }
}
