// SPDX-License-Identifier: MIT OR Apache-2.0
/* UDP (RFC 768, RFC 1122 section 4.1). */
#include "lib/net/fast.h"
#include "lib/net/ipv4_out.h"

static uint16_t udp_free_port(struct net_stack *stack)
{
    uint32_t start = (uint32_t)stack_random(stack);

    /* One of any STACK_UDP_SOCKETS_MAX + 1 ports is free. */
    for (uint32_t i = 0; i <= STACK_UDP_SOCKETS_MAX; i++) {
        uint16_t port = (uint16_t)(EPHEMERAL_PORT_FIRST + (start + i) % EPHEMERAL_PORTS);
        if (udp_find(stack, port) == NULL) {
            return port;
        }
    }
    return 0;
}

status_t udp_bind(struct net_stack *stack, uint16_t port, udp_receive_function *receive, void *user,
                  struct udp_socket **out)
{
    if (receive == NULL) {
        return STATUS_INVALID_ARGUMENT;
    }
    if (port == 0) {
        port = udp_free_port(stack);
    }
    if (udp_find(stack, port) != NULL ||
        (port == DHCP_CLIENT_PORT && stack->dhcp.state != DHCP_OFF)) {
        return STATUS_IN_USE;
    }
    for (uint32_t i = 0; i < STACK_UDP_SOCKETS_MAX; i++) {
        struct udp_socket *socket = &stack->udp[i];
        if (socket->receive != NULL) {
            continue;
        }
        uint8_t *bucket = &stack->udp_bucket[port & (UDP_BUCKETS - 1u)];
        *socket = (struct udp_socket){
            .stack = stack, .receive = receive, .user = user, .port = port, .next = *bucket};
        *bucket = (uint8_t)i;
        *out = socket;
        return STATUS_OK;
    }
    return STATUS_NO_MEMORY;
}

void udp_unbind(struct udp_socket *socket)
{
    struct net_stack *stack = socket->stack;
    uint8_t index = (uint8_t)(socket - stack->udp);
    uint8_t *link = &stack->udp_bucket[socket->port & (UDP_BUCKETS - 1u)];

    while (*link != index) {
        link = &stack->udp[*link].next;
    }
    *link = socket->next;
    socket->receive = NULL;
}

uint16_t udp_port(const struct udp_socket *socket)
{
    return socket->port;
}

/* Of a datagram of `length` bytes. Without IPv6 its sender may have made none: 0. */
static bool sum_is_right(const struct ipv4_packet *ip, uint32_t length, bool is_v6)
{
    if (load_le16(ip->payload + 6) == 0) {
        return !is_v6;
    }
    if (ip->summed) {
        return true;
    }
    uint64_t sum = is_v6 ? ipv6_pseudo_sum(ipv6_ends_of(ip), PROTOCOL_UDP, length)
                         : pseudo_header_sum(ip->source, ip->destination, PROTOCOL_UDP, length);
    return checksum_fold(checksum_add(sum, ip->payload, length)) == 0xffffu;
}

void udp_input(struct net_stack *stack, const struct ipv4_packet *ip)
{
    const uint8_t *at = ip->payload;

    if (ip->length < UDP_BYTES) {
        stack->counters.udp_malformed++;
        return;
    }
    uint32_t length = load_be16(at + 4);
    if (length < UDP_BYTES || length > ip->length) {
        stack->counters.udp_malformed++;
        return;
    }
    bool is_v6 = is_ipv6_tag(ip->source);
    if (!sum_is_right(ip, length, is_v6)) {
        stack->counters.udp_malformed++;
        return;
    }
    struct udp_datagram datagram = {
        .source = is_v6 ? IPV4_ANY : ip->source,
        .destination = ip->destination,
        .v6 = is_v6 ? ipv6_ends_of(ip) : NULL,
        .source_port = load_be16(at),
        .destination_port = load_be16(at + 2),
        .data = at + UDP_BYTES,
        .length = length - UDP_BYTES,
        .buffer = ip->buffer,
    };
    if (ip->buffer != NETBUF_NONE) {
        datagram.offset = (uint32_t)(datagram.data - netbuf_data(stack->pool, ip->buffer));
    }
    if (datagram.destination_port == DHCP_CLIENT_PORT && stack->dhcp.state != DHCP_OFF && !is_v6) {
        dhcp_input(stack, &datagram);
        return;
    }
    struct udp_socket *socket =
        stack->address != IPV4_ANY || is_v6 ? udp_find(stack, datagram.destination_port) : NULL;
    if (socket == NULL) {
        stack->counters.udp_no_port++;
        icmp_send_port_unreachable(stack, ip);
        return;
    }
    stack->counters.udp_in++;
    stack->receive_buffer = ip->buffer;
    socket->receive(socket, socket->user, &datagram);
}

/* Writes the header in front of the payload at send->offset; then send is of the datagram. */
static inline void udp_write(struct net_stack *stack, struct ipv4_send *send,
                             struct udp_ports ports)
{
    uint8_t *at = netbuf_data(stack->pool, send->buffer) + send->offset - UDP_BYTES;
    uint32_t payload = send->length;
    uint32_t length = payload + UDP_BYTES;
    uint64_t words = __builtin_bswap32((uint32_t)ports.source << 16 | ports.destination) |
                     (uint64_t)__builtin_bswap16((uint16_t)length) << 32;

    send->offset -= UDP_BYTES;
    send->length = length;
    send->protocol = PROTOCOL_UDP;
    uint64_t sum = pseudo_header_sum(send->source, send->destination, PROTOCOL_UDP, length) +
                   (uint32_t)words + (words >> 32);
    uint64_t checksum = checksum_finish(checksum_add(sum, at + UDP_BYTES, payload));
    /* 0 would mean that there is no checksum. */
    store_le64(at, words | (checksum == 0 ? 0xffffull : checksum) << 48);
}

void udp_on_error(struct udp_socket *socket, udp_error_function *failed)
{
    socket->failed = failed;
}

void udp_input_error(struct net_stack *stack, uint16_t port, const struct udp_error *error)
{
    struct udp_socket *socket = udp_find(stack, port);

    if (socket != NULL && socket->failed != NULL) {
        socket->failed(socket, socket->user, error);
    }
}

/* A datagram that is larger than the link's packets. */
static status_t udp_send_large(struct udp_socket *socket, const struct fragment_send *to,
                               uint16_t port)
{
    struct fragment_send send = *to;
    uint8_t head[UDP_BYTES];
    uint32_t total = send.length + UDP_BYTES;

    if (total > REASSEMBLY_BYTES_MAX - IPV6_BYTES) {
        return STATUS_TOO_LARGE;
    }
    store_be16(head, socket->port);
    store_be16(head + 2, port);
    store_be16(head + 4, (uint16_t)total);
    store_native16(head + 6, 0);
    uint64_t sum = send.v6 != NULL
                       ? ipv6_pseudo_sum(send.v6, PROTOCOL_UDP, total)
                       : pseudo_header_sum(send.source, send.destination, PROTOCOL_UDP, total);
    sum = checksum_add(checksum_add(sum, head, sizeof head), send.data, send.length);
    uint16_t checksum = checksum_finish(sum);
    store_native16(head + 6, checksum == 0 ? 0xffffu : checksum);
    send.head = head;
    send.protocol = PROTOCOL_UDP;
    status_t status = fragment_send(socket->stack, &send);
    socket->stack->counters.udp_out += status == STATUS_OK;
    return status;
}

bool udp_output(struct net_stack *stack, const struct ipv4_send *send, struct udp_ports ports)
{
    struct ipv4_send packet = *send;

    udp_write(stack, &packet, ports);
    if (!ipv4_send(stack, &packet)) {
        return false;
    }
    stack->counters.udp_out++;
    return true;
}

/* On OK *neighbour is the way to `address`. */
static inline status_t udp_check(struct net_stack *stack, ipv4_t address, uint32_t length,
                                 ipv4_t *neighbour)
{
    if (length > stack->dev->mtu_bytes - IPV4_BYTES - UDP_BYTES) {
        return STATUS_TOO_LARGE;
    }
    *neighbour = stack->address != IPV4_ANY ? ipv4_route(stack, address) : IPV4_ANY;
    if (*neighbour == IPV4_ANY) {
        return STATUS_UNREACHABLE;
    }
    return stack_transmit_room(stack) ? STATUS_OK : STATUS_FULL;
}

static inline void udp_send_to(struct udp_socket *socket, struct ipv4_send *send, uint16_t port,
                               ipv4_t neighbour)
{
    struct net_stack *stack = socket->stack;

    udp_write(stack, send, (struct udp_ports){.source = socket->port, .destination = port});
    ipv4_send_to(stack, send, neighbour);
    stack->counters.udp_out++;
}

status_t udp_send(struct udp_socket *socket, ipv4_t address, uint16_t port, const void *data,
                  uint32_t length)
{
    struct net_stack *stack = socket->stack;
    ipv4_t neighbour;

    status_t status = udp_check(stack, address, length, &neighbour);
    if (status == STATUS_TOO_LARGE && stack->address != IPV4_ANY) {
        struct fragment_send large = {
            .source = stack->address, .destination = address, .data = data, .length = length};
        return udp_send_large(socket, &large, port);
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct ipv4_send send = {.source = stack->address,
                             .destination = address,
                             .buffer = stack_take_buffer(stack),
                             .offset = STACK_HEADROOM_BYTES,
                             .length = length};
    if (send.buffer == NETBUF_NONE) {
        return STATUS_NO_MEMORY;
    }
    memcpy(netbuf_data(stack->pool, send.buffer) + send.offset, data, length);
    udp_send_to(socket, &send, port, neighbour);
    return STATUS_OK;
}

/* Writes the header in front of the payload at `offset` and sends; takes over the buffer. */
static status_t udp_output_v6(struct udp_socket *socket, const struct ipv6_ends *ends,
                              const struct udp_send_request *request)
{
    struct net_stack *stack = socket->stack;
    struct ipv6_send send = {.ends = ends,
                             .buffer = request->buffer,
                             .offset = request->offset - UDP_BYTES,
                             .length = request->length + UDP_BYTES,
                             .protocol = PROTOCOL_UDP};
    uint8_t *at = netbuf_data(stack->pool, send.buffer) + send.offset;

    store_be16(at, socket->port);
    store_be16(at + 2, request->port);
    store_be16(at + 4, (uint16_t)send.length);
    store_native16(at + 6, 0);
    uint64_t sum = ipv6_pseudo_sum(ends, PROTOCOL_UDP, send.length);
    uint16_t checksum = checksum_finish(checksum_add(sum, at, send.length));
    store_native16(at + 6, checksum == 0 ? 0xffffu : checksum);
    if (!ipv6_send(stack, &send)) {
        return STATUS_UNREACHABLE;
    }
    stack->counters.udp_out++;
    return STATUS_OK;
}

static status_t udp_check_v6(struct udp_socket *socket, struct ipv6_ends *ends, uint32_t length)
{
    struct net_stack *stack = socket->stack;

    if (length > stack->v6.mtu_bytes - IPV6_BYTES - UDP_BYTES) {
        return STATUS_TOO_LARGE;
    }
    status_t status = ipv6_complete(stack, ends);
    if (status != STATUS_OK) {
        return status;
    }
    return stack_transmit_room(stack) ? STATUS_OK : STATUS_FULL;
}

status_t udp_send_v6(struct udp_socket *socket, const struct ipv6_ends *v6, uint16_t port,
                     const void *data, uint32_t length)
{
    struct net_stack *stack = socket->stack;
    struct ipv6_ends ends = *v6;

    status_t status = udp_check_v6(socket, &ends, length);
    if (status == STATUS_TOO_LARGE && ipv6_complete(stack, &ends) == STATUS_OK) {
        struct fragment_send large = {.v6 = &ends, .data = data, .length = length};
        return udp_send_large(socket, &large, port);
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct udp_send_request request = {.port = port,
                                       .buffer = stack_take_buffer(stack),
                                       .offset = STACK_HEADROOM_BYTES,
                                       .length = length};
    if (request.buffer == NETBUF_NONE) {
        return STATUS_NO_MEMORY;
    }
    memcpy(netbuf_data(stack->pool, request.buffer) + request.offset, data, length);
    return udp_output_v6(socket, &ends, &request);
}

static status_t udp_send_buffer_v6(struct udp_socket *socket,
                                   const struct udp_send_request *request)
{
    struct ipv6_ends ends = *request->v6; /* it may lie where the headers are going to be */
    status_t status = STATUS_INVALID_ARGUMENT;

    if (request->offset >= ETHERNET_BYTES + IPV6_BYTES + UDP_BYTES) {
        status = udp_check_v6(socket, &ends, request->length);
    }
    if (status == STATUS_TOO_LARGE) {
        status = udp_send_v6(socket, &ends, request->port,
                             netbuf_data(socket->stack->pool, request->buffer) + request->offset,
                             request->length);
        netbuf_drop(socket->stack->pool, request->buffer);
        return status;
    }
    if (status != STATUS_OK) {
        netbuf_drop(socket->stack->pool, request->buffer);
        return status;
    }
    return udp_output_v6(socket, &ends, request);
}

status_t udp_send_buffer_slow(struct udp_socket *socket, const struct udp_send_request *request)
{
    struct net_stack *stack = socket->stack;
    status_t status = STATUS_INVALID_ARGUMENT;
    ipv4_t neighbour;

    if (request->offset >= ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES &&
        request->offset <= stack->pool->buffer_bytes &&
        request->length <= stack->pool->buffer_bytes - request->offset) {
        if (request->v6 != NULL) {
            return udp_send_buffer_v6(socket, request);
        }
        status = udp_check(stack, request->address, request->length, &neighbour);
    }
    if (status == STATUS_TOO_LARGE) {
        status =
            udp_send(socket, request->address, request->port,
                     netbuf_data(stack->pool, request->buffer) + request->offset, request->length);
        netbuf_drop(stack->pool, request->buffer);
        return status;
    }
    if (status != STATUS_OK) {
        netbuf_drop(stack->pool, request->buffer);
        return status;
    }
    struct ipv4_send send = {.source = stack->address,
                             .destination = request->address,
                             .buffer = request->buffer,
                             .offset = request->offset,
                             .length = request->length};
    udp_send_to(socket, &send, request->port, neighbour);
    return STATUS_OK;
}
