// SPDX-License-Identifier: MIT OR Apache-2.0
#include "kernel/boot/initial_cell.h"

#include <hallows/cell.h>

#include "lib/base/bytes.h"
#include "lib/base/format.h"
#include "lib/elf/elf.h"

#define PAGE_MASK ((uint64_t)PAGE_BYTES - 1)
#define PCI_FUNCTIONS 0x10000u          /* requester ids have 16 bits */
#define OBJECT_MEMORY_BYTES 0x200000ull /* tables, thread, page tables with room to spare */

uint64_t initial_cell_memory(const struct boot_parameters *parameters)
{
    /* Each page of a program comes from the bundle or is zero; a leaf table shows 2 MiB. A program
     * with much zero data is refused for lack of memory, with that reason. */
    uint64_t bytes = OBJECT_MEMORY_BYTES + INITIAL_CELL_STACK_BYTES + 4 * parameters->bundle_bytes +
                     parameters->bundle_bytes / 128;
    return (bytes + SEGMENT_BYTES - 1) & ~((uint64_t)SEGMENT_BYTES - 1);
}

static status_t fail(struct initial_cell_request *request, status_t status, const char *what)
{
    request->problem = what;
    return status;
}

/* ---- Program --------------------------------------------------------------------------------- */

/* Names are a convenience: a table that is missing or wrong is done without. */
static void open_symbols(const struct bundle *bundle, const char *name, struct symbols *out)
{
    const void *data;
    const struct bundle_entry *entry = bundle_find(bundle, BUNDLE_SYMBOLS, name);
    if (entry == NULL || bundle_read(bundle, entry, &data) != STATUS_OK ||
        symbols_open(out, data, entry->bytes) != STATUS_OK)
        *out = (struct symbols){0};
}

static status_t open_program(struct initial_cell_request *request, struct elf_program *program)
{
    const struct boot_parameters *p = request->parameters;
    struct bundle bundle;
    struct bundle_problem problem;
    const void *file;
    status_t status =
        bundle_open(&bundle, arch_memory(p->bundle_address), p->bundle_bytes, &problem);
    if (status != STATUS_OK) {
        if (problem.entry < BUNDLE_ENTRIES_MAX)
            format_text(request->problem_text, sizeof request->problem_text, "entry %u: %s",
                        problem.entry, problem.what);
        else
            format_text(request->problem_text, sizeof request->problem_text, "%s", problem.what);
        return fail(request, status, request->problem_text);
    }
    const struct bundle_entry *entry = bundle_find(&bundle, BUNDLE_INITIAL_CELL, NULL);
    if (entry == NULL)
        return fail(request, STATUS_NOT_FOUND, "it holds no initial cell");
    if (bundle_read(&bundle, entry, &file) != STATUS_OK)
        return fail(request, STATUS_CORRUPT, "the initial cell's program fails its checksum");
    open_symbols(&bundle, entry->name, &request->symbols);
    struct elf_limits limits = {CELL_PROGRAM_ADDRESS, CELL_STACK_TOP - INITIAL_CELL_STACK_BYTES,
                                NULL};
    status = elf_open(program, file, entry->bytes, &limits);
    if (status != STATUS_OK) {
        format_text(request->problem_text, sizeof request->problem_text,
                    "the initial cell's program: %s", limits.what);
        return fail(request, status, request->problem_text);
    }
    return STATUS_OK;
}

static uint32_t rights_of(const struct elf_segment *segment)
{
    return RIGHT_READ | ((segment->rights & ELF_WRITE) ? RIGHT_WRITE : 0) |
           ((segment->rights & ELF_EXECUTE) ? RIGHT_EXECUTE : 0);
}

/* elf_open promises segments on pages of their own, so that no page is asked for twice. */
static status_t load_segment(struct kernel *k, const struct elf_segment *segment)
{
    for (uint64_t at = 0; at < segment->memory_bytes; at += PAGE_BYTES) {
        void *page;
        status_t status = start_page(k, segment->address + at, rights_of(segment), &page);
        if (status != STATUS_OK)
            return status;
        uint64_t left = segment->file_bytes > at ? segment->file_bytes - at : 0;
        memcpy(page, segment->data + (left > 0 ? at : 0), left < PAGE_BYTES ? left : PAGE_BYTES);
    }
    return STATUS_OK;
}

static status_t load_program(struct kernel *k, const struct elf_program *program)
{
    for (uint32_t i = 0; i < program->segment_count; i++) {
        status_t status = load_segment(k, &program->segments[i]);
        if (status != STATUS_OK)
            return status;
    }
    for (uint64_t at = INITIAL_CELL_STACK_BYTES; at > 0; at -= PAGE_BYTES) {
        void *page;
        status_t status = start_page(k, CELL_STACK_TOP - at, RIGHT_READ | RIGHT_WRITE, &page);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static status_t show_bundle(struct kernel *k, const struct boot_parameters *p)
{
    for (uint64_t at = 0; at < p->bundle_bytes; at += PAGE_BYTES) {
        status_t status =
            start_bundle_page(k, INITIAL_CELL_BUNDLE_ADDRESS + at, p->bundle_address + at);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

/* ---- Capabilities ---------------------------------------------------------------------------- */

static void give_roots(struct kernel *k)
{
    bool iommu = arch_io_limits().domains != 0;
    const struct start_capability roots[] = {
        {.slot = BOOT_SLOT_IRQ_CONTROL, .type = OBJECT_IRQ_CONTROL},
        {.slot = BOOT_SLOT_IO_PORTS,
         .type = OBJECT_IO_PORTS,
         .base = INITIAL_CELL_FIRST_PORT,
         .length = 0x10000 - INITIAL_CELL_FIRST_PORT},
        {.slot = BOOT_SLOT_RTC_PORTS, .type = OBJECT_IO_PORTS, .base = 0x70, .length = 2},
        {.slot = BOOT_SLOT_SCHED_CONTROL,
         .type = OBJECT_SCHED_CONTROL,
         .badge = PRIORITY_COUNT - 1},
        {.slot = BOOT_SLOT_CONSOLE, .type = OBJECT_CONSOLE},
        {.slot = BOOT_SLOT_TRACE, .type = OBJECT_TRACE},
        iommu ? (struct start_capability){.slot = BOOT_SLOT_PCI_FUNCTIONS,
                                          .type = OBJECT_PCI_FUNCTIONS,
                                          .length = PCI_FUNCTIONS}
              : (struct start_capability){.slot = BOOT_SLOT_IOSPACE, .type = OBJECT_IOSPACE},
    };
    for (uint32_t i = 0; i < sizeof roots / sizeof roots[0]; i++)
        start_root(k, &roots[i]);
}

/* Drops the smallest ranges until `max` are left: firmware may list dozens of a few pages each. */
static void keep_largest(struct memory_map *map, uint32_t max)
{
    while (map->count > max) {
        uint32_t smallest = 0;
        for (uint32_t i = 1; i < map->count; i++)
            if (map->range[i].bytes < map->range[smallest].bytes)
                smallest = i;
        memmove(&map->range[smallest], &map->range[smallest + 1],
                (map->count - smallest - 1) * sizeof map->range[0]);
        map->count--;
    }
}

static void give_memory(struct kernel *k, struct initial_cell_request *request,
                        struct boot_info *info)
{
    keep_largest(&request->free, BOOT_UNTYPED_MAX);
    keep_largest(&request->device, BOOT_DEVICE_MEMORY_MAX);
    uint32_t slot = BOOT_SLOT_FIRST_DYNAMIC;
    for (uint32_t i = 0; i < request->free.count; i++) {
        uint64_t base = request->free.range[i].base, bytes = request->free.range[i].bytes;
        start_untyped(k, slot, base, bytes);
        info->untyped[info->untyped_count++] = (struct boot_range){base, bytes, slot++, 0};
    }
    for (uint32_t i = 0; i < request->device.count; i++) {
        uint64_t base = request->device.range[i].base, bytes = request->device.range[i].bytes;
        start_device_memory(k, slot, base, bytes);
        info->device_memory[info->device_memory_count++] =
            (struct boot_range){base, bytes, slot++, 0};
    }
    info->first_free_slot = slot;
}

/* ---- Boot information ------------------------------------------------------------------------ */

static void fill_info(const struct initial_cell_request *request, struct boot_info *info)
{
    const struct boot_parameters *p = request->parameters;
    const struct acpi_facts *facts = request->facts;
    info->magic = BOOT_INFO_MAGIC;
    info->version = BOOT_INFO_VERSION;
    info->flags = request->flags;
    info->time = *request->time;
    info->table_slots = INITIAL_CELL_SLOTS;
    info->bundle_address = INITIAL_CELL_BUNDLE_ADDRESS;
    info->bundle_bytes = p->bundle_bytes;
    info->free_address = (INITIAL_CELL_BUNDLE_ADDRESS + p->bundle_bytes + SEGMENT_BYTES - 1) &
                         ~((uint64_t)SEGMENT_BYTES - 1);
    info->cpu_count = facts->cpu_count;
    info->cpus_used = request->cpus_used;
    info->ecam_base = facts->ecam_base;
    info->ecam_first_bus = facts->ecam_first_bus;
    info->ecam_last_bus = facts->ecam_last_bus;
    info->acpi_pm1a_event_port = facts->pm1a_event_port;
    info->acpi_pm1a_control_port = facts->pm1a_control_port;
    info->acpi_sci_gsi = facts->sci_gsi;
    info->acpi_s5_sleep_type = facts->s5_sleep_type;
    info->ram_bytes = request->ram_bytes;
    info->start_tsc = request->start_tsc;
    memcpy(info->command_line, p->command_line, sizeof info->command_line);
}

status_t initial_cell_start(struct kernel *k, struct initial_cell_request *request)
{
    static struct elf_program program;
    void *info = NULL;
    const struct boot_parameters *p = request->parameters;

    status_t status = open_program(request, &program);
    if (status != STATUS_OK)
        return status;
    start_memory(k, request->start_memory_base, request->start_memory_bytes);
    start_mark(k, p->bundle_address, (p->bundle_bytes + PAGE_MASK) & ~PAGE_MASK, PAGE_BUNDLE);
    status = start_cell(k, INITIAL_CELL_SLOTS, INITIAL_CELL_PRIORITY);
    if (status == STATUS_OK)
        status = load_program(k, &program);
    if (status == STATUS_OK)
        status = show_bundle(k, p);
    if (status == STATUS_OK)
        status = start_page(k, CELL_INFO_ADDRESS, RIGHT_READ, &info);
    if (status != STATUS_OK)
        return fail(request, status, "there is too little memory for the initial cell");
    give_roots(k);
    fill_info(request, info);
    give_memory(k, request, info);
    start_thread(k, program.entry, CELL_STACK_TOP, CELL_INFO_ADDRESS);
    return STATUS_OK;
}
