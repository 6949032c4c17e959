// SPDX-License-Identifier: MIT OR Apache-2.0
/* CONFIG: the settings under the names that clients know. */
#include "apps/kvstore/core/command.h"
#include "apps/kvstore/core/glob.h"
#include "lib/base/format.h"

#define SETTING_TEXT_BYTES 64u

static const char *const durability_names[] = {"always", "everysec", "no"};

/* A number of bytes with b, k, kb, m, mb, g or gb behind it: k is 1000, kb 1024. */
static bool parse_bytes(struct slice text, uint64_t *value)
{
    static const struct {
        const char *unit;
        uint64_t factor;
    } units[] = {{"", 1},        {"B", 1},         {"K", 1000},       {"KB", 1024},
                 {"M", 1000000}, {"MB", 1u << 20}, {"G", 1000000000}, {"GB", 1u << 30}};
    size_t digits = 0;

    while (digits < text.bytes && text.data[digits] >= '0' && text.data[digits] <= '9') {
        digits++;
    }
    if (!number_parse_u64(slice_of(text.data, digits), value)) {
        return false;
    }
    struct slice unit = slice_of(text.data + digits, text.bytes - digits);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (slice_is_word(unit, units[i].unit)) {
            return !__builtin_mul_overflow(*value, units[i].factor, value);
        }
    }
    return false;
}

/* ---- Getting ----------------------------------------------------------------------------------
 */

static void get_maxmemory(const struct server *server, char *text)
{
    format_text(text, SETTING_TEXT_BYTES, "%llu",
                (unsigned long long)server->config.max_memory_bytes);
}

static void get_maxclients(const struct server *server, char *text)
{
    format_text(text, SETTING_TEXT_BYTES, "%u", server->config.clients_max);
}

static void get_bulk_max(const struct server *server, char *text)
{
    format_text(text, SETTING_TEXT_BYTES, "%llu",
                (unsigned long long)server->config.bulk_bytes_max);
}

static void get_port(const struct server *server, char *text)
{
    format_text(text, SETTING_TEXT_BYTES, "%u", server->config.tcp_port);
}

static void get_appendfsync(const struct server *server, char *text)
{
    format_text(text, SETTING_TEXT_BYTES, "%s", durability_names[server->config.durability]);
}

/* ---- Setting ----------------------------------------------------------------------------------
 */

static const char *set_maxmemory(struct server *server, struct slice value)
{
    uint64_t bytes;

    if (!parse_bytes(value, &bytes)) {
        return "argument must be a memory value";
    }
    server->config.max_memory_bytes = bytes;
    return NULL;
}

static const char *set_maxclients(struct server *server, struct slice value)
{
    uint64_t clients;

    if (!number_parse_u64(value, &clients) || clients == 0 || clients > 1000000) {
        return "argument must be between 1 and 1000000 inclusive";
    }
    server->config.clients_max = (uint32_t)clients;
    return NULL;
}

static const char *set_bulk_max(struct server *server, struct slice value)
{
    uint64_t bytes;

    if (!parse_bytes(value, &bytes) || bytes < (1u << 20) || bytes > KEY_BYTES_MAX) {
        return "argument must be between 1mb and 512mb";
    }
    server->config.bulk_bytes_max = bytes;
    for (struct session *at = server->sessions; at != NULL; at = at->next) {
        at->parser.bulk_bytes_max = bytes;
    }
    return NULL;
}

static const char *set_appendfsync(struct server *server, struct slice value)
{
    static const char *const words[] = {"ALWAYS", "EVERYSEC", "NO"};

    for (uint32_t i = 0; i < 3; i++) {
        if (slice_is_word(value, words[i])) {
            server->config.durability = (enum durability)i;
            return NULL;
        }
    }
    return "argument(s) must be one of the following: always, everysec, no";
}

/* ---- The table --------------------------------------------------------------------------------
 */

static const struct setting {
    const char *name;
    const char *fixed; /* a value that never changes, else `get` */
    void (*get)(const struct server *server, char *text);
    /* NULL when done, else what is wrong; changes nothing then. Absent: cannot be set. */
    const char *(*set)(struct server *server, struct slice value);
} settings[] = {
    {"appendfsync", NULL, get_appendfsync, set_appendfsync},
    {"appendonly", "yes", NULL, NULL},
    {"databases", "1", NULL, NULL},
    {"maxclients", NULL, get_maxclients, set_maxclients},
    {"maxmemory", NULL, get_maxmemory, set_maxmemory},
    {"maxmemory-policy", "noeviction", NULL, NULL},
    {"port", NULL, get_port, NULL},
    {"proto-max-bulk-len", NULL, get_bulk_max, set_bulk_max},
    {"save", "", NULL, NULL},
    {"timeout", "0", NULL, NULL},
};

#define SETTING_COUNT (sizeof settings / sizeof settings[0])

static bool wanted(const struct call *call, const struct setting *setting)
{
    char lower[SETTING_TEXT_BYTES];

    for (size_t i = 2; i < call->count; i++) {
        struct slice pattern = call->arguments[i];
        if (pattern.bytes > sizeof lower) {
            continue;
        }
        for (size_t at = 0; at < pattern.bytes; at++) {
            uint8_t byte = pattern.data[at];
            lower[at] = (char)(byte >= 'A' && byte <= 'Z' ? byte + ('a' - 'A') : byte);
        }
        if (glob_match(slice_of(lower, pattern.bytes), slice_text(setting->name))) {
            return true;
        }
    }
    return false;
}

static void config_get(struct call *call)
{
    size_t count = 0;

    for (size_t i = 0; i < SETTING_COUNT; i++) {
        count += wanted(call, &settings[i]);
    }
    reply_map(&call->reply, count);
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        char text[SETTING_TEXT_BYTES];
        if (!wanted(call, &settings[i])) {
            continue;
        }
        reply_text(&call->reply, settings[i].name);
        if (settings[i].get != NULL) {
            settings[i].get(call->server, text);
            reply_text(&call->reply, text);
        } else {
            reply_text(&call->reply, settings[i].fixed);
        }
    }
}

static const struct setting *find_setting(struct slice name)
{
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        char upper[SETTING_TEXT_BYTES];
        size_t length = strlen(settings[i].name);
        for (size_t at = 0; at <= length; at++) {
            char byte = settings[i].name[at];
            upper[at] = (char)(byte >= 'a' && byte <= 'z' ? byte - ('a' - 'A') : byte);
        }
        if (slice_is_word(name, upper)) {
            return &settings[i];
        }
    }
    return NULL;
}

/* Undone by putting the configuration back, should a later pair be wrong. */
static void config_set(struct call *call)
{
    struct server_config before = call->server->config;

    if (call->count % 2 != 0) {
        reply_error(&call->reply, "ERR wrong number of arguments for 'config|set' command");
        return;
    }
    for (size_t i = 2; i < call->count; i += 2) {
        const struct setting *setting = find_setting(call->arguments[i]);
        const char *wrong = NULL;
        if (setting == NULL) {
            char name[SETTING_TEXT_BYTES];
            size_t bytes = call->arguments[i].bytes;
            bytes = bytes < sizeof name - 1 ? bytes : sizeof name - 1;
            memcpy(name, call->arguments[i].data, bytes);
            name[bytes] = 0;
            reply_error_format(&call->reply,
                               "ERR Unknown option or number of arguments for CONFIG SET - '%s'",
                               name);
        } else if (setting->set == NULL) {
            wrong = "can't set immutable config";
        } else {
            wrong = setting->set(call->server, call->arguments[i + 1]);
        }
        if (wrong != NULL) {
            reply_error_format(&call->reply,
                               "ERR CONFIG SET failed (possibly related to argument '%s') - %s",
                               setting->name, wrong);
        }
        if (call->reply.error) {
            call->server->config = before;
            return;
        }
    }
    reply_ok(&call->reply);
}

static void config_resetstat(struct call *call)
{
    struct server *server = call->server;

    server->counters = (struct server_counters){0};
    server->database.hits = 0;
    server->database.misses = 0;
    server->database.expired_keys = 0;
    server->rate_commands = 0;
    memset(server->command_calls, 0, command_count() * sizeof *server->command_calls);
    reply_ok(&call->reply);
}

void command_config(struct call *call)
{
    if (argument_is(call, 1, "GET") && call->count > 2) {
        config_get(call);
    } else if (argument_is(call, 1, "SET") && call->count > 3) {
        config_set(call);
    } else if (argument_is(call, 1, "RESETSTAT") && call->count == 2) {
        config_resetstat(call);
    } else if (argument_is(call, 1, "REWRITE") && call->count == 2) {
        reply_error(&call->reply, "ERR The server is running without a config file");
    } else {
        reply_unknown_subcommand(call);
    }
}
