// SPDX-License-Identifier: MIT OR Apache-2.0
/* Capability tables, and what cap.c asks of objects whatever their type. */
#include "kernel/object/cap.h"
#include "kernel/object/object.h"

/* Empty slots one teardown step passes. */
#define TABLE_SHRINK_STEP 64u

/*
 * Changes: OK: the table is dead, all its slots were empty. AGAIN: it was shrunk past some empty
 *          slots at its end, or its last slot is in use (cap_reduce empties that first).
 */
status_t table_destroy(struct kernel *k, table_ix i)
{
    struct table *table = table_at(k, i);

    for (uint32_t step = 0; step < TABLE_SHRINK_STEP && table->slots > 1u; step++) {
        if (slot_at(k, (slot_ix){i.n + table->slots - 1u})->type != OBJECT_NONE) {
            return STATUS_AGAIN;
        }
        table->slots--;
    }
    if (table->slots > 1u) {
        return STATUS_AGAIN;
    }
    table->original = (slot_ix){NIL};
    return STATUS_OK;
}

slot_ix *object_original(struct kernel *k, enum object_type type, uint32_t object)
{
    switch (type) {
    case OBJECT_UNTYPED:
        return &untyped_at(k, (untyped_ix){object})->original;
    case OBJECT_TABLE:
        return &table_at(k, (table_ix){object})->original;
    case OBJECT_THREAD:
        return &thread_at(k, (thread_ix){object})->original;
    case OBJECT_ENDPOINT:
        return &endpoint_at(k, (endpoint_ix){object})->original;
    case OBJECT_REPLY:
        return &reply_at(k, (reply_ix){object})->original;
    case OBJECT_NOTIFICATION:
        return &notification_at(k, (notification_ix){object})->original;
    case OBJECT_ASPACE:
        return &aspace_at(k, (aspace_ix){object})->original;
    case OBJECT_PAGE_TABLE:
        return &page_table_at(k, (page_table_ix){object})->original;
    case OBJECT_SEGMENT:
        return &segment_at(k, (segment_ix){object})->original;
    case OBJECT_SCHED_CONTEXT:
        return &sched_context_at(k, (sched_context_ix){object})->original;
    case OBJECT_IRQ:
        return &irq_at(k, (irq_ix){object})->original;
    case OBJECT_IOSPACE:
        return object == NIL ? NULL : &iospace_at(k, (iospace_ix){object})->original;
    default:
        return NULL;
    }
}

uint32_t object_level(struct kernel *k, enum object_type type, uint32_t object)
{
    ASSERT(type == OBJECT_TABLE || type == OBJECT_UNTYPED);
    return type == OBJECT_TABLE ? table_at(k, (table_ix){object})->level
                                : untyped_at(k, (untyped_ix){object})->level;
}
