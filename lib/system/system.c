// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/system/system.h"

#include <hallows/cell.h>
#include <hallows/ring.h>

#include "lib/base/bytes.h"
#include "lib/config/config.h"

#define IRQS_MAX CELL_IRQS_MAX
#define BUFFER_BYTES_MIN 64u
#define BUFFER_COUNT_MAX 65536u
#define DEVICE_INDEX_MAX 256u
#define RESTART_WINDOW_MAX_S 86400u

const char *system_part_text(enum system_part part)
{
    static const char *const texts[] = {"header", "cell", "device", "ring", "window"};
    return texts[part];
}

static bool name_is_good(const char *name, size_t bytes)
{
    size_t length = strnlen(name, bytes);

    if (length == 0 || length == bytes) {
        return false;
    }
    for (size_t i = 0; i < bytes; i++) {
        char c = name[i];
        bool good =
            (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
        if (i < length ? !good : c != '\0') {
            return false;
        }
    }
    return true;
}

static bool is_power_of_two(uint32_t value)
{
    return value != 0 && (value & (value - 1u)) == 0;
}

/* ---- Header ---------------------------------------------------------------------------------- */

/* Whether `count` things of `size` bytes lie at `offset` behind the header. */
static bool array_fits(const struct system_header *header, uint32_t offset, uint64_t count,
                       uint64_t size)
{
    return offset % 8u == 0 && offset >= sizeof(*header) && offset <= header->total_bytes &&
           count * size <= header->total_bytes - offset;
}

static const char *header_problem(const struct system_header *h, uint64_t bytes)
{
    if (h->total_bytes > bytes || h->total_bytes < sizeof(*h)) {
        return "its size is not the description's";
    }
    if (!name_is_good(h->name, sizeof(h->name))) {
        return "the system's name is not of a-z 0-9 _ . - (23 at most)";
    }
    if (h->cell_count == 0 || h->cell_count > SYSTEM_CELLS_MAX) {
        return "the number of cells is not 1..32";
    }
    if (h->device_count > SYSTEM_DEVICES_MAX || h->ring_count > SYSTEM_RINGS_MAX ||
        h->window_count > SYSTEM_CPUS_MAX * SYSTEM_CPU_WINDOWS_MAX) {
        return "there are too many devices, rings or windows";
    }
    if (!array_fits(h, h->cells_offset, h->cell_count, sizeof(struct system_cell)) ||
        !array_fits(h, h->devices_offset, h->device_count, sizeof(struct system_device)) ||
        !array_fits(h, h->rings_offset, h->ring_count, sizeof(struct system_ring)) ||
        !array_fits(h, h->windows_offset, h->window_count, sizeof(struct system_window))) {
        return "a table lies outside the description";
    }
    return NULL;
}

/* ---- Devices and rings ----------------------------------------------------------------------- */

static const char *device_problem(const struct system_view *view, uint32_t index)
{
    const struct system_device *d = &view->devices[index];

    if (!name_is_good(d->name, sizeof(d->name))) {
        return "the name is not of a-z 0-9 _ . - (23 at most)";
    }
    for (uint32_t i = 0; i < index; i++) {
        if (memcmp(view->devices[i].name, d->name, sizeof(d->name)) == 0) {
            return "the name is taken by another device";
        }
    }
    if (d->kind != SYSTEM_DEVICE_NET && d->kind != SYSTEM_DEVICE_NVME) {
        return "the kind is unknown";
    }
    if (d->index >= DEVICE_INDEX_MAX) {
        return "the index is above 255";
    }
    if (d->irq_count == 0 || d->irq_count > IRQS_MAX) {
        return "the number of interrupts is not 1..8";
    }
    if (d->virtual_functions > SYSTEM_VIRTUAL_FUNCTIONS_MAX) {
        return "the number of virtual functions is above 64";
    }
    if (d->parent != 0) {
        const struct system_device *parent = &view->devices[d->parent - 1u];
        if (d->parent > view->header->device_count || d->parent - 1u == index ||
            d->virtual_functions != 0 || parent->parent != 0 || parent->kind != d->kind ||
            d->index >= parent->virtual_functions) {
            return "it is a virtual function of a device that has no such one";
        }
    }
    return NULL;
}

static const char *ring_problem(const struct system_view *view, uint32_t index)
{
    const struct system_ring *r = &view->rings[index];

    if (!name_is_good(r->name, sizeof(r->name))) {
        return "the name is not of a-z 0-9 _ . - (23 at most)";
    }
    for (uint32_t i = 0; i < index; i++) {
        if (memcmp(view->rings[i].name, r->name, sizeof(r->name)) == 0) {
            return "the name is taken by another ring";
        }
    }
    if (r->client_cell >= view->header->cell_count || r->server_cell >= view->header->cell_count) {
        return "client or server is no cell";
    }
    if (r->client_cell == r->server_cell) {
        return "client and server are the same cell";
    }
    if (!is_power_of_two(r->entries) || r->entries < RING_ENTRIES_MIN ||
        r->entries > RING_ENTRIES_MAX) {
        return "entries is not a power of two in 8..4096";
    }
    if (!is_power_of_two(r->buffer_bytes) || r->buffer_bytes < BUFFER_BYTES_MIN ||
        r->buffer_bytes > PAGE_BYTES) {
        return "buffer_bytes is not a power of two in 64..4096";
    }
    if (r->kind > SYSTEM_RING_LOG) {
        return "the kind of ring is unknown";
    }
    if (r->buffer_count == 0 || r->buffer_count > BUFFER_COUNT_MAX ||
        (uint64_t)r->buffer_count * r->buffer_bytes > SYSTEM_RING_POOL_BYTES_MAX) {
        return "the buffers are none or more than 65536 or than 64 MiB";
    }
    return NULL;
}

/* ---- Windows --------------------------------------------------------------------------------- */

/* Whether the CPU has a window of that domain; of any domain, if that is SYSTEM_DOMAINS_MAX. */
static bool has_window(const struct system_view *view, uint32_t cpu, uint32_t domain)
{
    for (uint32_t i = 0; i < view->header->window_count; i++) {
        const struct system_window *w = &view->windows[i];
        if (w->cpu == cpu && (w->domain == domain || domain == SYSTEM_DOMAINS_MAX)) {
            return true;
        }
    }
    return false;
}

/* Windows of the same CPU before it are good. */
static const char *window_problem(const struct system_view *view, uint32_t index)
{
    const struct system_window *w = &view->windows[index];
    uint64_t frame_us = w->length_us;
    uint32_t count = 1;

    if (w->cpu >= SYSTEM_CPUS_MAX || (index > 0 && w->cpu < w[-1].cpu)) {
        return "cpu is above 63 or below that of the window before";
    }
    for (uint32_t i = index; i > 0 && view->windows[i - 1u].cpu == w->cpu; i--) {
        frame_us += view->windows[i - 1u].length_us;
        count++;
    }
    if (w->length_us < SYSTEM_WINDOW_MIN_US || frame_us > SYSTEM_PERIOD_MAX_US ||
        count > SYSTEM_CPU_WINDOWS_MAX) {
        return "it is too short, or the CPU's frame too long";
    }
    if (w->domain >= SYSTEM_DOMAINS_MAX || w->reserved != 0) {
        return "domain is above 15";
    }
    return w->cpu == 0 && !has_window(view, 0, 0) ? "CPU 0 has no window of domain 0" : NULL;
}

/* ---- Cells ----------------------------------------------------------------------------------- */

static const char *cell_names_problem(const struct system_view *view, uint32_t index)
{
    const struct system_cell *c = &view->cells[index];

    if (!name_is_good(c->name, sizeof(c->name))) {
        return "the name is not of a-z 0-9 _ . - (23 at most)";
    }
    for (uint32_t i = 0; i < index; i++) {
        if (memcmp(view->cells[i].name, c->name, sizeof(c->name)) == 0) {
            return "the name is taken by another cell";
        }
    }
    if (c->program[0] == '\0' || memchr(c->program, '\0', sizeof(c->program)) == NULL) {
        return "the program's name is empty or has no end";
    }
    return NULL;
}

static const char *cell_memory_problem(const struct system_cell *c)
{
    if (c->heap_bytes % SEGMENT_BYTES != 0 || c->heap_bytes > 1ull << 38) {
        return "heap_bytes is not a multiple of 2 MiB up to 256 GiB";
    }
    if (c->dma_bytes % SEGMENT_BYTES != 0 || c->dma_bytes > CELL_RING_ADDRESS - CELL_DMA_ADDRESS) {
        return "dma_bytes is not a multiple of 2 MiB up to 4 GiB";
    }
    if (c->stack_bytes == 0 || c->stack_bytes % PAGE_BYTES != 0 ||
        c->stack_bytes > SYSTEM_STACK_BYTES_MAX) {
        return "stack_bytes is not a multiple of 4 KiB up to 1 MiB";
    }
    return NULL;
}

static const char *cell_ranges_problem(const struct system_view *view, const struct system_cell *c)
{
    if (c->priority > 254u) {
        return "priority is above 254";
    }
    if (c->cpu >= SYSTEM_CPUS_MAX) {
        return "cpu is above 63";
    }
    if ((c->domain != 0 || has_window(view, c->cpu, SYSTEM_DOMAINS_MAX)) &&
        !has_window(view, c->cpu, c->domain)) {
        return "its CPU has no window of its domain";
    }
    if (c->budget_us != 0 ? c->budget_us < SYSTEM_BUDGET_MIN_US || c->budget_us > c->period_us ||
                                c->period_us > SYSTEM_PERIOD_MAX_US
                          : c->period_us != 0) {
        return "budget_us or period_us is out of range";
    }
    if ((c->flags & ~(uint32_t)(CELL_FLAG_PCI | CELL_FLAG_START_READY | CELL_FLAG_MANAGE)) != 0) {
        return "there are unknown flags";
    }
    if (c->restart != SYSTEM_RESTART_NEVER && c->restart != SYSTEM_RESTART_ON_FAULT) {
        return "the restart kind is unknown";
    }
    if (c->restart_window_s > RESTART_WINDOW_MAX_S) {
        return "restart_window_s is above a day";
    }
    uint32_t total = view->header->total_bytes;
    if (c->config_offset > total || c->config_bytes > total - c->config_offset ||
        c->config_bytes > SYSTEM_CONFIG_BYTES_MAX) {
        return "the configuration lies outside the description";
    }
    if (!config_is_well_formed(system_cell_config(view, c), c->config_bytes)) {
        return "the configuration is not key=value strings";
    }
    return NULL;
}

static const char *cell_workers_problem(const struct system_view *view, const struct system_cell *c)
{
    uint64_t cpus = 1ull << c->cpu;

    if (c->worker_count > CELL_WORKERS_MAX) {
        return "there are more than 7 workers";
    }
    if (c->worker_count != 0 && (c->budget_us != 0 || c->domain != 0)) {
        return "it has workers, and a budget or a domain";
    }
    for (uint32_t i = 0; i < c->worker_count; i++) {
        uint32_t cpu = c->worker_cpus[i];
        if (cpu >= SYSTEM_CPUS_MAX || (cpus >> cpu & 1u) != 0) {
            return "the CPU of a worker is above 63, or another thread's";
        }
        if (has_window(view, cpu, SYSTEM_DOMAINS_MAX) && !has_window(view, cpu, 0)) {
            return "the CPU of a worker has no window of domain 0";
        }
        cpus |= 1ull << cpu;
    }
    return NULL;
}

/* Devices, rings and the pci flag, against all cells before this one. */
static const char *cell_relations_problem(const struct system_view *view, uint32_t index,
                                          uint32_t *devices_taken, bool *has_pci)
{
    const struct system_cell *c = &view->cells[index];
    uint32_t rings = 0;

    if (c->device_count > CELL_DEVICES_MAX) {
        return "there are more than 4 devices";
    }
    for (uint32_t i = 0; i < c->device_count; i++) {
        if (c->devices[i] >= view->header->device_count) {
            return "a device index is out of range";
        }
        if ((*devices_taken & 1u << c->devices[i]) != 0) {
            return "a device belongs to another cell already";
        }
        *devices_taken |= 1u << c->devices[i];
    }
    if ((c->flags & CELL_FLAG_PCI) != 0) {
        if (*has_pci) {
            return "there is another pci service already";
        }
        *has_pci = true;
    }
    for (uint32_t i = 0; i < view->header->ring_count; i++) {
        rings += view->rings[i].client_cell == index || view->rings[i].server_cell == index;
    }
    return rings > CELL_RINGS_MAX ? "there are more than 8 rings" : NULL;
}

static const char *cells_problem(const struct system_view *view, uint32_t *index)
{
    uint32_t devices_taken = 0;
    bool has_pci = false;

    _Static_assert(SYSTEM_DEVICES_MAX <= 32, "devices_taken is a bit mask");
    for (*index = 0; *index < view->header->cell_count; ++*index) {
        const struct system_cell *c = &view->cells[*index];
        const char *what = cell_names_problem(view, *index);
        what = what != NULL ? what : cell_memory_problem(c);
        what = what != NULL ? what : cell_ranges_problem(view, c);
        what = what != NULL ? what : cell_workers_problem(view, c);
        what = what != NULL ? what : cell_relations_problem(view, *index, &devices_taken, &has_pci);
        if (what != NULL) {
            return what;
        }
    }
    return NULL;
}

/* ---- All ------------------------------------------------------------------------------------- */

static bool tables_are_good(const struct system_view *view, struct system_problem *problem)
{
    problem->part = SYSTEM_PART_DEVICE;
    for (uint32_t i = 0; i < view->header->device_count; i++) {
        problem->index = i;
        problem->what = device_problem(view, i);
        if (problem->what != NULL) {
            return false;
        }
    }
    problem->part = SYSTEM_PART_RING;
    for (uint32_t i = 0; i < view->header->ring_count; i++) {
        problem->index = i;
        problem->what = ring_problem(view, i);
        if (problem->what != NULL) {
            return false;
        }
    }
    problem->part = SYSTEM_PART_WINDOW;
    for (uint32_t i = 0; i < view->header->window_count; i++) {
        problem->index = i;
        problem->what = window_problem(view, i);
        if (problem->what != NULL) {
            return false;
        }
    }
    problem->part = SYSTEM_PART_CELL;
    problem->what = cells_problem(view, &problem->index);
    return problem->what == NULL;
}

status_t system_open(struct system_view *view, const void *data, uint64_t bytes,
                     struct system_problem *problem)
{
    const struct system_header *header = data;

    *problem = (struct system_problem){SYSTEM_PART_HEADER, 0, NULL};
    if (bytes < sizeof(*header) || header->magic != SYSTEM_MAGIC) {
        problem->what = "it does not start with the magic number";
        return STATUS_CORRUPT;
    }
    if (header->version != SYSTEM_VERSION) {
        problem->what = "it is of another version; make the image anew with this system's tools";
        return STATUS_WRONG_VERSION;
    }
    problem->what = header_problem(header, bytes);
    if (problem->what != NULL) {
        return STATUS_CORRUPT;
    }
    const uint8_t *base = data;
    struct system_view opened = {
        .base = base,
        .header = header,
        .cells = (const struct system_cell *)(base + header->cells_offset),
        .devices = (const struct system_device *)(base + header->devices_offset),
        .rings = (const struct system_ring *)(base + header->rings_offset),
        .windows = (const struct system_window *)(base + header->windows_offset),
    };
    if (!tables_are_good(&opened, problem)) {
        return STATUS_CORRUPT;
    }
    *view = opened;
    return STATUS_OK;
}
