// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The load generator: closed-loop clients that speak raw Ethernet to a guest's NIC, with the
 * project's own stack (lib/net) as the client side. Every answer is compared with the expected
 * bytes. `loadgen --help` lists the options; the result is one JSON object on stdout.
 *
 * With --count SOCKET (the instruction-counting plugin) the guest's instructions are sampled while
 * nothing is in flight, before and after the measured requests.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "bench/load/count_host.h"
#include "bench/load/dgram_host.h"
#include "bench/load/options_host.h"
#include "lib/net/stack.h"

#define POOL_BUFFERS 8192u
#define KEYS 64u
#define NS_PER_SECOND 1000000000ull
#define RESEND_NS (2 * NS_PER_SECOND)
#define UDP_LOCAL_PORT 4000
#define ECHO_PORT 7
#define KV_PORT 6379
#define STATUS_PORT 80
#define STATUS_CLOSING_TURNS 20 /* lets the last acknowledgements out */
#define STATUS_BYTES_MAX (1u << 20)

struct message {
    uint8_t *request;
    uint32_t request_bytes;
    uint8_t *answer;
    uint32_t answer_bytes;
};

struct client {
    struct tcp_connection *connection;
    bool open;
    uint32_t in_flight;
    uint32_t matched;              /* bytes of the oldest answer seen */
    uint32_t key_of[PIPELINE_MAX]; /* ring of messages in flight */
    uint64_t started_ns[PIPELINE_MAX];
    uint32_t first;
    uint32_t next_key;
    uint32_t unsent; /* bytes of the newest request that tcp_send did not take */
};

struct load {
    struct dgram_netdev wire;
    struct net_stack *stack;
    struct udp_socket *udp;
    struct options options;
    uint64_t limit; /* requests to start in this phase */
    uint64_t started;
    uint64_t finished;
    uint64_t wrong;
    uint64_t resent;
    uint64_t *latency_ns;
    struct message messages[KEYS];
    struct client clients[CLIENTS_MAX];
    uint8_t status[STATUS_BYTES_MAX];
    uint32_t status_bytes;
    bool status_done;
};

static struct load load;

static uint64_t now_ns(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * NS_PER_SECOND + (uint64_t)time.tv_nsec;
}

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "loadgen: %s\n", what);
    exit(1);
}

/* ---- Messages --------------------------------------------------------------------------------*/

static void make_message(struct message *message, uint32_t key, bool set)
{
    char *value = malloc(load.options.bytes + 1u);
    size_t room = load.options.bytes + 256u;

    for (uint32_t i = 0; i < load.options.bytes; i++) {
        value[i] = (char)('a' + (i + key) % 26u);
    }
    value[load.options.bytes] = '\0';
    message->request = malloc(room);
    message->answer = malloc(room);
    if (load.options.mode == MODE_UDP_ECHO || load.options.mode == MODE_TCP_ECHO) {
        memcpy(message->request, value, load.options.bytes);
        memcpy(message->answer, value, load.options.bytes);
        message->request_bytes = message->answer_bytes = load.options.bytes;
    } else if (set) {
        message->request_bytes = (uint32_t)snprintf(
            (char *)message->request, room, "*3\r\n$3\r\nSET\r\n$10\r\nbench:%04u\r\n$%u\r\n%s\r\n",
            key, load.options.bytes, value);
        message->answer_bytes = (uint32_t)snprintf((char *)message->answer, room, "+OK\r\n");
    } else {
        message->request_bytes = (uint32_t)snprintf(
            (char *)message->request, room, "*2\r\n$3\r\nGET\r\n$10\r\nbench:%04u\r\n", key);
        message->answer_bytes = (uint32_t)snprintf((char *)message->answer, room, "$%u\r\n%s\r\n",
                                                   load.options.bytes, value);
    }
    free(value);
}

static void make_messages(bool set)
{
    for (uint32_t key = 0; key < KEYS; key++) {
        make_message(&load.messages[key], key, set);
    }
}

static void finish_request(struct client *client)
{
    uint64_t latency = now_ns() - client->started_ns[client->first];

    if (load.latency_ns != NULL) {
        load.latency_ns[load.finished] = latency;
    }
    load.finished++;
    client->first = (client->first + 1u) % PIPELINE_MAX;
    client->in_flight--;
    client->matched = 0;
}

/* ---- TCP clients -----------------------------------------------------------------------------*/

static void send_rest(struct client *client)
{
    uint32_t slot = (client->first + client->in_flight - 1u) % PIPELINE_MAX;
    const struct message *message = &load.messages[client->key_of[slot]];

    if (client->unsent > 0) {
        client->unsent -=
            tcp_send(client->connection, message->request + message->request_bytes - client->unsent,
                     client->unsent);
    }
}

static void start_requests(struct client *client)
{
    while (client->open && client->unsent == 0 && client->in_flight < load.options.pipeline &&
           load.started < load.limit) {
        uint32_t slot = (client->first + client->in_flight) % PIPELINE_MAX;

        client->key_of[slot] = client->next_key++ % KEYS;
        client->started_ns[slot] = now_ns();
        client->in_flight++;
        load.started++;
        client->unsent = load.messages[client->key_of[slot]].request_bytes;
        send_rest(client);
    }
}

static void on_connected(struct tcp_connection *connection, void *user)
{
    struct client *client = user;

    client->connection = connection;
    client->open = true;
}

static uint32_t on_receive(struct tcp_connection *connection, void *user, const uint8_t *data,
                           uint32_t length)
{
    struct client *client = user;

    (void)connection;
    for (uint32_t at = 0; at < length;) {
        if (client->in_flight == 0) {
            load.wrong++;
            break;
        }
        const struct message *message = &load.messages[client->key_of[client->first]];
        uint32_t rest = message->answer_bytes - client->matched;
        uint32_t take = rest < length - at ? rest : length - at;

        if (memcmp(message->answer + client->matched, data + at, take) != 0) {
            fprintf(stderr, "loadgen: wrong answer: %.*s\n", (int)(take < 80 ? take : 80),
                    (const char *)data + at);
            load.wrong++;
        }
        client->matched += take;
        at += take;
        if (client->matched == message->answer_bytes) {
            finish_request(client);
        }
    }
    if (load.options.mode != MODE_STATUS) {
        start_requests(client);
    }
    return length;
}

static void on_end(struct tcp_connection *connection, void *user)
{
    (void)connection;
    (void)user;
    fail("the server ended a connection");
}

static void on_sendable(struct tcp_connection *connection, void *user)
{
    (void)connection;
    send_rest(user);
    start_requests(user);
}

static void on_closed(struct tcp_connection *connection, void *user, status_t reason)
{
    (void)connection;
    (void)user;
    fprintf(stderr, "loadgen: connection closed: %s\n", status_text(reason));
    exit(1);
}

static const struct tcp_ops client_ops = {
    .on_connected = on_connected,
    .on_receive = on_receive,
    .on_end = on_end,
    .on_sendable = on_sendable,
    .on_closed = on_closed,
};

/* ---- The status document ---------------------------------------------------------------------*/

static void status_connected(struct tcp_connection *connection, void *user)
{
    static const char request[] = "GET /status.json HTTP/1.1\r\nHost: guest\r\n"
                                  "Connection: close\r\n\r\n";

    (void)user;
    tcp_send(connection, request, sizeof(request) - 1u);
}

static uint32_t status_receive(struct tcp_connection *connection, void *user, const uint8_t *data,
                               uint32_t length)
{
    uint32_t room = STATUS_BYTES_MAX - load.status_bytes;
    uint32_t take = length < room ? length : room;

    (void)connection;
    (void)user;
    memcpy(load.status + load.status_bytes, data, take);
    load.status_bytes += take;
    return length;
}

static void status_end(struct tcp_connection *connection, void *user)
{
    (void)user;
    tcp_close(connection);
    load.status_done = true;
}

static const struct tcp_ops status_ops = {
    .on_connected = status_connected,
    .on_receive = status_receive,
    .on_end = status_end,
    .on_sendable = on_sendable,
    .on_closed = on_closed,
};

/* ---- UDP clients -----------------------------------------------------------------------------*/

static void udp_start(uint32_t index)
{
    struct client *client = &load.clients[index];
    struct message *message = &load.messages[index % KEYS];

    if (client->in_flight == 0) {
        if (load.started == load.limit) {
            return;
        }
        load.started++;
        client->in_flight = 1;
        client->first = 0;
    } else {
        load.resent++;
    }
    client->started_ns[0] = now_ns();
    memcpy(message->request, &index, sizeof(index)); /* names the client in the echo */
    if (udp_send(load.udp, load.options.target, ECHO_PORT, message->request,
                 message->request_bytes) != STATUS_OK) {
        client->started_ns[0] = 0; /* sent again at once */
    }
}

static void on_datagram(struct udp_socket *socket, void *user, const struct udp_datagram *datagram)
{
    uint32_t index;

    (void)socket;
    (void)user;
    if (datagram->length != load.options.bytes) {
        load.wrong++;
        return;
    }
    memcpy(&index, datagram->data, sizeof(index));
    if (index >= load.options.outstanding || load.clients[index].in_flight == 0) {
        return; /* the answer to a request that was sent twice */
    }
    if (memcmp(datagram->data + sizeof(index), load.messages[index % KEYS].answer + sizeof(index),
               load.options.bytes - sizeof(index)) != 0) {
        load.wrong++;
    }
    finish_request(&load.clients[index]);
    udp_start(index);
}

/* ---- Phases ----------------------------------------------------------------------------------*/

static void turn(void)
{
    uint64_t now = now_ns();

    if (stack_poll(load.stack, now) == 0) {
        uint64_t deadline = stack_tick(load.stack, now);
        uint64_t wait = deadline > now ? deadline - now : 0;

        stack_flush(load.stack);
        dgram_netdev_wait(&load.wire, wait < 50000000u ? wait : 50000000u);
    }
}

static void run_phase(uint64_t requests, uint64_t deadline_ns)
{
    load.limit = requests;
    load.started = load.finished = 0;
    for (uint32_t i = 0; i < load.options.outstanding; i++) {
        if (load.options.mode == MODE_UDP_ECHO) {
            udp_start(i);
        } else {
            start_requests(&load.clients[i]);
        }
    }
    stack_flush(load.stack);
    while (load.finished < requests) {
        turn();
        uint64_t now = now_ns();
        for (uint32_t i = 0; load.options.mode == MODE_UDP_ECHO && i < load.options.outstanding;
             i++) {
            if (load.clients[i].in_flight != 0 && now > load.clients[i].started_ns[0] + RESEND_NS) {
                udp_start(i);
            }
        }
        if (now > deadline_ns) {
            fprintf(stderr, "loadgen: %" PRIu64 " of %" PRIu64 " requests by the deadline\n",
                    load.finished, requests);
            exit(1);
        }
    }
}

static void open_clients(uint64_t deadline_ns)
{
    if (load.options.mode == MODE_UDP_ECHO) {
        if (udp_bind(load.stack, UDP_LOCAL_PORT, on_datagram, NULL, &load.udp) != STATUS_OK) {
            fail("cannot bind the UDP port");
        }
        return;
    }
    for (uint32_t i = 0; i < load.options.outstanding; i++) {
        struct tcp_connect_request request = {
            .address = load.options.target,
            .port = load.options.mode == MODE_TCP_ECHO ? ECHO_PORT : KV_PORT,
            .ops = &client_ops,
            .user = &load.clients[i],
        };

        load.clients[i].next_key = i;
        if (tcp_connect(load.stack, &request, &load.clients[i].connection) != STATUS_OK) {
            fail("cannot open a connection");
        }
        while (!load.clients[i].open) {
            turn();
            if (now_ns() > deadline_ns) {
                fail("a connection was not accepted by the deadline");
            }
        }
    }
}

/* Fetches /status.json; returns the document as text of the caller's. */
static char *fetch_status(uint64_t deadline_ns)
{
    struct tcp_connection *connection;
    struct tcp_connect_request request = {
        .address = load.options.target, .port = STATUS_PORT, .ops = &status_ops};

    load.status_bytes = 0;
    load.status_done = false;
    if (tcp_connect(load.stack, &request, &connection) != STATUS_OK) {
        fail("cannot connect to the status port");
    }
    while (!load.status_done) {
        turn();
        if (now_ns() > deadline_ns) {
            fail("no status document by the deadline");
        }
    }
    for (int i = 0; i < STATUS_CLOSING_TURNS; i++) {
        turn();
    }
    char *body = memmem(load.status, load.status_bytes, "\r\n\r\n", 4);
    if (body == NULL) {
        fail("no status document in the answer");
    }
    return strndup(body + 4, load.status_bytes - (size_t)(body + 4 - (char *)load.status));
}

/* ---- Counting --------------------------------------------------------------------------------*/

/* The guest is quiet when two samples, some frames' time apart, differ little. */
static void settle_count(struct count *count)
{
    memset(count, 0, sizeof(*count));
    if (!count_is_open()) {
        return;
    }
    static struct count before;
    count_ask(count);
    for (int tries = 0; tries < 100; tries++) {
        before = *count;
        uint64_t until = now_ns() + 30000000u;
        while (now_ns() < until) {
            turn();
        }
        count_ask(count);
        if (count->kernel + count->user - before.kernel - before.user < 20000u) {
            return;
        }
    }
    fail("the guest does not come to rest; is something else running in it?");
}

/* ---- Report ----------------------------------------------------------------------------------*/

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* What the guest said of itself. */
struct sample {
    struct count count;
    char *status; /* NULL: not asked for */
};

static void take_status(struct sample *sample, bool wanted, uint64_t deadline_ns)
{
    sample->status = wanted ? fetch_status(deadline_ns) : NULL;
}

static void report(uint64_t elapsed_ns, const struct sample *before, const struct sample *after)
{
    uint64_t n = load.finished;

    qsort(load.latency_ns, n, sizeof(uint64_t), compare_u64);
    printf("{\"requests\": %" PRIu64 ", \"seconds\": %.6f, \"requests_per_second\": %.1f, "
           "\"wrong\": %" PRIu64 ", \"resent\": %" PRIu64 ", ",
           n, (double)elapsed_ns / 1e9, (double)n * 1e9 / (double)elapsed_ns, load.wrong,
           load.resent);
    printf("\"latency_us\": {\"p50\": %.1f, \"p99\": %.1f, \"p999\": %.1f, \"max\": %.1f}",
           (double)load.latency_ns[n / 2] / 1e3, (double)load.latency_ns[n * 99 / 100] / 1e3,
           (double)load.latency_ns[n * 999 / 1000] / 1e3, (double)load.latency_ns[n - 1] / 1e3);
    if (count_is_open()) {
        printf(", \"kernel_instructions\": %" PRIu64 ", \"user_instructions\": %" PRIu64,
               after->count.kernel - before->count.kernel, after->count.user - before->count.user);
        printf(", \"ranges\": {");
        count_print_ranges(&before->count, &after->count);
        printf("}");
    }
    if (before->status != NULL) {
        printf(", \"status_before\": %s, \"status_after\": %s", before->status, after->status);
    }
    printf("}\n");
}

int main(int argc, char **argv)
{
    options_parse(&load.options, argc, argv);
    const struct options options = load.options;
    uint64_t deadline = now_ns() + options.deadline_s * NS_PER_SECOND;
    if (!dgram_netdev_open(&load.wire, options.local, options.remote, POOL_BUFFERS)) {
        return 1;
    }
    struct stack_config config = {.dev = &load.wire.dev,
                                  .connections = CLIENTS_MAX + 64u,
                                  .address = IPV4(10, 77, 0, 1),
                                  .prefix_bits = 24};
    if (getrandom(config.secret, sizeof(config.secret), 0) != sizeof(config.secret)) {
        fail("no random bytes");
    }
    size_t bytes = (stack_memory_bytes(&config) + 63u) & ~(size_t)63u;
    void *memory = aligned_alloc(64, bytes);
    if (memory == NULL || stack_init(&load.stack, &config, memory, bytes, now_ns()) != STATUS_OK) {
        fail("cannot start the stack");
    }
    if (load.options.mode == MODE_STATUS) {
        fputs(fetch_status(deadline), stdout);
        return 0;
    }
    if (options.count != NULL) {
        count_open(options.count);
    }
    make_messages(true);
    open_clients(deadline);
    if (load.options.mode == MODE_KV_GET) {
        run_phase(KEYS * load.options.outstanding, deadline); /* stores every key */
        make_messages(false);
    }
    run_phase(options.warm_up, deadline);

    static struct sample before;
    static struct sample after;
    load.latency_ns = calloc(options.requests, sizeof(uint64_t));
    settle_count(&before.count);
    take_status(&before, options.status, deadline);
    load.resent = 0;
    uint64_t start = now_ns();
    run_phase(options.requests, deadline);
    uint64_t elapsed = now_ns() - start;
    take_status(&after, options.status, deadline);
    settle_count(&after.count);
    report(elapsed, &before, &after);
    return load.wrong != 0;
}
