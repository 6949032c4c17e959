// SPDX-License-Identifier: MIT OR Apache-2.0
/* Socket options of the shared object for packetdrill. */
#ifndef TESTS_PACKETDRILL_DRILL_OPTIONS_HOST_H
#define TESTS_PACKETDRILL_DRILL_OPTIONS_HOST_H

#include <sys/socket.h>

struct drill_socket;

/* As getsockopt and setsockopt: 0, or -1 and errno. */
int drill_get_option(struct drill_socket *socket, int level, int name, void *value,
                     socklen_t *bytes);
int drill_set_option(struct drill_socket *socket, int level, int name, const void *value,
                     socklen_t bytes);

#endif
