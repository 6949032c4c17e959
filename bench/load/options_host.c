// SPDX-License-Identifier: MIT OR Apache-2.0
#include "bench/load/options_host.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: loadgen --local PATH --remote PATH --mode MODE [options]\n"
    "  --local PATH       our Unix datagram socket (QEMU's remote.path)\n"
    "  --remote PATH      the guest NIC's socket (QEMU's local.path)\n"
    "  --mode MODE        udp-echo, tcp-echo, kv-get, kv-set, or status (prints /status.json)\n"
    "  --target A.B.C.D   the guest's address (10.77.0.2); we are 10.77.0.1/24\n"
    "  --outstanding N    clients, one connection each (1)\n"
    "  --pipeline N       requests in flight on each connection (1)\n"
    "  --requests N       measured requests (10000)\n"
    "  --warm-up N        requests before (1000)\n"
    "  --bytes N          payload or value size (64)\n"
    "  --count SOCKET     sample the instruction-counting plugin\n"
    "  --status           take the guest's /status.json within the counted time, before and after\n"
    "  --deadline SECONDS give up after (120)\n";

static _Noreturn void refuse(const char *what)
{
    fprintf(stderr, "loadgen: %s\n", what);
    exit(2);
}

static ipv4_t parse_address(const char *text)
{
    unsigned a, b, c, d;

    if (sscanf(text, "%u.%u.%u.%u", &a, &b, &c, &d) != 4 || (a | b | c | d) > 255) {
        refuse("--target wants A.B.C.D");
    }
    return IPV4(a, b, c, d);
}

static enum mode parse_mode(const char *text)
{
    static const char *const names[] = {"udp-echo", "tcp-echo", "kv-get", "kv-set", "status"};

    for (enum mode mode = 0; mode <= MODE_STATUS; mode++) {
        if (strcmp(text, names[mode]) == 0) {
            return mode;
        }
    }
    refuse("--mode wants udp-echo, tcp-echo, kv-get, kv-set or status");
}

void options_parse(struct options *options, int argc, char **argv)
{
    static const struct option names[] = {{"local", 1, 0, 'l'},       {"remote", 1, 0, 'r'},
                                          {"mode", 1, 0, 'm'},        {"target", 1, 0, 't'},
                                          {"outstanding", 1, 0, 'o'}, {"pipeline", 1, 0, 'p'},
                                          {"requests", 1, 0, 'n'},    {"warm-up", 1, 0, 'w'},
                                          {"bytes", 1, 0, 'b'},       {"count", 1, 0, 'c'},
                                          {"deadline", 1, 0, 'd'},    {"status", 0, 0, 's'},
                                          {"help", 0, 0, 'h'},        {0}};
    bool have_mode = false;

    *options = (struct options){
        .target = IPV4(10, 77, 0, 2),
        .outstanding = 1,
        .pipeline = 1,
        .bytes = 64,
        .requests = 10000,
        .warm_up = 1000,
        .deadline_s = 120,
    };

    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        uint64_t number = optarg != NULL ? strtoull(optarg, NULL, 10) : 0;

        switch (c) {
        case 'l':
            options->local = optarg;
            break;
        case 'r':
            options->remote = optarg;
            break;
        case 'm':
            options->mode = parse_mode(optarg);
            have_mode = true;
            break;
        case 't':
            options->target = parse_address(optarg);
            break;
        case 'o':
            options->outstanding = (uint32_t)number;
            break;
        case 'p':
            options->pipeline = (uint32_t)number;
            break;
        case 'n':
            options->requests = number;
            break;
        case 'w':
            options->warm_up = number;
            break;
        case 'b':
            options->bytes = (uint32_t)number;
            break;
        case 'c':
            options->count = optarg;
            break;
        case 'd':
            options->deadline_s = number;
            break;
        case 's':
            options->status = true;
            break;
        case 'h':
            fputs(usage, stdout);
            exit(0);
        default:
            fputs(usage, stderr);
            exit(2);
        }
    }
    if (options->local == NULL || options->remote == NULL || !have_mode || optind != argc ||
        options->outstanding == 0 || options->outstanding > CLIENTS_MAX || options->pipeline == 0 ||
        options->pipeline > PIPELINE_MAX || options->bytes < 8 ||
        options->bytes > MESSAGE_BYTES_MAX || options->requests == 0) {
        fputs(usage, stderr);
        exit(2);
    }
}
