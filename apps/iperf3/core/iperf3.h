// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * A server for iperf3 clients: TCP in both directions (-R), up to IPERF3_STREAMS_MAX parallel
 * streams
 * (-P), IPv4 and IPv6. One test at a time; a second client is told so. UDP and --bidir are refused.
 *
 * The protocol, as iperf3 3.12's client speaks it. Each connection begins with a cookie of 37
 * bytes. The first is the control connection; there the server leads, by one-byte states:
 *   PARAM_EXCHANGE     the client answers with its parameters
 *   CREATE_STREAMS     it opens the streams, with the same cookie
 *   TEST_START, TEST_RUNNING   data flows until the client says TEST_END
 *   EXCHANGE_RESULTS   each sends its results, the client first
 *   DISPLAY_RESULTS    the client says IPERF_DONE
 * Parameters and results are JSON behind their length (32 bits, big-endian).
 *
 * Everything from a client is untrusted: lengths are bounded, JSON is only searched for the few
 * names that matter, and what does not fit ends the test.
 *
 * Thread rule: as lib/net/stack.h.
 */
#ifndef APPS_IPERF3_CORE_IPERF3_H
#define APPS_IPERF3_CORE_IPERF3_H

#include "lib/net/stack.h"

#define IPERF3_PORT 5201u
#define IPERF3_STREAMS_MAX 16u
#define IPERF3_COOKIE_BYTES 37u
#define IPERF3_JSON_BYTES_MAX 4096u

/* How busy this cell was, for the results: ticks of any unit. */
struct iperf3_usage {
    uint64_t busy, all;
};

struct iperf3_stream {
    struct tcp_connection *connection; /* NULL: none, or it has ended */
    uint64_t bytes;                    /* received, or taken to be sent */
    uint64_t retransmits;              /* once it has ended */
};

struct iperf3_newcomer {
    struct tcp_connection *connection; /* NULL: free */
    uint32_t cookie_bytes;
    uint8_t cookie[IPERF3_COOKIE_BYTES];
};

struct iperf3_server {
    struct net_stack *stack;
    void (*usage)(void *context, struct iperf3_usage *usage);
    void *context;
    uint64_t tests, refused;
    /* Connections that have not said their cookie yet. */
    struct iperf3_newcomer newcomers[IPERF3_STREAMS_MAX];
    /* The test; control NULL: none is going on. */
    struct tcp_connection *control;
    uint8_t cookie[IPERF3_COOKIE_BYTES];
    int8_t state;     /* last state sent */
    bool reverse;     /* we send */
    uint32_t wanted;  /* streams */
    uint32_t streams; /* that have come */
    struct iperf3_stream stream[IPERF3_STREAMS_MAX];
    uint32_t length_bytes; /* of the JSON's length that have come */
    uint32_t json_left;    /* bytes of it to come */
    uint32_t json_bytes;   /* kept */
    char json[IPERF3_JSON_BYTES_MAX + 1u];
    struct iperf3_usage before;
};

/* Listens on IPERF3_PORT; `server` is the caller's, with stack, usage and context set and the rest
 * 0, and stays so. As tcp_listen. */
status_t iperf3_listen(struct iperf3_server *server) HALLOWS_MUST_CHECK;

#endif
