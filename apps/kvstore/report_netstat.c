// SPDX-License-Identifier: MIT OR Apache-2.0
/* /netstat.json, for `./hallows netstat`. */
#include "apps/kvstore/cell.h"

#include "lib/net/mib.h"

/* An answer stays small whatever a peer opens. */
#define CONNECTIONS_TOLD_MAX 1024u

typedef unsigned long long ull;

struct mib_text {
    struct text *text;
    const char *group;
};

static void put_mib(void *user, const char *group, const char *name, uint64_t value)
{
    struct mib_text *at = user;
    bool first = at->group == NULL;

    if (first || strcmp(at->group, group) != 0) {
        text_print(at->text, "%s\"%s\":{", first ? "" : "},", group);
        at->group = group;
    } else {
        text_print(at->text, ",");
    }
    text_print(at->text, "\"%s\":%llu", name, (ull)value);
}

void report_mib(const struct net_stack *stack, struct text *text)
{
    struct mib_text at = {.text = text};

    text_print(text, "\"mib\":{");
    stack_mib(stack, put_mib, &at);
    text_print(text, "}}");
}

static void put_end(struct text *text, const char *name, bool v6, ipv4_t v4,
                    const struct ipv6_address *address, uint16_t port)
{
    char written[IPV6_TEXT_BYTES];

    if (v6) {
        ipv6_format(address, written);
        text_print(text, "\"%s\":\"[%s]:%u\",", name, written, port);
    } else {
        text_print(text, "\"%s\":\"%u.%u.%u.%u:%u\",", name, v4 >> 24, v4 >> 16 & 255u,
                   v4 >> 8 & 255u, v4 & 255u, port);
    }
}

static void put_connection(struct text *text, const struct tcp_info *info)
{
    text_print(text, "{");
    put_end(text, "local", info->is_v6, info->local_address, &info->v6.local, info->local_port);
    put_end(text, "remote", info->is_v6, info->remote_address, &info->v6.remote, info->remote_port);
    text_print(text,
               "\"state\":\"%s\",\"receive_queue_bytes\":%u,\"send_queue_bytes\":%u,"
               "\"timer\":\"%s\",\"timer_in_ns\":%llu,\"retransmits\":%llu,"
               "\"round_trip_ns\":%llu,\"retransmit_timeout_ns\":%llu,"
               "\"congestion_window_bytes\":%u,\"send_window_bytes\":%u,"
               "\"receive_window_bytes\":%u,\"segment_bytes\":%u,\"bytes_in\":%llu,"
               "\"bytes_out\":%llu}",
               tcp_state_netstat_name(info->state), info->receive_queue_bytes,
               info->send_queue_bytes, tcp_timer_name(info->timer), (ull)info->timer_in_ns,
               (ull)info->retransmits, (ull)info->round_trip_ns, (ull)info->retransmit_timeout_ns,
               info->congestion_window_bytes, info->send_window_bytes, info->receive_window_bytes,
               info->segment_bytes, (ull)info->bytes_in, (ull)info->bytes_out);
}

static void put_connections(const struct net_stack *stack, struct text *text)
{
    struct tcp_info info;
    uint32_t told = 0;

    text_print(text, ",\"connections_total\":%u,\"connections\":[", stack_connections(stack));
    for (uint32_t i = 0; i < stack_connections_max(stack) && told < CONNECTIONS_TOLD_MAX; i++) {
        if (stack_connection(stack, i, &info)) {
            text_print(text, told++ == 0 ? "" : ",");
            put_connection(text, &info);
        }
    }
    text_print(text, "]");
}

static void put_listeners(const struct net_stack *stack, struct text *text)
{
    struct tcp_listener_info listener;
    const char *between = "";

    text_print(text, ",\"listeners\":[");
    for (uint32_t i = 0; i < STACK_LISTENERS_MAX; i++) {
        if (stack_listener(stack, i, &listener)) {
            text_print(text, "%s{\"protocol\":\"tcp\",\"port\":%u,\"half_open\":%u,\"backlog\":%u}",
                       between, listener.port, listener.half_open, listener.backlog);
            between = ",";
        }
    }
    for (uint32_t i = 0; i < STACK_UDP_SOCKETS_MAX; i++) {
        uint16_t port = stack_udp_port(stack, i);
        if (port != 0) {
            text_print(text, "%s{\"protocol\":\"udp\",\"port\":%u}", between, port);
            between = ",";
        }
    }
    text_print(text, "]");
}

void report_netstat(void *context, struct text *text)
{
    const struct kvstore *kvstore = context;
    const struct net_stack *stack = kvstore->network.stack;

    text_print(text, "{");
    report_mib(stack, text);
    put_listeners(stack, text);
    put_connections(stack, text);
    text_print(text, "}\n");
}
