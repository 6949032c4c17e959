// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The server's web side, without I/O: requests in, the status page or its JSON out.
 *     /             a page for people, which refreshes itself
 *     /status.json  the same figures
 *     /storage.json what the server's log lies on
 */
#ifndef APPS_KVSTORE_CORE_WEB_H
#define APPS_KVSTORE_CORE_WEB_H

#include "apps/kvstore/core/server.h"
#include "lib/http/http.h"

/* What the page tells beside the server's own figures. */
struct web_source {
    const struct server *server;
    /* Writes further members of the JSON object, each with a comma in front:
     * ,"name":value. May be NULL. */
    void (*write_json)(void *context, struct text *text);
    /* Writes further tables of the page. May be NULL. */
    void (*write_html)(void *context, struct text *text);
    /* Writes the whole of /storage.json. NULL: there is no such page. */
    void (*write_storage)(void *context, struct text *text);
    /* The same of /netstat.json. */
    void (*write_netstat)(void *context, struct text *text);
    void *context;
};

/* One connection of a browser. */
struct web_session {
    const struct web_source *source;
    struct chain out;
    void *user;
    bool closing;
    uint32_t input_bytes;
    uint8_t input[HTTP_HEAD_BYTES_MAX];
};

/* NULL without memory. */
struct web_session *web_open(struct heap *heap, const struct web_source *source);
void web_close(struct web_session *session);
/* Takes bytes from the client; returns how many (fewer when an answer ended the connection). */
size_t web_feed(struct web_session *session, const uint8_t *data, size_t bytes);
/* First contiguous bytes to send; 0 if there are none. */
size_t web_output(const struct web_session *session, const uint8_t **data);
void web_sent(struct web_session *session, size_t bytes);
/* All is sent and the connection is to be closed. */
bool web_finished(const struct web_session *session);

#endif
