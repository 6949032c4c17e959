// SPDX-License-Identifier: MIT OR Apache-2.0
#include "apps/iperf3/core/iperf3.h"

#include "lib/base/bytes.h"
#include "lib/base/format.h"

#define BACKLOG 32u
#define RESULTS_BYTES_MAX 4096u
#define CHUNK_BYTES 16384u
#define KEEPALIVE_NS 10000000000ull
#define CLIENT_RESULTS_BYTES_MAX (1u << 20)

enum state {
    STATE_TEST_START = 1,
    STATE_TEST_RUNNING = 2,
    STATE_TEST_END = 4,
    STATE_PARAM_EXCHANGE = 9,
    STATE_CREATE_STREAMS = 10,
    STATE_CLIENT_TERMINATE = 12,
    STATE_EXCHANGE_RESULTS = 13,
    STATE_DISPLAY_RESULTS = 14,
    STATE_IPERF_DONE = 16,
    STATE_ACCESS_DENIED = -1,
    STATE_SERVER_ERROR = -2,
};

/* What iperf3 calls an error of parameters (its IEUNIMP), in SERVER_ERROR. */
#define ERROR_UNIMPLEMENTED 18u

static const uint8_t chunk[CHUNK_BYTES];

/* ---- Sending ----------------------------------------------------------------------------------
 */

/* The control connection's queue is empty whenever something is due: it always takes it. */
static void say(struct iperf3_server *server, enum state state)
{
    uint8_t byte = (uint8_t)state;

    server->state = (int8_t)state;
    (void)tcp_send(server->control, &byte, 1);
}

static void pump(struct iperf3_server *server, struct iperf3_stream *stream)
{
    while (server->reverse && server->state == STATE_TEST_RUNNING && stream->connection != NULL) {
        uint32_t taken = tcp_send(stream->connection, chunk, CHUNK_BYTES);
        stream->bytes += taken;
        if (taken < CHUNK_BYTES) {
            return; /* on_sendable follows */
        }
    }
}

static uint64_t retransmits_of(const struct iperf3_stream *stream)
{
    struct tcp_info info;

    if (stream->connection == NULL) {
        return stream->retransmits;
    }
    tcp_info(stream->connection, &info);
    return info.retransmits;
}

/* ---- The test ---------------------------------------------------------------------------------
 */

static void forget_test(struct iperf3_server *server)
{
    for (uint32_t i = 0; i < server->streams; i++) {
        if (server->stream[i].connection != NULL) {
            tcp_abort(server->stream[i].connection);
            server->stream[i].connection = NULL;
        }
    }
    server->control = NULL;
    server->streams = server->wanted = 0;
    server->length_bytes = server->json_left = server->json_bytes = 0;
    server->state = 0;
}

static void end_test(struct iperf3_server *server)
{
    struct tcp_connection *control = server->control;

    forget_test(server);
    tcp_close(control);
}

static void refuse_test(struct iperf3_server *server)
{
    const uint8_t error[9] = {(uint8_t)STATE_SERVER_ERROR, 0, 0, 0, ERROR_UNIMPLEMENTED};

    server->refused++;
    (void)tcp_send(server->control, error, sizeof error);
    end_test(server);
}

/* Whether `text`, which ends with 0, begins with `start`; returns what follows, or NULL. */
static const char *after(const char *text, const char *start)
{
    while (*start != '\0' && *text == *start) {
        text++;
        start++;
    }
    return *start == '\0' ? text : NULL;
}

/* The value of a name in JSON that a client sent: what follows `"name":`, or NULL. */
static const char *find(const char *json, const char *name)
{
    for (; *json != '\0'; json++) {
        const char *value = *json == '"' ? after(json + 1, name) : NULL;
        if (value == NULL || *value != '"') {
            continue;
        }
        for (value++; *value == ' ' || *value == ':' || *value == '\t' || *value == '\n'; value++) {
        }
        return value;
    }
    return NULL;
}

static bool is_true(const char *json, const char *name)
{
    const char *value = find(json, name);

    return value != NULL && value[0] == 't';
}

/* 1 without such a name; 0 if it is no number, or above `max`. */
static uint32_t number(const char *json, const char *name, uint32_t max)
{
    const char *value = find(json, name);
    uint32_t result = 0;

    if (value == NULL) {
        return 1;
    }
    for (; *value >= '0' && *value <= '9'; value++) {
        result = result * 10u + (uint32_t)(*value - '0');
        if (result > max) {
            return 0;
        }
    }
    return result;
}

static void take_parameters(struct iperf3_server *server)
{
    server->reverse = is_true(server->json, "reverse");
    server->wanted = number(server->json, "parallel", IPERF3_STREAMS_MAX);
    if (!is_true(server->json, "tcp") || is_true(server->json, "bidirectional") ||
        server->wanted == 0) {
        refuse_test(server);
        return;
    }
    say(server, STATE_CREATE_STREAMS);
}

/* The numbers that iperf3 gives its streams: 1, 3, 4, 5, ... */
static uint32_t stream_id(uint32_t index)
{
    return index == 0 ? 1u : index + 2u;
}

static void send_results(struct iperf3_server *server)
{
    static char text[4u + RESULTS_BYTES_MAX];
    struct iperf3_usage now;

    server->usage(server->context, &now);
    uint64_t all = now.all - server->before.all;
    uint64_t percent_100 = all != 0 ? (now.busy - server->before.busy) * 10000u / all : 0;
    size_t at = 4;
    at += format_text(text + at, sizeof text - at,
                      "{\"cpu_util_total\":%lu.%02lu,\"cpu_util_user\":%lu.%02lu,"
                      "\"cpu_util_system\":0,\"sender_has_retransmits\":%d,\"streams\":[",
                      percent_100 / 100u, percent_100 % 100u, percent_100 / 100u,
                      percent_100 % 100u, server->reverse ? 1 : -1);
    for (uint32_t i = 0; i < server->streams; i++) {
        const struct iperf3_stream *stream = &server->stream[i];
        at += format_text(text + at, sizeof text - at,
                          "%s{\"id\":%u,\"bytes\":%lu,\"retransmits\":%ld,\"jitter\":0,"
                          "\"errors\":0,\"packets\":0}",
                          i == 0 ? "" : ",", stream_id(i), stream->bytes,
                          server->reverse ? (int64_t)retransmits_of(stream) : -1);
    }
    at += format_text(text + at, sizeof text - at, "]}");
    uint32_t length = (uint32_t)at - 4u;
    for (uint32_t i = 0; i < 4; i++) {
        text[i] = (char)(length >> (24u - 8u * i));
    }
    (void)tcp_send(server->control, text, (uint32_t)at);
    say(server, STATE_DISPLAY_RESULTS);
}

/* What we have sent ends: iperf3 reads on from each stream until it does, and looks for the next
 * state only then. */
static void end_streams(struct iperf3_server *server)
{
    for (uint32_t i = 0; i < server->streams; i++) {
        struct iperf3_stream *stream = &server->stream[i];
        if (stream->connection != NULL) {
            stream->retransmits = retransmits_of(stream);
            tcp_close(stream->connection);
            stream->connection = NULL;
        }
    }
}

static void take_state(struct iperf3_server *server, int8_t state)
{
    if (state == STATE_TEST_END && server->state == STATE_TEST_RUNNING) {
        if (server->reverse) {
            end_streams(server);
        }
        say(server, STATE_EXCHANGE_RESULTS);
    } else {
        /* IPERF_DONE, CLIENT_TERMINATE, or nothing that belongs here. */
        server->tests += state == STATE_IPERF_DONE && server->state == STATE_DISPLAY_RESULTS;
        end_test(server);
    }
}

/* ---- Receiving --------------------------------------------------------------------------------
 */

/* One byte of a length or of JSON. */
static void take_json_byte(struct iperf3_server *server, uint8_t byte)
{
    uint32_t max =
        server->state == STATE_PARAM_EXCHANGE ? IPERF3_JSON_BYTES_MAX : CLIENT_RESULTS_BYTES_MAX;

    if (server->length_bytes < 4u) {
        server->json_left = server->json_left << 8 | byte;
        if (++server->length_bytes == 4u && (server->json_left == 0 || server->json_left > max)) {
            end_test(server);
        }
        return;
    }
    if (server->json_bytes < IPERF3_JSON_BYTES_MAX) { /* of results nothing is looked at */
        server->json[server->json_bytes++] = (char)byte;
    }
    if (--server->json_left != 0) {
        return;
    }
    server->json[server->json_bytes] = '\0';
    server->length_bytes = server->json_bytes = 0;
    if (server->state == STATE_PARAM_EXCHANGE) {
        take_parameters(server);
    } else {
        send_results(server);
    }
}

static void take_control(struct iperf3_server *server, const uint8_t *data, uint32_t length)
{
    for (uint32_t i = 0; i < length && server->control != NULL; i++) {
        if (server->state == STATE_PARAM_EXCHANGE || server->state == STATE_EXCHANGE_RESULTS) {
            take_json_byte(server, data[i]);
        } else {
            take_state(server, (int8_t)data[i]);
        }
    }
}

static void begin_test(struct iperf3_server *server, const struct iperf3_newcomer *newcomer)
{
    server->control = newcomer->connection;
    memcpy(server->cookie, newcomer->cookie, IPERF3_COOKIE_BYTES);
    tcp_set_keepalive(server->control, KEEPALIVE_NS);
    say(server, STATE_PARAM_EXCHANGE);
}

static void begin_stream(struct iperf3_server *server, const struct iperf3_newcomer *newcomer)
{
    server->stream[server->streams++] = (struct iperf3_stream){.connection = newcomer->connection};
    if (server->streams < server->wanted) {
        return;
    }
    server->usage(server->context, &server->before);
    say(server, STATE_TEST_START);
    say(server, STATE_TEST_RUNNING);
    for (uint32_t i = 0; i < server->streams; i++) {
        pump(server, &server->stream[i]);
    }
}

/* The cookie is whole: what the connection is for. */
static void place(struct iperf3_server *server, struct iperf3_newcomer *newcomer)
{
    if (server->control == NULL) {
        begin_test(server, newcomer);
    } else if (memcmp(server->cookie, newcomer->cookie, IPERF3_COOKIE_BYTES) == 0 &&
               server->state == STATE_CREATE_STREAMS && server->streams < server->wanted) {
        begin_stream(server, newcomer);
    } else {
        const uint8_t denied = (uint8_t)STATE_ACCESS_DENIED;
        server->refused++;
        (void)tcp_send(newcomer->connection, &denied, 1);
        tcp_close(newcomer->connection);
    }
    newcomer->connection = NULL;
}

static struct iperf3_newcomer *newcomer_of(struct iperf3_server *server,
                                           const struct tcp_connection *connection)
{
    for (uint32_t i = 0; i < IPERF3_STREAMS_MAX; i++) {
        if (server->newcomers[i].connection == connection) {
            return &server->newcomers[i];
        }
    }
    return NULL;
}

static struct iperf3_stream *stream_of(struct iperf3_server *server,
                                       const struct tcp_connection *connection)
{
    for (uint32_t i = 0; i < server->streams; i++) {
        if (server->stream[i].connection == connection) {
            return &server->stream[i];
        }
    }
    return NULL;
}

/* ---- What the stack calls ---------------------------------------------------------------------
 */

static bool on_accept(struct tcp_connection *connection, void *user)
{
    struct iperf3_newcomer *newcomer = newcomer_of(user, NULL);

    if (newcomer == NULL) {
        return false;
    }
    *newcomer = (struct iperf3_newcomer){.connection = connection};
    tcp_set_user(connection, user);
    tcp_set_keepalive(connection, KEEPALIVE_NS);
    return true;
}

/* Takes the cookie's bytes; returns how many. */
static uint32_t take_cookie(struct iperf3_server *server, struct iperf3_newcomer *newcomer,
                            const uint8_t *data, uint32_t length)
{
    uint32_t missing = IPERF3_COOKIE_BYTES - newcomer->cookie_bytes;
    uint32_t taken = length < missing ? length : missing;

    memcpy(newcomer->cookie + newcomer->cookie_bytes, data, taken);
    newcomer->cookie_bytes += taken;
    if (taken == missing) {
        place(server, newcomer);
    }
    return taken;
}

static uint32_t on_receive(struct tcp_connection *connection, void *user, const uint8_t *data,
                           uint32_t length)
{
    struct iperf3_server *server = user;
    struct iperf3_newcomer *newcomer = newcomer_of(server, connection);
    uint32_t taken = newcomer != NULL ? take_cookie(server, newcomer, data, length) : 0;
    struct iperf3_stream *stream = stream_of(server, connection);

    if (stream != NULL) {
        stream->bytes += server->reverse ? 0 : length - taken;
    } else if (connection == server->control) {
        take_control(server, data + taken, length - taken);
    }
    return length;
}

static void gone(struct iperf3_server *server, const struct tcp_connection *connection)
{
    struct iperf3_newcomer *newcomer = newcomer_of(server, connection);
    struct iperf3_stream *stream = stream_of(server, connection);

    if (newcomer != NULL) {
        newcomer->connection = NULL;
    } else if (stream != NULL) {
        stream->retransmits = retransmits_of(stream);
        stream->connection = NULL;
    } else if (connection == server->control) {
        forget_test(server);
    }
}

static void on_end(struct tcp_connection *connection, void *user)
{
    gone(user, connection);
    tcp_close(connection);
}

static void on_sendable(struct tcp_connection *connection, void *user)
{
    struct iperf3_stream *stream = stream_of(user, connection);

    if (stream != NULL) {
        pump(user, stream);
    }
}

static void on_closed(struct tcp_connection *connection, void *user, status_t reason)
{
    (void)reason;
    gone(user, connection);
}

static const struct tcp_ops ops = {.on_accept = on_accept,
                                   .on_receive = on_receive,
                                   .on_end = on_end,
                                   .on_sendable = on_sendable,
                                   .on_closed = on_closed};

status_t iperf3_listen(struct iperf3_server *server)
{
    return tcp_listen(server->stack, IPERF3_PORT, BACKLOG, &ops, server);
}
