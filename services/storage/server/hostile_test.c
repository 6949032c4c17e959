// SPDX-License-Identifier: MIT OR Apache-2.0
/* A good client of the storage service, and one that does anything. */
#include "services/storage/server/server_rig_test.h"

static void spoil(struct rig *rig, uint32_t index)
{
    uint32_t *words = (uint32_t *)(void *)rig->shared[index];
    uint32_t first = 16u; /* behind the supervisor's line */
    uint32_t header = RING_ENTRIES_OFFSET / 4u - first;
    uint32_t ring = (uint32_t)ring_bytes(ENTRIES) / 4u - first;
    uint32_t all = (uint32_t)(rig->server_rings[index].bytes / 4u) - first;
    uint32_t bound = random_below(3) == 0 ? header : random_below(2) ? ring : all;

    if (random_below(50) == 0) { /* the one word that tells how much there is to do */
        ((struct ring_shared *)(void *)rig->shared[index])->submit_tail = random_below(200);
    }
    words[first + random_below(bound)] = random_below(2) ? random_below(64) : random_state;
}

static void submit_anything(struct rig *rig, uint32_t index)
{
    struct logport *client = &rig->clients[index];

    if (logport_poll(client, rig->now_ns) && logport_room(client) != 0) {
        logport_submit(
            client,
            &(struct ring_submission){
                .operation = (uint16_t)(14u + random_below(11)),
                .flags = (uint16_t)(random_below(2) * RING_LOG_FIRST + (random_below(20) == 0)),
                .buffer = random_below(BUFFERS + 2u),
                .offset = random_below(3) != 0 ? 0 : random_below(8192),
                .length = random_below(2) ? random_below(16) * PAGE_BYTES : random_below(100000),
                .argument = random_below(2) ? random_below(3) : random_state,
            });
        logport_publish(client);
    }
    if (client->ring.session == RING_SESSION_OPEN && random_below(50) == 0 &&
        logport_room(client)) {
        logport_submit(client, &(struct ring_submission){
                                   .operation = RING_LOG_READ,
                                   .flags = RING_LOG_FIRST,
                                   .length = 65536,
                                   .argument = loglet_tail(rig->server.ports[index].log)});
    }
    if (client->ring.session == RING_SESSION_OPEN && random_below(50) == 0 &&
        logport_room(client)) {
        logport_submit(client, &(struct ring_submission){
                                   .operation = RING_LOG_TRIM,
                                   .argument = loglet_durable(rig->server.ports[index].log)});
    }
    struct ring_completion none[8];
    (void)logport_take(client, none, 8);
}

/* One client spoils all that it shares, its data under way included, and asks for anything; the
 * good one's records are there and right, also after a loss of power. (The sanitizers watch.) */
TEST(a_hostile_client_harms_its_own_loglet_only)
{
    struct rig rig;
    struct load load = {0};
    const char *steps = getenv("STORAGE_FUZZ_STEPS");
    uint32_t count = steps != NULL ? (uint32_t)strtoul(steps, NULL, 10) : 30000;

    rig_open(&rig, false);
    rig.grants[OTHER].rights |= RING_LOG_MAY_ACCOUNT;
    load.sessions = rig.clients[GOOD].sessions;
    for (uint32_t step = 0; step < count; step++) {
        if (random_below(20) == 0) {
            rig.now_ns += 1100000000; /* a rest of the client is over */
        }
        submit_anything(&rig, OTHER);
        if (random_below(4) == 0) {
            spoil(&rig, OTHER);
        }
        turn(&rig);
        push_load(&rig, GOOD, &load, 350);
        if (load.confirmed == 350) { /* starts over */
            CHECK_EQ(read_back(&rig, GOOD, load.first, 0), 350);
            CHECK_EQ(ask(&rig, GOOD,
                         (struct ring_submission){.operation = RING_LOG_TRIM,
                                                  .argument =
                                                      loglet_durable(rig.server.ports[GOOD].log)})
                         .result,
                     STATUS_OK);
            load = (struct load){.sessions = load.sessions};
        }
        if (step % 20000u == 10000u && load.confirmed != 0) {
            block_fake_power_cycle(&rig.drive);
            CHECK_EQ(start_server(&rig, 0), STATUS_OK);
            for (uint32_t i = 0; i < 50; i++) {
                turn(&rig);
            }
            uint32_t found = read_back(&rig, GOOD, load.first, 0);
            CHECK(found >= load.confirmed && found <= load.next);
            load.confirmed = found;
            load.next = found;
            load.sessions = rig.clients[GOOD].sessions;
        }
    }
    CHECK_EQ(rig.clients[GOOD].violations, 0);
    CHECK_EQ(rig.server.ports[GOOD].counters.violations, 0);
    const struct storage_counters *told = &rig.server.ports[OTHER].counters;
    printf("hostile client: %lu sessions, %lu violations, %lu refused, %lu appends, %lu reads\n",
           (unsigned long)told->sessions, (unsigned long)told->violations,
           (unsigned long)told->refused, (unsigned long)told->appends, (unsigned long)told->reads);
    CHECK(rig.server.ports[OTHER].counters.violations > 5);
    CHECK(rig.server.ports[OTHER].counters.appends > 100);
    rig_close(&rig);
}
