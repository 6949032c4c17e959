// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The stack as a shared object behind packetdrill's interface (`packetdrill --so_filename`), in
 * virtual time: BSD socket calls and a device that takes and gives IP packets. Our own scripts run
 * through the same interface (drill.py). Host tests only.
 *
 * The world is a sim (lib/net/sim_fake.h) of which only end 0 lives; its gateway answers address
 * resolution and swallows everything else, for the tool to read. Time passes in usleep, poll and
 * netdev_receive alone. Calls that would block wait for another thread to make time pass, as
 * packetdrill does; non-blocking sockets (fcntl) answer EAGAIN.
 *
 * Thread rule: every call takes `lock`.
 */
#ifndef TESTS_PACKETDRILL_DRILL_HOST_H
#define TESTS_PACKETDRILL_DRILL_HOST_H

#include <pthread.h>

#include "lib/net/sim_fake.h"

#define DRILL_PACKETS 1024u
#define DRILL_SOCKETS 64u
#define DRILL_BACKLOG 16u
#define DRILL_FIRST_FD 3

struct drill_packet {
    time_ns_t at_ns;
    uint32_t length;
    uint8_t data[WIRE_FRAME_BYTES];
};

enum drill_kind { DRILL_FREE, DRILL_NEW, DRILL_LISTENER, DRILL_STREAM, DRILL_DATAGRAM };

struct drill_datagram {
    uint32_t length;
    ipv4_t source;
    struct ipv6_ends v6;
    uint16_t source_port;
    uint8_t data[WIRE_FRAME_BYTES];
};

struct drill;

struct drill_socket {
    enum drill_kind kind;
    struct drill *drill;
    bool v6, nonblocking, datagrams;
    bool nodelay, abort_on_close, keepalive;
    int keepalive_idle_s;
    uint16_t port;
    int error; /* errno, told once */
    /* A stream. */
    struct tcp_connection *connection; /* NULL: gone */
    bool connecting, connected, ended, shut, write_wanted;
    uint8_t *read_to;
    size_t read_wanted, read_done;
    /* A listener: connections that nobody has accepted yet. */
    struct drill_socket *waiting[DRILL_BACKLOG];
    uint32_t waiting_count;
    /* Datagrams. */
    struct udp_socket *udp;
    struct drill_datagram received[DRILL_BACKLOG];
    uint32_t received_first, received_count;
    ipv4_t peer;
    struct ipv6_ends peer6;
    uint16_t peer_port;
};

struct drill {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct sim *sim;
    struct net_stack *stack;
    ipv4_t gateway;
    struct drill_packet packets[DRILL_PACKETS]; /* sent by the stack, not read yet */
    uint32_t packet_first, packet_count;
    struct drill_socket *descriptors[DRILL_SOCKETS]; /* by number less DRILL_FIRST_FD */
};

/* ---- drill_world_host.c: the device and time ---- */

/* `flags` is "key=value,..." as --so_flags gives it, or NULL. Exits with a message if they are
 * wrong. */
struct drill *drill_create(const char *flags);
void drill_destroy(struct drill *drill);
/* An IP packet from the wire. False: too long, or of no known version. */
bool drill_inject(struct drill *drill, const void *packet, size_t length);
/* The next packet that the stack sent; makes up to 600 s pass for it. NULL: none. Valid until the
 * next call. */
const struct drill_packet *drill_next_packet(struct drill *drill);
/* Lets time pass. */
void drill_pass(struct drill *drill, time_ns_t ns);
/* Lets the stack do what is due now, and wakes whoever waits. */
void drill_settle(struct drill *drill);

/* ---- drill_sockets_host.c ---- */

struct packetdrill_interface;
void drill_sockets_interface(struct packetdrill_interface *interface);

#endif
