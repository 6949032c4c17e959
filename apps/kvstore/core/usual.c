// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * GET KEY and SET KEY VALUE as nearly every client writes them: an array with the short name, and
 * key and value below 100 bytes. Recognised by comparing words (in memory order), and executed as
 * resp_parse and command_execute would.
 */
#include "apps/kvstore/core/command.h"
#include "lib/base/endian.h"

#define GET_HEADER 0x0a0d33240a0d322aull /* "*2\r\n$3\r\n" */
#define SET_HEADER 0x0a0d33240a0d332aull /* "*3\r\n$3\r\n" */
#define HEADER_BYTES 8u
#define NAME_BYTES 5u
#define NAME_MASK 0xffffdfdfdfull /* letters of either case */
#define GET_NAME 0x0a0d544547ull  /* "GET\r\n" */
#define SET_NAME 0x0a0d544553ull
/* Shortest request that is looked at: all loads below lie in it. */
#define BYTES_MIN (HEADER_BYTES + NAME_BYTES + 6u)

/* Requests whose replies go elsewhere, or that are not executed now. */
#define UNUSUAL                                                                                    \
    (SESSION_REPLY_OFF | SESSION_REPLY_SKIP | SESSION_MULTI | SESSION_CLOSING | SESSION_ABORTED)

/* The bulk string at *at, of at most 99 bytes, with its ends; moves *at behind it. */
static inline bool take_bulk(const uint8_t **at, const uint8_t *end, struct slice *bulk)
{
    const uint8_t *text = *at + 4;

    if (end - *at < 6) {
        return false;
    }
    uint32_t word = load_le32(*at);
    uint32_t length = (word >> 8 & 0xffu) - '0';
    if (length > 9u) {
        return false;
    }
    if ((word & 0xffff00ffu) == 0x0a0d0024u) { /* "$n\r\n" */
    } else if ((word & 0xff0000ffu) == 0x0d000024u && length != 0 && *text == '\n') {
        uint32_t digit = (word >> 16 & 0xffu) - '0'; /* "$nn\r\n" */
        if (digit > 9u) {
            return false;
        }
        length = 10u * length + digit;
        text++;
    } else {
        return false;
    }
    if (end - text < (ptrdiff_t)length + 2 || load_le16(text + length) != 0x0a0du) {
        return false;
    }
    *bulk = slice_of(text, length);
    *at = text + length + 2;
    return true;
}

static inline void note_call(struct session *session, const struct command *command)
{
    struct server *server = session->server;

    session->last_command = command;
    server->command_calls[command_index(command)]++;
    server->counters.commands++;
}

/* Replies wait until what they tell is durable. */
static inline void hold(struct session *session, uint64_t output)
{
    const struct database *database = &session->server->database;

    if (database->dependency > database->journal.durable &&
        session->server->config.durability == DURABILITY_ALWAYS) {
        session_hold(session, output, database->dependency);
    }
}

static void get(struct session *session, struct slice key)
{
    struct database *database = &session->server->database;
    struct reply reply = {.out = &session->out, .version = session->version};
    uint64_t output = session->out.put_bytes;

    note_call(session, session->server->command_map.get);
    database->dependency = 0;
    const struct entry *entry = database_read(database, key);
    if (entry == NULL) {
        reply_null(&reply);
    } else if ((entry->flags & ENTRY_BLOB) != 0) {
        reply_blob(&reply, entry_blob(entry), 0, entry_blob(entry)->length);
    } else {
        reply_bulk(&reply, entry_value(entry));
    }
    hold(session, output);
}

/* False, and nothing done, if memory is short: the general way refuses it. */
static bool set(struct session *session, struct slice key, struct slice value)
{
    struct server *server = session->server;
    struct database *database = &server->database;
    struct call call = {.server = server,
                        .session = session,
                        .database = database,
                        .command = server->command_map.set,
                        .reply = {.out = &session->out, .version = session->version}};
    uint64_t output = session->out.put_bytes;

    if (server_memory_exhausted(server)) {
        return false;
    }
    note_call(session, server->command_map.set);
    database->dependency = 0;
    reply_done(&call, database_set(database, key, value, EXPIRES_NEVER));
    server->counters.error_replies += call.reply.error;
    hold(session, output);
    return true;
}

size_t usual_request(struct session *session, const uint8_t *data, size_t bytes)
{
    const uint8_t *end = data + bytes;
    const uint8_t *at = data + HEADER_BYTES + NAME_BYTES;
    struct slice key;
    struct slice value;

    if (bytes < BYTES_MIN || (session->flags & UNUSUAL) != 0) {
        return 0;
    }
    uint64_t header = load_le64(data);
    uint64_t name = load_le64(data + HEADER_BYTES) & NAME_MASK;
    if (header == GET_HEADER && name == GET_NAME && take_bulk(&at, end, &key)) {
        get(session, key);
        return (size_t)(at - data);
    }
    if (header == SET_HEADER && name == SET_NAME && take_bulk(&at, end, &key) &&
        take_bulk(&at, end, &value) && set(session, key, value)) {
        return (size_t)(at - data);
    }
    return 0;
}
