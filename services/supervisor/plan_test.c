// SPDX-License-Identifier: MIT OR Apache-2.0
#include "services/supervisor/plan.h"

#include "tests/check.h"

static const struct elf_program program = {
    .entry = 0x400000,
    .segment_count = 2,
    .segments = {{0x400000, NULL, 0x1234, 0x1234, ELF_READ | ELF_EXECUTE},
                 {0x402000, NULL, 0x10, 0x300000, ELF_READ | ELF_WRITE}},
};

TEST(a_small_cell)
{
    struct system_cell cell = {.heap_bytes = SEGMENT_BYTES, .stack_bytes = 0x8000};
    struct plan_request request = {.cell = &cell, .program = &program};
    struct cell_plan plan;
    const char *what;

    CHECK_EQ(cell_plan_make(&plan, &request, &what), STATUS_OK);
    CHECK_EQ(plan.program_windows, 2);
    CHECK_EQ(plan.program_pages, 2 + 0x300);
    CHECK_EQ(plan.code_address, program.segments[0].address);
    CHECK_EQ(plan.code_bytes, program.segments[0].memory_bytes);
    CHECK_EQ(plan.stack_pages, 8);
    CHECK_EQ(plan.info_pages, 1);
    CHECK_EQ(plan.device_windows, 0);
    CHECK_EQ(plan.window_count, 5);
    CHECK_EQ(plan.table_count, 4);
    CHECK_EQ(plan_heap_window(&plan), 4);
    CHECK(plan.untyped_bytes > (uint64_t)(plan.program_pages + 8 + 1 + 512 + 5 + 12) * PAGE_BYTES);
}

TEST(devices_and_dma_take_windows_and_lists)
{
    struct system_cell cell = {.heap_bytes = 3ull << 30,
                               .dma_bytes = 64u << 20,
                               .stack_bytes = 0x1000,
                               .config_bytes = 5,
                               .device_count = 2};
    struct plan_device devices[2] = {{{0x1000, 0, 0, 0, 0x4000}}, {{0x10000000}}};
    struct plan_request request = {.cell = &cell,
                                   .program = &program,
                                   .devices = devices,
                                   .ring_pool_pages = 10,
                                   .extra_windows = 3,
                                   .extra_directories = 1};
    struct cell_plan plan;
    const char *what;

    CHECK_EQ(cell_plan_make(&plan, &request, &what), STATUS_OK);
    CHECK_EQ(plan.device_pages, 1 + 1 + 4 + 1 + 4096);
    CHECK_EQ(plan.device_windows, 9);
    CHECK_EQ(plan.dma_windows, 32);
    CHECK_EQ(plan.heap_windows, 1536);
    CHECK_EQ(plan_extra_window(&plan), 2 + 2 + 9 + 32 + 1536);
    CHECK_EQ(plan.window_count, plan_extra_window(&plan) + 3);
    CHECK_EQ(plan.table_count, 1 + 2 + 1 + 1 + 3 + 1);
    CHECK_EQ(plan.dma_address_offset % 8, 0);
    CHECK_EQ(plan.ring_address_offset - plan.dma_address_offset, 16384 * 8);
    CHECK_EQ(plan.info_pages, 1 + 32);
}

TEST(too_much_is_refused_by_name)
{
    struct system_cell cell = {.dma_bytes = 2ull << 30, .stack_bytes = 0x1000};
    struct elf_program large = program;
    struct plan_request request = {.cell = &cell, .program = &program};
    struct cell_plan plan;
    const char *what = NULL;

    CHECK_EQ(cell_plan_make(&plan, &request, &what), STATUS_TOO_LARGE);
    CHECK(what != NULL);
    cell.dma_bytes = 0;
    large.segments[1].memory_bytes = 64u << 20;
    request.program = &large;
    CHECK_EQ(cell_plan_make(&plan, &request, &what), STATUS_TOO_LARGE);
}
