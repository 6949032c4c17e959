// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/net/internal.h"

#define DNS_PORT 53u
#define TRY_NS NS_PER_S /* doubled with each try */
#define TRIES 3u
#define QUESTION_BYTES 16u /* header, type and class around the name */
#define FLAG_RECURSION 0x0100u

static void finish(struct dns_pending *pending, const struct dns_answer *answer)
{
    dns_function *done = pending->done;

    udp_unbind(pending->socket);
    pending->socket = NULL;
    done(pending->user, answer);
}

static void on_answer(struct udp_socket *socket, void *user, const struct udp_datagram *datagram)
{
    struct dns_pending *pending = user;
    struct dns_question question = {pending->name, pending->name_bytes, pending->id, pending->type};
    struct dns_answer answer;

    (void)socket;
    bool from_server =
        datagram->v6 != NULL
            ? pending->server == IPV4_ANY && ipv6_equal(&datagram->v6->remote, &pending->server6)
            : pending->server != IPV4_ANY && datagram->source == pending->server;
    if (from_server && datagram->source_port == DNS_PORT &&
        dns_decode(datagram->data, datagram->length, &question, &answer)) {
        finish(pending, &answer);
    }
}

/* Sends the question from a new port with a new number. */
static status_t ask(struct dns_pending *pending)
{
    uint8_t message[QUESTION_BYTES + DNS_NAME_BYTES] = {0};
    uint8_t *end = message + 12 + pending->name_bytes;

    if (pending->socket != NULL) {
        udp_unbind(pending->socket);
        pending->socket = NULL;
    }
    status_t status = udp_bind(pending->stack, 0, on_answer, pending, &pending->socket);
    if (status != STATUS_OK) {
        return status;
    }
    pending->id = (uint16_t)stack_random(pending->stack);
    pending->deadline = pending->stack->now + (TRY_NS << pending->tries++);
    stack_due(pending->stack, pending->deadline);
    store_be16(message, pending->id);
    store_be16(message + 2, FLAG_RECURSION);
    store_be16(message + 4, 1);
    memcpy(message + 12, pending->name, pending->name_bytes);
    store_be16(end, pending->type);
    store_be16(end + 2, 1);
    uint32_t length = QUESTION_BYTES + pending->name_bytes;
    /* What cannot be sent now is sent with the next try. */
    if (pending->server != IPV4_ANY) {
        (void)udp_send(pending->socket, pending->server, DNS_PORT, message, length);
    } else {
        struct ipv6_ends ends = {.remote = pending->server6};
        (void)udp_send_v6(pending->socket, &ends, DNS_PORT, message, length);
    }
    return STATUS_OK;
}

status_t dns_query(struct net_stack *stack, const struct dns_request *request)
{
    uint8_t name[DNS_NAME_BYTES];
    uint32_t bytes = dns_encode_name(request->name, name);
    bool v6 = stack->now < stack->v6.dns_until && !ipv6_is_any(&stack->v6.dns_server);
    ipv4_t server = request->server != IPV4_ANY ? request->server : stack->dns_server;

    if (bytes == 0 || request->done == NULL ||
        (request->type != DNS_A && request->type != DNS_AAAA)) {
        return STATUS_INVALID_ARGUMENT;
    }
    if (server == IPV4_ANY && !v6) {
        return STATUS_UNREACHABLE;
    }
    for (uint32_t i = 0; i < DNS_QUERIES_MAX; i++) {
        struct dns_pending *pending = &stack->dns[i];
        if (pending->socket != NULL) {
            continue;
        }
        *pending = (struct dns_pending){.stack = stack,
                                        .done = request->done,
                                        .user = request->user,
                                        .server = server,
                                        .server6 = stack->v6.dns_server,
                                        .type = (uint8_t)request->type,
                                        .name_bytes = bytes};
        memcpy(pending->name, name, bytes);
        return ask(pending);
    }
    return STATUS_NO_MEMORY;
}

time_ns_t dns_tick(struct net_stack *stack)
{
    time_ns_t next = DEADLINE_NEVER;

    for (uint32_t i = 0; i < DNS_QUERIES_MAX; i++) {
        struct dns_pending *pending = &stack->dns[i];
        if (pending->socket == NULL) {
            continue;
        }
        if (stack->now >= pending->deadline) {
            struct dns_answer none = {.status = STATUS_TIMED_OUT,
                                      .type = (enum dns_type)pending->type};
            if (pending->tries == TRIES) {
                finish(pending, &none);
            } else if (ask(pending) != STATUS_OK) {
                /* Others took the socket in between: there is no way left to ask. */
                none.status = STATUS_UNREACHABLE;
                pending->done(pending->user, &none);
            }
        }
        if (pending->socket != NULL && pending->deadline < next) {
            next = pending->deadline;
        }
    }
    return next;
}
