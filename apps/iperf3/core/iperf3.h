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
 * Several threads. With a stack on each of several CPUs there is a server for each; they share the
 * one test (struct iperf3_test). The server that has the control connection owns the test, and
 * alone writes it; streams stay where the NIC brings them, and their servers claim a number for
 * each. Nothing locks: `word` says which test it is and how far, and who reads the test looks
 * at it before and after; claims are made for one test only.
 *
 * Thread rule: each server as lib/net/stack.h; the test is [atomic] or as just said.
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

/* What is counted of a stream: [server of the stream, atomic]. */
struct iperf3_count {
    _Alignas(64) uint64_t bytes; /* received, or taken to be sent */
    uint64_t retransmits;        /* so far, as last looked at */
};

#define IPERF3_COOKIE_WORDS 5u /* of 8 bytes, with what is missing 0 */

struct iperf3_test {
    uint32_t owner;  /* [atomic] 1 + number of the server; 0: no test is going on */
    uint64_t word;   /* [owner, atomic] which test, shifted by 8, and the last state said */
    uint64_t claims; /* [atomic] which test, shifted by 8, and how many streams have come */
    /* [owner, atomic] while word's state is CREATE_STREAMS or later: */
    uint64_t cookie[IPERF3_COOKIE_WORDS];
    uint32_t wanted;  /* streams */
    uint32_t reverse; /* not 0: we send */
    struct iperf3_count stream[IPERF3_STREAMS_MAX];
    /* Makes server `number` call iperf3_poll; NULL with one server. Called by any server. */
    void (*wake)(void *context, uint32_t number);
    void *context;
    uint32_t servers; /* [const] */
};

struct iperf3_newcomer {
    struct tcp_connection *connection; /* NULL: free */
    uint32_t cookie_bytes;
    uint8_t cookie[IPERF3_COOKIE_BYTES];
};

struct iperf3_server {
    struct net_stack *stack;
    struct iperf3_test *test; /* all zero before the first server listens, but for wake and so on */
    uint32_t number;          /* of this server, from 0 */
    void (*usage)(void *context, struct iperf3_usage *usage);
    void *context;
    uint64_t tests, refused, had; /* that it owned; connections; streams */
    /* Connections that have not said their cookie yet. */
    struct iperf3_newcomer newcomers[IPERF3_STREAMS_MAX];
    struct tcp_connection *control; /* not NULL: this server owns the test */
    /* Streams of the test that have come here, by their numbers; NULL: none, or it has ended. */
    struct tcp_connection *stream[IPERF3_STREAMS_MAX];
    uint64_t streams_of;   /* the test that they are of */
    uint64_t seen;         /* word, as iperf3_poll saw it last */
    bool waiting;          /* a newcomer with its cookie waits for the end of a test */
    uint32_t length_bytes; /* of the JSON's length that have come */
    uint32_t json_left;    /* bytes of it to come */
    uint32_t json_bytes;   /* kept */
    char json[IPERF3_JSON_BYTES_MAX + 1u];
    struct iperf3_usage before;
};

/* Listens on IPERF3_PORT; `server` is the caller's, with stack, test, number, usage and context set
 * and the rest 0, and stays so. As tcp_listen. */
status_t iperf3_listen(struct iperf3_server *server) HALLOWS_MUST_CHECK;
/* Does what another server's progress asks for; true if that was anything. */
bool iperf3_poll(struct iperf3_server *server);

#endif
