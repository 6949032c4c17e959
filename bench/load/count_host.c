// SPDX-License-Identifier: MIT OR Apache-2.0
#include "bench/load/count_host.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int count_socket = -1;

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "loadgen: the counting plugin %s\n", what);
    exit(1);
}

bool count_is_open(void)
{
    return count_socket >= 0;
}

void count_open(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    count_socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(count_socket, (void *)&address, sizeof(address)) != 0) {
        fprintf(stderr, "loadgen: no counting plugin at %s: %s\n", path, strerror(errno));
        exit(1);
    }
}

void count_ask(struct count *count)
{
    size_t length = 0;

    if (write(count_socket, "?", 1) != 1) {
        give_up("does not answer");
    }
    while (length == 0 || count->line[length - 1u] != '\n') {
        ssize_t more = read(count_socket, count->line + length, sizeof(count->line) - 1u - length);
        if (more <= 0) {
            give_up("does not answer");
        }
        length += (size_t)more;
    }
    count->line[length] = '\0';
    if (sscanf(count->line, "kernel %" SCNu64 " user %" SCNu64, &count->kernel, &count->user) !=
        2) {
        give_up("answers in another format");
    }
    count->line[strcspn(count->line, "\n")] = '\0';
}

/* Behind "kernel N user N". */
static const char *first_range(const char *line)
{
    for (int spaces = 0; spaces < 4 && line != NULL; spaces++) {
        line = strchr(line, ' ');
        line = line != NULL ? line + 1 : NULL;
    }
    return line;
}

void count_print_ranges(const struct count *before, const struct count *after)
{
    const char *old = first_range(before->line);
    const char *new = first_range(after->line);
    char name[40];
    uint64_t first;
    uint64_t last;
    int used_old;
    int used_new;

    /* Both name the same ranges in the same order. */
    for (const char *comma = "";
         old != NULL && new != NULL &&sscanf(old, "%*s %" SCNu64 " %n", &first, &used_old) == 1 &&
         sscanf(new, "%39s %" SCNu64 " %n", name, &last, &used_new) == 2;
         old += used_old, new += used_new, comma = ", ") {
        printf("%s\"%s\": %" PRIu64, comma, name, last - first);
    }
}
