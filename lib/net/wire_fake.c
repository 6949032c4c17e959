// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/net/wire_fake.h"

#include "lib/base/assert.h"
#include "lib/base/bytes.h"
#include "lib/base/endian.h"
#include "lib/net/ipv6.h"
#include "lib/net/wire.h"

uint64_t wire_random(struct wire *wire)
{
    /* splitmix64 (Steele, Lea, Flood, 2014) */
    uint64_t z = wire->random += 0x9e3779b97f4a7c15ull;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static bool chance(struct wire *wire, uint32_t of_65536)
{
    return of_65536 != 0 && (wire_random(wire) & 0xffffu) < of_65536;
}

static bool earlier(const struct wire *wire, uint32_t a, uint32_t b)
{
    const struct wire_slot *x = &wire->slots[a];
    const struct wire_slot *y = &wire->slots[b];

    return x->due != y->due ? x->due < y->due : x->order < y->order;
}

static void heap_push(struct wire *wire, unsigned to, uint32_t slot)
{
    uint32_t *heap = wire->heap[to];
    uint32_t i = wire->heap_count[to]++;

    while (i > 0 && earlier(wire, slot, heap[(i - 1u) / 2u])) {
        heap[i] = heap[(i - 1u) / 2u];
        i = (i - 1u) / 2u;
    }
    heap[i] = slot;
}

static uint32_t heap_pop(struct wire *wire, unsigned to)
{
    uint32_t *heap = wire->heap[to];
    uint32_t top = heap[0];
    uint32_t count = --wire->heap_count[to];
    uint32_t last = heap[count];
    uint32_t i = 0;

    for (;;) {
        uint32_t child = 2u * i + 1u;
        if (child >= count) {
            break;
        }
        if (child + 1u < count && earlier(wire, heap[child + 1u], heap[child])) {
            child++;
        }
        if (!earlier(wire, heap[child], last)) {
            break;
        }
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = last;
    return top;
}

static uint32_t slot_take(struct wire *wire)
{
    uint32_t slot = wire->free_slot;

    if (slot != NETBUF_NONE) {
        wire->free_slot = wire->slots[slot].next_free;
    }
    return slot;
}

static void slot_free(struct wire *wire, uint32_t slot)
{
    wire->slots[slot].next_free = wire->free_slot;
    wire->free_slot = slot;
}

static void wire_put(struct wire *wire, unsigned to, const void *data, uint32_t length,
                     time_ns_t due)
{
    uint32_t slot = slot_take(wire);

    if (slot == NETBUF_NONE) {
        return; /* a full wire loses frames */
    }
    wire->slots[slot].due = due;
    wire->slots[slot].order = wire->order++;
    wire->slots[slot].length = (uint16_t)length;
    wire->slots[slot].to = (uint8_t)to;
    memcpy(wire->slots[slot].data, data, length);
    heap_push(wire, to, slot);
}

void wire_inject(struct wire *wire, unsigned to, const void *data, uint32_t length)
{
    VERIFY(length <= WIRE_FRAME_BYTES);
    wire_put(wire, to, data, length, wire->now);
}

static void wire_carry(struct wire *wire, unsigned from, uint8_t *data, uint32_t length)
{
    const struct wire_faults *faults = &wire->faults;
    time_ns_t due = wire->now + faults->delay_ns;

    if (wire->tap != NULL && !wire->tap(wire->tap_user, from, data, length)) {
        return;
    }
    if (chance(wire, faults->loss)) {
        return;
    }
    if (chance(wire, faults->reorder)) {
        due += wire_random(wire) % (faults->reorder_delay_ns + 1u);
    }
    if (chance(wire, faults->corrupt)) {
        /* Behind the addresses, so that the frame still arrives. */
        uint64_t where = 12u + wire_random(wire) % (length - 12u);
        data[where] ^= (uint8_t)(1u << (wire_random(wire) % 8u));
    }
    wire_put(wire, 1u - from, data, length, due);
    if (chance(wire, faults->duplicate)) {
        wire_put(wire, 1u - from, data, length, due + faults->delay_ns);
    }
}

/* The device is done with the buffers that it holds. */
static void end_reap(struct wire_end *end)
{
    for (uint32_t i = 0; i < end->held_count; i++) {
        struct netframe frame = end->held[i];
        const uint8_t *now = netbuf_data(end->dev.pool, frame.buffer) + frame.offset;
        uint32_t copy = end->held_copy[i];
        VERIFY(memcmp(now, end->wire->slots[copy].data, frame.length) == 0);
        slot_free(end->wire, copy);
        netbuf_drop(end->dev.pool, frame.buffer);
    }
    end->held_count = 0;
}

/* The flags for a received frame, whose open checksum is changed accordingly. */
static uint16_t sums_of(enum wire_sums sums, uint8_t *frame, uint32_t length)
{
    uint8_t *ip = frame + ETHERNET_BYTES;
    bool v6 = load_be16(frame + 12) == ETHERTYPE_IPV6 && length >= ETHERNET_BYTES + IPV6_BYTES;
    bool v4 = load_be16(frame + 12) == ETHERTYPE_IPV4 && length >= ETHERNET_BYTES + IPV4_BYTES;
    uint32_t header = v6 ? IPV6_BYTES : IPV4_BYTES;
    uint32_t room = length - ETHERNET_BYTES - header;
    uint32_t bytes = v6 ? load_be16(ip + 4) : v4 ? load_be16(ip + 2) - IPV4_BYTES : UINT32_MAX;
    uint32_t protocol = v6 ? ip[6] : v4 ? ip[9] : 0;
    uint32_t field = header + (protocol == PROTOCOL_TCP ? 16u : 6u);

    if (sums == WIRE_SUMS_NONE || (protocol != PROTOCOL_TCP && protocol != PROTOCOL_UDP) ||
        bytes > room || bytes < field + 2u - header ||
        (v4 && (ip[0] != 0x45u || (load_be16(ip + 6) & IPV4_FRAGMENT_MASK) != 0))) {
        return 0;
    }
    uint64_t pseudo =
        v6 ? ipv6_pseudo_sum((const struct ipv6_ends *)(void *)(ip + 8), protocol, bytes)
           : pseudo_header_sum(load_be32(ip + 12), load_be32(ip + 16), protocol, bytes);
    bool right = checksum_fold(checksum_add(pseudo, ip + header, bytes)) == 0xffffu;
    if (sums == WIRE_SUMS_CLAIMED) {
        return NETFRAME_SUM_RIGHT;
    }
    if (!right || load_le16(ip + field) == 0) {
        return 0;
    }
    if (sums == WIRE_SUMS_OPEN) {
        store_native16(ip + field, checksum_fold(pseudo));
    }
    return sums == WIRE_SUMS_OPEN ? NETFRAME_SUM_OPEN : NETFRAME_SUM_RIGHT;
}

/* Most often behind TCP's header, where there is one; else anywhere or nowhere. */
static void set_apart(struct wire_end *end, struct netframe *frame)
{
    uint8_t whole[WIRE_FRAME_BYTES];
    uint8_t *base = netbuf_data(end->dev.pool, frame->buffer);
    const uint8_t *ip = frame_data(end->dev.pool, frame) + ETHERNET_BYTES;
    uint32_t chance = (uint32_t)(wire_random(end->wire) % 8u);
    uint32_t headers = ETHERNET_BYTES + (uint32_t)(wire_random(end->wire) % 80u);

    if (chance != 0) {
        uint32_t bytes = ip[0] >> 4 == 6u ? IPV6_BYTES : IPV4_BYTES;
        headers = ETHERNET_BYTES + bytes + (ip[bytes + 12u] >> 4) * 4u;
    }
    if (chance == 1 || headers > frame->length || headers < ETHERNET_BYTES) {
        return;
    }
    memcpy(whole, ip - ETHERNET_BYTES, frame->length);
    memset(base, 0xdb, end->dev.pool->buffer_bytes);
    memcpy(base + NETFRAME_SPLIT_AT, whole, headers);
    memcpy(base, whole + headers, frame->length - headers);
    frame->offset = (uint16_t)(NETFRAME_SPLIT | headers | (frame->offset & NETFRAME_SUM_FLAGS));
}

static uint32_t end_receive(struct netdev *dev, struct netframe *frames, uint32_t max)
{
    struct wire_end *end = (struct wire_end *)(void *)dev;
    struct wire *wire = end->wire;
    uint32_t count = 0;

    end_reap(end);
    while (count < max && wire->heap_count[end->index] != 0 &&
           wire->slots[wire->heap[end->index][0]].due <= wire->now) {
        uint32_t slot = heap_pop(wire, end->index);
        uint32_t buffer = netbuf_take(dev->pool);
        uint32_t length = wire->slots[slot].length;
        if (buffer != NETBUF_NONE) {
            /* Poisoned, so that reading behind the frame shows. */
            memset(netbuf_data(dev->pool, buffer), 0xdb, dev->pool->buffer_bytes);
            memcpy(netbuf_data(dev->pool, buffer) + 12, wire->slots[slot].data, length);
            uint16_t sums = sums_of(end->sums, netbuf_data(dev->pool, buffer) + 12, length);
            frames[count] = (struct netframe){buffer, 12u | sums, (uint16_t)length};
            if (end->split) {
                set_apart(end, &frames[count]);
            }
            count++;
            dev->counters.rx_frames++;
        } else {
            dev->counters.rx_dropped++;
        }
        slot_free(wire, slot);
    }
    return count;
}

/* Sums one segment of a packet that was cut and sends it. */
static void end_send_segment(struct wire_end *end, uint8_t *frame, uint32_t header, uint32_t length)
{
    uint8_t *ip = frame + ETHERNET_BYTES;
    uint8_t *tcp = ip + IPV4_BYTES;
    uint32_t bytes = header - ETHERNET_BYTES - IPV4_BYTES + length;
    uint64_t pseudo =
        pseudo_header_sum(load_be32(ip + 12), load_be32(ip + 16), PROTOCOL_TCP, bytes);

    store_be16(ip + 2, (uint16_t)(bytes + IPV4_BYTES));
    store_be16(ip + 10, 0);
    store_native16(ip + 10, checksum_finish(checksum_add(0, ip, IPV4_BYTES)));
    store_be16(tcp + 16, 0);
    store_native16(tcp + 16, checksum_finish(checksum_add(pseudo, tcp, bytes)));
    VERIFY(header + length <= ETHERNET_BYTES + end->dev.mtu_bytes);
    if (end->link_up) {
        wire_carry(end->wire, end->index, frame, header + length);
    }
}

/* What a device does that cuts (netdev.h); returns the frames taken. */
static uint32_t end_transmit_large(struct wire_end *end, const struct netframe *frames,
                                   uint32_t count)
{
    static uint8_t packet[1u << 16];
    struct netbuf_pool *pool = end->dev.pool;
    uint8_t segment[WIRE_FRAME_BYTES];
    struct netframe_offload offload;
    uint32_t bytes = 0;
    uint32_t parts = 0;
    bool more = true;

    for (; more; parts++) {
        struct netframe frame = frames[parts];
        VERIFY(parts < count && parts < NETFRAMES_MAX);
        VERIFY((parts == 0) == ((frame.offset & NETFRAME_OFFLOAD) != 0));
        const uint8_t *at = netbuf_data(pool, frame.buffer) + (frame.offset & NETFRAME_MASK);
        if (parts == 0) {
            memcpy(&offload, at - sizeof offload, sizeof offload);
        }
        memcpy(packet + bytes, at, frame.length & NETFRAME_MASK);
        bytes += frame.length & NETFRAME_MASK;
        more = (frame.length & NETFRAME_MORE) != 0;
        netbuf_drop(pool, frame.buffer);
    }
    uint32_t header = offload.header_bytes;
    uint8_t *ip = packet + ETHERNET_BYTES;
    bool open = offload.segment_bytes != 0 && (end->dev.offloads & NETDEV_TX_OPEN_LENGTH) != 0;
    uint64_t sum = pseudo_header_sum(load_be32(ip + 12), load_be32(ip + 16), PROTOCOL_TCP,
                                     open ? 0 : bytes - ETHERNET_BYTES - IPV4_BYTES);
    VERIFY(bytes == header + offload.payload_bytes);
    VERIFY(load_le16(ip + IPV4_BYTES + 16) == checksum_fold(sum));
    VERIFY(open ? load_le16(ip + 2) == 0 && load_le16(ip + 10) == 0
                : checksum_fold(checksum_add(0, ip, IPV4_BYTES)) == 0xffffu);
    for (uint32_t at = 0; at < offload.payload_bytes;) {
        uint32_t length = offload.payload_bytes - at;
        if (offload.segment_bytes != 0 && length > offload.segment_bytes) {
            length = offload.segment_bytes;
        }
        memcpy(segment, packet, header);
        memcpy(segment + header, packet + header + at, length);
        store_be32(segment + ETHERNET_BYTES + IPV4_BYTES + 4, load_be32(ip + IPV4_BYTES + 4) + at);
        at += length;
        if (at < offload.payload_bytes) {
            segment[ETHERNET_BYTES + IPV4_BYTES + 13] &= (uint8_t)~TCP_PSH;
        }
        end_send_segment(end, segment, header, length);
    }
    return parts;
}

static uint32_t transmit(struct netdev *dev, const struct netframe *frames, uint32_t count,
                         bool large)
{
    struct wire_end *end = (struct wire_end *)(void *)dev;
    struct netbuf_pool *pool = dev->pool;
    uint8_t copy[WIRE_FRAME_BYTES];
    uint32_t done = 0;

    for (; done < count && done < end->transmit_limit && end->held_count < WIRE_HELD; done++) {
        struct netframe frame = frames[done];
        if ((frame.offset & NETFRAME_OFFLOAD) != 0 && large) {
            done += end_transmit_large(end, frames + done, count - done) - 1u;
            continue;
        }
        VERIFY(frame.length >= 14u && frame.length <= 14u + dev->mtu_bytes);
        VERIFY(frame.offset + frame.length <= pool->buffer_bytes);
        VERIFY(pool->references[frame.buffer] > 0);
        memcpy(copy, netbuf_data(pool, frame.buffer) + frame.offset, frame.length);
        uint32_t slot = end->hold ? slot_take(end->wire) : NETBUF_NONE;
        if (slot != NETBUF_NONE) {
            memcpy(end->wire->slots[slot].data, copy, frame.length);
            end->held[end->held_count] = frame;
            end->held_copy[end->held_count++] = slot;
        } else {
            netbuf_drop(pool, frame.buffer);
        }
        if (end->link_up) {
            wire_carry(end->wire, end->index, copy, frame.length);
        }
    }
    dev->counters.tx_frames += done;
    return done;
}

static uint32_t end_transmit(struct netdev *dev, const struct netframe *frames, uint32_t count)
{
    return transmit(dev, frames, count, false);
}

static uint32_t end_transmit_any(struct netdev *dev, const struct netframe *frames, uint32_t count)
{
    VERIFY(dev->offloads != 0);
    return transmit(dev, frames, count, true);
}

static bool end_arm(struct netdev *dev)
{
    (void)dev;
    return true;
}

static void end_disarm(struct netdev *dev)
{
    (void)dev;
}

static bool end_link_up(struct netdev *dev)
{
    return ((struct wire_end *)(void *)dev)->link_up;
}

static time_ns_t end_tick(struct netdev *dev, time_ns_t now_ns)
{
    (void)dev;
    (void)now_ns;
    return DEADLINE_NEVER;
}

static const struct netdev_ops end_ops = {.receive = end_receive,
                                          .transmit = end_transmit,
                                          .transmit_large = end_transmit_any,
                                          .arm = end_arm,
                                          .disarm = end_disarm,
                                          .link_up = end_link_up,
                                          .tick = end_tick};

void wire_init(struct wire *wire, uint64_t seed, struct netbuf_pool *pool0,
               struct netbuf_pool *pool1)
{
    struct netbuf_pool *pools[2] = {pool0, pool1};

    memset(wire, 0, sizeof *wire);
    wire->random = seed;
    wire->free_slot = NETBUF_NONE;
    for (uint32_t i = WIRE_FRAMES; i > 0; i--) {
        slot_free(wire, i - 1u);
    }
    for (unsigned i = 0; i < 2; i++) {
        struct wire_end *end = &wire->end[i];
        end->wire = wire;
        end->index = i;
        end->link_up = true;
        end->transmit_limit = 64;
        end->hold = true;
        end->dev.ops = &end_ops;
        end->dev.pool = pools[i];
        end->dev.mtu_bytes = 1500;
        memcpy(end->dev.mac, "\x02hlws", 5);
        end->dev.mac[5] = (uint8_t)i;
    }
}

time_ns_t wire_next(const struct wire *wire)
{
    time_ns_t next = DEADLINE_NEVER;

    for (unsigned i = 0; i < 2; i++) {
        if (wire->heap_count[i] != 0 && wire->slots[wire->heap[i][0]].due < next) {
            next = wire->slots[wire->heap[i][0]].due;
        }
    }
    return next;
}

void wire_clear(struct wire *wire)
{
    for (unsigned i = 0; i < 2; i++) {
        while (wire->heap_count[i] != 0) {
            slot_free(wire, heap_pop(wire, i));
        }
        end_reap(&wire->end[i]);
    }
}
