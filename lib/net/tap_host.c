// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Runs the stack on Linux over a tap device, to meet Linux's own TCP/IP:
 *     tap_host <tap name> <address>/<prefix> [frames lost of 1000]
 * IPv6 is on too, as fd09::2/64.
 * TCP port 7 echoes, 9 discards, 19 sends 8 MiB and closes, 80 answers HTTP; UDP port 7 echoes.
 * Counters go to standard output at the end (SIGTERM or SIGINT).
 */
#include "lib/net/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define BUFFERS 4096u
#define BUFFER_BYTES 2048u
#define CHARGEN_BYTES (8u << 20)

struct tap {
    struct netdev dev; /* first */
    int fd;
    unsigned lost_of_1000; /* frames dropped by chance, each way */
};

static void *pool_bytes, *pool_bookkeeping, *stack_memory;

static volatile sig_atomic_t stop;

_Noreturn void assertion_failed(const char *expression, const char *file, int line)
{
    fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, expression);
    abort();
}

static void on_signal(int number)
{
    (void)number;
    stop = 1;
}

static time_ns_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* ---- The device ------------------------------------------------------------------------------*/

static bool tap_loses(const struct tap *tap)
{
    return (unsigned)random() % 1000u < tap->lost_of_1000;
}

static uint32_t tap_receive(struct netdev *dev, struct netframe *frames, uint32_t max)
{
    const struct tap *tap = (const struct tap *)(const void *)dev;
    uint32_t count = 0;

    while (count < max) {
        uint32_t buffer = netbuf_take(dev->pool);
        if (buffer == NETBUF_NONE) {
            break;
        }
        ssize_t length = read(tap->fd, netbuf_data(dev->pool, buffer) + 2, BUFFER_BYTES - 2u);
        if (length <= 0) {
            netbuf_drop(dev->pool, buffer);
            break;
        }
        if (tap_loses(tap)) {
            netbuf_drop(dev->pool, buffer);
            continue;
        }
        frames[count++] =
            (struct netframe){.buffer = buffer, .offset = 2, .length = (uint16_t)length};
    }
    return count;
}

static uint32_t tap_transmit(struct netdev *dev, const struct netframe *frames, uint32_t count)
{
    const struct tap *tap = (const struct tap *)(const void *)dev;

    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *at = netbuf_data(dev->pool, frames[i].buffer) + frames[i].offset;
        if (!tap_loses(tap) && write(tap->fd, at, frames[i].length) < 0 && errno == EAGAIN) {
            return i;
        }
        netbuf_drop(dev->pool, frames[i].buffer);
    }
    return count;
}

static bool tap_true(struct netdev *dev)
{
    (void)dev;
    return true;
}

static void tap_disarm(struct netdev *dev)
{
    (void)dev;
}

static time_ns_t tap_tick(struct netdev *dev, time_ns_t now)
{
    (void)dev;
    (void)now;
    return DEADLINE_NEVER;
}

static const struct netdev_ops tap_ops = {.receive = tap_receive,
                                          .transmit = tap_transmit,
                                          .arm = tap_true,
                                          .disarm = tap_disarm,
                                          .link_up = tap_true,
                                          .tick = tap_tick};

/* ---- The services ----------------------------------------------------------------------------*/

struct session {
    uint16_t port;
    uint32_t left; /* chargen: bytes still to send */
};

static const char page[] = "HTTP/1.1 200 OK\r\nContent-Length: 14\r\nConnection: close\r\n\r\n"
                           "hello, Hallows";

static void chargen(struct tcp_connection *c, struct session *session)
{
    uint8_t data[4096];

    while (session->left != 0) {
        uint32_t length = session->left < sizeof data ? session->left : (uint32_t)sizeof data;
        for (uint32_t i = 0; i < length; i++) {
            uint32_t at = CHARGEN_BYTES - session->left + i;
            data[i] = (uint8_t)(at ^ at >> 8 ^ at >> 16);
        }
        uint32_t took = tcp_send(c, data, length);
        session->left -= took;
        if (took < length) {
            return;
        }
    }
    free(session);
    tcp_close(c);
}

static bool on_accept(struct tcp_connection *c, void *user)
{
    struct session *session = calloc(1, sizeof *session);

    session->port = *(const uint16_t *)user;
    tcp_set_user(c, session);
    if (session->port == 19) {
        session->left = CHARGEN_BYTES;
        chargen(c, session);
    }
    return true;
}

static uint32_t on_receive(struct tcp_connection *c, void *user, const uint8_t *data,
                           uint32_t length)
{
    struct session *session = user;

    if (session->port == 7) {
        return tcp_send(c, data, length);
    }
    if (session->port == 80 && memchr(data, '\n', length) != NULL) {
        (void)tcp_send(c, page, sizeof page - 1u);
        free(session);
        tcp_close(c);
    }
    return length;
}

static void on_end(struct tcp_connection *c, void *user)
{
    if (((struct session *)user)->port != 19) {
        free(user);
        tcp_close(c);
    }
}

static void on_sendable(struct tcp_connection *c, void *user)
{
    struct session *session = user;

    if (session->port == 19) {
        chargen(c, session);
    } else {
        tcp_receive_resume(c);
    }
}

static void on_closed(struct tcp_connection *c, void *user, status_t reason)
{
    (void)c;
    (void)reason;
    free(user);
}

static const struct tcp_ops ops = {.on_accept = on_accept,
                                   .on_receive = on_receive,
                                   .on_end = on_end,
                                   .on_sendable = on_sendable,
                                   .on_closed = on_closed};

static void udp_echo(struct udp_socket *socket, void *user, const struct udp_datagram *datagram)
{
    struct udp_send_request request = {.address = datagram->source,
                                       .v6 = datagram->v6,
                                       .port = datagram->source_port,
                                       .buffer = datagram->buffer,
                                       .offset = datagram->offset,
                                       .length = datagram->length};

    if (datagram->buffer == NETBUF_NONE) { /* came in fragments and goes back so */
        (void)(datagram->v6 != NULL ? udp_send_v6(socket, datagram->v6, datagram->source_port,
                                                  datagram->data, datagram->length)
                                    : udp_send(socket, datagram->source, datagram->source_port,
                                               datagram->data, datagram->length));
        return;
    }
    netbuf_hold(user, datagram->buffer);
    (void)udp_send_buffer(socket, &request);
}

/* ---- Set-up ----------------------------------------------------------------------------------*/

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void open_tap(struct tap *tap, const char *name, struct netbuf_pool *pool)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};

    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    tap->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    if (tap->fd < 0 || ioctl(tap->fd, TUNSETIFF, &request) < 0) {
        fail(name);
    }
    tap->dev = (struct netdev){.ops = &tap_ops, .pool = pool, .mtu_bytes = 1500};
    memcpy(tap->dev.mac, "\x02hlws\x01", 6);
}

static void create_pool(struct netbuf_pool *pool)
{
    pool_bytes = aligned_alloc(PAGE_BYTES, (size_t)BUFFERS * BUFFER_BYTES);
    pool_bookkeeping = malloc(netbuf_pool_bookkeeping_bytes(BUFFERS));
    if (pool_bytes == NULL || pool_bookkeeping == NULL ||
        netbuf_pool_init(pool, pool_bytes, BUFFERS, BUFFER_BYTES, NULL, pool_bookkeeping) !=
            STATUS_OK) {
        fail("pool");
    }
}

static struct net_stack *create_stack(struct netdev *dev, const char *address)
{
    struct stack_config config = {.dev = dev,
                                  .ipv6_mode = STACK_IPV6_STATIC,
                                  .address6 = {{0xfd, 9, [15] = 2}},
                                  .prefix6_bits = 64};
    struct net_stack *stack;
    unsigned a, b, c, d;

    if (sscanf(address, "%u.%u.%u.%u/%u", &a, &b, &c, &d, &config.prefix_bits) != 5) {
        fail(address);
    }
    config.address = IPV4(a, b, c, d);
    int source = open("/dev/urandom", O_RDONLY);
    if (source < 0 || read(source, config.secret, sizeof config.secret) < 0) {
        fail("/dev/urandom");
    }
    close(source);
    size_t bytes = stack_memory_bytes(&config);
    stack_memory = aligned_alloc(64, (bytes + 63u) & ~(size_t)63u);
    if (stack_memory == NULL ||
        stack_init(&stack, &config, stack_memory, bytes, now_ns()) != STATUS_OK) {
        fail("stack");
    }
    return stack;
}

static void print_counters(const struct net_stack *stack)
{
    const struct stack_counters *counters = stack_counters(stack);

#define PRINT(name, text)                                                                          \
    if (counters->name != 0) {                                                                     \
        printf("%10llu %s\n", (unsigned long long)counters->name, text);                           \
    }
    STACK_COUNTER_TABLE(PRINT)
#undef PRINT
    printf("%10u connections, %u buffers in use\n", stack_connections(stack),
           stack->pool->buffer_count - stack->pool->free_count);
}

static void run(struct net_stack *stack, int fd)
{
    while (!stop) {
        uint32_t worked = stack_poll(stack, now_ns());
        time_ns_t deadline = stack_tick(stack, now_ns());
        time_ns_t now = now_ns();
        if (worked == 0 && deadline > now) {
            struct pollfd ready = {.fd = fd, .events = POLLIN};
            uint64_t wait = (deadline - now) / NS_PER_MS + 1u;
            (void)poll(&ready, 1, wait < 1000u ? (int)wait : 1000);
        }
    }
}

int main(int argc, char **argv)
{
    static const uint16_t ports[] = {7, 9, 19, 80};
    struct netbuf_pool pool;
    struct udp_socket *socket;
    struct tap tap;

    if (argc < 3) {
        fprintf(stderr, "usage: %s tap address/prefix [lost of 1000]\n", argv[0]);
        return 2;
    }
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    create_pool(&pool);
    open_tap(&tap, argv[1], &pool);
    tap.lost_of_1000 = argc > 3 ? (unsigned)atoi(argv[3]) : 0;
    struct net_stack *stack = create_stack(&tap.dev, argv[2]);
    for (unsigned i = 0; i < sizeof ports / sizeof ports[0]; i++) {
        void *user = (void *)(uintptr_t)&ports[i];
        if (tcp_listen(stack, ports[i], 256, &ops, user) != STATUS_OK) {
            fail("listen");
        }
    }
    if (udp_bind(stack, 7, udp_echo, &pool, &socket) != STATUS_OK) {
        fail("bind");
    }
    run(stack, tap.fd);
    print_counters(stack);
    free(stack_memory);
    free(pool_bookkeeping);
    free(pool_bytes);
    return 0;
}
