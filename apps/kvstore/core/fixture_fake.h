// SPDX-License-Identifier: MIT OR Apache-2.0
/* What the unit tests of the server's core share: a heap, a server, a generator. */
#ifndef APPS_KVSTORE_CORE_FIXTURE_FAKE_H
#define APPS_KVSTORE_CORE_FIXTURE_FAKE_H

#include "apps/kvstore/core/server.h"

struct fixture {
    void *region;
    struct heap *heap;
    struct server server;
};

/* A heap of that size only. */
void fixture_heap(struct fixture *fixture, size_t heap_bytes);
/* A server in such a heap, at Unix time 1,000,000 s. */
void fixture_server(struct fixture *fixture, size_t heap_bytes);
/* Ends the server and checks that the heap is empty and sound. */
void fixture_end(struct fixture *fixture);
void fixture_end_heap(struct fixture *fixture);

uint64_t random_next(uint64_t *state);

/* Feeds text to a session. */
void feed_text(struct session *session, const char *text);
/* Takes what the session may send, as text. Valid until the next call. */
const char *take_output(struct session *session);
/* Takes all pending records, as bytes, and says that they are durable. Returns how many bytes were
 * copied to `to` (at most `room`). */
size_t take_journal(struct server *server, uint8_t *to, size_t room);

#endif
