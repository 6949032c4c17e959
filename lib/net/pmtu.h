// SPDX-License-Identifier: MIT OR Apache-2.0
/* Path MTUs (pmtu.c). Private to lib/net; included by internal.h. */
#ifndef LIB_NET_PMTU_H
#define LIB_NET_PMTU_H

#include "lib/net/wire.h"

#define PMTU_ENTRIES 16u

struct pmtu_entry {
    ipv4_t address; /* or tag */
    uint16_t mtu_bytes;
    time_ns_t until;
};

/* Bytes of IP packet that the path to `address` (or tag) takes, as far as known. */
uint32_t pmtu_of(const struct net_stack *stack, ipv4_t address);
/* Takes a router's report; returns what holds now. */
uint32_t pmtu_learn(struct net_stack *stack, ipv4_t address, uint32_t mtu);
/* A guess for routers that do not tell, from the size of what did not fit. */
uint32_t pmtu_plateau(uint32_t packet_bytes);

#endif
