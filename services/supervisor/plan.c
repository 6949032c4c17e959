// SPDX-License-Identifier: MIT OR Apache-2.0
#include "services/supervisor/plan.h"

/* Pages that the kernel takes for things besides frames: page tables have one table and two pages
 * of attachment records, an address space and each window one table; small objects share pages. */
#define PAGES_PER_TABLE 3u
#define PAGES_PER_ASPACE 1u
#define PAGES_SLACK 32u
#define SEGMENTS_PER_PAGE 64u
#define DIRECTORY_SHIFT 30u

static uint64_t pages_of(uint64_t bytes)
{
    return (bytes + PAGE_BYTES - 1u) >> PAGE_SHIFT;
}

static uint32_t windows_of_pages(uint64_t pages)
{
    return (uint32_t)((pages + SEGMENT_PAGES - 1u) / SEGMENT_PAGES);
}

/* 1 GiB address ranges that `bytes` from a 1 GiB boundary touch. */
static uint32_t directories_of(uint64_t bytes)
{
    return (uint32_t)((bytes + (1ull << DIRECTORY_SHIFT) - 1u) >> DIRECTORY_SHIFT);
}

static status_t plan_program(struct cell_plan *plan, const struct elf_program *program)
{
    uint64_t end = CELL_PROGRAM_ADDRESS;

    for (uint32_t i = 0; i < program->segment_count; i++) {
        const struct elf_segment *s = &program->segments[i];
        plan->program_pages += pages_of(s->memory_bytes);
        if ((s->rights & ELF_EXECUTE) != 0 && plan->code_bytes == 0) {
            plan->code_address = s->address;
            plan->code_bytes = s->memory_bytes;
        }
        end = s->address + s->memory_bytes;
    }
    plan->program_windows = windows_of_pages(pages_of(end - CELL_PROGRAM_ADDRESS));
    return plan->program_windows > PLAN_PROGRAM_WINDOWS_MAX ? STATUS_TOO_LARGE : STATUS_OK;
}

static void plan_devices(struct cell_plan *plan, const struct plan_request *request)
{
    uint64_t pages = 0;

    for (uint32_t i = 0; i < request->cell->device_count; i++) {
        pages++; /* the configuration space */
        for (uint32_t bar = 0; bar < 6u; bar++) {
            uint64_t bytes = request->devices[i].bar_bytes[bar];
            pages += pages_of(bytes < PLAN_BAR_BYTES_MAX ? bytes : PLAN_BAR_BYTES_MAX);
        }
    }
    plan->device_pages = (uint32_t)pages;
    plan->device_windows = windows_of_pages(pages);
}

static void plan_info(struct cell_plan *plan, const struct plan_request *request)
{
    uint64_t dma_pages = request->cell->dma_bytes >> PAGE_SHIFT;

    plan->config_offset = sizeof(struct cell_info);
    plan->dma_address_offset = (plan->config_offset + request->cell->config_bytes + 7u) & ~7ull;
    plan->ring_address_offset = plan->dma_address_offset + dma_pages * sizeof(uint64_t);
    plan->info_pages =
        (uint32_t)pages_of(plan->ring_address_offset + request->ring_pool_pages * sizeof(uint64_t));
}

static void plan_totals(struct cell_plan *plan, const struct plan_request *request)
{
    plan->window_count = plan_extra_window(plan) + request->extra_windows;
    /* One for the whole, one each for program with stack, info, devices. */
    plan->table_count = 1u + 2u + (plan->device_windows > 0 ? 1u : 0u) +
                        directories_of(request->cell->dma_bytes) +
                        directories_of(request->cell->heap_bytes) + request->extra_directories;
    uint64_t stacks = (uint64_t)plan->stack_pages * (1u + request->cell->worker_count);
    uint64_t frames = plan->program_pages + stacks + plan->info_pages +
                      pages_of(request->cell->dma_bytes) + pages_of(request->cell->heap_bytes);
    uint64_t kernel = plan->window_count + plan->window_count / SEGMENTS_PER_PAGE +
                      (uint64_t)plan->table_count * (PAGES_PER_TABLE + 1u) + PAGES_PER_ASPACE +
                      PAGES_SLACK;
    plan->untyped_bytes = (frames + kernel) << PAGE_SHIFT;
}

status_t cell_plan_make(struct cell_plan *plan, const struct plan_request *request,
                        const char **what)
{
    *plan = (struct cell_plan){0};
    if (plan_program(plan, request->program) != STATUS_OK) {
        *what = "the program is larger than 32 MiB";
        return STATUS_TOO_LARGE;
    }
    plan->stack_pages = (uint32_t)pages_of(request->cell->stack_bytes);
    if ((plan->stack_pages + 1u) * (1u + request->cell->worker_count) > SEGMENT_PAGES) {
        *what = "the stacks of its threads are larger than 2 MiB";
        return STATUS_TOO_LARGE;
    }
    plan_devices(plan, request);
    if ((uint64_t)plan->device_windows << SEGMENT_SHIFT > CELL_DMA_ADDRESS - CELL_DEVICE_ADDRESS) {
        *what = "the devices' registers do not fit the cell's addresses";
        return STATUS_TOO_LARGE;
    }
    plan->dma_windows = (uint32_t)(request->cell->dma_bytes >> SEGMENT_SHIFT);
    plan->heap_windows = (uint32_t)(request->cell->heap_bytes >> SEGMENT_SHIFT);
    plan_info(plan, request);
    if (plan->info_pages > SEGMENT_PAGES) {
        *what = "settings, DMA memory and ring buffers together are too many to list (2 MiB)";
        return STATUS_TOO_LARGE;
    }
    plan_totals(plan, request);
    return STATUS_OK;
}
