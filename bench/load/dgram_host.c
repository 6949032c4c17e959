// SPDX-License-Identifier: MIT OR Apache-2.0
#include "bench/load/dgram_host.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define BUFFER_BYTES 2048u
#define SOCKET_BUFFER_BYTES (4 << 20)

static uint32_t wire_receive(struct netdev *dev, struct netframe *frames, uint32_t max)
{
    struct dgram_netdev *wire = (struct dgram_netdev *)dev;
    uint32_t count = 0;

    while (count < max) {
        uint32_t buffer = netbuf_take(dev->pool);
        ssize_t length = -1;

        if (buffer != NETBUF_NONE) {
            length = recv(wire->socket, netbuf_data(dev->pool, buffer), BUFFER_BYTES, MSG_DONTWAIT);
        }
        if (length < 0) {
            if (buffer != NETBUF_NONE) {
                netbuf_drop(dev->pool, buffer);
            }
            break;
        }
        frames[count++] = (struct netframe){buffer, 0, (uint16_t)length};
        dev->counters.rx_frames++;
    }
    return count;
}

static uint32_t wire_transmit(struct netdev *dev, const struct netframe *frames, uint32_t count)
{
    struct dgram_netdev *wire = (struct dgram_netdev *)dev;
    uint32_t sent = 0;

    for (; sent < count; sent++) {
        const struct netframe *frame = &frames[sent];
        const uint8_t *data = netbuf_data(dev->pool, frame->buffer) + frame->offset;

        /* The socket's queue is short and QEMU drains it: waiting is the flow control. */
        if (send(wire->socket, data, frame->length, 0) < 0) {
            dev->counters.tx_errors++;
        }
        dev->counters.tx_frames++;
        netbuf_drop(dev->pool, frame->buffer);
    }
    return sent;
}

static bool wire_arm(struct netdev *dev)
{
    (void)dev;
    return true;
}

static void wire_disarm(struct netdev *dev)
{
    (void)dev;
}

static bool wire_link_up(struct netdev *dev)
{
    (void)dev;
    return true;
}

static time_ns_t wire_tick(struct netdev *dev, time_ns_t now_ns)
{
    (void)dev;
    (void)now_ns;
    return DEADLINE_NEVER;
}

static const struct netdev_ops wire_ops = {
    .receive = wire_receive,
    .transmit = wire_transmit,
    .arm = wire_arm,
    .disarm = wire_disarm,
    .link_up = wire_link_up,
    .tick = wire_tick,
};

static bool set_path(struct sockaddr_un *address, const char *path)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address->sun_path)) {
        fprintf(stderr, "loadgen: socket path too long: %s\n", path);
        return false;
    }
    strcpy(address->sun_path, path);
    return true;
}

bool dgram_netdev_open(struct dgram_netdev *wire, const char *local_path, const char *remote_path,
                       uint32_t buffers)
{
    struct sockaddr_un local;
    struct sockaddr_un remote;
    static struct netbuf_pool pool;
    int size = SOCKET_BUFFER_BYTES;

    if (!set_path(&local, local_path) || !set_path(&remote, remote_path)) {
        return false;
    }
    unlink(local_path);
    wire->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (wire->socket < 0 || bind(wire->socket, (void *)&local, sizeof(local)) != 0) {
        fprintf(stderr, "loadgen: cannot bind %s: %s\n", local_path, strerror(errno));
        return false;
    }
    setsockopt(wire->socket, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    const struct timespec pause = {.tv_nsec = 10000000};
    for (int tries = 0; connect(wire->socket, (void *)&remote, sizeof(remote)) != 0; tries++) {
        if (tries == 1000) { /* 10 s */
            fprintf(stderr, "loadgen: nobody at %s: %s\n", remote_path, strerror(errno));
            return false;
        }
        nanosleep(&pause, NULL);
    }
    void *base = aligned_alloc(PAGE_BYTES, (size_t)buffers * BUFFER_BYTES);
    void *bookkeeping = malloc(netbuf_pool_bookkeeping_bytes(buffers));
    if (base == NULL || bookkeeping == NULL ||
        netbuf_pool_init(&pool, base, buffers, BUFFER_BYTES, NULL, bookkeeping) != STATUS_OK) {
        fprintf(stderr, "loadgen: no memory for %u buffers\n", buffers);
        return false;
    }
    wire->dev = (struct netdev){.ops = &wire_ops,
                                .pool = &pool,
                                .mac = {0x52, 0x54, 0x00, 0x77, 0x00, 0x01},
                                .mtu_bytes = 1500};
    return true;
}

void dgram_netdev_wait(const struct dgram_netdev *wire, uint64_t timeout_ns)
{
    struct pollfd pollfd = {.fd = wire->socket, .events = POLLIN};
    struct timespec timeout = {.tv_sec = (time_t)(timeout_ns / 1000000000u),
                               .tv_nsec = (long)(timeout_ns % 1000000000u)};

    ppoll(&pollfd, 1, &timeout, NULL);
}
