// SPDX-License-Identifier: MIT OR Apache-2.0
#include "tests/packetdrill/drill_options_host.h"

#include <errno.h>
#include <netinet/in.h>

#include "tests/packetdrill/drill_host.h"

/* Linux's numbers and layout (facts from its user-space headers): <netinet/tcp.h> cannot be
 * included beside the stack's own names. */
enum { OPTION_NODELAY = 1, OPTION_KEEPIDLE = 4, OPTION_KEEPINTVL = 5, OPTION_KEEPCNT = 6 };
enum { OPTION_INFO = 11 };

struct linux_tcp_info {
    uint8_t state, ca_state, retransmits, probes, backoff, options, window_scales, flags;
    uint32_t rto_us, ato_us, snd_mss, rcv_mss;
    uint32_t unacked, sacked, lost, retrans, fackets;
    uint32_t last_data_sent, last_ack_sent, last_data_recv, last_ack_recv;
    uint32_t pmtu, rcv_ssthresh, rtt_us, rttvar_us, snd_ssthresh, snd_cwnd, advmss, reordering;
    uint32_t rcv_rtt, rcv_space, total_retrans;
};
_Static_assert(sizeof(struct linux_tcp_info) == 104, "as Linux's first version");

static uint8_t linux_state(enum tcp_state state)
{
    static const uint8_t states[] = {
        [TCP_CLOSED] = 7,     [TCP_SYN_SENT] = 2,   [TCP_SYN_RECEIVED] = 3, [TCP_ESTABLISHED] = 1,
        [TCP_FIN_WAIT_1] = 4, [TCP_FIN_WAIT_2] = 5, [TCP_CLOSE_WAIT] = 8,   [TCP_CLOSING] = 11,
        [TCP_LAST_ACK] = 9,   [TCP_TIME_WAIT] = 6,
    };
    return states[state];
}

/* What the stack tells of a connection; the rest stays 0. */
static void fill_info(const struct drill_socket *socket, struct linux_tcp_info *to)
{
    struct tcp_info info;

    *to = (struct linux_tcp_info){.state = socket->kind == DRILL_LISTENER ? 10 : 7};
    if (socket->connection == NULL) {
        return;
    }
    tcp_info(socket->connection, &info);
    to->state = linux_state(info.state);
    to->rto_us = (uint32_t)(info.retransmit_timeout_ns / NS_PER_US);
    to->rtt_us = (uint32_t)(info.round_trip_ns / NS_PER_US);
    to->snd_mss = info.segment_bytes;
    to->snd_cwnd = info.congestion_window_bytes / info.segment_bytes;
    to->unacked = (info.send_queue_bytes + info.segment_bytes - 1u) / info.segment_bytes;
    to->total_retrans = (uint32_t)info.retransmits;
    to->rcv_space = info.receive_window_bytes;
}

int drill_get_option(struct drill_socket *socket, int level, int name, void *value,
                     socklen_t *bytes)
{
    struct linux_tcp_info info;
    const void *from = &info;
    size_t size = sizeof info;
    int number;

    if (level == SOL_SOCKET && name == SO_ERROR) {
        number = socket->error;
        socket->error = 0;
    } else if (level == IPPROTO_TCP && name == OPTION_NODELAY) {
        number = socket->nodelay;
    } else if (level == SOL_SOCKET && name == SO_KEEPALIVE) {
        number = socket->keepalive;
    } else if (level == IPPROTO_TCP && name == OPTION_INFO) {
        fill_info(socket, &info);
        number = 0;
    } else {
        errno = ENOPROTOOPT;
        return -1;
    }
    if (name != OPTION_INFO || level != IPPROTO_TCP) {
        from = &number;
        size = sizeof number;
    }
    size = *bytes < size ? *bytes : size;
    memcpy(value, from, size);
    *bytes = (socklen_t)size;
    return 0;
}

int drill_set_option(struct drill_socket *socket, int level, int name, const void *value,
                     socklen_t bytes)
{
    int number = 0;

    memcpy(&number, value, bytes < sizeof number ? bytes : sizeof number);
    if (level == SOL_SOCKET && name == SO_LINGER && bytes >= sizeof(struct linger)) {
        struct linger linger;
        memcpy(&linger, value, sizeof linger);
        socket->abort_on_close = linger.l_onoff != 0 && linger.l_linger == 0;
    } else if (level == SOL_SOCKET && name == SO_KEEPALIVE) {
        socket->keepalive = number != 0;
    } else if (level == IPPROTO_TCP && name == OPTION_NODELAY) {
        socket->nodelay = number != 0;
    } else if (level == IPPROTO_TCP && name == OPTION_KEEPIDLE) {
        socket->keepalive_idle_s = number;
    } else if (level != SOL_SOCKET ||
               (name != SO_REUSEADDR && name != SO_REUSEPORT && name != SO_RCVBUF &&
                name != SO_SNDBUF)) { /* sizes come from --so_flags */
        errno = ENOPROTOOPT;
        return -1;
    }
    return 0;
}
