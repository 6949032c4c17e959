// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Boot: the initial cell is made with the same functions that serve system calls. The originals of
 * its objects lie in a table that no capability names; the cell holds copies. So nothing that it
 * revokes or resets can pull its own ground away, and all untyped memory it gets is unused.
 */
#include "kernel/entry.h"
#include "kernel/object/cap.h"
#include "kernel/object/object.h"
#include "kernel/sched.h"
#include "lib/base/bytes.h"

#include <hallows/boot.h>

#define BOOT_TABLE_SLOTS 512u
#define BOOT_TABLE_PAGES (BOOT_TABLE_SLOTS / GRANULES_PER_PAGE)
#define BOOT_LEVEL 1u    /* of the boot untyped memory; the boot table's is 0 */
#define INITIAL_LEVEL 2u /* of the initial cell's table */
#define ROOT_LEVEL 3u    /* of the untyped memory handed to it */

void kernel_init(struct kernel *k, struct cpu *cpus, uint32_t cpu_count, struct page *pages,
                 uint32_t page_count)
{
    VERIFY(cpu_count >= 1 && cpu_count <= CPU_COUNT_MAX);
    VERIFY((uint64_t)page_count * PAGE_BYTES <= PHYSICAL_BYTES_MAX);
    k->pages = pages;
    k->page_count = page_count;
    k->cpus = cpus;
    k->cpu_count = cpu_count;
    for (uint32_t i = 0; i < cpu_count; i++) {
        cpus[i].index = (uint8_t)i;
        cpus[i].ready_top = -1;
        cpus[i].quantum_end = DEADLINE_NEVER;
        cpus[i].timer_armed = DEADLINE_NEVER;
        cpus[i].timer_due = DEADLINE_NEVER;
        cpus[i].budget_end = DEADLINE_NEVER;
        cpus[i].window_end = DEADLINE_NEVER;
        for (uint32_t domain = 0; domain < DOMAIN_COUNT; domain++) {
            cpus[i].wheel[domain].next = DEADLINE_NEVER;
        }
    }
    k->lease_next = LEASE_SERIAL_FIRST;
    bit_set(k->io_domain_used, 0); /* nobody's */
    for (uint32_t v = 0; v < IRQ_VECTOR_COUNT; v++) {
        if (v < IRQ_VECTOR_FIRST || v > IRQ_VECTOR_LAST) {
            bit_set(k->irq_used, v); /* never a device's */
        }
    }
}

void start_mark(struct kernel *k, uint64_t base, uint64_t bytes, uint8_t kind)
{
    VERIFY(base >= PAGE_BYTES && ((base | bytes) & (PAGE_BYTES - 1u)) == 0);
    VERIFY(base + bytes <= (uint64_t)k->page_count * PAGE_BYTES);
    for (uint64_t at = base; at < base + bytes; at += PAGE_BYTES) {
        VERIFY(page_at(k, at)->kind == PAGE_RESERVED);
        page_at(k, at)->kind = kind;
    }
}

static slot_ix boot_slot(struct kernel *k)
{
    VERIFY(k->boot_next < BOOT_TABLE_SLOTS);
    return (slot_ix){k->boot_table.n + k->boot_next++};
}

/* A header on the boot page for headers of untyped memory. */
static untyped_ix untyped_new(struct kernel *k, uint64_t base, uint64_t bytes, uint32_t level)
{
    untyped_ix i = {k->untyped_next++};

    VERIFY(i.n % GRANULES_PER_PAGE != 0 || k->boot_untyped.n == NIL); /* the page is not full */
    *untyped_at(k, i) = (struct untyped){
        .base = base, .watermark = base, .prepared = base, .end = base + bytes, .level = level};
    return i;
}

/* Layout: a page of untyped headers, the boot table, then the memory itself. */
void start_memory(struct kernel *k, uint64_t base, uint64_t bytes)
{
    uint64_t head = (1u + BOOT_TABLE_PAGES) * (uint64_t)PAGE_BYTES;
    uint64_t table = base + PAGE_BYTES;

    VERIFY(k->boot_untyped.n == NIL && bytes > head);
    memset(arch_memory(base), 0, head);
    start_mark(k, base, PAGE_BYTES, PAGE_OBJECT + OBJECT_UNTYPED);
    start_mark(k, table, head - PAGE_BYTES, PAGE_OBJECT + OBJECT_TABLE);
    start_mark(k, base + head, bytes - head, PAGE_FREE);
    k->untyped_next = address_granule(base);
    k->boot_table = (table_ix){address_granule(table)};
    for (uint32_t i = 0; i < BOOT_TABLE_PAGES; i++) {
        page_at(k, table + (uint64_t)i * PAGE_BYTES)->owner = k->boot_table.n;
    }
    *table_at(k, k->boot_table) =
        (struct table){.slots = BOOT_TABLE_SLOTS, .slots_made = BOOT_TABLE_SLOTS};
    k->boot_next = 1;
    k->boot_untyped = untyped_new(k, base + head, bytes - head, BOOT_LEVEL);
    cap_create_root(k, boot_slot(k), OBJECT_UNTYPED, k->boot_untyped.n);
}

/* One object from the boot memory; its original's slot. */
static status_t boot_make(struct kernel *k, enum object_type type, uint64_t size, slot_ix *out)
{
    const struct retype_plan plan = {.parent = untyped_at(k, k->boot_untyped)->original,
                                     .untyped = k->boot_untyped,
                                     .type = type,
                                     .size = size,
                                     .first = boot_slot(k),
                                     .count = 1,
                                     .level = INITIAL_LEVEL};
    status_t status = STATUS_AGAIN;

    while (status == STATUS_AGAIN) {
        status = untyped_retype_plan(k, &plan);
    }
    *out = plan.first;
    return status;
}

static slot_ix initial_slot(struct kernel *k, uint32_t slot)
{
    slot_ix i = {k->initial_table.n + slot};

    VERIFY(slot != 0 && slot < table_at(k, k->initial_table)->slots);
    VERIFY(slot_at(k, i)->type == OBJECT_NONE);
    return i;
}

status_t start_cell(struct kernel *k, uint32_t table_slots, uint8_t priority)
{
    slot_ix table;
    slot_ix aspace;
    slot_ix thread;
    status_t status = boot_make(k, OBJECT_TABLE, table_slots, &table);

    if (status == STATUS_OK) {
        status = boot_make(k, OBJECT_ASPACE, 0, &aspace);
    }
    if (status == STATUS_OK) {
        status = boot_make(k, OBJECT_THREAD, 0, &thread);
    }
    if (status != STATUS_OK) {
        return status;
    }
    k->initial_table = (table_ix){slot_at(k, table)->object};
    k->initial_aspace = (aspace_ix){slot_at(k, aspace)->object};
    k->initial_thread = (thread_ix){slot_at(k, thread)->object};
    cap_derive(k, table, initial_slot(k, BOOT_SLOT_TABLE), RIGHTS_ALL, 0);
    cap_derive(k, aspace, initial_slot(k, BOOT_SLOT_ASPACE), RIGHTS_ALL, 0);
    cap_derive(k, thread, initial_slot(k, BOOT_SLOT_THREAD), RIGHTS_ALL, 0);
    thread_set_spaces(k, k->initial_thread, table, aspace, (slot_ix){NIL});
    thread_at(k, k->initial_thread)->priority = priority;
    thread_at(k, k->initial_thread)->base_priority = priority;
    return STATUS_OK;
}

void start_root(struct kernel *k, const struct start_capability *capability)
{
    slot_ix i = initial_slot(k, capability->slot);

    cap_create_root(k, i, capability->type, NIL);
    struct slot *slot = slot_at(k, i);
    slot->badge = capability->badge;
    slot->base = capability->base;
    slot->length = capability->length;
}

void start_untyped(struct kernel *k, uint32_t slot, uint64_t base, uint64_t bytes)
{
    slot_ix i = initial_slot(k, slot);

    start_mark(k, base, bytes, PAGE_FREE);
    cap_create_root(k, i, OBJECT_UNTYPED, untyped_new(k, base, bytes, ROOT_LEVEL).n);
}

void start_device_memory(struct kernel *k, uint32_t slot, uint64_t base, uint64_t bytes)
{
    VERIFY(((base | bytes) & (PAGE_BYTES - 1u)) == 0);
    start_root(k, &(struct start_capability){
                      .slot = slot, .type = OBJECT_DEVICE_MEMORY, .base = base, .length = bytes});
}

/* The segment that covers the address in the initial cell; made, with its tables, when missing. */
static status_t boot_segment(struct kernel *k, uint64_t address, segment_ix *out)
{
    page_table_ix directory = aspace_directory(k, k->initial_aspace, address);
    slot_ix slot;

    while (directory.n == NIL) {
        status_t status = boot_make(k, OBJECT_PAGE_TABLE, 0, &slot);
        if (status == STATUS_OK) {
            status = aspace_enter_table(k, k->initial_aspace,
                                        (page_table_ix){slot_at(k, slot)->object}, address);
        }
        if (status != STATUS_OK) {
            return status;
        }
        directory = aspace_directory(k, k->initial_aspace, address);
    }
    struct attachment at = {directory, paging_index(address, 1)};
    *out = segment_record(k, at)->segment;
    if (out->n != NIL) {
        return STATUS_OK;
    }
    status_t status = boot_make(k, OBJECT_SEGMENT, 0, &slot);
    if (status == STATUS_OK) {
        *out = (segment_ix){slot_at(k, slot)->object};
        segment_enter(k, *out, at, RIGHT_READ | RIGHT_WRITE | RIGHT_EXECUTE);
    }
    return status;
}

static uint64_t *boot_leaf(struct kernel *k, segment_ix i, uint64_t address)
{
    return (uint64_t *)arch_memory(segment_at(k, i)->physical) + paging_index(address, 0);
}

status_t start_page(struct kernel *k, uint64_t address, uint32_t rights, void **memory)
{
    segment_ix i;

    VERIFY((address & (PAGE_BYTES - 1u)) == 0 && address < USER_ADDRESS_END);
    status_t status = boot_segment(k, address, &i);
    if (status != STATUS_OK) {
        return status;
    }
    uint64_t leaf = *boot_leaf(k, i, address);
    if (arch_leaf_rights(leaf) != 0) {
        *memory = arch_memory(arch_leaf_physical(leaf));
        return STATUS_ALREADY_MAPPED;
    }
    do {
        status = untyped_prepare(untyped_at(k, k->boot_untyped), PAGE_BYTES);
    } while (status == STATUS_AGAIN);
    if (status == STATUS_OK) {
        *memory = arch_memory(segment_add_frame(k, i, paging_index(address, 0), rights));
    }
    return status;
}

status_t start_bundle_page(struct kernel *k, uint64_t address, uint64_t physical)
{
    segment_ix i;

    VERIFY((address & (PAGE_BYTES - 1u)) == 0 && address < USER_ADDRESS_END);
    VERIFY(page_at(k, physical)->kind == PAGE_BUNDLE);
    status_t status = boot_segment(k, address, &i);
    if (status != STATUS_OK) {
        return status;
    }
    uint64_t *leaf = boot_leaf(k, i, address);
    if (arch_leaf_rights(*leaf) != 0) {
        return STATUS_ALREADY_MAPPED;
    }
    arch_entry_store(leaf, arch_leaf_encode(physical, RIGHT_READ));
    segment_at(k, i)->used = 1;
    return STATUS_OK;
}

void start_thread(struct kernel *k, uint64_t ip, uint64_t sp, uint64_t argument)
{
    struct thread *t = thread_at(k, k->initial_thread);

    t->registers.ip = ip;
    t->registers.sp = sp;
    t->registers.arg0 = argument;
    arch_thread_forget(t);
    sched_wake(k, k->initial_thread);
    sched_finish(k);
}
