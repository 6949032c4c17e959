// SPDX-License-Identifier: MIT OR Apache-2.0
/* What a checked kernel asks after each entry. Not part of the kernel that ships, nor of the host's
 * tests, which ask everything themselves. */
#include "kernel/invariants.h"

#define ENTRIES_BETWEEN_WALKS 32u

static uint32_t entries; /* [lock kernel] since the last walk of everything */

static void trap(struct invariant_failure failure)
{
    if (failure.number != 0) {
        assertion_failed(invariant_text(failure.number), __FILE__, (int)failure.index);
    }
}

void invariants_touch(struct kernel *k, const struct thread *t, struct invariants_touched *touched)
{
    const struct registers *r = &t->registers;
    const uint64_t numbers[INVARIANTS_TOUCHED_MAX] = {
        r->arg0,         r->arg1,           r->word[0], r->word[1],
        r->result >> 32, (uint32_t)r->caps, r->caps,    r->caps >> 32};

    touched->thread = current_thread(k);
    touched->table = t->table;
    for (uint32_t i = 0; i < INVARIANTS_TOUCHED_MAX; i++) {
        bool is_slot = numbers[i] != 0 && numbers[i] < table_at(k, t->table)->slots;
        touched->slot[i] = is_slot ? (uint32_t)numbers[i] : 0;
    }
}

static void check_page_of(struct kernel *k, uint32_t granule)
{
    uint32_t page = granule / GRANULES_PER_PAGE;

    if (granule != NIL && page < k->page_count) {
        trap(invariants_check_page(k, page));
    }
}

static void check_slot_of(struct kernel *k, table_ix table, uint32_t n)
{
    slot_ix i = {table.n + n};

    if (n == 0 || !object_index_ok(k, table.n, OBJECT_TABLE, 1) || n >= table_at(k, table)->slots) {
        return; /* the call was its table's end */
    }
    check_page_of(k, i.n);
    const struct slot *slot = slot_at(k, i);
    check_page_of(k, slot->type == OBJECT_IRQ ? NIL : slot->object);
    check_page_of(k, slot->parent.n);
    check_page_of(k, slot->child.n);
    check_page_of(k, slot->next.n);
}

void invariants_after_entry(struct kernel *k, const struct invariants_touched *touched)
{
    if (++entries >= ENTRIES_BETWEEN_WALKS) {
        entries = 0;
        trap(invariants_check(k));
        return;
    }
    if (touched != NULL) {
        check_page_of(k, touched->thread.n);
        for (uint32_t i = 0; i < INVARIANTS_TOUCHED_MAX; i++) {
            check_slot_of(k, touched->table, touched->slot[i]);
        }
    }
    check_page_of(k, current_thread(k).n);
    /* The domain that runs; the others' queues are seen in the walk of everything. */
    trap(invariants_check_cpu(k, cpu_self(k), cpu_self(k)->domain, 1));
}
