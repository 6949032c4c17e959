// SPDX-License-Identifier: MIT OR Apache-2.0
/* Counters by their MIB names, listeners, ports and timers, as netstat tells them. */
#include "lib/net/mib.h"

#include "lib/net/script_test.h"

struct wanted {
    const char *group, *name;
    uint64_t value;
    unsigned found;
};

static void look(void *user, const char *group, const char *name, uint64_t value)
{
    struct wanted *wanted = user;

    if (strcmp(wanted->group, group) == 0 && strcmp(wanted->name, name) == 0) {
        wanted->value = value;
        wanted->found++;
    }
}

static uint64_t mib(const char *group, const char *name)
{
    struct wanted wanted = {.group = group, .name = name};

    stack_mib(s.stack, look, &wanted);
    CHECK_EQ(wanted.found, 1);
    return wanted.value;
}

static enum tcp_timer timer_of(const struct tcp_connection *c)
{
    struct tcp_info info;

    tcp_info(c, &info);
    CHECK((info.timer == TCP_TIMER_NONE) == (info.timer_in_ns == 0));
    return info.timer;
}

TEST(connections_are_counted_as_rfc_4022_says)
{
    open_connection();
    CHECK_EQ(mib("Tcp", "PassiveOpens"), 1);
    CHECK_EQ(mib("Tcp", "CurrEstab"), 1);
    CHECK_EQ(mib("Tcp", "EstabResets"), 0);
    CHECK_EQ(mib("Tcp", "InSegs"), 2);
    CHECK_EQ(mib("Tcp", "OutSegs"), 1);
    script_send(&s, TCP_RST, 0);
    CHECK_EQ(s.closed, 1);
    CHECK_EQ(mib("Tcp", "CurrEstab"), 0);
    CHECK_EQ(mib("Tcp", "EstabResets"), 1);
    /* One of a peer's that never opens. */
    s.peer_port++;
    script_send(&s, TCP_SYN, 0);
    s.seq++;
    script_send(&s, TCP_RST, 0);
    CHECK_EQ(mib("Tcp", "PassiveOpens"), 2);
    CHECK_EQ(mib("Tcp", "AttemptFails"), 1);
    /* One of ours that is refused. */
    struct tcp_connection *c;
    struct tcp_connect_request request = {
        .address = SIM_ADDRESS(1), .port = 9, .ops = &script_ops, .user = &s};
    CHECK_EQ(tcp_connect(s.stack, &request, &c), STATUS_OK);
    sim_run(s.sim, 10u * NS_PER_MS);
    CHECK_EQ(mib("Tcp", "ActiveOpens"), 1);
    while (script_expect(&s, &got) && got.flags != TCP_SYN) {
    }
    s.peer_port = 9;
    s.stack_port = got.source_port;
    s.ack = got.sequence + 1u;
    script_send(&s, TCP_RST | TCP_ACK, 0);
    CHECK_EQ(mib("Tcp", "AttemptFails"), 2);
    CHECK_EQ(mib("Tcp", "EstabResets"), 1);
    CHECK_EQ(mib("Tcp", "OutRsts"), stack_counters(s.stack)->tcp_reset_out);
    CHECK_EQ(mib("Ip", "InReceives"), mib("Tcp", "InSegs"));
    stop();
}

static void ignore(struct udp_socket *socket, void *user, const struct udp_datagram *datagram)
{
    (void)socket;
    (void)user;
    (void)datagram;
}

static uint32_t bound_ports(void)
{
    uint32_t found = 0;

    for (uint32_t i = 0; i <= STACK_UDP_SOCKETS_MAX; i++) {
        found += stack_udp_port(s.stack, i) != 0;
    }
    return found;
}

TEST(listeners_and_ports_are_told)
{
    struct tcp_listener_info listener;
    struct udp_socket *udp;

    start();
    script_send(&s, TCP_SYN, 0);
    CHECK(stack_listener(s.stack, 0, &listener));
    CHECK_EQ(listener.port, SCRIPT_PORT);
    CHECK_EQ(listener.half_open, 1);
    CHECK_EQ(listener.backlog, 4);
    CHECK(!stack_listener(s.stack, 1, &listener));
    CHECK(!stack_listener(s.stack, STACK_LISTENERS_MAX, &listener));
    uint32_t before = bound_ports();
    CHECK_EQ(udp_bind(s.stack, 5353, ignore, NULL, &udp), STATUS_OK);
    CHECK_EQ(bound_ports(), before + 1u);
    udp_unbind(udp);
    CHECK_EQ(bound_ports(), before);
    stop();
}

TEST(the_timer_that_runs_is_named)
{
    open_connection();
    CHECK_EQ(timer_of(s.c), TCP_TIMER_NONE);
    tcp_set_keepalive(s.c, 30u * NS_PER_S);
    sim_settle(s.sim);
    CHECK_EQ(timer_of(s.c), TCP_TIMER_KEEPALIVE);
    CHECK_EQ(tcp_send(s.c, "x", 1), 1);
    stack_flush(s.stack);
    CHECK_EQ(timer_of(s.c), TCP_TIMER_RETRANSMIT);
    EXPECT(TCP_PSH | TCP_ACK, s.ack, s.seq, 1);
    s.ack++;
    s.window = 0;
    script_send(&s, TCP_ACK, 0);
    CHECK_EQ(tcp_send(s.c, "x", 1), 1);
    stack_flush(s.stack);
    CHECK_EQ(timer_of(s.c), TCP_TIMER_PERSIST);
    CHECK_TEXT(tcp_timer_name(TCP_TIMER_PERSIST), "persist");
    CHECK_TEXT(tcp_state_netstat_name(TCP_SYN_RECEIVED), "SYN_RECV");
    tcp_abort(s.c);
    stop();
}
