// SPDX-License-Identifier: MIT OR Apache-2.0
/* What the tests with hand-made segments share: one script, and how to expect a segment. */
#ifndef LIB_NET_SCRIPT_TEST_H
#define LIB_NET_SCRIPT_TEST_H

#include "lib/net/script_fake.h"
#include "lib/net/tcp_internal.h"
#include "tests/check.h"

static struct script s;
static struct tcp_segment got;

static inline enum tcp_state state(void)
{
    struct tcp_info info;

    for (uint32_t i = 0; i < stack_connections_max(s.stack); i++) {
        if (stack_connection(s.stack, i, &info)) {
            return info.state;
        }
    }
    return TCP_CLOSED;
}

/* The next segment has these flags, sequence and acknowledgment, and `length` bytes. */
#define EXPECT(wanted_flags, wanted_seq, wanted_ack, wanted_length)                                \
    do {                                                                                           \
        bool any = script_expect(&s, &got);                                                        \
        CHECK(any);                                                                                \
        if (any) {                                                                                 \
            CHECK_EQ(got.flags, wanted_flags);                                                     \
            CHECK_EQ(got.sequence, (uint32_t)(wanted_seq));                                        \
            CHECK_EQ(got.acknowledgment, (uint32_t)(wanted_ack));                                  \
            CHECK_EQ(got.length, wanted_length);                                                   \
        }                                                                                          \
    } while (0)

static inline void start(void)
{
    script_start(&s, NULL);
}

static inline void open_connection(void)
{
    start();
    script_handshake(&s);
    CHECK_EQ(s.accepted, 1);
    CHECK(script_quiet(&s));
}

static inline void stop(void)
{
    sim_run(s.sim, 1000u * NS_PER_S);
    CHECK_EQ(sim_buffers_used(s.sim, 0), 0);
    script_stop(&s);
}

#endif
