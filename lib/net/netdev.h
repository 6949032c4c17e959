// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * What the network stack needs of a NIC, whoever provides it: a driver in the same cell (direct)
 * or a ring to a driver cell (shared). One indirect call a burst, none a frame.
 *
 * Buffers. All frames live in one netbuf_pool of equal buffers, named by index and counted by
 * reference; a buffer is free when its count is 0. The pool's bookkeeping is private to the cell;
 * only the bytes may be shared with a device or a peer.
 *
 * Thread rule: one owner; nothing here locks.
 */
#ifndef LIB_NET_NETDEV_H
#define LIB_NET_NETDEV_H

#include <hallows/status.h>
#include <hallows/types.h>

#define NETBUF_NONE 0xffffffffu
#define NETDEV_BURST_MAX 32u

struct netbuf_pool {
    uint8_t *base;         /* [const] buffer i lies at base + i * buffer_bytes */
    uint32_t buffer_bytes; /* [const] power of two, <= PAGE_BYTES */
    uint32_t buffer_count; /* [const] */
    uint64_t
        *device_address;  /* [buffer_count] as the device sees them; NULL where none is driven */
    uint16_t *references; /* [buffer_count] */
    uint32_t *free_stack; /* [buffer_count] */
    uint32_t free_count;
};

/* Bytes of bookkeeping that netbuf_pool_init needs for buffer_count buffers. */
size_t netbuf_pool_bookkeeping_bytes(uint32_t buffer_count);
/* All buffers free. `base` is page-aligned, `bookkeeping` 8-byte aligned; both stay the caller's.
 * page_device_address: of base's pages, read now; NULL where no device is driven.
 */
status_t netbuf_pool_init(struct netbuf_pool *pool, void *base, uint32_t buffer_count,
                          uint32_t buffer_bytes, const uint64_t *page_device_address,
                          void *bookkeeping) HALLOWS_MUST_CHECK;

static inline uint8_t *netbuf_data(const struct netbuf_pool *pool, uint32_t buffer)
{
    return pool->base + (size_t)buffer * pool->buffer_bytes;
}

/* The device's address of a buffer; only where page_device_address was given. */
static inline uint64_t netbuf_device_address(const struct netbuf_pool *pool, uint32_t buffer)
{
    return pool->device_address[buffer];
}

/* Takes a buffer with one reference; NETBUF_NONE when none is free. */
static inline uint32_t netbuf_take(struct netbuf_pool *pool)
{
    if (pool->free_count == 0) {
        return NETBUF_NONE;
    }
    uint32_t buffer = pool->free_stack[--pool->free_count];
    pool->references[buffer] = 1;
    return buffer;
}

static inline void netbuf_hold(struct netbuf_pool *pool, uint32_t buffer)
{
    pool->references[buffer]++;
}

/* Drops one reference; the last one frees the buffer. */
static inline void netbuf_drop(struct netbuf_pool *pool, uint32_t buffer)
{
    if (--pool->references[buffer] == 0) {
        pool->free_stack[pool->free_count++] = buffer;
    }
}

/* One Ethernet frame: `length` bytes at `offset` in `buffer`, without FCS. The offset of a received
 * frame is the device's choice; a frame to send may lie anywhere in its buffer, and the device
 * never changes the buffer's bytes. */
struct netframe {
    uint32_t buffer;
    uint16_t offset;
    uint16_t length;
};

/* What a device does beyond moving frames; the owner decides for each frame whether to use it. */
enum netdev_offload {
    /* Sending: fills the checksum of a TCP segment over IPv4 and cuts large ones into frames. */
    NETDEV_TX_CHECKSUM = 1u << 0,
    NETDEV_TX_SEGMENTS = 1u << 1,
    /* Of packets to be cut it wants IPv4's length and checksum 0, and TCP's pseudo header summed
     * without the length. */
    NETDEV_TX_OPEN_LENGTH = 1u << 2,
};

/* Flags of frames for transmit_large only.
 * In netframe.offset: a struct netframe_offload stands right before the frame.
 * Its IPv4 header is complete, its TCP checksum field holds the folded sum of the pseudo header. */
#define NETFRAME_OFFLOAD 0x8000u
/* In netframe.length: the packet goes on with the next frame's bytes. All of a
 * packet are taken in one call or none. */
#define NETFRAME_MORE 0x8000u
#define NETFRAME_MASK 0x7fffu
/* Flags in netframe.offset of received frames, from a device with receives_sums. They tell of the
 * checksum of the TCP or UDP packet that the frame is; IPv4's own is not meant.
 * RIGHT: the device has compared it with the bytes.
 * OPEN: its sender runs on the same machine and left it open: the field holds the folded sum of the
 * pseudo header, and no wire could change the bytes. */
#define NETFRAME_SUM_RIGHT 0x8000u
#define NETFRAME_SUM_OPEN 0x4000u
#define NETFRAME_SUM_FLAGS (NETFRAME_SUM_RIGHT | NETFRAME_SUM_OPEN)
/* From a device with splits_headers: the frame's headers lie at NETFRAME_SPLIT_AT, where there is
 * room for all of it (frame_join), the rest by itself at the buffer's start. Without the flags
 * netframe.offset says how many bytes the headers have. (The buffer itself is no place to say
 * so: the device can still write there.) */
#define NETFRAME_SPLIT 0x2000u
#define NETFRAME_SPLIT_AT 2112u
/* Where a received frame that is whole lies. */
#define NETFRAME_OFFSET 0x1fffu
/* Frames that one packet may be made of. */
#define NETFRAMES_MAX 17u

struct netframe_offload {
    uint16_t segment_bytes; /* payload of each frame to cut; 0: it is one frame */
    uint16_t header_bytes;  /* Ethernet, IPv4 (20) and TCP; all in the first frame */
    uint32_t payload_bytes; /* behind the headers, all frames together */
};

static inline bool frame_is_split(const struct netframe *frame)
{
    return (frame->offset & NETFRAME_SPLIT) != 0;
}

/* How many bytes of a received frame lie where frame_data says. */
static inline uint32_t frame_front_bytes(const struct netframe *frame)
{
    return frame_is_split(frame) ? frame->offset & NETFRAME_OFFSET : frame->length;
}

/* The bytes of a received frame, or of its headers if it is split. */
static inline uint8_t *frame_data(const struct netbuf_pool *pool, const struct netframe *frame)
{
    return netbuf_data(pool, frame->buffer) +
           (frame_is_split(frame) ? NETFRAME_SPLIT_AT : frame->offset & NETFRAME_OFFSET);
}

/* Makes a received frame whole: copies what lies apart behind its headers. */
void frame_join_split(const struct netbuf_pool *pool, struct netframe *frame);
static inline void frame_join(const struct netbuf_pool *pool, struct netframe *frame)
{
    if (frame_is_split(frame)) {
        frame_join_split(pool, frame);
    }
}

struct netdev_counters {
    uint64_t rx_frames, rx_bytes, rx_dropped, rx_errors;
    uint64_t tx_frames, tx_bytes, tx_dropped, tx_errors;
    uint64_t doorbells, interrupts, resets;
};

struct netdev;

/* One more queue pair of a device, as a netdev with a pool and an owner of its own. */
struct netdev_queue_request {
    uint32_t number; /* 1 .. dev->queues - 1, each once */
    struct netbuf_pool *pool;
    void *state; /* as for the first one */
};

struct netdev_ops {
    /* Fills frames[0..max) with received frames, in order; returns how many. Each carries one
     * reference that is now the caller's. Also reaps finished transmissions. */
    uint32_t (*receive)(struct netdev *dev, struct netframe *frames, uint32_t max);
    /* Queues frames for sending and rings the device once; returns how many were taken (fewer when
     * the queue is full). A taken frame's reference belongs to the device until it is sent; a
     * sender that wants to keep the buffer holds a second one. */
    uint32_t (*transmit)(struct netdev *dev, const struct netframe *frames, uint32_t count);
    /* The same for frames of which some carry flags. NULL where dev->offloads is 0. */
    uint32_t (*transmit_large)(struct netdev *dev, const struct netframe *frames, uint32_t count);
    /* Turns wake-ups on before sleeping. Returns false, wake-ups off, if work is there already. */
    bool (*arm)(struct netdev *dev);
    /* Turns wake-ups off again after waking. */
    void (*disarm)(struct netdev *dev);
    /* Whether the link is up now. */
    bool (*link_up)(struct netdev *dev);
    /* Housekeeping with deadlines (link watch, reset, peer restart); call when due, returns the
     * next due time in ns. */
    time_ns_t (*tick)(struct netdev *dev, time_ns_t now_ns);
    /* Stops the device for good. OK: it no longer touches memory and all lent buffers are back in
     * the pool; AGAIN: not yet, call again. */
    status_t (*stop)(struct netdev *dev);
    /* Gives queue pair `number` of a running device to an owner; NULL where dev->queues is 1. Its
     * frames are those that the device's hash brings there. The pairs share nothing that changes
     * on the hot ways; each has its thread. Reset and link are the first one's: the others follow
     * in their ticks, and stop before it does. Returns OK and *out, or INVALID_ARGUMENT: no such
     * pair, or it has an owner. Context: the first pair's owner, before the others run. */
    status_t (*attach_queue)(struct netdev *dev, const struct netdev_queue_request *request,
                             struct netdev **out);
};

struct netdev {
    const struct netdev_ops *ops;
    struct netbuf_pool *pool;
    uint8_t mac[6];
    uint16_t mtu_bytes;  /* IP bytes in a frame */
    uint16_t queues;     /* pairs that the device runs; 0 and 1: one */
    uint16_t queue;      /* which of them this is */
    bool unsteered;      /* flows come to any of them, by no hash that software knows */
    uint32_t offloads;   /* enum netdev_offload */
    bool receives_sums;  /* received frames may carry NETFRAME_SUM_FLAGS */
    bool splits_headers; /* or NETFRAME_SPLIT; buffers are of PAGE_BYTES */
    const char *model;   /* what drives it and how; NULL: not told */
    struct netdev_counters counters;
};

#endif
