// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Between a device's queue pairs and the stack instances on them, one a thread: hands on what the
 * device does not steer. The device brings a TCP or UDP flow to its pair by a hash; the rest comes
 * to some pair, mostly the first, and goes everywhere   what all instances have to know: ARP
 * replies, neighbour and router advertisements, ICMP errors, fragments (each puts them together,
 * the flow's owner uses them: stack_config.owns) first        what one has to answer: ARP requests,
 * echo requests, DHCP, other protocols
 *
 * Frames are handed on by copy, from each instance to each other over a queue of STEER_SLOTS; more
 * are dropped and counted. A sleeping instance is woken as in include/hallows/ring.h: it sets
 * `wanted`, fences, looks once more; who has published fences and reads it.
 *
 * A port is a netdev: it wraps its queue pair's. Where a device has one pair nothing of this is
 * needed. Thread rule: a port has one owner, its pair's; they share the queues between them.
 */
#ifndef DRIVERS_NET_STEER_H
#define DRIVERS_NET_STEER_H

#include "drivers/net/driver.h"
#include "drivers/net/toeplitz.h"

#define STEER_SLOTS 32u
#define STEER_FRAME_BYTES_MAX 2044u

struct steer_slot {
    uint16_t length;
    uint16_t sums; /* NETFRAME_SUM_FLAGS */
    uint8_t frame[STEER_FRAME_BYTES_MAX];
};

/* From one port to one other. Cursors are counted modulo 2^32. */
struct steer_queue {
    _Alignas(64) uint32_t tail; /* [sender, atomic] */
    _Alignas(64) uint32_t head; /* [receiver, atomic] */
    struct steer_slot slots[STEER_SLOTS];
};

struct steer;

struct steer_port {
    struct netdev netdev; /* what the stack gets */
    struct netdev *dev;   /* the pair */
    struct steer *steer;
    uint32_t number;
    uint64_t handed, lost;        /* to others */
    _Alignas(64) uint32_t wanted; /* [atomic] it sleeps */
};

struct steer {
    uint32_t count; /* ports */
    /* Signals the owner of a port that sleeps. Called by any owner. */
    void (*wake)(void *context, uint32_t port);
    void *context;
    struct steer_queue *queues; /* [from * count + to] */
    struct steer_port ports[NETDEV_QUEUES_MAX];
    struct toeplitz hash;
};

/* For `count` ports; 64-byte aligned. */
size_t steer_bytes(uint32_t count);
/* Makes the device's pairs' steering in `memory` of steer_bytes(dev->queues), ports without pairs.
 */
struct steer *steer_init(void *memory, uint32_t count);
/* Gives port `number` its pair; returns the netdev for the stack. Before any port is used. */
struct netdev *steer_add(struct steer *steer, uint32_t number, struct netdev *dev);
/* stack_config.owns, with a struct steer_port. */
bool steer_owns(const void *port, const uint8_t *flow, uint32_t bytes);

enum steer_way { STEER_HERE, STEER_FIRST, STEER_EVERYWHERE };
/* Where a frame belongs. */
enum steer_way steer_way_of(const uint8_t *frame, uint32_t length);

#endif
