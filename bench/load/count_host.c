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
    ssize_t length;

    if (write(count_socket, "?", 1) != 1 ||
        (length = read(count_socket, count->line, sizeof(count->line) - 1u)) <= 0) {
        give_up("does not answer");
    }
    count->line[length] = '\0';
    if (sscanf(count->line, "kernel %" SCNu64 " user %" SCNu64, &count->kernel, &count->user) !=
        2) {
        give_up("answers in another format");
    }
    count->line[strcspn(count->line, "\n")] = '\0';
}
