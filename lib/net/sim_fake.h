// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Two stacks at the two ends of a virtual wire, run in virtual time. Host tests only; takes its
 * memory from the C library.
 */
#ifndef LIB_NET_SIM_FAKE_H
#define LIB_NET_SIM_FAKE_H

#include "lib/net/internal.h"
#include "lib/net/wire_fake.h"

#define SIM_ADDRESS(end) IPV4(10, 0, 0, 1u + (end))

/* fd00::1 and fd00::2, where the configuration says STATIC and gives none. */
#define SIM_ADDRESS6(end) ((struct ipv6_address){{0xfd, [15] = (uint8_t)(1u + (end))}})

struct sim_config {
    uint64_t seed;
    uint32_t buffers[2];          /* 0: 2048 */
    struct stack_config stack[2]; /* dev, secret and, unless dhcp, the address are filled in */
    bool dhcp[2];
    uint32_t offloads[2]; /* of the device at each end */
    enum wire_sums sums[2];
    bool split[2]; /* likewise; the pool then has twice the memory */
};

struct sim {
    struct wire wire;
    struct netbuf_pool pool[2];
    void *memory[2][3];
    struct net_stack *stack[2];
    time_ns_t now;
};

struct sim *sim_create(const struct sim_config *config);
void sim_destroy(struct sim *sim);
/* Polls both ends at the present time until nothing happens. */
void sim_settle(struct sim *sim);
/* Goes on to the next event, at most to `until`. False: nothing is due before that. */
bool sim_step(struct sim *sim, time_ns_t until);
/* Runs for `ns`. */
void sim_run(struct sim *sim, time_ns_t ns);
/* Runs until done(user), at most for `ns`; whether it was done. */
bool sim_run_until(struct sim *sim, time_ns_t ns, bool (*done)(void *user), void *user);
/* Buffers of one end that are in use, the device's and waiting packets included. */
uint32_t sim_buffers_used(const struct sim *sim, unsigned end);

#endif
