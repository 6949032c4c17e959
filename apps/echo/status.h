// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * GET /status.json on TCP port 80: the event loop's account, for benchmarks. One request a
 * connection, answered when its first line is there.
 */
#ifndef APPS_ECHO_STATUS_H
#define APPS_ECHO_STATUS_H

#include "lib/net/stack.h"
#include "runtime/event_loop.h"

/* Both stay the caller's. As tcp_listen. */
status_t status_listen(struct net_stack *stack, const struct event_loop *loop) HALLOWS_MUST_CHECK;

#endif
