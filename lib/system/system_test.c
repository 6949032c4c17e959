// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/system/system.h"

#include <stdlib.h>

#include "tests/check.h"

#define CONFIG "port=6379\0ip=10.0.2.15"

struct description {
    struct system_header header;
    struct system_cell cells[3];
    struct system_device devices[2];
    struct system_ring rings[1];
    struct system_window windows[3];
    char config[32];
};

static struct description good(void)
{
    struct description d = {
        .header = {.magic = SYSTEM_MAGIC,
                   .version = SYSTEM_VERSION,
                   .total_bytes = sizeof(struct description),
                   .name = "direct",
                   .cell_count = 3,
                   .cells_offset = offsetof(struct description, cells),
                   .device_count = 2,
                   .devices_offset = offsetof(struct description, devices),
                   .ring_count = 1,
                   .rings_offset = offsetof(struct description, rings),
                   .window_count = 3,
                   .windows_offset = offsetof(struct description, windows)},
        .windows = {{0, 0, 1000, 0}, {0, 3, 500, 0}, {2, 1, SYSTEM_WINDOW_MIN_US, 0}},
        .devices = {{.name = "net0", .kind = SYSTEM_DEVICE_NET, .irq_count = 2},
                    {.name = "disk0", .kind = SYSTEM_DEVICE_NVME, .irq_count = 1}},
        .rings = {{"net", 2, 1, 256, 512, 2048, 0}},
        .config = CONFIG,
    };
    static const char *const names[] = {"pci", "nic", "kvstore"};
    for (uint32_t i = 0; i < 3u; i++) {
        strcpy(d.cells[i].name, names[i]);
        strcpy(d.cells[i].program, names[i]);
        d.cells[i].stack_bytes = 0x10000;
        d.cells[i].heap_bytes = SEGMENT_BYTES;
        d.cells[i].priority = 100;
    }
    d.cells[0].flags = CELL_FLAG_PCI | CELL_FLAG_START_READY;
    d.cells[1].device_count = 1;
    d.cells[2].device_count = 1;
    d.cells[2].devices[0] = 1;
    d.cells[2].config_offset = offsetof(struct description, config);
    d.cells[2].config_bytes = sizeof(CONFIG);
    return d;
}

static status_t try_open(const struct description *d, struct system_problem *problem)
{
    struct system_view view;
    return system_open(&view, d, sizeof(*d), problem);
}

static void check_refused(const struct description *d, enum system_part part, uint32_t index)
{
    struct system_problem problem;

    CHECK_EQ(try_open(d, &problem), STATUS_CORRUPT);
    CHECK_EQ(problem.part, part);
    CHECK_EQ(problem.index, index);
    CHECK(problem.what != NULL);
}

TEST(virtual_functions_have_a_physical_one)
{
    struct description d = good();
    struct system_problem problem;
    d.devices[1].kind = SYSTEM_DEVICE_NET;
    d.devices[1].parent = 1;
    check_refused(&d, SYSTEM_PART_DEVICE, 1); /* it makes none */
    d.devices[0].virtual_functions = 1;
    CHECK_EQ(try_open(&d, &problem), STATUS_OK);
    d.devices[1].index = 1;
    check_refused(&d, SYSTEM_PART_DEVICE, 1);
    d.devices[1].index = 0;
    d.devices[1].parent = 2;
    check_refused(&d, SYSTEM_PART_DEVICE, 1); /* of itself */
    d.devices[1].parent = 3;
    check_refused(&d, SYSTEM_PART_DEVICE, 1);
    d.devices[1].parent = 0;
    d.devices[0].virtual_functions = 65;
    check_refused(&d, SYSTEM_PART_DEVICE, 0);
}

TEST(a_good_description_opens)
{
    struct description d = good();
    struct system_view view;
    struct system_problem problem;

    CHECK_EQ(system_open(&view, &d, sizeof(d), &problem), STATUS_OK);
    CHECK(view.cells == d.cells);
    CHECK_TEXT(system_cell_config(&view, &view.cells[2]), "port=6379");
    CHECK_TEXT(system_part_text(SYSTEM_PART_RING), "ring");
}

TEST(header_rules)
{
    struct system_problem problem;
    struct description d = good();

    d.header.version = 9;
    CHECK_EQ(try_open(&d, &problem), STATUS_WRONG_VERSION);
#define BREAK(change)                                                                              \
    d = good();                                                                                    \
    change;                                                                                        \
    check_refused(&d, SYSTEM_PART_HEADER, 0)
    BREAK(d.header.magic ^= 1u);
    BREAK(d.header.total_bytes = sizeof(d) + 1u);
    BREAK(d.header.total_bytes = 8);
    BREAK(d.header.name[0] = 'A');
    BREAK(d.header.cell_count = 0);
    BREAK(d.header.cell_count = SYSTEM_CELLS_MAX + 1u);
    BREAK(d.header.cells_offset = 4);
    BREAK(d.header.cells_offset += 4u);
    BREAK(d.header.rings_offset = UINT32_MAX - 7u);
    BREAK(d.header.windows_offset += 16u * 1024u);
    BREAK(d.header.window_count = UINT32_MAX);
    BREAK(d.header.device_count = SYSTEM_DEVICES_MAX + 1u);
#undef BREAK
}

TEST(device_and_ring_rules)
{
    struct description d;

#define BREAK(part, index, change)                                                                 \
    d = good();                                                                                    \
    change;                                                                                        \
    check_refused(&d, part, index)
    BREAK(SYSTEM_PART_DEVICE, 1, d.devices[1].kind = 9);
    BREAK(SYSTEM_PART_DEVICE, 1, memcpy(d.devices[1].name, "net0\0", 6));
    BREAK(SYSTEM_PART_DEVICE, 0, d.devices[0].irq_count = 0);
    BREAK(SYSTEM_PART_DEVICE, 0, d.devices[0].irq_count = 9);
    BREAK(SYSTEM_PART_DEVICE, 0, d.devices[0].index = 256);
    BREAK(SYSTEM_PART_DEVICE, 0, memset(d.devices[0].name, 'x', SYSTEM_NAME_BYTES));
    BREAK(SYSTEM_PART_RING, 0, d.rings[0].client_cell = 3);
    BREAK(SYSTEM_PART_RING, 0, d.rings[0].server_cell = 2);
    BREAK(SYSTEM_PART_RING, 0, d.rings[0].entries = 100);
    BREAK(SYSTEM_PART_RING, 0, d.rings[0].entries = 8192);
    BREAK(SYSTEM_PART_RING, 0, d.rings[0].buffer_bytes = 8192);
    BREAK(SYSTEM_PART_RING, 0, d.rings[0].buffer_count = 0);
    BREAK(SYSTEM_PART_RING, 0, d.rings[0].buffer_count = UINT32_MAX);
}

TEST(window_rules)
{
    struct system_problem problem;
    struct description d = good();

    d.cells[1].domain = 3;
    d.cells[2].cpu = 2;
    d.cells[2].domain = 1;
    d.cells[0].worker_count = 2;
    d.cells[0].worker_cpus[0] = 1;
    d.cells[0].worker_cpus[1] = 63;
    CHECK_EQ(try_open(&d, &problem), STATUS_OK);
    BREAK(SYSTEM_PART_WINDOW, 1, d.windows[0].cpu = 1); /* out of order */
    BREAK(SYSTEM_PART_WINDOW, 2, d.windows[2].cpu = SYSTEM_CPUS_MAX);
    BREAK(SYSTEM_PART_WINDOW, 0, d.windows[0].length_us = SYSTEM_WINDOW_MIN_US - 1u);
    BREAK(SYSTEM_PART_WINDOW, 1, d.windows[1].length_us = SYSTEM_PERIOD_MAX_US);
    BREAK(SYSTEM_PART_WINDOW, 1, d.windows[1].domain = SYSTEM_DOMAINS_MAX);
    BREAK(SYSTEM_PART_WINDOW, 1, d.windows[1].reserved = 1);
    BREAK(SYSTEM_PART_WINDOW, 0, d.windows[0].domain = 3); /* none for the supervisor */
}

TEST(cell_rules)
{
    struct description d;

    BREAK(SYSTEM_PART_CELL, 1, d.cells[1].name[1] = ' ');
    BREAK(SYSTEM_PART_CELL, 1, memcpy(d.cells[1].name, "pci\0", 5));
    BREAK(SYSTEM_PART_CELL, 1, d.cells[1].program[0] = '\0');
    BREAK(SYSTEM_PART_CELL, 1, memset(d.cells[1].program, 'x', sizeof(d.cells[1].program)));
    BREAK(SYSTEM_PART_CELL, 1, d.cells[1].heap_bytes = 4096);
    BREAK(SYSTEM_PART_CELL, 1, d.cells[1].heap_bytes = 1ull << 40);
    BREAK(SYSTEM_PART_CELL, 1, d.cells[1].dma_bytes = 1ull << 33);
    BREAK(SYSTEM_PART_CELL, 1, d.cells[1].stack_bytes = 0);
    BREAK(SYSTEM_PART_CELL, 1, d.cells[1].stack_bytes = 0x200000);
    BREAK(SYSTEM_PART_CELL, 1, d.cells[1].priority = 255);
    BREAK(SYSTEM_PART_CELL, 1, d.cells[1].cpu = SYSTEM_CPUS_MAX);
    BREAK(SYSTEM_PART_CELL, 1, d.cells[1].period_us = 1000);
    BREAK(SYSTEM_PART_CELL, 1, d.cells[1].budget_us = 1000);
    BREAK(SYSTEM_PART_CELL, 1,
          (d.cells[1].budget_us = SYSTEM_BUDGET_MIN_US - 1u, d.cells[1].period_us = 1000));
    BREAK(SYSTEM_PART_CELL, 1,
          (d.cells[1].budget_us = 1000, d.cells[1].period_us = SYSTEM_PERIOD_MAX_US + 1u));
    BREAK(SYSTEM_PART_CELL, 1, d.cells[1].domain = 1); /* has windows on CPU 2 only */
    BREAK(SYSTEM_PART_CELL, 1, d.cells[1].cpu = 2);    /* which has none of domain 0 */
    BREAK(SYSTEM_PART_CELL, 1, (d.cells[1].cpu = 1, d.cells[1].domain = 1));
    BREAK(SYSTEM_PART_CELL, 1, d.cells[1].worker_count = 1); /* on the first thread's CPU */
    BREAK(SYSTEM_PART_CELL, 1, (d.cells[1].worker_count = 1, d.cells[1].worker_cpus[0] = 64));
    BREAK(SYSTEM_PART_CELL, 1, (d.cells[1].worker_count = 1, d.cells[1].worker_cpus[0] = 2));
    BREAK(SYSTEM_PART_CELL, 1,
          (d.cells[1].worker_count = 2, d.cells[1].worker_cpus[0] = d.cells[1].worker_cpus[1] = 1));
    BREAK(SYSTEM_PART_CELL, 1, d.cells[1].worker_count = CELL_WORKERS_MAX + 1u);
    BREAK(SYSTEM_PART_CELL, 1,
          (d.cells[1].worker_count = 1, d.cells[1].worker_cpus[0] = 1, d.cells[1].domain = 3));
    BREAK(SYSTEM_PART_CELL, 1, d.cells[1].flags = 8);
    BREAK(SYSTEM_PART_CELL, 1, d.cells[1].flags = CELL_FLAG_PCI);
    BREAK(SYSTEM_PART_CELL, 1, d.cells[1].restart = 2);
    BREAK(SYSTEM_PART_CELL, 1, d.cells[1].restart_window_s = UINT32_MAX);
    BREAK(SYSTEM_PART_CELL, 1, d.cells[1].device_count = 5);
    BREAK(SYSTEM_PART_CELL, 1, d.cells[1].devices[0] = 2);
    BREAK(SYSTEM_PART_CELL, 2, d.cells[2].devices[0] = 0);
    BREAK(SYSTEM_PART_CELL, 2, d.cells[2].config_offset = UINT32_MAX);
    BREAK(SYSTEM_PART_CELL, 2, d.cells[2].config_bytes--);
    BREAK(SYSTEM_PART_CELL, 2, d.config[4] = ' ');
#undef BREAK
}

TEST(random_damage_never_reads_outside)
{
    srand(3);
    for (uint32_t round = 0; round < 50000u; round++) {
        struct description *d = malloc(sizeof(*d));
        struct system_problem problem;
        *d = good();
        for (uint32_t i = 0; i < 2u; i++) {
            ((uint8_t *)d)[(size_t)rand() % sizeof(*d)] = (uint8_t)rand();
        }
        (void)!try_open(d, &problem);
        free(d);
    }
}
