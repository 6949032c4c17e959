// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * A struct netdev on the host: raw Ethernet frames over Unix datagram sockets, the far end being
 * QEMU's `-netdev dgram,local.type=unix,remote.type=unix` (one datagram, one frame, no header).
 */
#ifndef BENCH_LOAD_DGRAM_HOST_H
#define BENCH_LOAD_DGRAM_HOST_H

#include "lib/net/netdev.h"

struct dgram_netdev {
    struct netdev dev;
    int socket;
};

/* Binds `local_path` (removed first) and sends to `remote_path`, which need not exist yet. Prints
 * what failed and returns false. The pool is allocated here, `buffers` of 2 KiB. */
bool dgram_netdev_open(struct dgram_netdev *wire, const char *local_path, const char *remote_path,
                       uint32_t buffers);

/* Waits until a frame can be read or `timeout_ns` has passed. */
void dgram_netdev_wait(const struct dgram_netdev *wire, uint64_t timeout_ns);

#endif
