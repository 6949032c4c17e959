// SPDX-License-Identifier: MIT OR Apache-2.0
#include "drivers/net/steer.h"

#include "lib/base/bytes.h"
#include "lib/base/endian.h"
#include "lib/net/wire.h"

/* RFC 792: errors beside ICMP_UNREACHABLE. */
#define ICMP_QUENCH 4u
#define ICMP_TIME_EXCEEDED 11u
#define ICMP_PARAMETER 12u
#define ICMP6_ERROR_LAST 127u /* RFC 4443, 2.1 */
#define DHCP_CLIENT_PORT 68u  /* RFC 2131, 4.1 */

/* ---- Where a frame belongs ------------------------------------------------------------------- */

static enum steer_way ipv4_way(const uint8_t *at, uint32_t length)
{
    uint32_t header = (at[0] & 15u) * 4u;
    uint32_t type = header < length ? at[header] : 0;

    if ((load_be16(at + 6) & IPV4_FRAGMENT_MASK) != 0) {
        return STEER_EVERYWHERE;
    }
    switch (at[9]) {
    case PROTOCOL_TCP:
        return STEER_HERE;
    case PROTOCOL_UDP:
        return header + 4u <= length && load_be16(at + header + 2u) == DHCP_CLIENT_PORT
                   ? STEER_FIRST
                   : STEER_HERE;
    case PROTOCOL_ICMP:
        return type == ICMP_UNREACHABLE || type == ICMP_QUENCH || type == ICMP_TIME_EXCEEDED ||
                       type == ICMP_PARAMETER
                   ? STEER_EVERYWHERE
                   : STEER_FIRST;
    default:
        return STEER_FIRST;
    }
}

static enum steer_way ipv6_way(const uint8_t *at, uint32_t length)
{
    uint32_t type = IPV6_BYTES < length ? at[IPV6_BYTES] : UINT8_MAX;

    switch (at[6]) {
    case PROTOCOL_TCP:
    case PROTOCOL_UDP:
        return STEER_HERE;
    case IPV6_FRAGMENT:
        return STEER_EVERYWHERE;
    case PROTOCOL_ICMP6:
        return type <= ICMP6_ERROR_LAST || type == ICMP6_ROUTER_ADVERTISEMENT ||
                       type == ICMP6_NEIGHBOUR_ADVERTISEMENT
                   ? STEER_EVERYWHERE
                   : STEER_FIRST;
    default:
        return STEER_FIRST;
    }
}

enum steer_way steer_way_of(const uint8_t *frame, uint32_t length)
{
    const uint8_t *packet = frame + ETHERNET_BYTES;
    uint32_t type = length >= ETHERNET_BYTES ? load_be16(frame + 12) : 0;

    length -= length >= ETHERNET_BYTES ? ETHERNET_BYTES : length;
    if (type == ETHERTYPE_IPV4 && length >= IPV4_BYTES) {
        return ipv4_way(packet, length);
    }
    if (type == ETHERTYPE_IPV6 && length >= IPV6_BYTES) {
        return ipv6_way(packet, length);
    }
    return type == ETHERTYPE_ARP && length >= 8u && load_be16(packet + 6) == ARP_REPLY
               ? STEER_EVERYWHERE
               : STEER_FIRST;
}

bool steer_owns(const void *port, const uint8_t *flow, uint32_t bytes)
{
    const struct steer_port *own = port;
    const struct steer *steer = own->steer;

    return own->number ==
           (bytes == 0 ? 0
                       : toeplitz_queue(toeplitz_hash(&steer->hash, flow, bytes), steer->count));
}

/* ---- Handing on ------------------------------------------------------------------------------ */

static struct steer_queue *queue_of(const struct steer *steer, uint32_t from, uint32_t to)
{
    return &steer->queues[from * steer->count + to];
}

static void hand_to(struct steer_port *port, uint32_t to, const struct netframe *frame)
{
    struct steer *steer = port->steer;
    struct steer_queue *queue = queue_of(steer, port->number, to);
    uint32_t tail = queue->tail; /* ours */

    if (tail - __atomic_load_n(&queue->head, __ATOMIC_ACQUIRE) == STEER_SLOTS ||
        frame->length > STEER_FRAME_BYTES_MAX) {
        port->lost++;
        return;
    }
    struct steer_slot *slot = &queue->slots[tail % STEER_SLOTS];
    slot->length = frame->length;
    slot->sums = frame->offset & NETFRAME_SUM_FLAGS;
    memcpy(slot->frame, frame_data(port->dev->pool, frame), frame->length);
    __atomic_store_n(&queue->tail, tail + 1u, __ATOMIC_RELEASE);
    port->handed++;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(&steer->ports[to].wanted, __ATOMIC_RELAXED) != 0) {
        steer->wake(steer->context, to);
    }
}

/* Whether the headers of a split frame are those of TCP: nothing else of it has to be seen here. */
static bool is_whole_tcp_header(const struct netbuf_pool *pool, const struct netframe *frame)
{
    const uint8_t *at = frame_data(pool, frame);
    const uint8_t *packet = at + ETHERNET_BYTES;
    uint32_t type = load_be16(at + 12);
    uint32_t headers = frame_front_bytes(frame);

    return (type == ETHERTYPE_IPV4 && packet[9] == PROTOCOL_TCP &&
            headers >= ETHERNET_BYTES + (packet[0] & 15u) * 4u + TCP_BYTES) ||
           (type == ETHERTYPE_IPV6 && packet[6] == PROTOCOL_TCP &&
            headers >= ETHERNET_BYTES + IPV6_BYTES + TCP_BYTES);
}

/* The port that a flow's frame belongs to; `number` if it has no ports. */
static uint32_t owner_of(const struct steer *steer, const uint8_t *frame, uint32_t length,
                         uint32_t number)
{
    const uint8_t *packet = frame + ETHERNET_BYTES;
    bool is_v6 = packet[0] >> 4 == 6u;
    uint32_t header = is_v6 ? IPV6_BYTES : (packet[0] & 15u) * 4u;
    uint32_t ends = is_v6 ? 32u : 8u;
    uint8_t flow[TOEPLITZ_IPV6_BYTES];

    if (length < ETHERNET_BYTES + header + 4u) {
        return number;
    }
    memcpy(flow, packet + (is_v6 ? 8u : 12u), ends);
    memcpy(flow + ends, packet + header, 4);
    return toeplitz_queue(toeplitz_hash(&steer->hash, flow, ends + 4u), steer->count);
}

/* A frame of a flow. Where the device brings flows to the pairs as it likes, the first few may come
 * to the wrong one: the answers show it the right one. */
static bool look_at_flow(struct steer_port *port, struct netframe *frame)
{
    if (!port->dev->unsteered) {
        return true;
    }
    uint32_t owner =
        owner_of(port->steer, frame_data(port->dev->pool, frame), frame->length, port->number);
    if (owner != port->number) {
        frame_join(port->dev->pool, frame);
        hand_to(port, owner, frame);
    }
    return owner == port->number;
}

/* Hands the frame on where it has to go. True: it is for this port, too. */
static bool look_at(struct steer_port *port, struct netframe *frame)
{
    if (frame_is_split(frame) && !is_whole_tcp_header(port->dev->pool, frame)) {
        frame_join(port->dev->pool, frame);
    }
    switch (steer_way_of(frame_data(port->dev->pool, frame), frame->length)) {
    case STEER_HERE:
        return look_at_flow(port, frame);
    case STEER_FIRST:
        if (port->number != 0) {
            hand_to(port, 0, frame);
        }
        return port->number == 0;
    default:
        for (uint32_t to = 0; to < port->steer->count; to++) {
            if (to != port->number) {
                hand_to(port, to, frame);
            }
        }
        return true;
    }
}

/* Takes frames that another port handed on, as long as there is a buffer; returns how many. */
static uint32_t take_from(struct steer_port *port, uint32_t from, struct netframe *frames,
                          uint32_t max)
{
    struct steer_queue *queue = queue_of(port->steer, from, port->number);
    struct netbuf_pool *pool = port->dev->pool;
    uint32_t head = queue->head; /* ours */
    uint32_t count = 0;

    while (count < max && head != __atomic_load_n(&queue->tail, __ATOMIC_ACQUIRE)) {
        const struct steer_slot *slot = &queue->slots[head % STEER_SLOTS];
        uint32_t buffer = netbuf_take(pool);
        if (buffer == NETBUF_NONE) {
            break;
        }
        uint32_t offset = pool->buffer_bytes - STEER_FRAME_BYTES_MAX;
        memcpy(netbuf_data(pool, buffer) + offset, slot->frame, slot->length);
        frames[count++] = (struct netframe){buffer, (uint16_t)(offset | slot->sums), slot->length};
        __atomic_store_n(&queue->head, ++head, __ATOMIC_RELEASE);
    }
    return count;
}

static bool anything_waits(const struct steer_port *port)
{
    for (uint32_t from = 0; from < port->steer->count; from++) {
        const struct steer_queue *queue = queue_of(port->steer, from, port->number);
        if (__atomic_load_n(&queue->tail, __ATOMIC_ACQUIRE) != queue->head) {
            return true;
        }
    }
    return false;
}

/* ---- The netdev ------------------------------------------------------------------------------ */

static struct steer_port *port_of(struct netdev *dev)
{
    return (struct steer_port *)dev;
}

static uint32_t receive(struct netdev *dev, struct netframe *frames, uint32_t max)
{
    struct steer_port *port = port_of(dev);
    uint32_t received = port->dev->ops->receive(port->dev, frames, max);
    uint32_t count = 0;

    for (uint32_t i = 0; i < received; i++) {
        if (look_at(port, &frames[i])) {
            frames[count++] = frames[i];
        } else {
            netbuf_drop(port->dev->pool, frames[i].buffer);
        }
    }
    for (uint32_t from = 0; from < port->steer->count; from++) {
        count += take_from(port, from, frames + count, max - count);
    }
    return count;
}

static uint32_t transmit(struct netdev *dev, const struct netframe *frames, uint32_t count)
{
    struct netdev *pair = port_of(dev)->dev;

    return pair->ops->transmit(pair, frames, count);
}

static uint32_t transmit_large(struct netdev *dev, const struct netframe *frames, uint32_t count)
{
    struct netdev *pair = port_of(dev)->dev;

    return pair->ops->transmit_large(pair, frames, count);
}

static void disarm(struct netdev *dev)
{
    struct steer_port *port = port_of(dev);

    __atomic_store_n(&port->wanted, 0u, __ATOMIC_RELAXED);
    port->dev->ops->disarm(port->dev);
}

static bool arm(struct netdev *dev)
{
    struct steer_port *port = port_of(dev);

    if (!port->dev->ops->arm(port->dev)) {
        return false;
    }
    __atomic_store_n(&port->wanted, 1u, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (anything_waits(port)) {
        disarm(dev);
        return false;
    }
    return true;
}

static bool link_up(struct netdev *dev)
{
    struct netdev *pair = port_of(dev)->dev;

    return pair->ops->link_up(pair);
}

static time_ns_t tick(struct netdev *dev, time_ns_t now_ns)
{
    struct steer_port *port = port_of(dev);
    time_ns_t next = port->dev->ops->tick(port->dev, now_ns);

    port->netdev.counters = port->dev->counters;
    return next;
}

static status_t stop(struct netdev *dev)
{
    struct netdev *pair = port_of(dev)->dev;

    return pair->ops->stop(pair);
}

static const struct netdev_ops operations = {
    .receive = receive,
    .transmit = transmit,
    .transmit_large = transmit_large,
    .arm = arm,
    .disarm = disarm,
    .link_up = link_up,
    .tick = tick,
    .stop = stop,
};

/* ---- Set-up ---------------------------------------------------------------------------------- */

static size_t state_bytes(void)
{
    return (sizeof(struct steer) + 63u) & ~(size_t)63u;
}

size_t steer_bytes(uint32_t count)
{
    return state_bytes() + (size_t)count * count * sizeof(struct steer_queue);
}

struct steer *steer_init(void *memory, uint32_t count)
{
    struct steer *steer = memory;

    memset(memory, 0, steer_bytes(count));
    steer->count = count;
    steer->queues = (struct steer_queue *)(void *)((uint8_t *)memory + state_bytes());
    toeplitz_init(&steer->hash, toeplitz_key);
    return steer;
}

struct netdev *steer_add(struct steer *steer, uint32_t number, struct netdev *dev)
{
    struct steer_port *port = &steer->ports[number];

    port->netdev = *dev;
    port->netdev.ops = &operations;
    port->dev = dev;
    port->steer = steer;
    port->number = number;
    return &port->netdev;
}
