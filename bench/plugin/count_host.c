// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * QEMU TCG plugin: counts executed guest instructions, and tells them to whoever asks.
 *
 *   -plugin build/bench/count.so,socket=PATH[,range=NAME:LOW:HIGH]...
 *
 * The plugin listens on the Unix stream socket PATH. Each byte that a client writes is answered by
 * one line: "kernel N user N [NAME N]..." (decimal, totals since the start). `kernel` is what ran
 * in the upper half of the address space, `user` the rest; each range counts [LOW, HIGH), hex.
 * Counts are exact for a halted guest; for a running one they are those of some recent instant.
 *
 * Debian packages no header for plugins, so the few declarations needed stand here. They follow the
 * interface that QEMU documents as plugin API version 4 (QEMU 9.2 and later).
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

#define PLUGIN_EXPORT __attribute__((visibility("default")))
#define PLUGIN_API_VERSION 4
#define RANGES_MAX 24
#define LINE_BYTES 2048

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_scoreboard;
struct qemu_info_t;
typedef struct {
    struct qemu_plugin_scoreboard *score;
    size_t offset;
} qemu_plugin_u64;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
                                           void (*cb)(qemu_plugin_id_t, struct qemu_plugin_tb *));
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
void qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(struct qemu_plugin_insn *insn,
                                                         enum qemu_plugin_op op,
                                                         qemu_plugin_u64 entry, uint64_t value);
struct qemu_plugin_scoreboard *qemu_plugin_scoreboard_new(size_t element_bytes);
uint64_t qemu_plugin_u64_sum(qemu_plugin_u64 entry);

PLUGIN_EXPORT int qemu_plugin_version = PLUGIN_API_VERSION;
PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info_t *info, int argc,
                                      char **argv);

struct counters {
    uint64_t kernel;
    uint64_t user;
    uint64_t range[RANGES_MAX];
};

struct range {
    char name[40];
    uint64_t low;
    uint64_t high;
};

static struct range ranges[RANGES_MAX];
static size_t range_count;
static struct qemu_plugin_scoreboard *board;
static int listener = -1;

static qemu_plugin_u64 entry(size_t offset)
{
    return (qemu_plugin_u64){board, offset};
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
        for (size_t r = 0; r < range_count; r++) {
            if (address >= ranges[r].low && address < ranges[r].high) {
                qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(
                    insn, QEMU_PLUGIN_INLINE_ADD_U64,
                    entry(offsetof(struct counters, range) + r * sizeof(uint64_t)), 1);
            }
        }
    }
}

static size_t print_counts(char *line, size_t size)
{
    int length = snprintf(line, size, "kernel %" PRIu64 " user %" PRIu64,
                          qemu_plugin_u64_sum(entry(offsetof(struct counters, kernel))),
                          qemu_plugin_u64_sum(entry(offsetof(struct counters, user))));

    for (size_t r = 0; r < range_count && length < (int)size - 80; r++) {
        length += snprintf(
            line + length, size - (size_t)length, " %s %" PRIu64, ranges[r].name,
            qemu_plugin_u64_sum(entry(offsetof(struct counters, range) + r * sizeof(uint64_t))));
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
            char line[LINE_BYTES];
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

static bool add_range(const char *text)
{
    struct range *range = &ranges[range_count];

    if (range_count == RANGES_MAX ||
        sscanf(text, "%39[^:]:%" SCNx64 ":%" SCNx64, range->name, &range->low, &range->high) != 3) {
        return false;
    }
    range_count++;
    return true;
}

int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info_t *info, int argc, char **argv)
{
    const char *path = NULL;
    pthread_t thread;

    (void)info;
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "socket=", 7) == 0) {
            path = argv[i] + 7;
        } else if (strncmp(argv[i], "range=", 6) != 0 || !add_range(argv[i] + 6)) {
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
