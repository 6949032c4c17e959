// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Replies in the Redis serialization protocol, version 2 or 3, written straight into an output
 * queue. Where memory runs out the queue is `failed` and its connection has to be closed.
 */
#ifndef APPS_KVSTORE_CORE_REPLY_H
#define APPS_KVSTORE_CORE_REPLY_H

#include "apps/kvstore/core/chain.h"
#include "apps/kvstore/core/slice.h"

struct reply {
    struct chain *out;
    uint32_t version; /* 2 or 3 */
    bool error;       /* the request got an error */
};

/* A ready-made reply, with its CRLF. */
void reply_raw(struct reply *reply, const char *text);
void reply_ok(struct reply *reply);
/* "-text": the error code comes first, as in "ERR syntax error". */
void reply_error(struct reply *reply, const char *text);
void reply_error_format(struct reply *reply, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void reply_status(struct reply *reply, const char *text);
void reply_integer(struct reply *reply, int64_t value);
void reply_bulk(struct reply *reply, struct slice bytes);
void reply_text(struct reply *reply, const char *text);
void reply_number_text(struct reply *reply, int64_t value);
/* A part of a blob, by reference. */
void reply_blob(struct reply *reply, struct blob *blob, uint32_t offset, uint32_t bytes);
/* Text for people: a verbatim string in version 3. */
void reply_verbatim(struct reply *reply, struct slice text);
void reply_null(struct reply *reply);
void reply_boolean(struct reply *reply, bool value);
/* Headers; the elements follow. A map of n pairs is an array of 2n elements in version 2. */
void reply_array(struct reply *reply, size_t count);
void reply_map(struct reply *reply, size_t pairs);
void reply_set(struct reply *reply, size_t count);

#endif
