// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * QEMU TCG plugin: counts executed guest instructions, and tells them to whoever asks.
 *
 *   -plugin build/bench/count.so,socket=PATH[,ranges=FILE]
 *
 * The plugin listens on the Unix stream socket PATH. Each byte that a client writes is answered by
 * one line: "kernel N user N [NAME N]..." (decimal, totals since the start). `kernel` is what ran
 * in the upper half of the address space, `user` the rest. FILE has lines "LOW HIGH NAME" (hex,
 * [LOW, HIGH), ascending, not overlapping); ranges of the same name are counted together.
 * Counts are exact for a halted guest; for a running one they are those of some recent instant.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bench/plugin/qemu_plugin.h"

#define RANGES_MAX 4096
#define NAMES_MAX RANGES_MAX
#define LINE_BYTES 262144

int qemu_plugin_version = PLUGIN_API_VERSION;

struct counters {
    uint64_t kernel;
    uint64_t user;
    uint64_t named[NAMES_MAX];
};

struct range {
    uint64_t low;
    uint64_t high;
    size_t name;
};

static char names[NAMES_MAX][40];
static size_t name_count;

static struct range ranges[RANGES_MAX];
static size_t range_count;
static struct qemu_plugin_scoreboard *board;
static int listener = -1;

static qemu_plugin_u64 entry(size_t offset)
{
    return (qemu_plugin_u64){board, offset};
}

/* The range that holds the address, or NULL. */
static const struct range *find_range(uint64_t address)
{
    size_t low = 0;
    size_t high = range_count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (address >= ranges[middle].high) {
            low = middle + 1;
        } else if (address < ranges[middle].low) {
            high = middle;
        } else {
            return &ranges[middle];
        }
    }
    return NULL;
}

static void translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    size_t count = qemu_plugin_tb_n_insns(tb);

    (void)id;
    for (size_t i = 0; i < count; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        uint64_t address = qemu_plugin_insn_vaddr(insn);
        size_t side =
            address >> 63 ? offsetof(struct counters, kernel) : offsetof(struct counters, user);

        qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(insn, QEMU_PLUGIN_INLINE_ADD_U64,
                                                            entry(side), 1);
        const struct range *range = find_range(address);
        if (range != NULL) {
            qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(
                insn, QEMU_PLUGIN_INLINE_ADD_U64,
                entry(offsetof(struct counters, named) + range->name * sizeof(uint64_t)), 1);
        }
    }
}

static size_t print_counts(char *line, size_t size)
{
    int length = snprintf(line, size, "kernel %" PRIu64 " user %" PRIu64,
                          qemu_plugin_u64_sum(entry(offsetof(struct counters, kernel))),
                          qemu_plugin_u64_sum(entry(offsetof(struct counters, user))));

    for (size_t n = 0; n < name_count && length < (int)size - 80; n++) {
        length += snprintf(
            line + length, size - (size_t)length, " %s %" PRIu64, names[n],
            qemu_plugin_u64_sum(entry(offsetof(struct counters, named) + n * sizeof(uint64_t))));
    }
    length += snprintf(line + length, size - (size_t)length, "\n");
    return (size_t)length;
}

static void *serve(void *unused)
{
    (void)unused;
    for (;;) {
        int client = accept(listener, NULL, NULL);
        char byte;

        while (client >= 0 && read(client, &byte, 1) == 1) {
            static char line[LINE_BYTES];
            size_t length = print_counts(line, sizeof(line));

            if (send(client, line, length, MSG_NOSIGNAL) != (ssize_t)length) {
                break;
            }
        }
        if (client >= 0) {
            close(client);
        }
    }
    return NULL;
}

static bool listen_on(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof(address.sun_path)) {
        return false;
    }
    strcpy(address.sun_path, path);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return listener >= 0 && bind(listener, (void *)&address, sizeof(address)) == 0 &&
           listen(listener, 4) == 0;
}

/* Number of the name, new or known; NAMES_MAX when there is no room. */
static size_t find_name(const char *name)
{
    size_t n = 0;

    while (n < name_count && strcmp(names[n], name) != 0) {
        n++;
    }
    if (n == name_count && n < NAMES_MAX) {
        snprintf(names[name_count++], sizeof(names[0]), "%s", name);
    }
    return n;
}

static bool read_ranges(const char *path)
{
    FILE *file = fopen(path, "re");
    char line[160];
    char name[sizeof(names[0])];
    bool good = file != NULL;

    while (good && fgets(line, sizeof(line), file) != NULL) {
        struct range *range = &ranges[range_count];
        good = range_count < RANGES_MAX &&
               sscanf(line, "%" SCNx64 " %" SCNx64 " %39s", &range->low, &range->high, name) == 3 &&
               range->low < range->high &&
               (range_count == 0 || range->low >= ranges[range_count - 1].high) &&
               (range->name = find_name(name)) < NAMES_MAX;
        range_count++;
    }
    if (file != NULL) {
        fclose(file);
    }
    return good;
}

int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info_t *info, int argc, char **argv)
{
    const char *path = NULL;
    pthread_t thread;

    (void)info;
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "socket=", 7) == 0) {
            path = argv[i] + 7;
        } else if (strncmp(argv[i], "ranges=", 7) != 0 || !read_ranges(argv[i] + 7)) {
            fprintf(stderr, "count plugin: bad argument '%s'\n", argv[i]);
            return -1;
        }
    }
    if (path == NULL || !listen_on(path)) {
        fprintf(stderr, "count plugin: cannot listen on socket=%s\n", path ? path : "(missing)");
        return -1;
    }
    board = qemu_plugin_scoreboard_new(sizeof(struct counters));
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    return pthread_create(&thread, NULL, serve, NULL);
}
