// SPDX-License-Identifier: MIT OR Apache-2.0
/* Socket calls as POSIX has them, over the stack (drill_sockets_host.c): -1 and errno, or the
 * result. The caller holds the world's lock. */
#ifndef TESTS_PACKETDRILL_DRILL_CALLS_HOST_H
#define TESTS_PACKETDRILL_DRILL_CALLS_HOST_H

#include <sys/socket.h>

#include "tests/packetdrill/drill_host.h"

int drill_socket_open(struct drill *drill, int domain, int type, int protocol);
int drill_bind(struct drill_socket *socket, const struct sockaddr *address, socklen_t bytes);
int drill_listen(struct drill_socket *socket, int backlog);
int drill_accept(struct drill_socket *listener, struct sockaddr *address, socklen_t *bytes);
int drill_connect(struct drill_socket *socket, const struct sockaddr *address, socklen_t bytes);
ssize_t drill_read(struct drill_socket *socket, void *to, size_t count, struct sockaddr *address,
                   socklen_t *bytes);
ssize_t drill_write(struct drill_socket *socket, const void *from, size_t count,
                    const struct sockaddr *address, socklen_t bytes);
int drill_shutdown(struct drill_socket *socket, int how);
int drill_close(struct drill *drill, int fd);
short drill_poll_events(const struct drill_socket *socket);
struct drill_socket *drill_socket_of(struct drill *drill, int fd);
void drill_apply_options(struct drill_socket *socket);

#endif
