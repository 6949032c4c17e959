// SPDX-License-Identifier: MIT OR Apache-2.0
/* Building and taking apart one incarnation of a cell. */
#include "services/supervisor/supervisor.h"

#include "lib/base/bytes.h"
#include "lib/elf/elf.h"

#define ECAM_WINDOWS 128u /* 256 buses of 1 MiB */
#define VIEW_WINDOWS (PLAN_PROGRAM_WINDOWS_MAX + 2u)

enum cell_state cell_public_state(const struct cell *cell)
{
    static const enum cell_state states[] = {
        [STAGE_WAITING] = CELL_STATE_WAITING,   [STAGE_ENABLING] = CELL_STATE_STARTING,
        [STAGE_STARTING] = CELL_STATE_STARTING, [STAGE_READY] = CELL_STATE_READY,
        [STAGE_QUIESCING] = CELL_STATE_WAITING, [STAGE_FAILED] = CELL_STATE_FAILED,
        [STAGE_STOPPED] = CELL_STATE_STOPPED,
    };
    return states[cell->stage];
}

/* ---- Once ------------------------------------------------------------------------------------ */

status_t cell_prepare(struct supervisor *s, uint32_t index)
{
    struct cell *cell = &s->cells[index];
    struct cell_slots *slots = &cell->slots;
    cap_slot_t first;

    cell->index = index;
    cell->description = &s->system.cells[index];
    for (uint32_t i = 0; i < cell->description->device_count; i++) {
        cell->devices[i] = &s->devices[cell->description->devices[i]];
    }
    status_t status = threads_prepare(s, cell);
    if (status == STATUS_OK) {
        status = slots_take(s, 2, &first);
    }
    if (status != STATUS_OK) {
        return status;
    }
    slots->shutdown = first;
    slots->io_event = first + 1u;
    status =
        cap_mint(slots->shutdown, slots->threads[0].notification, RIGHT_SEND, CELL_EVENT_SHUTDOWN);
    if (status == STATUS_OK) {
        status = cap_mint(slots->io_event, s->events, RIGHT_SEND, EVENT_IO_FAULT(index));
    }
    uint8_t *view = (uint8_t *)addresses_take(s, (uint64_t)VIEW_WINDOWS * SEGMENT_BYTES);
    cell->program = view;
    cell->stack = view + (uint64_t)PLAN_PROGRAM_WINDOWS_MAX * SEGMENT_BYTES;
    cell->info = cell->stack + SEGMENT_BYTES;
    return status;
}

/* ---- Plan and memory ------------------------------------------------------------------------- */

static status_t program_open(struct supervisor *s, struct cell *cell, struct elf_program *program)
{
    const char *name = cell->description->program;
    const struct bundle_entry *entry = bundle_find(&s->bundle, BUNDLE_CELL, name);
    struct elf_limits limits = {CELL_PROGRAM_ADDRESS, CELL_STACK_TOP - SEGMENT_BYTES, NULL};
    const void *file;

    if (entry == NULL) {
        log_line("%s: the bundle holds no program \"%s\"; make the image anew",
                 cell->description->name, name);
        return STATUS_NOT_FOUND;
    }
    status_t status = bundle_read(&s->bundle, entry, &file);
    if (status != STATUS_OK) {
        log_line("%s: program \"%s\" fails its checksum; make the image anew",
                 cell->description->name, name);
        return status;
    }
    status = elf_open(program, file, entry->bytes, &limits);
    if (status != STATUS_OK) {
        log_line("%s: program \"%s\" cannot be loaded: %s", cell->description->name, name,
                 limits.what);
    }
    return status;
}

static status_t plan_make(struct supervisor *s, struct cell *cell,
                          const struct elf_program *program, struct cell_plan *plan)
{
    struct plan_device devices[CELL_DEVICES_MAX] = {0};
    bool pci = (cell->description->flags & CELL_FLAG_PCI) != 0;
    const char *what = NULL;

    for (uint32_t i = 0; i < cell->description->device_count; i++) {
        memcpy(devices[i].bar_bytes, cell->devices[i]->function->bar_bytes,
               sizeof(devices[i].bar_bytes));
    }
    struct plan_request request = {
        .cell = cell->description,
        .program = program,
        .devices = devices,
        .ring_pool_pages = rings_pool_pages(s, cell),
        .extra_windows = pci ? ECAM_WINDOWS : 0,
        .extra_directories = (pci ? 1u : 0u) + (uint32_t)((rings_bytes(s, cell) >> 30) + 1u) +
                             iospace_tables(s, cell),
    };
    status_t status = cell_plan_make(plan, &request, &what);
    if (status != STATUS_OK) {
        log_line("%s: %s", cell->description->name, what);
    }
    return status;
}

/* The incarnation's slots and untyped memory; the same at every start. */
static status_t memory_take(struct supervisor *s, struct cell *cell, const struct cell_plan *plan)
{
    struct cell_slots *slots = &cell->slots;
    status_t status;

    if (cell->slots_taken) {
        bool fits = plan->window_count <= cell->plan.window_count &&
                    plan->table_count <= cell->plan.table_count &&
                    plan->untyped_bytes <= cell->untyped_bytes;
        return fits ? STATUS_OK : STATUS_NO_MEMORY;
    }
    cap_slot_t first;
    status =
        slots_take(s, 5u + cell_threads(cell) + plan->table_count + plan->window_count, &first);
    if (status != STATUS_OK) {
        log_line("%s: too few capability slots", cell->description->name);
        return status;
    }
    status = untyped_take(s, plan->untyped_bytes, first);
    if (status != STATUS_OK) {
        log_line("%s needs %lu KiB of memory, %lu KiB are left; give the machine more or the "
                 "manifest less",
                 cell->description->name, plan->untyped_bytes >> 10, untyped_free_bytes(s) >> 10);
        return status;
    }
    slots->untyped = first;
    slots->table = first + 1u;
    slots->aspace = first + 2u;
    slots->iospace = first + 3u;
    slots->context = first + 4u;
    slots->tables = first + 5u;
    slots->windows = slots->tables + plan->table_count;
    for (uint32_t i = 0; i < cell_threads(cell); i++) {
        slots->threads[i].thread = slots->windows + plan->window_count + i;
    }
    cell->untyped_bytes = plan->untyped_bytes;
    cell->plan = *plan;
    cell->slots_taken = true;
    return STATUS_OK;
}

static struct window_range window_range(const struct cell *cell, uint32_t first, uint32_t count)
{
    return (struct window_range){cell->slots.untyped, cell->slots.windows + first, count};
}

static status_t objects_make(struct cell *cell)
{
    const struct cell_slots *slots = &cell->slots;
    struct window_range all = window_range(cell, 0, plan_extra_window(&cell->plan));
    status_t status = retype(
        slots->untyped, (struct retype_request){OBJECT_TABLE, CELL_TABLE_SLOTS, slots->table, 1});

    if (status == STATUS_OK) {
        status =
            retype(slots->untyped, (struct retype_request){OBJECT_ASPACE, 0, slots->aspace, 1});
    }
    if (status == STATUS_OK) {
        status = threads_make(cell);
    }
    return status == STATUS_OK ? windows_make(&all) : status;
}

/* ---- Contents -------------------------------------------------------------------------------- */

static uint32_t rights_of(uint32_t elf_rights)
{
    return RIGHT_READ | ((elf_rights & ELF_WRITE) != 0 ? RIGHT_WRITE : 0) |
           ((elf_rights & ELF_EXECUTE) != 0 ? RIGHT_EXECUTE : 0);
}

static status_t program_load(struct supervisor *s, struct cell *cell,
                             const struct elf_program *program)
{
    struct window_range range = window_range(cell, 0, cell->plan.program_windows);
    status_t status = windows_attach_own(s, &range, (uint64_t)cell->program);

    for (uint32_t i = 0; i < program->segment_count && status == STATUS_OK; i++) {
        const struct elf_segment *segment = &program->segments[i];
        uint64_t offset = segment->address - CELL_PROGRAM_ADDRESS;
        uint64_t pages = (segment->memory_bytes + PAGE_BYTES - 1u) >> PAGE_SHIFT;
        status = windows_populate(&range, offset >> PAGE_SHIFT, pages, RIGHT_READ | RIGHT_WRITE);
        if (status == STATUS_OK) {
            memcpy(cell->program + offset, segment->data, segment->file_bytes);
            status =
                windows_protect(&range, offset >> PAGE_SHIFT, pages, rights_of(segment->rights));
        }
    }
    return status;
}

static status_t memory_populate(struct supervisor *s, struct cell *cell)
{
    const struct cell_plan *plan = &cell->plan;
    struct window_range stack = window_range(cell, plan_stack_window(plan), 1);
    struct window_range info = window_range(cell, plan_info_window(plan), 1);
    struct window_range dma = window_range(cell, plan_dma_window(plan), plan->dma_windows);
    struct window_range heap = window_range(cell, plan_heap_window(plan), plan->heap_windows);
    uint32_t rights = RIGHT_READ | RIGHT_WRITE;
    status_t status = stacks_populate(cell, &stack);

    if (status == STATUS_OK) {
        status = windows_populate(&info, 0, plan->info_pages, rights);
    }
    if (status == STATUS_OK) {
        status = windows_populate(&dma, 0, (uint64_t)dma.count * SEGMENT_PAGES, rights);
    }
    if (status == STATUS_OK) {
        status = windows_populate(&heap, 0, (uint64_t)heap.count * SEGMENT_PAGES, rights);
    }
    if (status == STATUS_OK) {
        status = windows_attach_own(s, &stack, (uint64_t)cell->stack);
    }
    return status == STATUS_OK ? windows_attach_own(s, &info, (uint64_t)cell->info) : status;
}

/* Everything but rings and ECAM, which have their own memory. */
static status_t memory_attach(struct supervisor *s, struct cell *cell)
{
    const struct cell_plan *plan = &cell->plan;
    const struct {
        uint32_t first;
        uint32_t count;
        uint64_t address;
        uint32_t rights;
    } areas[] = {
        {0, plan->program_windows, CELL_PROGRAM_ADDRESS, RIGHT_READ | RIGHT_WRITE | RIGHT_EXECUTE},
        {plan_stack_window(plan), 1, CELL_STACK_TOP - SEGMENT_BYTES, RIGHT_READ | RIGHT_WRITE},
        {plan_info_window(plan), 1, CELL_INFO_ADDRESS, RIGHT_READ},
        {plan_device_window(plan), plan->device_windows, CELL_DEVICE_ADDRESS,
         RIGHT_READ | RIGHT_WRITE},
        {plan_dma_window(plan), plan->dma_windows, CELL_DMA_ADDRESS, RIGHT_READ | RIGHT_WRITE},
        {plan_heap_window(plan), plan->heap_windows, CELL_HEAP_ADDRESS, RIGHT_READ | RIGHT_WRITE},
    };
    status_t status = STATUS_OK;

    for (uint32_t i = 0; i < sizeof(areas) / sizeof(areas[0]) && status == STATUS_OK; i++) {
        struct window_range range = window_range(cell, areas[i].first, areas[i].count);
        status = windows_attach(cell, &range, areas[i].address, areas[i].rights);
    }
    struct window_range dma = window_range(cell, plan_dma_window(plan), plan->dma_windows);
    return status == STATUS_OK ? iospace_show(s, cell, &dma, CELL_DMA_ADDRESS) : status;
}

/* ---- Authority and start --------------------------------------------------------------------- */

static status_t capabilities_give(struct supervisor *s, struct cell *cell)
{
    cap_slot_t table = cell->slots.table;
    status_t status =
        cap_copy(cap_ref(table, CELL_SLOT_CONSOLE), BOOT_SLOT_CONSOLE, RIGHT_READ | RIGHT_WRITE);

    if (status == STATUS_OK) {
        status = cap_mint(cap_ref(table, CELL_SLOT_SUPERVISOR), s->endpoint, RIGHT_SEND,
                          cell->index + 1u);
    }
    return status == STATUS_OK ? threads_give(cell) : status;
}

static status_t cell_build(struct supervisor *s, struct cell *cell,
                           const struct elf_program *program, const char **step)
{
    status_t status;

    *step = "making its objects";
    if ((status = objects_make(cell)) != STATUS_OK) {
        return status;
    }
    *step = "giving its devices an I/O space";
    if ((status = iospace_make(s, cell)) != STATUS_OK) {
        return status;
    }
    *step = "loading its program";
    if ((status = program_load(s, cell, program)) != STATUS_OK) {
        return status;
    }
    *step = "giving it memory";
    if ((status = memory_populate(s, cell)) != STATUS_OK ||
        (status = memory_attach(s, cell)) != STATUS_OK) {
        return status;
    }
    *step = "giving it capabilities";
    if ((status = capabilities_give(s, cell)) != STATUS_OK) {
        return status;
    }
    *step = "giving it devices and rings";
    if ((status = cell_info_fill(s, cell)) != STATUS_OK) {
        return status;
    }
    *step = "starting its threads";
    return threads_start(s, cell, program->entry);
}

status_t cell_launch(struct supervisor *s, struct cell *cell)
{
    struct elf_program program;
    struct cell_plan plan;
    const char *step = "";
    status_t status = program_open(s, cell, &program);

    if (status == STATUS_OK) {
        status = plan_make(s, cell, &program, &plan);
    }
    if (status == STATUS_OK) {
        status = memory_take(s, cell, &plan);
    }
    if (status != STATUS_OK) {
        return status;
    }
    cell->made = true;
    cell->tables_made = 0;
    cell->extra_windows_used = 0;
    status = cell_build(s, cell, &program, &step);
    if (status != STATUS_OK) {
        log_line("%s cannot start: %s: %s", cell->description->name, step, status_text(status));
        cell_destroy(s, cell);
    }
    return status;
}

/* ---- End ------------------------------------------------------------------------------------- */

void cell_stop(struct cell *cell)
{
    for (uint32_t i = 0; i < cell_threads(cell) && cell->made; i++) {
        (void)thread_suspend(cell->slots.threads[i].thread);
    }
}

void cell_destroy(struct supervisor *s, struct cell *cell)
{
    uint64_t word;

    if (!cell->made) {
        return;
    }
    cell_stop(cell);
    for (uint32_t i = 0; i < cell->description->device_count; i++) {
        device_irqs_remove(cell->devices[i]);
    }
    cap_revoke_all(cell->slots.untyped);
    while (untyped_reset(cell->slots.untyped) == STATUS_AGAIN) {
    }
    for (uint32_t i = 0; i < cell_threads(cell); i++) {
        (void)notification_wait(cell->slots.threads[i].notification, DEADLINE_NOW, &word);
    }
    cell->made = false;
    cell->generation++;
    if (cell == s->pci_cell) {
        memset(s->pci_buses, 0, sizeof(s->pci_buses));
        s->pci_waits = false;
        s->pci_device = NULL;
    }
}
