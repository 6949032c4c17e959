// SPDX-License-Identifier: MIT OR Apache-2.0
/* A cell's threads: the first one, and a worker for each CPU that the manifest names besides
 * (docs/decisions/039). */
#include "runtime/syscall_partition.h"
#include "runtime/syscall_time.h"
#include "services/supervisor/supervisor.h"

#define RFLAGS_INTERRUPTS 0x202u /* IF and the bit that is always 1 */
#define NS_PER_US 1000ull

_Static_assert(CELL_SLOTS == CELL_TABLE_SLOTS, "the table has them all");
_Static_assert(CELL_SLOT_WORKER + CELL_WORKERS_MAX < CELL_SLOTS, "each worker has a slot");
_Static_assert((SYSTEM_CELLS_MAX + 1u) <= FAULT_BADGE_THREAD, "badges tell cell and thread");

uint32_t cell_threads(const struct cell *cell)
{
    return 1u + cell->description->worker_count;
}

uint32_t thread_cpu(const struct cell *cell, uint32_t thread)
{
    return thread == 0 ? cell->description->cpu : cell->description->worker_cpus[thread - 1u];
}

uint32_t irq_thread(const struct cell *cell, uint32_t irq)
{
    return irq < cell_threads(cell) ? irq : 0;
}

uint64_t stack_depth(const struct cell *cell, uint32_t thread)
{
    return thread * ((uint64_t)cell->plan.stack_pages + 1u) * PAGE_BYTES;
}

/* ---- Once ------------------------------------------------------------------------------------ */

static status_t thread_prepare(struct supervisor *s, struct cell *cell, uint32_t thread)
{
    struct thread_slots *slots = &cell->slots.threads[thread];
    uint64_t badge = FAULT_BADGE + (uint64_t)thread * FAULT_BADGE_THREAD + cell->index + 1u;
    cap_slot_t first;
    status_t status = slots_take(s, 2u + CELL_DEVICES_MAX, &first);

    if (status != STATUS_OK) {
        return status;
    }
    slots->notification = first;
    slots->fault_endpoint = first + 1u;
    status = retype_own(s, (struct retype_request){OBJECT_NOTIFICATION, 0, slots->notification, 1});
    if (status == STATUS_OK) {
        status = cap_mint(slots->fault_endpoint, s->endpoint, RIGHT_SEND, badge);
    }
    for (uint32_t i = 0; i < CELL_DEVICES_MAX && status == STATUS_OK; i++) {
        slots->device[i] = first + 2u + i;
        status = cap_mint(slots->device[i], slots->notification, RIGHT_SEND, CELL_EVENT_DEVICE(i));
    }
    return status;
}

status_t threads_prepare(struct supervisor *s, struct cell *cell)
{
    status_t status = STATUS_OK;

    for (uint32_t i = 0; i < cell_threads(cell) && status == STATUS_OK; i++) {
        status = thread_prepare(s, cell, i);
    }
    return status;
}

/* ---- An incarnation -------------------------------------------------------------------------- */

status_t threads_make(struct cell *cell)
{
    return retype(cell->slots.untyped,
                  (struct retype_request){OBJECT_THREAD, 0, cell->slots.threads[0].thread,
                                          cell_threads(cell)});
}

status_t stacks_populate(struct cell *cell, const struct window_range *window)
{
    uint64_t pages = cell->plan.stack_pages;
    status_t status = STATUS_OK;

    for (uint32_t i = 0; i < cell_threads(cell) && status == STATUS_OK; i++) {
        uint64_t end = SEGMENT_PAGES - (stack_depth(cell, i) >> PAGE_SHIFT);
        status = windows_populate(window, end - pages, pages, RIGHT_READ | RIGHT_WRITE);
    }
    return status;
}

status_t threads_give(struct cell *cell)
{
    cap_slot_t table = cell->slots.table;
    uint32_t count = cell_threads(cell);
    status_t status = cap_copy(cap_ref(table, CELL_SLOT_NOTIFICATION),
                               cell->slots.threads[0].notification, RIGHT_RECEIVE);

    for (uint32_t i = 0; i < count && count > 1u && status == STATUS_OK; i++) {
        cap_slot_t word = cell->slots.threads[i].notification;
        status = cap_mint(cap_ref(table, CELL_SLOT_WAKE + i), word, RIGHT_SEND, CELL_EVENT_THREAD);
        if (i > 0 && status == STATUS_OK) {
            status = cap_copy(cap_ref(table, CELL_SLOT_WORKER + i), word, RIGHT_RECEIVE);
        }
    }
    return status;
}

/* The first thread's budget. */
static status_t budget_give(const struct cell *cell)
{
    const struct system_cell *wanted = cell->description;
    const struct cell_slots *slots = &cell->slots;
    status_t status =
        retype(slots->untyped, (struct retype_request){OBJECT_SCHED_CONTEXT, 0, slots->context, 1});

    if (status == STATUS_OK) {
        status = sched_context_configure(slots->context, BOOT_SLOT_SCHED_CONTROL,
                                         wanted->budget_us * NS_PER_US,
                                         wanted->period_us * NS_PER_US, 0);
    }
    return status == STATUS_OK ? sched_context_bind(slots->context, slots->threads[0].thread)
                               : status;
}

/* Its priority, CPU and domain. */
static status_t thread_place(const struct supervisor *s, const struct cell *cell, uint32_t number)
{
    const struct system_cell *wanted = cell->description;
    cap_slot_t thread = cell->slots.threads[number].thread;
    uint32_t cpu = thread_cpu(cell, number);

    if (cpu >= s->boot->cpus_used) {
        log_line("%s wants CPU %u, and the machine runs %u; give it more, or change the manifest",
                 wanted->name, cpu, s->boot->cpus_used);
        return STATUS_INVALID_ARGUMENT;
    }
    status_t status = thread_set_priority(thread, BOOT_SLOT_SCHED_CONTROL, wanted->priority);
    if (status == STATUS_OK && cpu != 0) {
        status = thread_set_cpu(thread, BOOT_SLOT_SCHED_CONTROL, cpu);
    }
    if (status == STATUS_OK && wanted->domain != 0) {
        status = thread_set_domain(thread, BOOT_SLOT_SCHED_CONTROL, wanted->domain);
    }
    return status;
}

static status_t thread_set_up(const struct supervisor *s, struct cell *cell, uint32_t number,
                              uint64_t entry)
{
    const struct cell_slots *slots = &cell->slots;
    const struct thread_slots *own = &slots->threads[number];
    uint64_t control[MESSAGE_WORDS_MAX] = {entry, CELL_STACK_TOP - stack_depth(cell, number),
                                           RFLAGS_INTERRUPTS};
    uint64_t low[MESSAGE_WORDS_MAX] = {[4] = number, [5] = CELL_INFO_ADDRESS}; /* rsi, rdi */
    status_t status =
        thread_configure(own->thread, slots->table, slots->aspace, own->fault_endpoint);

    if (status == STATUS_OK) {
        status = thread_write_registers(own->thread, REGISTERS_CONTROL, control);
    }
    if (status == STATUS_OK) {
        status = thread_write_registers(own->thread, REGISTERS_LOW, low);
    }
    return status == STATUS_OK ? thread_place(s, cell, number) : status;
}

status_t threads_start(const struct supervisor *s, struct cell *cell, uint64_t entry)
{
    uint32_t count = cell_threads(cell);
    status_t status = STATUS_OK;

    for (uint32_t i = 0; i < count && status == STATUS_OK; i++) {
        status = thread_set_up(s, cell, i, entry);
    }
    if (status == STATUS_OK && cell->description->budget_us != 0) {
        status = budget_give(cell);
    }
    for (uint32_t i = 0; i < count && status == STATUS_OK; i++) {
        status = thread_resume(cell->slots.threads[i].thread);
    }
    return status;
}
