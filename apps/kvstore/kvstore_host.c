// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The key-value server's core as a Linux program: sockets by epoll, and a file as its log. For
 * trying clients and running the command tests; the system's own server is main.c.
 *
 * usage: kvstore [--port N] [--log FILE] [--heap BYTES] [--maxmemory BYTES] [--log-limit BYTES]
 * Port 0 takes a free one. Prints "ready on port N" once it serves; SIGTERM and SIGINT end it.
 *
 * The log file: frames of u32 length, u32 CRC-32C of the bytes, the bytes. Reading stops at the
 * first frame that is not whole, and the file is cut there.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "apps/kvstore/core/server.h"
#include "lib/base/assert.h"
#include "lib/base/crc32c.h"
#include "lib/base/endian.h"

#define RECEIVE_BYTES 65536u
#define EVENTS_MAX 64
#define LOG_FRAME_BYTES_MAX (1u << 20)
#define LOG_HEADER_BYTES 8u

struct options {
    uint16_t port;
    const char *log_path;
    size_t heap_bytes;
    uint64_t max_memory_bytes;
    uint64_t log_limit_bytes;
};

struct program {
    struct options options;
    struct server server;
    int epoll;
    int listener;
    int signals;
    int log; /* -1: nothing is kept */
    uint64_t log_bytes;
    uint8_t *frame; /* LOG_FRAME_BYTES_MAX */
    bool stop;
};

struct connection {
    struct program *program;
    struct session *session;
    int socket;
    uint32_t events; /* registered */
};

_Noreturn void assertion_failed(const char *expression, const char *file, int line)
{
    fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, expression);
    abort();
}

static _Noreturn void fail(const char *what)
{
    perror(what);
    exit(1);
}

static time_ns_t clock_now_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (time_ns_t)now.tv_sec * 1000000000u + (time_ns_t)now.tv_nsec;
}

static void tell_time(struct program *program)
{
    int64_t unix_ms = (int64_t)(clock_now_ns(CLOCK_REALTIME) / 1000000u);

    server_set_time(&program->server, clock_now_ns(CLOCK_MONOTONIC), unix_ms);
}

/* ---- The log ----------------------------------------------------------------------------------
 */

static bool write_all(int file, const uint8_t *data, size_t bytes)
{
    while (bytes != 0) {
        ssize_t written = write(file, data, bytes);
        if (written < 0 && errno != EINTR) {
            return false;
        }
        if (written > 0) {
            data += written;
            bytes -= (size_t)written;
        }
    }
    return true;
}

static bool write_frame(struct program *program, size_t bytes)
{
    store_le32(program->frame, (uint32_t)bytes);
    store_le32(program->frame + 4, crc32c(0, program->frame + LOG_HEADER_BYTES, bytes));
    program->log_bytes += LOG_HEADER_BYTES + bytes;
    return write_all(program->log, program->frame, LOG_HEADER_BYTES + bytes);
}

/* Writes all pending records as one batch. */
static void flush_journal(struct program *program)
{
    struct server *server = &program->server;
    struct chain *pending = &server->database.journal.pending;
    bool ok = true;
    bool first = true;

    if (chain_bytes(pending) == 0) {
        return;
    }
    while (program->log >= 0 && ok && chain_bytes(pending) != 0) {
        size_t length = JOURNAL_FRAME_HEADER_BYTES;
        journal_frame_header(program->frame + LOG_HEADER_BYTES, first);
        first = false;
        const uint8_t *data;
        size_t part;
        while ((part = chain_peek(pending, &data)) != 0) {
            size_t room = LOG_FRAME_BYTES_MAX - LOG_HEADER_BYTES - length;
            part = part < room ? part : room;
            if (part == 0) {
                break;
            }
            memcpy(program->frame + LOG_HEADER_BYTES + length, data, part);
            length += part;
            chain_consume(pending, part);
        }
        ok = write_frame(program, length);
        server->log.appends++;
        server->log.append_bytes += length;
    }
    chain_consume(pending, (size_t)chain_bytes(pending));
    if (program->log >= 0 && server->config.durability == DURABILITY_ALWAYS) {
        ok = ok && fdatasync(program->log) == 0;
    }
    if (!ok) {
        perror("kvstore: log");
        server_log_failed(server, STATUS_DEVICE_ERROR);
        return;
    }
    server->log.head = program->log_bytes;
    server->log.durable = program->log_bytes;
    server->log.used_bytes = program->log_bytes;
    server_set_durable(server, journal_position(&server->database.journal));
}

static status_t apply(void *context, const struct journal_record *record)
{
    struct server *server = context;

    return database_apply(&server->database, record);
}

/* Reads the next whole frame; its length, 0 at the end of what is whole. */
static size_t read_frame(struct program *program, FILE *file)
{
    uint8_t *frame = program->frame;

    if (fread(frame, 1, LOG_HEADER_BYTES, file) != LOG_HEADER_BYTES) {
        return 0;
    }
    size_t bytes = load_le32(frame);
    uint32_t crc = load_le32(frame + 4);
    if (bytes < JOURNAL_FRAME_HEADER_BYTES || bytes > LOG_FRAME_BYTES_MAX - LOG_HEADER_BYTES ||
        fread(frame, 1, bytes, file) != bytes || crc32c(0, frame, bytes) != crc) {
        return 0;
    }
    return bytes;
}

static void recover(struct program *program)
{
    struct server *server = &program->server;
    struct journal_reader reader;
    time_ns_t started = clock_now_ns(CLOCK_MONOTONIC);
    FILE *file = fdopen(dup(program->log), "rb");
    size_t bytes;

    journal_reader_init(&reader, server->heap, apply, server);
    while (file != NULL && (bytes = read_frame(program, file)) != 0) {
        status_t status = journal_reader_feed(&reader, slice_of(program->frame, bytes), 0);
        if (status != STATUS_OK) {
            fprintf(stderr, "kvstore: %s: %s\n", program->options.log_path, status_text(status));
            exit(1);
        }
        program->log_bytes += LOG_HEADER_BYTES + bytes;
    }
    if (file == NULL || ftruncate(program->log, (off_t)program->log_bytes) != 0 ||
        lseek(program->log, 0, SEEK_END) < 0) {
        fail("kvstore: log");
    }
    fclose(file);
    lseek(program->log, 0, SEEK_END);
    server->log.recovered_records = reader.records;
    server->log.recovered_bytes = reader.bytes;
    server->log.recovery_ns = clock_now_ns(CLOCK_MONOTONIC) - started;
    journal_reader_free(&reader);
    printf("recovered %zu keys from %llu records\n", keyspace_count(&server->database.keyspace),
           (unsigned long long)server->log.recovered_records);
}

/* ---- Connections ------------------------------------------------------------------------------
 */

static void watch(struct connection *connection, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = connection};

    if (events != connection->events) {
        epoll_ctl(connection->program->epoll, EPOLL_CTL_MOD, connection->socket, &event);
        connection->events = events;
    }
}

static void disconnect(struct connection *connection)
{
    close(connection->socket);
    session_close(connection->session);
    free(connection);
}

static void accept_one(struct program *program)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    char peer[SESSION_PEER_BYTES];
    char host[INET_ADDRSTRLEN];
    int one = 1;
    int handle = accept4(program->listener, (struct sockaddr *)&address, &length, SOCK_NONBLOCK);

    if (handle < 0) {
        return;
    }
    inet_ntop(AF_INET, &address.sin_addr, host, sizeof host);
    snprintf(peer, sizeof peer, "%s:%u", host, ntohs(address.sin_port));
    setsockopt(handle, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct connection *connection = calloc(1, sizeof *connection);
    struct session *session = session_open(&program->server, peer);
    if (connection == NULL || session == NULL) {
        ssize_t sent = write(handle, session_refusal(), strlen(session_refusal()));
        (void)sent;
        close(handle);
        free(connection);
        return;
    }
    *connection = (struct connection){program, session, handle, EPOLLIN};
    session_set_user(session, connection);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    if (epoll_ctl(program->epoll, EPOLL_CTL_ADD, handle, &event) != 0) {
        disconnect(connection);
    }
}

/* False when the connection is over and freed. */
static bool receive(struct connection *connection)
{
    static uint8_t buffer[RECEIVE_BYTES];
    ssize_t bytes = read(connection->socket, buffer, sizeof buffer);

    if (bytes > 0) {
        session_feed(connection->session, buffer, (size_t)bytes);
        return true;
    }
    if (bytes < 0 && (errno == EAGAIN || errno == EINTR)) {
        return true;
    }
    disconnect(connection);
    return false;
}

/* Sends what may be sent; the connection may be gone afterwards. */
static void transmit(struct connection *connection)
{
    struct session *session = connection->session;
    const uint8_t *data;
    size_t bytes;

    while ((bytes = session_output(session, &data)) != 0) {
        ssize_t sent = send(connection->socket, data, bytes, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
            watch(connection, EPOLLOUT | (session_wants_input(session) ? EPOLLIN : 0u));
            return;
        }
        if (sent < 0) {
            disconnect(connection);
            return;
        }
        session_sent(session, (size_t)sent);
    }
    if (session_finished(session)) {
        disconnect(connection);
        return;
    }
    watch(connection, session_wants_input(session) ? EPOLLIN : 0u);
}

static void transmit_ready(struct program *program)
{
    struct session *session;

    while ((session = server_next_ready(&program->server)) != NULL) {
        transmit(session_user(session));
    }
}

/* ---- Start and loop ---------------------------------------------------------------------------
 */

static void turn(struct program *program)
{
    struct epoll_event events[EVENTS_MAX];
    struct server *server = &program->server;
    time_ns_t due = server_upkeep(server);
    int timeout_ms = -1;

    if (due != DEADLINE_NEVER) {
        timeout_ms = due <= server->now_ns ? 0 : (int)((due - server->now_ns) / 1000000u) + 1;
    }
    int count = epoll_wait(program->epoll, events, EVENTS_MAX, timeout_ms);
    tell_time(program);
    if (program->options.log_limit_bytes != 0) {
        uint64_t limit = program->options.log_limit_bytes;
        server->database.journal.space_bytes =
            limit > program->log_bytes ? limit - program->log_bytes : 0;
    }
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr == NULL) {
            accept_one(program);
        } else if (events[i].data.ptr == &program->signals) {
            program->stop = true;
        } else {
            struct connection *connection = events[i].data.ptr;
            if ((events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && !receive(connection)) {
                continue;
            }
            if ((events[i].events & EPOLLOUT) != 0) {
                flush_journal(program);
                transmit(connection);
            }
        }
    }
    flush_journal(program);
    transmit_ready(program);
}

static void listen_on(struct program *program)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(program->options.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int one = 1;

    program->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(program->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(program->listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(program->listener, 511) != 0 ||
        getsockname(program->listener, (struct sockaddr *)&address, &length) != 0) {
        fail("kvstore: listen");
    }
    program->options.port = ntohs(address.sin_port);
    program->server.config.tcp_port = program->options.port;
}

static void watch_all(struct program *program)
{
    struct epoll_event accept_event = {.events = EPOLLIN};
    struct epoll_event signal_event = {.events = EPOLLIN, .data.ptr = &program->signals};
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    program->signals = signalfd(-1, &set, 0);
    program->epoll = epoll_create1(0);
    if (program->signals < 0 || program->epoll < 0 ||
        epoll_ctl(program->epoll, EPOLL_CTL_ADD, program->listener, &accept_event) != 0 ||
        epoll_ctl(program->epoll, EPOLL_CTL_ADD, program->signals, &signal_event) != 0) {
        fail("kvstore: epoll");
    }
}

static void start(struct program *program)
{
    struct options *options = &program->options;
    struct server_config config = {.max_memory_bytes = options->max_memory_bytes, .os = "Linux"};
    struct heap *heap = NULL;
    void *region = mmap(NULL, options->heap_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (region == MAP_FAILED || heap_init(&heap, region, options->heap_bytes) != STATUS_OK ||
        getrandom(config.random, sizeof config.random, 0) != sizeof config.random ||
        server_init(&program->server, heap, &config, clock_now_ns(CLOCK_MONOTONIC)) != STATUS_OK) {
        fail("kvstore: start");
    }
    tell_time(program);
    program->frame = malloc(LOG_FRAME_BYTES_MAX);
    program->log = -1;
    if (options->log_path != NULL) {
        program->log = open(options->log_path, O_RDWR | O_CREAT | O_APPEND, 0666);
        if (program->log < 0 || program->frame == NULL) {
            fail(options->log_path);
        }
        recover(program);
    }
    listen_on(program);
    watch_all(program);
    printf("ready on port %u\n", options->port);
    fflush(stdout);
}

static void parse_options(struct options *options, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        bool has_value = i + 1 < argc;
        if (has_value && strcmp(argv[i], "--port") == 0) {
            options->port = (uint16_t)strtoul(argv[++i], NULL, 0);
        } else if (has_value && strcmp(argv[i], "--log") == 0) {
            options->log_path = argv[++i];
        } else if (has_value && strcmp(argv[i], "--heap") == 0) {
            options->heap_bytes = strtoull(argv[++i], NULL, 0);
        } else if (has_value && strcmp(argv[i], "--maxmemory") == 0) {
            options->max_memory_bytes = strtoull(argv[++i], NULL, 0);
        } else if (has_value && strcmp(argv[i], "--log-limit") == 0) {
            options->log_limit_bytes = strtoull(argv[++i], NULL, 0);
        } else {
            fprintf(stderr, "usage: kvstore [--port N] [--log FILE] [--heap BYTES] "
                            "[--maxmemory BYTES] [--log-limit BYTES]\n");
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    static struct program program = {.options = {.port = 6379, .heap_bytes = 256u << 20}};

    parse_options(&program.options, argc, argv);
    start(&program);
    while (!program.stop) {
        turn(&program);
    }
    while (program.server.sessions != NULL) {
        disconnect(session_user(program.server.sessions));
    }
    server_destroy(&program.server);
    free(program.frame);
    return 0;
}
