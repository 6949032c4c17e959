// SPDX-License-Identifier: MIT OR Apache-2.0
#include "apps/kvstore/core/command.h"
#include "lib/base/assert.h"

#define R COMMAND_READONLY
#define W COMMAND_WRITE
#define M COMMAND_DENY_OOM
#define F COMMAND_FAST
#define A COMMAND_ADMIN
#define N COMMAND_NO_MULTI
#define I COMMAND_IMMEDIATE
#define C COMMAND_CONTAINER

/* name, function, arity, flags, first key, last key, step, group, since, summary */
static const struct command table[] = {
    {"append", command_append, 3, W | M | F, 1, 1, 1, "string", "2.0.0",
     "Adds a text to the end of a value, or makes the key."},
    {"auth", command_auth, -2, F | I, 0, 0, 0, "connection", "1.0.0",
     "Refused: there are no users or passwords."},
    {"bgrewriteaof", command_bgrewriteaof, 1, 0, 0, 0, 0, "server", "1.0.0",
     "Rewrites the log in the background."},
    {"bgsave", command_bgsave, -1, 0, 0, 0, 0, "server", "1.0.0",
     "Rewrites the log in the background."},
    {"client", command_client, -2, C, 0, 0, 0, "connection", "2.4.0",
     "Tells about and changes connections."},
    {"command", command_command, -1, C, 0, 0, 0, "server", "2.8.13", "Tells about commands."},
    {"config", command_config, -2, A | C, 0, 0, 0, "server", "2.0.0",
     "Reads and changes settings."},
    {"copy", command_copy, -3, W | M, 1, 2, 1, "generic", "6.2.0",
     "Copies a value to another key."},
    {"dbsize", command_dbsize, 1, R | F, 0, 0, 0, "server", "1.0.0", "Counts the keys."},
    {"debug", command_debug, -2, A | C, 0, 0, 0, "server", "1.0.0",
     "Breaks the server on purpose, for tests of its restart."},
    {"decr", command_decr, 2, W | M | F, 1, 1, 1, "string", "1.0.0", "Takes one from a counter."},
    {"decrby", command_decrby, 3, W | M | F, 1, 1, 1, "string", "1.0.0",
     "Takes a number from a counter."},
    {"del", command_del, -2, W, 1, -1, 1, "generic", "1.0.0", "Deletes keys."},
    {"discard", command_discard, 1, F | I, 0, 0, 0, "transactions", "2.0.0",
     "Drops the queued commands."},
    {"echo", command_echo, 2, F, 0, 0, 0, "connection", "1.0.0", "Returns its argument."},
    {"exec", command_exec, 1, I, 0, 0, 0, "transactions", "1.2.0",
     "Executes the queued commands as one."},
    {"exists", command_exists, -2, R | F, 1, -1, 1, "generic", "1.0.0",
     "Counts the keys that exist."},
    {"expire", command_expire, -3, W | F, 1, 1, 1, "generic", "1.0.0",
     "Sets the seconds a key has to live."},
    {"expireat", command_expireat, -3, W | F, 1, 1, 1, "generic", "1.2.0",
     "Sets the Unix time in seconds at which a key expires."},
    {"expiretime", command_expiretime, 2, R | F, 1, 1, 1, "generic", "7.0.0",
     "Tells the Unix time in seconds at which a key expires."},
    {"flushall", command_flush, -1, W, 0, 0, 0, "server", "1.0.0", "Deletes all keys."},
    {"flushdb", command_flush, -1, W, 0, 0, 0, "server", "1.0.0", "Deletes all keys."},
    {"get", command_get, 2, R | F, 1, 1, 1, "string", "1.0.0", "Returns a value."},
    {"getdel", command_getdel, 2, W | F, 1, 1, 1, "string", "6.2.0",
     "Returns a value and deletes the key."},
    {"getex", command_getex, -2, W | F, 1, 1, 1, "string", "6.2.0",
     "Returns a value and sets when it expires."},
    {"getrange", command_getrange, 4, R, 1, 1, 1, "string", "2.4.0", "Returns a part of a value."},
    {"getset", command_getset, 3, W | M | F, 1, 1, 1, "string", "1.0.0",
     "Sets a value and returns the old one."},
    {"hello", command_hello, -1, F, 0, 0, 0, "connection", "6.0.0",
     "Chooses the version of the protocol."},
    {"incr", command_incr, 2, W | M | F, 1, 1, 1, "string", "1.0.0", "Adds one to a counter."},
    {"incrby", command_incrby, 3, W | M | F, 1, 1, 1, "string", "1.0.0",
     "Adds a number to a counter."},
    {"incrbyfloat", command_incrbyfloat, 3, W | M | F, 1, 1, 1, "string", "2.6.0",
     "Adds a decimal number to a value."},
    {"info", command_info, -1, 0, 0, 0, 0, "server", "1.0.0", "Tells about the server."},
    {"keys", command_keys, 2, R, 0, 0, 0, "generic", "1.0.0",
     "Returns all keys that match a pattern."},
    {"lastsave", command_lastsave, 1, F, 0, 0, 0, "server", "1.0.0",
     "Tells when the last rewriting of the log ended."},
    {"memory", command_memory, -2, R | C, 0, 0, 0, "server", "4.0.0", "Tells about memory."},
    {"mget", command_mget, -2, R | F, 1, -1, 1, "string", "1.0.0", "Returns several values."},
    {"mset", command_mset, -3, W | M, 1, -1, 2, "string", "1.0.1", "Sets several values at once."},
    {"msetnx", command_msetnx, -3, W | M, 1, -1, 2, "string", "1.0.1",
     "Sets several values if none of the keys exists."},
    {"multi", command_multi, 1, F | I, 0, 0, 0, "transactions", "1.2.0",
     "Begins to queue commands for EXEC."},
    {"object", command_object, -2, R | C, 2, 2, 1, "generic", "2.2.3",
     "Tells how a value is kept."},
    {"persist", command_persist, 2, W | F, 1, 1, 1, "generic", "2.2.0",
     "Takes a key's expiry away."},
    {"pexpire", command_pexpire, -3, W | F, 1, 1, 1, "generic", "2.6.0",
     "Sets the milliseconds a key has to live."},
    {"pexpireat", command_pexpireat, -3, W | F, 1, 1, 1, "generic", "2.6.0",
     "Sets the Unix time in milliseconds at which a key expires."},
    {"pexpiretime", command_pexpiretime, 2, R | F, 1, 1, 1, "generic", "7.0.0",
     "Tells the Unix time in milliseconds at which a key expires."},
    {"ping", command_ping, -1, F, 0, 0, 0, "connection", "1.0.0", "Answers."},
    {"psetex", command_psetex, 4, W | M, 1, 1, 1, "string", "2.6.0",
     "Sets a value and the milliseconds it has to live."},
    {"pttl", command_pttl, 2, R | F, 1, 1, 1, "generic", "2.6.0",
     "Tells the milliseconds a key has to live."},
    {"quit", command_quit, -1, F | I, 0, 0, 0, "connection", "1.0.0", "Closes the connection."},
    {"randomkey", command_randomkey, 1, R, 0, 0, 0, "generic", "1.0.0", "Returns some key."},
    {"rename", command_rename, 3, W, 1, 2, 1, "generic", "1.0.0",
     "Gives a key another name, over what is there."},
    {"renamenx", command_renamenx, 3, W | F, 1, 2, 1, "generic", "1.0.0",
     "Gives a key another name unless that exists."},
    {"reset", command_reset, 1, F | I, 0, 0, 0, "connection", "6.2.0",
     "Makes the connection as new."},
    {"scan", command_scan, -2, R, 0, 0, 0, "generic", "2.8.0", "Goes through the keys in steps."},
    {"select", command_select, 2, F, 0, 0, 0, "connection", "1.0.0",
     "Chooses the database; there is 0 only."},
    {"set", command_set, -3, W | M, 1, 1, 1, "string", "1.0.0", "Sets a value."},
    {"setex", command_setex, 4, W | M, 1, 1, 1, "string", "2.0.0",
     "Sets a value and the seconds it has to live."},
    {"setnx", command_setnx, 3, W | M | F, 1, 1, 1, "string", "1.0.0",
     "Sets a value unless the key exists."},
    {"setrange", command_setrange, 4, W | M, 1, 1, 1, "string", "2.2.0",
     "Writes into a value at an offset."},
    {"strlen", command_strlen, 2, R | F, 1, 1, 1, "string", "2.2.0",
     "Returns the length of a value."},
    {"substr", command_getrange, 4, R, 1, 1, 1, "string", "1.0.0", "Returns a part of a value."},
    {"time", command_time, 1, F, 0, 0, 0, "server", "2.6.0", "Tells the server's time."},
    {"touch", command_touch, -2, R | F, 1, -1, 1, "generic", "3.2.1",
     "Counts the keys that exist and notes the access."},
    {"ttl", command_ttl, 2, R | F, 1, 1, 1, "generic", "1.0.0",
     "Tells the seconds a key has to live."},
    {"type", command_type, 2, R | F, 1, 1, 1, "generic", "1.0.0", "Tells a value's type."},
    {"unlink", command_del, -2, W | F, 1, -1, 1, "generic", "4.0.0", "Deletes keys."},
    {"wait", command_wait, 3, 0, 0, 0, 0, "generic", "3.0.0",
     "Waits for replicas, of which there are none."},
};

#define COMMAND_COUNT ((uint32_t)(sizeof table / sizeof table[0]))
_Static_assert(sizeof table / sizeof table[0] < COMMAND_MAP_SLOTS / 2, "the map stays sparse");

uint32_t command_count(void)
{
    return COMMAND_COUNT;
}

const struct command *command_at(uint32_t index)
{
    return &table[index];
}

uint32_t command_index(const struct command *command)
{
    return (uint32_t)(command - table);
}

/* ---- Finding ----------------------------------------------------------------------------------
 */

struct __attribute__((packed)) unaligned64 {
    uint64_t value;
};
struct __attribute__((packed)) unaligned32 {
    uint32_t value;
};

#define LOWER_CASE 0x2020202020202020ull

/* All bytes of the name in two words, in lower case. Names are letters, and only the two cases of a
 * letter become that letter: so for a given length equal words mean equal names, up to 16 bytes. */
static inline void fold(struct slice name, uint64_t key[2])
{
    const uint8_t *data = name.data;
    size_t bytes = name.bytes;

    key[1] = 0;
    if (bytes >= 8) {
        key[0] = ((const struct unaligned64 *)(const void *)data)->value | LOWER_CASE;
        key[1] = ((const struct unaligned64 *)(const void *)(data + bytes - 8))->value | LOWER_CASE;
    } else if (bytes >= 4) {
        uint64_t low = ((const struct unaligned32 *)(const void *)data)->value;
        uint64_t high = ((const struct unaligned32 *)(const void *)(data + bytes - 4))->value;
        key[0] = low | high << 32 | LOWER_CASE;
    } else {
        uint64_t first = data[0];
        uint64_t middle = data[bytes / 2];
        uint64_t last = data[bytes - 1];
        key[0] = first | middle << 8 | last << 16 | LOWER_CASE;
    }
}

static inline uint32_t slot_of(const uint64_t key[2], size_t bytes)
{
    uint64_t hash = (key[0] + key[1] * 3u + bytes) * 0x9e3779b97f4a7c15ull;

    return (uint32_t)(hash >> 56) & (COMMAND_MAP_SLOTS - 1u);
}

void command_map_init(struct command_map *map)
{
    memset(map, 0, sizeof *map);
    for (uint32_t i = 0; i < COMMAND_COUNT; i++) {
        struct slice name = slice_text(table[i].name);
        uint64_t key[2];
        fold(name, key);
        uint32_t slot = slot_of(key, name.bytes);
        while (map->lengths[slot] != 0) {
            slot = (slot + 1u) & (COMMAND_MAP_SLOTS - 1u);
        }
        map->keys[slot][0] = key[0];
        map->keys[slot][1] = key[1];
        map->lengths[slot] = (uint8_t)name.bytes;
        map->indices[slot] = (uint8_t)i;
    }
    map->get = command_find(map, slice_text("get"));
    map->set = command_find(map, slice_text("set"));
}

const struct command *command_find(const struct command_map *map, struct slice name)
{
    uint64_t key[2];

    if (name.bytes == 0 || name.bytes > 16) {
        return NULL;
    }
    fold(name, key);
    uint32_t slot = slot_of(key, name.bytes);
    while (map->lengths[slot] != 0) {
        if (map->keys[slot][0] == key[0] && map->keys[slot][1] == key[1] &&
            map->lengths[slot] == name.bytes) {
            return &table[map->indices[slot]];
        }
        slot = (slot + 1u) & (COMMAND_MAP_SLOTS - 1u);
    }
    return NULL;
}
