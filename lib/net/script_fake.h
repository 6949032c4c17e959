// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * One stack and a peer that the test plays by hand: segments are written and expected one by one.
 * Host tests only. The stack is end 0 of a sim; end 1 stays silent.
 */
#ifndef LIB_NET_SCRIPT_FAKE_H
#define LIB_NET_SCRIPT_FAKE_H

#include "lib/net/sim_fake.h"

#define SCRIPT_FRAMES 256u
#define SCRIPT_PORT 80u

struct script_frame {
    uint32_t length;
    uint8_t data[WIRE_FRAME_BYTES];
};

struct script {
    struct sim *sim;
    struct net_stack *stack;
    struct script_frame frames[SCRIPT_FRAMES]; /* sent by the stack, not expected yet */
    uint32_t first, count;
    /* The peer's ends and what it says; sequence numbers are absolute. */
    uint16_t peer_port, stack_port;
    uint32_t seq, ack;
    uint16_t window;
    const uint8_t *options;
    uint32_t option_bytes;
    /* The application on the stack's side. */
    struct tcp_connection *c;
    unsigned accepted, connected, ended, closed, sendable;
    status_t reason;
    uint64_t received;
    uint32_t consume;   /* most bytes that on_receive takes */
    bool refuse;        /* on_accept says no */
    const char *answer; /* sent back for whatever comes */
};

/* Listens on SCRIPT_PORT; the peer is known to ARP. `config` may change the stack's sizes. */
void script_start(struct script *script, const struct stack_config *config);
void script_stop(struct script *script);

/* Sends a segment with `length` bytes of 'x', and lets the stack answer. */
void script_send(struct script *script, uint8_t flags, uint32_t length);
/* The next segment that the stack sent; false: none. The payload stays in script. */
bool script_expect(struct script *script, struct tcp_segment *segment);
/* Whether nothing more was sent. */
bool script_quiet(const struct script *script);
/* Puts an Ethernet frame around an IPv4 payload and sends it. */
void script_send_ipv4(struct script *script, uint8_t protocol, const void *payload,
                      uint32_t length);
/* Three-way handshake from the peer's side; leaves seq and ack ready for data. */
void script_handshake(struct script *script);

extern const struct tcp_ops script_ops;

#endif
