// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The load generator's command line.
 */
#ifndef BENCH_LOAD_OPTIONS_HOST_H
#define BENCH_LOAD_OPTIONS_HOST_H

#include "lib/net/stack.h"

#define CLIENTS_MAX 1024u
#define PIPELINE_MAX 64u
#define MESSAGE_BYTES_MAX 65536u

enum mode { MODE_UDP_ECHO, MODE_TCP_ECHO, MODE_KV_GET, MODE_KV_SET, MODE_STATUS };

struct options {
    const char *local;  /* our socket */
    const char *remote; /* the guest NIC's */
    const char *count;  /* the plugin's, NULL: no counting */
    bool status;
    enum mode mode;
    ipv4_t target;
    uint32_t outstanding; /* 1..CLIENTS_MAX */
    uint32_t pipeline;    /* 1..PIPELINE_MAX */
    uint32_t bytes;       /* 8..MESSAGE_BYTES_MAX */
    uint64_t requests;
    uint64_t warm_up;
    uint64_t deadline_s;
};

/* Prints the usage and exits when the command line is wrong or asks for it. */
void options_parse(struct options *options, int argc, char **argv);

#endif
