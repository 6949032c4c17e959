// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/net/sim_fake.h"

#include <stdlib.h>

#define SIM_BUFFER_BYTES 2048u
#define SIM_BUFFERS 2048u
#define SIM_POLLS_MAX 100000u

static void *take_memory(size_t alignment, size_t bytes)
{
    bytes = (bytes + alignment - 1u) & ~(alignment - 1u);
    void *memory = aligned_alloc(alignment, bytes);

    VERIFY(memory != NULL);
    memset(memory, 0xa5, bytes);
    return memory;
}

static void create_end(struct sim *sim, const struct sim_config *config, unsigned end)
{
    struct stack_config stack = config->stack[end];
    struct netbuf_pool *pool = &sim->pool[end];
    uint32_t buffer_bytes = config->split[end] ? PAGE_BYTES : SIM_BUFFER_BYTES;
    uint32_t buffers = config->buffers[end] != 0 ? config->buffers[end] : SIM_BUFFERS;

    sim->memory[end][0] = take_memory(PAGE_BYTES, (size_t)buffers * buffer_bytes);
    sim->memory[end][1] = take_memory(64, netbuf_pool_bookkeeping_bytes(buffers));
    status_t status = netbuf_pool_init(pool, sim->memory[end][0], buffers, buffer_bytes, NULL,
                                       sim->memory[end][1]);
    VERIFY(status == STATUS_OK);
    stack.dev = &sim->wire.end[end].dev;
    for (unsigned i = 0; i < sizeof stack.secret; i++) {
        stack.secret[i] = (uint8_t)(config->seed >> (i % 8u) ^ i ^ end * 85u);
    }
    if (!config->dhcp[end] && stack.address == IPV4_ANY) {
        stack.address = SIM_ADDRESS(end);
        stack.prefix_bits = 24;
    }
    if (stack.ipv6_mode == STACK_IPV6_STATIC && ipv6_is_any(&stack.address6)) {
        stack.address6 = SIM_ADDRESS6(end);
        stack.prefix6_bits = 64;
    }
    size_t bytes = stack_memory_bytes(&stack);
    sim->memory[end][2] = take_memory(64, bytes);
    status = stack_init(&sim->stack[end], &stack, sim->memory[end][2], bytes, sim->now);
    VERIFY(status == STATUS_OK);
}

struct sim *sim_create(const struct sim_config *config)
{
    struct sim *sim = take_memory(64, sizeof *sim);

    memset(sim, 0, sizeof *sim);
    sim->now = NS_PER_S;
    wire_init(&sim->wire, config->seed, &sim->pool[0], &sim->pool[1]);
    sim->wire.now = sim->now;
    sim->wire.end[0].dev.offloads = config->offloads[0];
    sim->wire.end[1].dev.offloads = config->offloads[1];
    sim->wire.end[0].sums = config->sums[0];
    sim->wire.end[1].sums = config->sums[1];
    sim->wire.end[0].split = config->split[0];
    sim->wire.end[1].split = config->split[1];
    sim->wire.faults.delay_ns = 50u * NS_PER_US;
    create_end(sim, config, 0);
    create_end(sim, config, 1);
    return sim;
}

void sim_destroy(struct sim *sim)
{
    for (unsigned i = 0; i < 6; i++) {
        free(sim->memory[i / 3u][i % 3u]);
    }
    free(sim);
}

void sim_settle(struct sim *sim)
{
    sim->wire.now = sim->now;
    for (unsigned i = 0; i < SIM_POLLS_MAX; i++) {
        uint32_t worked = stack_poll(sim->stack[0], sim->now) + stack_poll(sim->stack[1], sim->now);
        bool pending = sim->stack[0]->tx_count + sim->stack[1]->tx_count != 0;
        if (worked == 0 && !pending && wire_next(&sim->wire) > sim->now &&
            list_is_empty(&sim->stack[0]->active) && list_is_empty(&sim->stack[1]->active)) {
            return;
        }
        if (worked == 0 && sim->wire.end[0].transmit_limit * sim->wire.end[1].transmit_limit == 0) {
            return;
        }
    }
    VERIFY(!"the stacks come to rest");
}

bool sim_step(struct sim *sim, time_ns_t until)
{
    time_ns_t next = wire_next(&sim->wire);

    for (unsigned i = 0; i < 2; i++) {
        time_ns_t due = stack_tick(sim->stack[i], sim->now);
        VERIFY(due > sim->now);
        next = due < next ? due : next;
    }
    if (wire_next(&sim->wire) < next) {
        next = wire_next(&sim->wire);
    }
    if (next > until) {
        sim->now = until;
        sim->wire.now = until;
        return false;
    }
    sim->now = next > sim->now ? next : sim->now;
    sim_settle(sim);
    return true;
}

void sim_run(struct sim *sim, time_ns_t ns)
{
    time_ns_t until = sim->now + ns;

    sim_settle(sim);
    while (sim_step(sim, until)) {
    }
}

bool sim_run_until(struct sim *sim, time_ns_t ns, bool (*done)(void *user), void *user)
{
    time_ns_t until = sim->now + ns;

    sim_settle(sim);
    while (!done(user)) {
        if (!sim_step(sim, until)) {
            return done(user);
        }
    }
    return true;
}

uint32_t sim_buffers_used(const struct sim *sim, unsigned end)
{
    return sim->pool[end].buffer_count - sim->pool[end].free_count;
}
