// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * A DNS stub resolver (RFC 1035, RFC 3596, RFC 5452) over UDP: names to addresses, by the server
 * that DHCP or a router told, or a given one. Nothing is cached; no TCP, so that an answer which
 * does not fit a datagram is an error.
 *
 * Each try has its own unpredictable port and number; an answer counts only when it comes from the
 * server's address and port and repeats the question.
 *
 * Thread rule: as the stack's.
 */
#ifndef LIB_NET_DNS_H
#define LIB_NET_DNS_H

#include "lib/net/stack.h"

#define DNS_QUERIES_MAX 8u
#define DNS_ADDRESSES_MAX 4u
#define DNS_NAME_BYTES 255u /* RFC 1035, 2.3.4, as in a message */

enum dns_type { DNS_A = 1, DNS_AAAA = 28 };

struct dns_answer {
    /* OK; NOT_FOUND: no such name, or none of its addresses is of this type; TIMED_OUT: no answer
     * after three tries; UNREACHABLE: the server failed or refused; TOO_LARGE: truncated. */
    status_t status;
    enum dns_type type;
    uint32_t count;
    ipv4_t address[DNS_ADDRESSES_MAX];               /* DNS_A */
    struct ipv6_address address6[DNS_ADDRESSES_MAX]; /* DNS_AAAA */
    uint32_t ttl_s;                                  /* the shortest in the chain */
};

typedef void dns_function(void *user, const struct dns_answer *answer);

struct dns_request {
    const char *name; /* letters, digits, hyphens, underscores; a final dot is allowed */
    enum dns_type type;
    ipv4_t server; /* IPV4_ANY: the one that the stack knows */
    dns_function *done;
    void *user;
};

/* Asks; `done` is called once, from a later poll. INVALID_ARGUMENT: the name; UNREACHABLE: no
 * server is known; NO_MEMORY: DNS_QUERIES_MAX are under way, or no socket is free. */
status_t dns_query(struct net_stack *stack, const struct dns_request *request) HALLOWS_MUST_CHECK;

/* ---- For the stack and its tests -------------------------------------------------------------*/

struct dns_pending {
    struct net_stack *stack;
    struct udp_socket *socket; /* NULL: free */
    dns_function *done;
    void *user;
    ipv4_t server; /* IPV4_ANY: server6 */
    struct ipv6_address server6;
    time_ns_t deadline;
    uint16_t id;
    uint8_t type;
    uint8_t tries;
    uint32_t name_bytes;
    uint8_t name[DNS_NAME_BYTES];
};

/* Runs what is due; returns the next deadline. */
time_ns_t dns_tick(struct net_stack *stack);

/* Reads the answer to a question; false: it is none to this one. */
struct dns_question {
    const uint8_t *name; /* as in a message */
    uint32_t name_bytes;
    uint16_t id;
    uint8_t type;
};
bool dns_decode(const uint8_t *message, uint32_t length, const struct dns_question *question,
                struct dns_answer *answer);
/* The name as in a message; 0: it is none. */
uint32_t dns_encode_name(const char *text, uint8_t name[DNS_NAME_BYTES]);

#endif
