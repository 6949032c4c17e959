// SPDX-License-Identifier: MIT OR Apache-2.0
/* Socket calls as POSIX has them, over the stack's own interface. */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>

#include "tests/packetdrill/drill_calls_host.h"

/* ---- Descriptors ------------------------------------------------------------------------------
 */

struct drill_socket *drill_socket_of(struct drill *drill, int fd)
{
    uint32_t index = (uint32_t)(fd - DRILL_FIRST_FD);
    struct drill_socket *socket = index < DRILL_SOCKETS ? drill->descriptors[index] : NULL;

    if (socket == NULL) {
        errno = EBADF;
    }
    return socket;
}

static int take_descriptor(struct drill *drill, struct drill_socket *socket)
{
    for (int i = 0; i < (int)DRILL_SOCKETS; i++) {
        if (drill->descriptors[i] == NULL) {
            drill->descriptors[i] = socket;
            return i + DRILL_FIRST_FD;
        }
    }
    errno = EMFILE;
    return -1;
}

static struct drill_socket *new_socket(struct drill *drill, enum drill_kind kind)
{
    struct drill_socket *socket = calloc(1, sizeof *socket);

    VERIFY(socket != NULL);
    socket->kind = kind;
    socket->drill = drill;
    socket->keepalive_idle_s = 7200;
    return socket;
}

static int fail(int error)
{
    errno = error;
    return -1;
}

static int errno_of(status_t status)
{
    switch (status) {
    case STATUS_OK:
        return 0;
    case STATUS_RESET:
        return ECONNRESET;
    case STATUS_TIMED_OUT:
        return ETIMEDOUT;
    case STATUS_UNREACHABLE:
        return EHOSTUNREACH;
    case STATUS_IN_USE:
        return EADDRINUSE;
    case STATUS_NO_MEMORY:
        return ENOBUFS;
    case STATUS_TOO_LARGE:
        return EMSGSIZE;
    default:
        return EINVAL;
    }
}

/* Waits until other threads have changed something. False: the socket does not want to wait. */
static bool wait_for_change(struct drill_socket *socket)
{
    if (socket->nonblocking) {
        return false;
    }
    pthread_cond_wait(&socket->drill->changed, &socket->drill->lock);
    return true;
}

/* An error that has not been told yet. */
static int take_error(struct drill_socket *socket)
{
    int error = socket->error;

    socket->error = 0;
    return error;
}

/* ---- What the stack says ----------------------------------------------------------------------
 */

void drill_apply_options(struct drill_socket *socket)
{
    if (socket->connection != NULL) {
        tcp_set_nagle(socket->connection, !socket->nodelay);
        tcp_set_keepalive(
            socket->connection,
            socket->keepalive ? (time_ns_t)(uint32_t)socket->keepalive_idle_s * NS_PER_S : 0);
    }
}

static bool on_accept(struct tcp_connection *connection, void *user)
{
    struct drill_socket *listener = user;

    if (listener->waiting_count == DRILL_BACKLOG) {
        return false;
    }
    struct drill_socket *socket = new_socket(listener->drill, DRILL_STREAM);
    socket->v6 = listener->v6;
    socket->nodelay = listener->nodelay;
    socket->keepalive = listener->keepalive;
    socket->keepalive_idle_s = listener->keepalive_idle_s;
    socket->connection = connection;
    socket->connected = true;
    tcp_set_user(connection, socket);
    drill_apply_options(socket);
    listener->waiting[listener->waiting_count++] = socket;
    return true;
}

static void on_connected(struct tcp_connection *connection, void *user)
{
    struct drill_socket *socket = user;

    (void)connection;
    socket->connecting = false;
    socket->connected = true;
}

/* Data stays in the stack until somebody reads it. */
static uint32_t on_receive(struct tcp_connection *connection, void *user, const uint8_t *data,
                           uint32_t length)
{
    struct drill_socket *socket = user;
    size_t room = socket->read_wanted - socket->read_done;
    uint32_t take = length < room ? length : (uint32_t)room;

    (void)connection;
    if (take > 0) {
        memcpy(socket->read_to + socket->read_done, data, take);
        socket->read_done += take;
    }
    return take;
}

static void on_end(struct tcp_connection *connection, void *user)
{
    (void)connection;
    ((struct drill_socket *)user)->ended = true;
}

static void on_sendable(struct tcp_connection *connection, void *user)
{
    (void)connection;
    ((struct drill_socket *)user)->write_wanted = false;
}

static void on_closed(struct tcp_connection *connection, void *user, status_t reason)
{
    struct drill_socket *socket = user;

    (void)connection;
    socket->connection = NULL;
    socket->ended = true;
    socket->error = socket->connecting && reason == STATUS_RESET ? ECONNREFUSED : errno_of(reason);
    socket->connecting = socket->connected = false;
}

static const struct tcp_ops stream_ops = {.on_accept = on_accept,
                                          .on_connected = on_connected,
                                          .on_receive = on_receive,
                                          .on_end = on_end,
                                          .on_sendable = on_sendable,
                                          .on_closed = on_closed};

static void on_datagram(struct udp_socket *udp, void *user, const struct udp_datagram *datagram)
{
    struct drill_socket *socket = user;

    (void)udp;
    if (socket->received_count == DRILL_BACKLOG || datagram->length > WIRE_FRAME_BYTES) {
        return;
    }
    struct drill_datagram *at =
        &socket->received[(socket->received_first + socket->received_count++) % DRILL_BACKLOG];
    at->length = datagram->length;
    at->source = datagram->source;
    at->source_port = datagram->source_port;
    if (datagram->v6 != NULL) {
        at->v6 = *datagram->v6;
    }
    memcpy(at->data, datagram->data, datagram->length);
}

static void on_datagram_error(struct udp_socket *udp, void *user, const struct udp_error *error)
{
    (void)udp;
    ((struct drill_socket *)user)->error =
        error->status == STATUS_TOO_LARGE ? EMSGSIZE : ECONNREFUSED;
}

/* ---- Addresses --------------------------------------------------------------------------------
 */

/* False: too short, or of another family. */
static bool read_address(const struct drill_socket *socket, const struct sockaddr *address,
                         socklen_t bytes, ipv4_t *v4, struct ipv6_address *v6, uint16_t *port)
{
    if (!socket->v6 && address != NULL && bytes >= sizeof(struct sockaddr_in) &&
        address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        *v4 = ntohl(in.sin_addr.s_addr);
        *port = ntohs(in.sin_port);
        return true;
    }
    if (socket->v6 && address != NULL && bytes >= sizeof(struct sockaddr_in6) &&
        address->sa_family == AF_INET6) {
        struct sockaddr_in6 in;
        memcpy(&in, address, sizeof in);
        memcpy(v6->byte, &in.sin6_addr, sizeof v6->byte);
        *port = ntohs(in.sin6_port);
        return true;
    }
    return false;
}

static void write_address(const struct drill_socket *socket, struct sockaddr *address,
                          socklen_t *bytes, ipv4_t v4, const struct ipv6_address *v6, uint16_t port)
{
    struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    socklen_t size = socket->v6 ? sizeof in6 : sizeof in4;

    if (address == NULL || bytes == NULL) {
        return;
    }
    in4.sin_addr.s_addr = htonl(v4);
    memcpy(&in6.sin6_addr, v6->byte, sizeof v6->byte);
    memcpy(address, socket->v6 ? (const void *)&in6 : (const void *)&in4,
           *bytes < size ? *bytes : size);
    *bytes = size;
}

/* ---- Calls ------------------------------------------------------------------------------------
 */

int drill_socket_open(struct drill *drill, int domain, int type, int protocol)
{
    int kind = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);

    (void)protocol;
    if ((domain != AF_INET && domain != AF_INET6) || (kind != SOCK_STREAM && kind != SOCK_DGRAM)) {
        return fail(EAFNOSUPPORT);
    }
    struct drill_socket *socket =
        new_socket(drill, kind == SOCK_DGRAM ? DRILL_DATAGRAM : DRILL_NEW);
    socket->v6 = domain == AF_INET6;
    socket->nonblocking = (type & SOCK_NONBLOCK) != 0;
    return take_descriptor(drill, socket);
}

static int bind_datagrams(struct drill_socket *socket, uint16_t port)
{
    if (socket->udp != NULL) {
        return 0;
    }
    status_t status = udp_bind(socket->drill->stack, port, on_datagram, socket, &socket->udp);
    if (status != STATUS_OK) {
        return fail(errno_of(status));
    }
    udp_on_error(socket->udp, on_datagram_error);
    return 0;
}

int drill_bind(struct drill_socket *socket, const struct sockaddr *address, socklen_t bytes)
{
    struct ipv6_address v6;
    ipv4_t v4;

    if (!read_address(socket, address, bytes, &v4, &v6, &socket->port)) {
        return fail(EINVAL);
    }
    return socket->kind == DRILL_DATAGRAM ? bind_datagrams(socket, socket->port) : 0;
}

int drill_listen(struct drill_socket *socket, int backlog)
{
    if (socket->kind != DRILL_NEW) {
        return fail(EOPNOTSUPP);
    }
    status_t status = tcp_listen(socket->drill->stack, socket->port,
                                 backlog > 0 ? (uint32_t)backlog : 1u, &stream_ops, socket);
    if (status != STATUS_OK) {
        return fail(errno_of(status));
    }
    socket->kind = DRILL_LISTENER;
    return 0;
}

static void peer_address(const struct drill_socket *socket, struct sockaddr *address,
                         socklen_t *bytes)
{
    struct tcp_info info = {0};

    if (socket->connection != NULL) {
        tcp_info(socket->connection, &info);
    }
    write_address(socket, address, bytes, info.remote_address, &info.v6.remote, info.remote_port);
}

int drill_accept(struct drill_socket *listener, struct sockaddr *address, socklen_t *bytes)
{
    if (listener->kind != DRILL_LISTENER) {
        return fail(EINVAL);
    }
    while (listener->waiting_count == 0) {
        if (!wait_for_change(listener)) {
            return fail(EAGAIN);
        }
    }
    struct drill_socket *socket = listener->waiting[0];
    listener->waiting_count--;
    memmove(&listener->waiting[0], &listener->waiting[1],
            listener->waiting_count * sizeof listener->waiting[0]);
    peer_address(socket, address, bytes);
    return take_descriptor(listener->drill, socket);
}

static int connect_datagrams(struct drill_socket *socket, ipv4_t v4, const struct ipv6_address *v6,
                             uint16_t port)
{
    socket->peer = v4;
    socket->peer6 = (struct ipv6_ends){.remote = *v6};
    socket->peer_port = port;
    return bind_datagrams(socket, 0);
}

int drill_connect(struct drill_socket *socket, const struct sockaddr *address, socklen_t bytes)
{
    struct ipv6_ends ends = {0};
    struct tcp_connect_request request = {
        .local_port = socket->port, .ops = &stream_ops, .user = socket};

    if (socket->kind == DRILL_NEW || socket->kind == DRILL_DATAGRAM) {
        if (!read_address(socket, address, bytes, &request.address, &ends.remote, &request.port)) {
            return fail(EINVAL);
        }
        if (socket->kind == DRILL_DATAGRAM) {
            return connect_datagrams(socket, request.address, &ends.remote, request.port);
        }
        request.v6 = socket->v6 ? &ends : NULL;
        status_t status = tcp_connect(socket->drill->stack, &request, &socket->connection);
        if (status != STATUS_OK) {
            return fail(errno_of(status));
        }
        socket->kind = DRILL_STREAM;
        socket->connecting = true;
        drill_apply_options(socket);
        drill_settle(socket->drill);
        if (socket->nonblocking && socket->connecting) {
            return fail(EINPROGRESS);
        }
    } else if (socket->kind != DRILL_STREAM) {
        return fail(EINVAL);
    } else if (socket->nonblocking) {
        if (socket->connecting) {
            return fail(EALREADY);
        }
        if (socket->connected) {
            return fail(EISCONN);
        }
    }
    while (socket->connecting && wait_for_change(socket)) {
    }
    int error = take_error(socket);
    return error != 0 ? fail(error) : 0;
}

static ssize_t read_datagram(struct drill_socket *socket, void *to, size_t count,
                             struct sockaddr *address, socklen_t *bytes)
{
    while (socket->received_count == 0 && socket->error == 0) {
        if (!wait_for_change(socket)) {
            return fail(EAGAIN);
        }
    }
    if (socket->error != 0) {
        return fail(take_error(socket));
    }
    const struct drill_datagram *from = &socket->received[socket->received_first];
    socket->received_first = (socket->received_first + 1u) % DRILL_BACKLOG;
    socket->received_count--;
    size_t length = from->length < count ? from->length : count;
    memcpy(to, from->data, length);
    write_address(socket, address, bytes, from->source, &from->v6.remote, from->source_port);
    return (ssize_t)length;
}

ssize_t drill_read(struct drill_socket *socket, void *to, size_t count, struct sockaddr *address,
                   socklen_t *bytes)
{
    if (socket->kind == DRILL_DATAGRAM) {
        return read_datagram(socket, to, count, address, bytes);
    }
    if (socket->kind != DRILL_STREAM) {
        return fail(ENOTCONN);
    }
    socket->read_to = to;
    socket->read_wanted = count;
    socket->read_done = 0;
    for (;;) {
        if (socket->connection != NULL && socket->connected) {
            tcp_receive_resume(socket->connection);
            drill_settle(socket->drill);
        }
        if (socket->read_done > 0 || socket->ended || count == 0 || socket->error != 0 ||
            !wait_for_change(socket)) {
            break;
        }
    }
    ssize_t done = (ssize_t)socket->read_done;
    socket->read_wanted = socket->read_done = 0;
    if (done == 0 && socket->error != 0) {
        return fail(take_error(socket));
    }
    return done == 0 && !socket->ended && count != 0 ? fail(EAGAIN) : done;
}

static ssize_t send_datagram(struct drill_socket *socket, const void *from, size_t count,
                             const struct sockaddr *address, socklen_t bytes)
{
    ipv4_t v4 = socket->peer;
    struct ipv6_ends ends = socket->peer6;
    uint16_t port = socket->peer_port;

    if (address != NULL && !read_address(socket, address, bytes, &v4, &ends.remote, &port)) {
        return fail(EINVAL);
    }
    if (port == 0) {
        return fail(EDESTADDRREQ);
    }
    if (bind_datagrams(socket, 0) != 0) {
        return -1;
    }
    status_t status = socket->v6 ? udp_send_v6(socket->udp, &ends, port, from, (uint32_t)count)
                                 : udp_send(socket->udp, v4, port, from, (uint32_t)count);
    drill_settle(socket->drill);
    return status == STATUS_OK ? (ssize_t)count : fail(errno_of(status));
}

ssize_t drill_write(struct drill_socket *socket, const void *from, size_t count,
                    const struct sockaddr *address, socklen_t bytes)
{
    const uint8_t *at = from;
    size_t done = 0;

    if (socket->kind == DRILL_DATAGRAM) {
        return send_datagram(socket, from, count, address, bytes);
    }
    if (socket->error != 0) {
        return fail(take_error(socket));
    }
    if (socket->connection == NULL || socket->shut || !socket->connected) {
        return fail(socket->kind == DRILL_STREAM && (socket->shut || socket->ended) ? EPIPE
                                                                                    : ENOTCONN);
    }
    while (socket->connection != NULL) {
        done += tcp_send(socket->connection, at + done, (uint32_t)(count - done));
        drill_settle(socket->drill);
        if (done == count || (done > 0 && socket->nonblocking) || !wait_for_change(socket)) {
            break;
        }
    }
    return done == 0 && count != 0 ? fail(EAGAIN) : (ssize_t)done;
}

int drill_shutdown(struct drill_socket *socket, int how)
{
    if (socket->connection == NULL) {
        return fail(ENOTCONN);
    }
    if (how == SHUT_WR || how == SHUT_RDWR) {
        socket->shut = true;
        tcp_shutdown(socket->connection);
        drill_settle(socket->drill);
    }
    return 0;
}

static void let_go(struct drill_socket *socket)
{
    if (socket->connection != NULL && socket->abort_on_close) {
        tcp_abort(socket->connection);
    } else if (socket->connection != NULL) {
        tcp_close(socket->connection);
    }
}

int drill_close(struct drill *drill, int fd)
{
    struct drill_socket *socket = drill_socket_of(drill, fd);

    if (socket == NULL) {
        return -1;
    }
    let_go(socket);
    for (uint32_t i = 0; i < socket->waiting_count; i++) {
        let_go(socket->waiting[i]);
        free(socket->waiting[i]);
    }
    if (socket->kind == DRILL_LISTENER) {
        (void)tcp_unlisten(drill->stack, socket->port);
    }
    if (socket->udp != NULL) {
        udp_unbind(socket->udp);
    }
    drill->descriptors[fd - DRILL_FIRST_FD] = NULL;
    free(socket);
    drill_settle(drill);
    return 0;
}

short drill_poll_events(const struct drill_socket *socket)
{
    struct tcp_info info = {0};
    short events = 0;

    if (socket->kind == DRILL_LISTENER) {
        return socket->waiting_count > 0 ? POLLIN : 0;
    }
    if (socket->kind == DRILL_DATAGRAM) {
        return (short)(POLLOUT | (socket->received_count > 0 ? POLLIN : 0) |
                       (socket->error != 0 ? POLLERR : 0));
    }
    if (socket->connection != NULL) {
        tcp_info(socket->connection, &info);
        events = (short)(info.receive_queue_bytes > 0 ? POLLIN : 0);
        events |=
            (short)(socket->connected && !socket->shut && tcp_send_space(socket->connection) > 0
                        ? POLLOUT
                        : 0);
    } else {
        events = POLLHUP | POLLOUT;
    }
    return (short)(events | (socket->ended ? POLLIN | POLLRDHUP : 0) |
                   (socket->error != 0 ? POLLERR : 0));
}
