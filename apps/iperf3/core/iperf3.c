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

/* ---- The shared test --------------------------------------------------------------------------
 */

static uint64_t word_of(const struct iperf3_test *test)
{
    return __atomic_load_n(&test->word, __ATOMIC_ACQUIRE);
}

static int8_t state_of(const struct iperf3_server *server)
{
    return (int8_t)(uint8_t)word_of(server->test);
}

static bool is_reverse(const struct iperf3_server *server)
{
    return __atomic_load_n(&server->test->reverse, __ATOMIC_RELAXED) != 0;
}

static uint32_t streams_wanted(const struct iperf3_server *server)
{
    return __atomic_load_n(&server->test->wanted, __ATOMIC_RELAXED);
}

static void wake_others(const struct iperf3_server *server)
{
    const struct iperf3_test *test = server->test;

    for (uint32_t i = 0; i < test->servers; i++) {
        if (i != server->number) {
            test->wake(test->context, i);
        }
    }
}

/* The owner says how far the test is. */
static void tell(struct iperf3_server *server, uint64_t which, int8_t state)
{
    __atomic_store_n(&server->test->word, which << 8 | (uint8_t)state, __ATOMIC_RELEASE);
    wake_others(server);
}

static void count_bytes(struct iperf3_server *server, uint32_t index, uint64_t bytes)
{
    struct iperf3_count *count = &server->test->stream[index];

    __atomic_store_n(&count->bytes, count->bytes + bytes, __ATOMIC_RELAXED);
}

static void count_retransmits(struct iperf3_server *server, uint32_t index)
{
    struct tcp_info info;

    tcp_info(server->stream[index], &info);
    __atomic_store_n(&server->test->stream[index].retransmits, info.retransmits, __ATOMIC_RELAXED);
}

/* ---- Sending ----------------------------------------------------------------------------------
 */

/* The control connection's queue is empty whenever something is due: it always takes it. */
static void say(struct iperf3_server *server, enum state state)
{
    uint8_t byte = (uint8_t)state;

    tell(server, word_of(server->test) >> 8, (int8_t)state);
    (void)tcp_send(server->control, &byte, 1);
}

static void pump(struct iperf3_server *server, uint32_t index)
{
    while (is_reverse(server) && state_of(server) == STATE_TEST_RUNNING &&
           server->stream[index] != NULL) {
        uint32_t taken = tcp_send(server->stream[index], chunk, CHUNK_BYTES);
        count_bytes(server, index, taken);
        if (taken < CHUNK_BYTES) {
            return; /* on_sendable follows */
        }
    }
}

/* ---- The test ---------------------------------------------------------------------------------
 */

/* Streams of a test that is no more. */
static void abort_streams(struct iperf3_server *server)
{
    for (uint32_t i = 0; i < IPERF3_STREAMS_MAX; i++) {
        if (server->stream[i] != NULL) {
            tcp_abort(server->stream[i]);
            server->stream[i] = NULL;
        }
    }
}

/* The owner is done: anyone may begin the next test. */
static void forget_test(struct iperf3_server *server)
{
    server->control = NULL;
    server->length_bytes = server->json_left = server->json_bytes = 0;
    __atomic_store_n(&server->test->word, ((word_of(server->test) >> 8) + 1u) << 8,
                     __ATOMIC_RELEASE);
    (void)iperf3_poll(server);
    __atomic_store_n(&server->test->owner, 0u, __ATOMIC_RELEASE);
    wake_others(server); /* one of them may have a client that waits for just this */
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
    struct iperf3_test *test = server->test;
    uint32_t wanted = number(server->json, "parallel", IPERF3_STREAMS_MAX);

    if (!is_true(server->json, "tcp") || is_true(server->json, "bidirectional") || wanted == 0) {
        refuse_test(server);
        return;
    }
    __atomic_store_n(&test->reverse, (uint32_t)is_true(server->json, "reverse"), __ATOMIC_RELAXED);
    __atomic_store_n(&test->wanted, wanted, __ATOMIC_RELAXED);
    __atomic_store_n(&test->claims, word_of(test) >> 8 << 8, __ATOMIC_RELAXED);
    for (uint32_t i = 0; i < IPERF3_STREAMS_MAX; i++) {
        __atomic_store_n(&test->stream[i].bytes, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&test->stream[i].retransmits, 0, __ATOMIC_RELAXED);
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
                      percent_100 % 100u, is_reverse(server) ? 1 : -1);
    for (uint32_t i = 0; i < streams_wanted(server); i++) {
        const struct iperf3_count *stream = &server->test->stream[i];
        uint64_t bytes = __atomic_load_n(&stream->bytes, __ATOMIC_RELAXED);
        uint64_t retransmits = __atomic_load_n(&stream->retransmits, __ATOMIC_RELAXED);
        at += format_text(text + at, sizeof text - at,
                          "%s{\"id\":%u,\"bytes\":%lu,\"retransmits\":%ld,\"jitter\":0,"
                          "\"errors\":0,\"packets\":0}",
                          i == 0 ? "" : ",", stream_id(i), bytes,
                          is_reverse(server) ? (int64_t)retransmits : -1);
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
    for (uint32_t i = 0; i < IPERF3_STREAMS_MAX; i++) {
        if (server->stream[i] != NULL) {
            count_retransmits(server, i);
            tcp_close(server->stream[i]);
            server->stream[i] = NULL;
        }
    }
}

/* All streams have come: data flows. */
static bool start_data(struct iperf3_server *server)
{
    const struct iperf3_test *test = server->test;
    uint64_t claims = __atomic_load_n(&test->claims, __ATOMIC_ACQUIRE);

    if (server->control == NULL || state_of(server) != STATE_CREATE_STREAMS ||
        (uint8_t)claims != streams_wanted(server)) {
        return false;
    }
    server->usage(server->context, &server->before);
    say(server, STATE_TEST_START);
    say(server, STATE_TEST_RUNNING);
    return true;
}

static void place(struct iperf3_server *server, struct iperf3_newcomer *newcomer);

/* Newcomers that wait. */
static void place_again(struct iperf3_server *server)
{
    for (uint32_t i = 0; i < IPERF3_STREAMS_MAX; i++) {
        struct iperf3_newcomer *newcomer = &server->newcomers[i];
        if (newcomer->connection != NULL && newcomer->cookie_bytes == IPERF3_COOKIE_BYTES) {
            place(server, newcomer);
        }
    }
}

bool iperf3_poll(struct iperf3_server *server)
{
    bool started = start_data(server);
    uint64_t word = word_of(server->test);
    int8_t state = (int8_t)(uint8_t)word;
    bool news = word != server->seen;

    server->seen = word;
    if (server->streams_of != word >> 8) {
        abort_streams(server);
        server->streams_of = word >> 8;
    } else if (is_reverse(server) && news && state == STATE_TEST_RUNNING) {
        for (uint32_t i = 0; i < IPERF3_STREAMS_MAX; i++) {
            pump(server, i);
        }
    } else if (is_reverse(server) &&
               (state == STATE_EXCHANGE_RESULTS || state == STATE_DISPLAY_RESULTS)) {
        end_streams(server);
    }
    if (server->waiting) {
        server->waiting = false;
        place_again(server);
    }
    return started || news;
}

static void take_state(struct iperf3_server *server, int8_t state)
{
    if (state == STATE_TEST_END && state_of(server) == STATE_TEST_RUNNING) {
        say(server, STATE_EXCHANGE_RESULTS);
        (void)iperf3_poll(server);
    } else {
        /* IPERF_DONE, CLIENT_TERMINATE, or nothing that belongs here. */
        server->tests += state == STATE_IPERF_DONE && state_of(server) == STATE_DISPLAY_RESULTS;
        end_test(server);
    }
}

/* ---- Receiving --------------------------------------------------------------------------------
 */

/* One byte of a length or of JSON. */
static void take_json_byte(struct iperf3_server *server, uint8_t byte)
{
    uint32_t max =
        state_of(server) == STATE_PARAM_EXCHANGE ? IPERF3_JSON_BYTES_MAX : CLIENT_RESULTS_BYTES_MAX;

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
    if (state_of(server) == STATE_PARAM_EXCHANGE) {
        take_parameters(server);
    } else {
        send_results(server);
    }
}

static void take_control(struct iperf3_server *server, const uint8_t *data, uint32_t length)
{
    for (uint32_t i = 0; i < length && server->control != NULL; i++) {
        if (state_of(server) == STATE_PARAM_EXCHANGE ||
            state_of(server) == STATE_EXCHANGE_RESULTS) {
            take_json_byte(server, data[i]);
        } else {
            take_state(server, (int8_t)data[i]);
        }
    }
}

/* The cookie as words. */
static void cookie_words(const struct iperf3_newcomer *newcomer,
                         uint64_t words[IPERF3_COOKIE_WORDS])
{
    words[IPERF3_COOKIE_WORDS - 1u] = 0;
    memcpy(words, newcomer->cookie, IPERF3_COOKIE_BYTES);
}

/* False: there is a test already. */
static bool begin_test(struct iperf3_server *server, const struct iperf3_newcomer *newcomer)
{
    struct iperf3_test *test = server->test;
    uint64_t words[IPERF3_COOKIE_WORDS];
    uint32_t none = 0;

    if (!__atomic_compare_exchange_n(&test->owner, &none, server->number + 1u, false,
                                     __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        return false;
    }
    (void)iperf3_poll(server); /* what was left here of the test before */
    cookie_words(newcomer, words);
    for (uint32_t i = 0; i < IPERF3_COOKIE_WORDS; i++) {
        __atomic_store_n(&test->cookie[i], words[i], __ATOMIC_RELAXED);
    }
    server->control = newcomer->connection;
    tcp_set_keepalive(server->control, KEEPALIVE_NS);
    say(server, STATE_PARAM_EXCHANGE);
    return true;
}

/* False: it is no stream of the test, or one too many. */
static bool begin_stream(struct iperf3_server *server, const struct iperf3_newcomer *newcomer)
{
    struct iperf3_test *test = server->test;
    uint64_t words[IPERF3_COOKIE_WORDS];
    uint64_t word = word_of(test);
    uint64_t differ = 0;
    uint64_t claims = __atomic_load_n(&test->claims, __ATOMIC_ACQUIRE);

    cookie_words(newcomer, words);
    for (uint32_t i = 0; i < IPERF3_COOKIE_WORDS; i++) {
        differ |= words[i] ^ __atomic_load_n(&test->cookie[i], __ATOMIC_RELAXED);
    }
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if ((uint8_t)word != STATE_CREATE_STREAMS || word_of(test) != word || differ != 0) {
        return false;
    }
    (void)iperf3_poll(server);
    if (server->streams_of != word >> 8) {
        return false;
    }
    do { /* at most as often as others claim */
        if (claims >> 8 != word >> 8 || (uint8_t)claims >= streams_wanted(server)) {
            return false;
        }
    } while (!__atomic_compare_exchange_n(&test->claims, &claims, claims + 1u, false,
                                          __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
    if (word_of(test) >> 8 != word >> 8) {
        return false; /* it has ended meanwhile */
    }
    server->stream[(uint8_t)claims] = newcomer->connection;
    server->had++;
    if (server->control == NULL) {
        wake_others(server); /* it may have been the last one */
    }
    return true;
}

/* Whether the test is as good as over: a client begins its next one before the server of the last
 * has heard of its end. */
static bool ends_soon(const struct iperf3_server *server)
{
    int8_t state = state_of(server);

    return server->control == NULL && (state == STATE_DISPLAY_RESULTS || state == 0);
}

/* The cookie is whole: what the connection is for. One that comes at the end of a test waits for
 * the test's next word. */
static void place(struct iperf3_server *server, struct iperf3_newcomer *newcomer)
{
    if (!begin_test(server, newcomer) && !begin_stream(server, newcomer)) {
        if (ends_soon(server)) {
            server->waiting = true;
            return;
        }
        const uint8_t denied = (uint8_t)STATE_ACCESS_DENIED;
        server->refused++;
        (void)tcp_send(newcomer->connection, &denied, 1);
        tcp_close(newcomer->connection);
    }
    newcomer->connection = NULL;
    (void)iperf3_poll(server);
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

/* Its number; IPERF3_STREAMS_MAX: none. */
static uint32_t stream_of(const struct iperf3_server *server,
                          const struct tcp_connection *connection)
{
    uint32_t index = 0;

    while (index < IPERF3_STREAMS_MAX && server->stream[index] != connection) {
        index++;
    }
    return index;
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
    uint32_t stream = stream_of(server, connection);

    if (stream < IPERF3_STREAMS_MAX) {
        count_bytes(server, stream, is_reverse(server) ? 0 : length - taken);
    } else if (connection == server->control) {
        take_control(server, data + taken, length - taken);
    }
    return length;
}

static void gone(struct iperf3_server *server, const struct tcp_connection *connection)
{
    struct iperf3_newcomer *newcomer = newcomer_of(server, connection);
    uint32_t stream = stream_of(server, connection);

    if (newcomer != NULL) {
        newcomer->connection = NULL;
    } else if (stream < IPERF3_STREAMS_MAX) {
        count_retransmits(server, stream);
        server->stream[stream] = NULL;
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
    uint32_t stream = stream_of(user, connection);

    if (stream < IPERF3_STREAMS_MAX) {
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
