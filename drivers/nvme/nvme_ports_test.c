// SPDX-License-Identifier: MIT OR Apache-2.0
/* Several namespaces and queue pairs of one controller, in one thread and in several. */
#include "drivers/nvme/nvme_rig_test.h"

#define MORE 2u
#define PORTS_AT (DATA_BYTES - MORE * NVME_PORT_MEMORY_BYTES) /* in the rig's data */

static struct rig rig;
static struct nvme_port more[MORE];
static struct nvme_port_config more_configs[MORE];

/* Two ports more: their memory is taken from the end of the rig's. */
static void rig_with_ports(uint32_t block_bytes, bool zoned)
{
    rig_init(&rig, block_bytes, zoned);
    memset(more_configs, 0, sizeof more_configs);
    for (uint32_t i = 0; i < MORE; i++) {
        more_configs[i].port = &more[i];
        more_configs[i].namespace_id = 1;
        more_configs[i].dma =
            dma_part(&rig.memory, NVME_QUEUE_MEMORY_BYTES + PORTS_AT + i * NVME_PORT_MEMORY_BYTES,
                     NVME_PORT_MEMORY_BYTES);
    }
    rig.config.more_ports = more_configs;
    rig.config.more_count = MORE;
}

static void own_vector(uint32_t index)
{
    more_configs[index].vector =
        (struct nvme_vector){rig.fake.space + NVME_FAKE_MSIX_OFFSET + 16u * (index + 1u),
                             0xfee01000, 0x50u + index, index + 1u};
}

/* One request on a port, to its completion; everything else is polled beside it. */
static struct block_completion ask_port(struct nvme_port *port, uint8_t operation, uint64_t block,
                                        uint32_t blocks, void *data)
{
    struct block_request request = {
        .cookie = 9, .block = block, .blocks = blocks, .operation = operation, .data = data};
    struct block_completion done = {.status = STATUS_TIMED_OUT};
    struct block_device *device = &port->block;

    CHECK_EQ(device->ops->submit(device, &request, 1, rig.now_ns), 1);
    for (uint32_t i = 0; i < 100; i++) {
        nvme_fake_run(&rig.fake, 64);
        rig.now_ns += 1000;
        if (device->ops->poll(device, &done, 1, rig.now_ns) != 0) {
            CHECK_EQ(done.cookie, 9);
            return done;
        }
    }
    return done;
}

/* Identify Namespace of a drive that says it has no blocks. */
static uint8_t no_blocks(void *context, uint32_t cns, uint32_t offset, uint8_t byte)
{
    (void)context;
    return cns == NVME_CNS_NAMESPACE && offset < 8u ? 0 : byte;
}

TEST(namespaces_are_drives_of_their_own)
{
    rig_with_ports(512, false);
    nvme_fake_add_namespace(&rig.fake, 7, (4u << 20) / 4096u, 4096, 0, 0);
    nvme_fake_add_namespace(&rig.fake, 3, (8u << 20) / 512u, 512, (1u << 20) / 512u, 1024);
    more_configs[0].namespace_id = 7;
    more_configs[1].namespace_id = 3;
    CHECK_EQ(bring_up(&rig), NVME_READY);
    CHECK_EQ(rig.nvme.namespace_count, 3);
    CHECK_EQ(rig.nvme.namespaces[1].id, 3);
    CHECK_EQ(rig.nvme.namespaces[2].id, 7);
    CHECK_EQ(rig.nvme.port.namespace_id, 1);
    CHECK_EQ(rig.nvme.port.block.block_bytes, 512);
    CHECK_EQ(more[0].block.block_bytes, 4096);
    CHECK_EQ(more[0].block.block_count, 1024);
    CHECK((more[1].block.flags & BLOCK_DEVICE_ZONED) != 0);
    CHECK((rig.nvme.port.block.flags & BLOCK_DEVICE_ZONED) == 0);
    struct nvme_port *ports[] = {&rig.nvme.port, &more[0], &more[1]};
    for (uint32_t i = 0; i < 3; i++) {
        memset(rig.data, (int)(0x30u + i), 4096);
        uint8_t operation = i == 2 ? BLOCK_ZONE_APPEND : BLOCK_WRITE;
        CHECK_EQ(ask_port(ports[i], operation, 0, 1, rig.data).status, STATUS_OK);
    }
    for (uint32_t i = 0; i < 3; i++) {
        CHECK_EQ(ask_port(ports[i], BLOCK_READ, 0, 1, rig.data).status, STATUS_OK);
        CHECK_EQ(rig.data[0], 0x30u + i);
        CHECK_EQ(rig.data[ports[i]->block.block_bytes - 1u], 0x30u + i);
        /* Each has its own end. */
        CHECK_EQ(ask_port(ports[i], BLOCK_READ, ports[i]->block.block_count, 1, rig.data).status,
                 STATUS_INVALID_ARGUMENT);
    }
    nvme_stop(&rig.nvme, rig.now_ns);
    for (uint32_t i = 0; i < 50 && nvme_state(&rig.nvme) != NVME_STOPPED; i++) {
        turn(&rig, 1000);
    }
    CHECK_EQ(nvme_state(&rig.nvme), NVME_STOPPED);
    for (uint32_t i = 1; i <= 3; i++) {
        CHECK(!rig.fake.queues[i].cq_live);
    }
    rig_free(&rig);
}

/* Also of namespaces that no port is for; and what the drive says of them is not believed. */
TEST(namespaces_are_told)
{
    struct nvme *nvme = &rig.nvme;

    rig_init(&rig, 512, false);
    nvme_fake_add_namespace(&rig.fake, 7, (4u << 20) / 4096u, 4096, 0, 0);
    nvme_fake_add_namespace(&rig.fake, 3, (8u << 20) / 512u, 512, (1u << 20) / 512u, 1024);
    rig.fake.max_active = 5;
    CHECK_EQ(bring_up(&rig), NVME_READY);
    CHECK(!nvme->namespaces[0].known && nvme->answers == 0);
    CHECK(nvme_ask(nvme, rig.now_ns));
    for (uint32_t i = 0; i < 50 && nvme->answers == 0; i++) {
        turn(&rig, 1000);
    }
    CHECK_EQ(nvme->answers, 1);
    for (uint32_t i = 0; i < 3; i++) {
        CHECK(nvme->namespaces[i].known && nvme->namespaces[i].usable);
        CHECK_EQ(nvme->namespaces[i].used_blocks, nvme->namespaces[i].blocks / 2u);
        CHECK_EQ(nvme->namespaces[i].zone_blocks, i == 1 ? 2048 : 0);
        CHECK_EQ(nvme->namespaces[i].max_active_zones, i == 1 ? 5 : 0);
        CHECK_EQ(nvme->namespaces[i].block_bytes, i == 2 ? 4096 : 512);
    }
    CHECK_EQ(nvme->namespaces[2].blocks, 1024);
    rig.fake.corrupt_identify = no_blocks;
    CHECK(nvme_ask(nvme, rig.now_ns));
    for (uint32_t i = 0; i < 50 && nvme->answers == 1; i++) {
        turn(&rig, 1000);
    }
    CHECK_EQ(nvme->answers, 2);
    CHECK(nvme->namespaces[0].known && !nvme->namespaces[0].usable);
    CHECK_EQ(nvme->namespaces[0].blocks, 0);
    CHECK_EQ(nvme_state(nvme), NVME_READY);
    rig_free(&rig);
}

/* A question that is never answered ends in a reset, which brings the controller back. */
TEST(a_lost_answer_resets_the_controller)
{
    rig_init(&rig, 512, false);
    CHECK_EQ(bring_up(&rig), NVME_READY);
    CHECK(nvme_ask(&rig.nvme, rig.now_ns));
    rig.fake.pending_count = 0;
    for (uint32_t i = 0; i < 200 && rig.nvme.counters.resets == 0; i++) {
        rig.now_ns += SECOND;
        rig.fake.pending_count = rig.nvme.counters.resets == 0 ? 0 : rig.fake.pending_count;
        (void)nvme_poll(&rig.nvme.port, rig.done, 1, rig.now_ns);
    }
    CHECK_EQ(rig.nvme.counters.resets, 1);
    CHECK_EQ(rig.nvme.last_error, STATUS_DEVICE_TIMEOUT);
    for (uint32_t i = 0; i < 200 && nvme_state(&rig.nvme) != NVME_READY; i++) {
        turn(&rig, 1000);
    }
    CHECK(nvme_ask(&rig.nvme, rig.now_ns));
    for (uint32_t i = 0; i < 50 && rig.nvme.answers == 0; i++) {
        turn(&rig, 1000);
    }
    CHECK_EQ(rig.nvme.answers, 1);
    rig_free(&rig);
}

TEST(missing_namespaces_and_queues_are_told)
{
    rig_with_ports(512, false);
    more_configs[1].namespace_id = 5;
    CHECK_EQ(bring_up(&rig), NVME_DEAD);
    CHECK_EQ(rig.nvme.last_error, STATUS_NOT_FOUND);
    rig_free(&rig);
    rig_with_ports(512, false);
    rig.fake.queues_offered = 2;
    CHECK_EQ(bring_up(&rig), NVME_DEAD);
    CHECK_EQ(rig.nvme.last_error, STATUS_TOO_LARGE);
    rig_free(&rig);
    rig_with_ports(512, false);
    more_configs[0].dma.bytes -= PAGE_BYTES;
    CHECK_EQ(nvme_start(&rig.nvme, &rig.config, 0), STATUS_INVALID_ARGUMENT);
    rig_free(&rig);
}

/* A thread that slept through a reset, and then submits as many requests as its queue had before:
 * their doorbell is rung, in the queue made anew. */
TEST(the_first_requests_after_a_reset_are_told)
{
    for (uint32_t count = 1; count <= 3u; count++) {
        rig_with_ports(512, false);
        more_configs[0].own_thread = true;
        own_vector(0);
        CHECK_EQ(bring_up(&rig), NVME_READY);
        struct block_request requests[3] = {0};
        struct block_completion done[3];
        for (uint32_t i = 0; i < 3u; i++) {
            requests[i] = (struct block_request){
                .cookie = i, .block = i, .blocks = 1, .operation = BLOCK_READ, .data = rig.data};
        }
        for (uint32_t round = 0; round < 2u; round++) {
            uint32_t found = 0;
            CHECK_EQ(nvme_submit(&more[0], requests, count, rig.now_ns), count);
            for (uint32_t i = 0; i < 20u && found < count; i++) {
                turn(&rig, 1000);
                found += nvme_poll(&more[0], done + found, 3u - found, rig.now_ns);
            }
            CHECK_EQ(found, count);
            CHECK(nvme_arm(&more[0]));
            rig.nvme.reset_wanted = true;
            rig.nvme.port.next_check_ns = 0;
            for (uint32_t i = 0; i < 200u && rig.nvme.counters.resets == round; i++) {
                turn(&rig, 1000);
            }
            for (uint32_t i = 0; i < 200u && nvme_state(&rig.nvme) != NVME_READY; i++) {
                turn(&rig, 1000);
            }
            CHECK_EQ(rig.nvme.counters.resets, round + 1u);
            nvme_disarm(&more[0]);
        }
        rig_free(&rig);
    }
}

/* Ports of one thread that share the vector: it stays open until the last is disarmed. */
TEST(shared_vector)
{
    rig_with_ports(512, false);
    CHECK_EQ(bring_up(&rig), NVME_READY);
    CHECK(nvme_arm(&rig.nvme.port));
    CHECK(nvme_arm(&more[0]));
    nvme_disarm(&more[0]);
    CHECK_EQ(rig.fake.msix[0][3], 0);
    struct block_request request = {.blocks = 1, .operation = BLOCK_READ, .data = rig.data};
    CHECK_EQ(nvme_submit(&more[1], &request, 1, rig.now_ns), 1);
    uint32_t interrupts = rig.fake.interrupts;
    nvme_fake_run(&rig.fake, 4);
    CHECK_EQ(rig.fake.interrupts, interrupts + 1);
    CHECK(!nvme_arm(&more[1]));
    nvme_disarm(&rig.nvme.port);
    CHECK_EQ(rig.fake.msix[0][3], NVME_MSIX_MASKED);
    CHECK_EQ(nvme_poll(&more[1], rig.done, 4, rig.now_ns), 1);
    rig_free(&rig);
}

/* A reset: a port with a thread of its own first has to see that its queue is taken back. */
static void reset_beside_a_thread(bool asleep)
{
    rig_with_ports(512, false);
    struct block_request request = {
        .cookie = 4, .blocks = 1, .operation = BLOCK_WRITE, .data = rig.data};
    more_configs[0].own_thread = true;
    own_vector(0);
    CHECK_EQ(bring_up(&rig), NVME_READY);
    CHECK_EQ(nvme_submit(&more[0], &request, 1, rig.now_ns), 1);
    nvme_fake_run(&rig.fake, 4);
    CHECK_EQ(nvme_poll(&more[0], rig.done, 4, rig.now_ns), 1);
    CHECK_EQ(rig.fake.msix[1][2], 0x50);
    /* The owner has to look after it now and then. */
    CHECK(nvme_next_due(&rig.nvme.port) <= rig.now_ns + NVME_OWNER_CHECK_NS);
    rig.fake.swallow = 1;
    rig.fake.ignore_abort = true;
    CHECK_EQ(nvme_submit(&more[0], &request, 1, rig.now_ns), 1);
    nvme_fake_run(&rig.fake, 4);
    CHECK_EQ(nvme_next_due(&more[0]), rig.now_ns + 40 * SECOND);
    rig.now_ns += 41 * SECOND; /* the port asks for an abort, which does not help */
    CHECK_EQ(nvme_poll(&more[0], rig.done, 4, rig.now_ns), 0);
    turn(&rig, SECOND);
    CHECK_EQ(more[0].counters.aborts, 1);
    rig.now_ns += 11 * SECOND;
    CHECK_EQ(nvme_poll(&more[0], rig.done, 4, rig.now_ns), 0);
    if (asleep) {
        CHECK(nvme_arm(&more[0]));
    }
    for (uint32_t i = 0; i < 50; i++) { /* the owner resets, and comes only so far */
        turn(&rig, SECOND / 10u);
    }
    CHECK_EQ(rig.nvme.counters.resets, 1);
    CHECK_EQ(nvme_state(&rig.nvme), asleep ? NVME_READY : NVME_DISABLING);
    CHECK_EQ(nvme_next_due(&more[0]), DEADLINE_NOW);
    nvme_disarm(&more[0]);
    if (!asleep) {
        CHECK_EQ(nvme_submit(&more[0], &request, 1, rig.now_ns), 0);
        CHECK_EQ(nvme_poll(&more[0], rig.done, 4, rig.now_ns), 0);
        for (uint32_t i = 0; i < 50; i++) {
            turn(&rig, 1000);
        }
        CHECK_EQ(nvme_state(&rig.nvme), NVME_READY);
    }
    CHECK_EQ(nvme_poll(&more[0], rig.done, 4, rig.now_ns), 1);
    CHECK_EQ(rig.done[0].cookie, 4);
    CHECK_EQ(rig.done[0].status, STATUS_DEVICE_TIMEOUT);
    CHECK_EQ(ask_port(&more[0], BLOCK_READ, 0, 1, rig.data).status, STATUS_OK);
    CHECK_EQ(ask_port(&more[1], BLOCK_READ, 0, 1, rig.data).status, STATUS_OK);
    CHECK_EQ(ask_port(&rig.nvme.port, BLOCK_READ, 0, 1, rig.data).status, STATUS_OK);
    rig_free(&rig);
}

TEST(reset_beside_a_busy_thread)
{
    reset_beside_a_thread(false);
}

TEST(reset_beside_a_sleeping_thread)
{
    reset_beside_a_thread(true);
}

TEST(dead_controller_ends_every_port)
{
    rig_with_ports(512, false);
    struct block_request request = {
        .cookie = 4, .blocks = 1, .operation = BLOCK_WRITE, .data = rig.data};
    more_configs[1].own_thread = true;
    CHECK_EQ(bring_up(&rig), NVME_READY);
    CHECK(!nvme_arm(&more[1])); /* no vector of its own */
    rig.fake.swallow = 3;
    CHECK_EQ(nvme_submit(&rig.nvme.port, &request, 1, rig.now_ns), 1);
    CHECK_EQ(nvme_submit(&more[0], &request, 1, rig.now_ns), 1);
    CHECK_EQ(nvme_submit(&more[1], &request, 1, rig.now_ns), 1);
    nvme_fake_run(&rig.fake, 4);
    rig.fake.never_ready = true;
    nvme_fake_break(&rig.fake);
    rig.done_count = 0;
    for (uint32_t i = 0; i < 200 && nvme_state(&rig.nvme) != NVME_DEAD; i++) {
        turn(&rig, SECOND);
    }
    CHECK_EQ(nvme_state(&rig.nvme), NVME_DEAD);
    turn(&rig, SECOND);
    CHECK_EQ(rig.done_count, 1);
    CHECK_EQ(nvme_poll(&more[0], rig.done, 4, rig.now_ns), 1);
    CHECK_EQ(nvme_poll(&more[1], rig.done, 4, rig.now_ns), 1);
    CHECK(rig.done[0].status != STATUS_OK);
    CHECK_EQ(ask_port(&more[1], BLOCK_READ, 0, 1, rig.data).status, STATUS_DEVICE_ERROR);
    CHECK_EQ(nvme_next_due(&more[1]), DEADLINE_NEVER);
    rig_free(&rig);
}

/* Many late commands at once: each is aborted in its turn, none twice. */
TEST(late_commands_are_aborted_one_by_one)
{
    struct block_request requests[40];
    rig_with_ports(512, false);
    CHECK_EQ(bring_up(&rig), NVME_READY);
    for (uint32_t i = 0; i < 40; i++) {
        requests[i] = (struct block_request){
            .cookie = i, .block = i, .blocks = 1, .operation = BLOCK_READ, .data = rig.data};
    }
    rig.fake.swallow = 40;
    CHECK_EQ(nvme_submit(&rig.nvme.port, requests, 20, rig.now_ns), 20);
    CHECK_EQ(nvme_submit(&more[0], requests + 20, 20, rig.now_ns), 20);
    rig.done_count = 0;
    uint32_t others = 0;
    for (uint32_t i = 0; i < 100; i++) {
        turn(&rig, i < 40 ? SECOND : 1000);
        others += nvme_poll(&more[0], rig.done + 40, 20, rig.now_ns);
    }
    CHECK_EQ(rig.done_count, 20);
    CHECK_EQ(others, 20);
    CHECK_EQ(rig.nvme.port.counters.aborts + more[0].counters.aborts, 40);
    CHECK_EQ(rig.nvme.counters.resets, 0);
    struct nvme_counters sum;
    nvme_count_all(&rig.nvme, &sum);
    CHECK_EQ(sum.timeouts, 40);
    CHECK_EQ(sum.submitted, 40);
    rig_free(&rig);
}
