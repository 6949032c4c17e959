// SPDX-License-Identifier: MIT OR Apache-2.0
/* packetdrill's table of socket calls, each under the world's lock. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>

#include "tests/packetdrill/drill_calls_host.h"
#include "tests/packetdrill/drill_interface_host.h"
#include "tests/packetdrill/drill_options_host.h"

#define LOCKED(type, expression)                                                                   \
    do {                                                                                           \
        struct drill *drill = userdata;                                                            \
        pthread_mutex_lock(&drill->lock);                                                          \
        type result = (expression);                                                                \
        pthread_mutex_unlock(&drill->lock);                                                        \
        return result;                                                                             \
    } while (0)

/* With `socket`, or EBADF. */
#define WITH_SOCKET(type, expression)                                                              \
    do {                                                                                           \
        struct drill *drill = userdata;                                                            \
        pthread_mutex_lock(&drill->lock);                                                          \
        struct drill_socket *socket = drill_socket_of(drill, fd);                                  \
        type result = socket == NULL ? -1 : (expression);                                          \
        pthread_mutex_unlock(&drill->lock);                                                        \
        return result;                                                                             \
    } while (0)

static int do_socket(void *userdata, int domain, int type, int protocol)
{
    LOCKED(int, drill_socket_open(drill, domain, type, protocol));
}

static int do_bind(void *userdata, int fd, const struct sockaddr *address, socklen_t bytes)
{
    WITH_SOCKET(int, drill_bind(socket, address, bytes));
}

static int do_listen(void *userdata, int fd, int backlog)
{
    WITH_SOCKET(int, drill_listen(socket, backlog));
}

static int do_accept(void *userdata, int fd, struct sockaddr *address, socklen_t *bytes)
{
    WITH_SOCKET(int, drill_accept(socket, address, bytes));
}

static int do_connect(void *userdata, int fd, const struct sockaddr *address, socklen_t bytes)
{
    WITH_SOCKET(int, drill_connect(socket, address, bytes));
}

static ssize_t do_read(void *userdata, int fd, void *to, size_t count)
{
    WITH_SOCKET(ssize_t, drill_read(socket, to, count, NULL, NULL));
}

static ssize_t do_recvfrom(void *userdata, int fd, void *to, size_t count, int flags,
                           struct sockaddr *address, socklen_t *bytes)
{
    (void)flags;
    WITH_SOCKET(ssize_t, drill_read(socket, to, count, address, bytes));
}

static ssize_t do_recv(void *userdata, int fd, void *to, size_t count, int flags)
{
    return do_recvfrom(userdata, fd, to, count, flags, NULL, NULL);
}

static ssize_t do_write(void *userdata, int fd, const void *from, size_t count)
{
    WITH_SOCKET(ssize_t, drill_write(socket, from, count, NULL, 0));
}

static ssize_t do_sendto(void *userdata, int fd, const void *from, size_t count, int flags,
                         const struct sockaddr *address, socklen_t bytes)
{
    (void)flags;
    WITH_SOCKET(ssize_t, drill_write(socket, from, count, address, bytes));
}

static ssize_t do_send(void *userdata, int fd, const void *from, size_t count, int flags)
{
    return do_sendto(userdata, fd, from, count, flags, NULL, 0);
}

static int set_nonblocking(struct drill_socket *socket, int command, int argument)
{
    if (command == F_GETFL) {
        return O_RDWR | (socket->nonblocking ? O_NONBLOCK : 0);
    }
    if (command != F_SETFL) {
        errno = EINVAL;
        return -1;
    }
    socket->nonblocking = (argument & O_NONBLOCK) != 0;
    return 0;
}

static int do_fcntl(void *userdata, int fd, int command, ...)
{
    va_list rest;

    va_start(rest, command);
    int argument = command == F_SETFL ? va_arg(rest, int) : 0;
    va_end(rest);
    WITH_SOCKET(int, set_nonblocking(socket, command, argument));
}

static int do_close(void *userdata, int fd)
{
    LOCKED(int, drill_close(drill, fd));
}

static int do_shutdown(void *userdata, int fd, int how)
{
    WITH_SOCKET(int, drill_shutdown(socket, how));
}

static int do_getsockopt(void *userdata, int fd, int level, int name, void *value, socklen_t *bytes)
{
    WITH_SOCKET(int, drill_get_option(socket, level, name, value, bytes));
}

static int set_option(struct drill_socket *socket, int level, int name, const void *value,
                      socklen_t bytes)
{
    int result = drill_set_option(socket, level, name, value, bytes);

    drill_apply_options(socket);
    drill_settle(socket->drill);
    return result;
}

static int do_setsockopt(void *userdata, int fd, int level, int name, const void *value,
                         socklen_t bytes)
{
    WITH_SOCKET(int, set_option(socket, level, name, value, bytes));
}

static int poll_once(struct drill *drill, struct pollfd *fds, nfds_t count)
{
    int ready = 0;

    for (nfds_t i = 0; i < count; i++) {
        const struct drill_socket *socket = drill_socket_of(drill, fds[i].fd);
        short mask = (short)(fds[i].events | POLLERR | POLLHUP);
        fds[i].revents = socket == NULL ? POLLNVAL : (short)(drill_poll_events(socket) & mask);
        ready += fds[i].revents != 0;
    }
    return ready;
}

static int do_poll(void *userdata, struct pollfd *fds, nfds_t count, int timeout_ms)
{
    (void)timeout_ms; /* packetdrill makes time pass, and asks again */
    LOCKED(int, poll_once(drill, fds, count));
}

void drill_sockets_interface(struct packetdrill_interface *interface)
{
    interface->socket = do_socket;
    interface->bind = do_bind;
    interface->listen = do_listen;
    interface->accept = do_accept;
    interface->connect = do_connect;
    interface->read = do_read;
    interface->recv = do_recv;
    interface->recvfrom = do_recvfrom;
    interface->write = do_write;
    interface->send = do_send;
    interface->sendto = do_sendto;
    interface->fcntl = do_fcntl;
    interface->close = do_close;
    interface->shutdown = do_shutdown;
    interface->getsockopt = do_getsockopt;
    interface->setsockopt = do_setsockopt;
    interface->poll = do_poll;
}
