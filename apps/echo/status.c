// SPDX-License-Identifier: MIT OR Apache-2.0
#include "apps/echo/status.h"

#include "lib/base/bytes.h"
#include "lib/base/format.h"

#define STATUS_PORT 80u
#define BACKLOG 4u
#define ANSWER_BYTES 512u

static const char wanted[] = "GET /status.json ";

static size_t write_answer(char *answer, const struct event_loop *loop)
{
    const struct event_counters *counters = &loop->counters;
    char body[ANSWER_BYTES / 2];
    size_t bytes =
        format_text(body, sizeof(body),
                    "{\"loop\": {\"busy_ticks\": %lu, \"spin_ticks\": %lu, \"sleep_ticks\": %lu, "
                    "\"rounds\": %lu, \"empty_rounds\": %lu, \"sleeps\": %lu}}\n",
                    counters->busy_ticks, counters->spin_ticks, counters->sleep_ticks,
                    counters->rounds, counters->empty_rounds, counters->sleeps);

    return format_text(answer, ANSWER_BYTES,
                       "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                       "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
                       bytes, body);
}

static bool on_accept(struct tcp_connection *connection, void *user)
{
    tcp_set_user(connection, user);
    return true;
}

/* A request's first line comes in one segment from every client that this is meant for. */
static uint32_t on_receive(struct tcp_connection *connection, void *user, const uint8_t *data,
                           uint32_t length)
{
    static const char missing[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n"
                                  "Connection: close\r\n\r\n";
    char answer[ANSWER_BYTES];
    uint32_t line = sizeof(wanted) - 1u;

    if (length >= line && memcmp(data, wanted, line) == 0) {
        (void)tcp_send(connection, answer, (uint32_t)write_answer(answer, user));
    } else {
        (void)tcp_send(connection, missing, sizeof(missing) - 1u);
    }
    tcp_shutdown(connection);
    return length;
}

static void on_end(struct tcp_connection *connection, void *user)
{
    (void)user;
    tcp_close(connection);
}

static void on_sendable(struct tcp_connection *connection, void *user)
{
    (void)connection;
    (void)user;
}

static void on_closed(struct tcp_connection *connection, void *user, status_t reason)
{
    (void)connection;
    (void)user;
    (void)reason;
}

static const struct tcp_ops status_ops = {
    .on_accept = on_accept,
    .on_receive = on_receive,
    .on_end = on_end,
    .on_sendable = on_sendable,
    .on_closed = on_closed,
};

status_t status_listen(struct net_stack *stack, const struct event_loop *loop)
{
    /* The listener's user pointer is not const; nothing here writes through it. */
    return tcp_listen(stack, STATUS_PORT, BACKLOG, &status_ops, (void *)(uintptr_t)loop);
}
