// SPDX-License-Identifier: MIT OR Apache-2.0
/* The usual datagram on its short way out: to a host whose path is known, in the pool's buffer. */
#include "lib/net/fast.h"
#include "lib/net/ipv4_out.h"

#define HEADERS_BYTES (ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES)

/* Without a sum of the data: makes it, and goes the general way if that is 0, which says nothing.
 */
static __attribute__((noinline)) status_t send_summing(struct udp_socket *socket,
                                                       const struct udp_send_request *request)
{
    struct udp_send_request summed = *request;
    struct netbuf_pool *pool = socket->stack->pool;

    if (request->v6 != NULL || request->offset > pool->buffer_bytes ||
        request->length > pool->buffer_bytes - request->offset) {
        return udp_send_buffer_slow(socket, request);
    }
    const uint8_t *data = netbuf_data(pool, request->buffer) + request->offset;
    summed.data_sum = request->length >= 8u ? checksum_add_packet(0, data, request->length)
                                            : checksum_add(0, data, request->length);
    return summed.data_sum != 0 ? udp_send_buffer(socket, &summed)
                                : udp_send_buffer_slow(socket, request);
}

/* All that is not usual is left to a call at the end, so that no register need be saved. */
status_t udp_send_buffer(struct udp_socket *socket, const struct udp_send_request *request)
{
    struct net_stack *stack = socket->stack;
    uint32_t peer = __builtin_bswap32(request->address);
    struct ipv4_path *path = ipv4_path_of(stack, peer);
    uint32_t length = request->length + UDP_BYTES;

    if (request->data_sum == 0) {
        return send_summing(socket, request);
    }
    if (request->v6 != NULL || path->peer != peer || peer == 0 || request->offset < HEADERS_BYTES ||
        request->length > stack->dev->mtu_bytes - IPV4_BYTES - UDP_BYTES ||
        request->offset > stack->pool->buffer_bytes - request->length ||
        stack->tx_count == STACK_TX_QUEUE) {
        return udp_send_buffer_slow(socket, request);
    }
    uint8_t *udp = netbuf_data(stack->pool, request->buffer) + request->offset - UDP_BYTES;
    ipv4_path_write(path, udp - IPV4_BYTES - ETHERNET_BYTES, length + IPV4_BYTES, PROTOCOL_UDP);
    uint64_t ports = __builtin_bswap32((uint32_t)socket->port << 16 | request->port);
    uint64_t size = __builtin_bswap16((uint16_t)length);
    store_le64(udp, ports | size << 32);
    uint64_t sum = path->ends_sum + (PROTOCOL_UDP << 8) + size;
    sum = checksum_add_word(checksum_add_word(sum, request->data_sum), ports | size << 32);
    uint16_t checksum = checksum_finish(sum);
    store_native16(udp + 6, checksum != 0 ? checksum : 0xffffu);
    stack->counters.udp_out++;
    ipv4_path_transmit(stack, path,
                       (struct netframe){.buffer = request->buffer,
                                         .offset = (uint16_t)(request->offset - HEADERS_BYTES),
                                         .length = (uint16_t)(request->length + HEADERS_BYTES)});
    return STATUS_OK;
}
