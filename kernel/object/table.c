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
    return table->slots > 1u ? STATUS_AGAIN : STATUS_OK;
}

uint32_t object_level(struct kernel *k, enum object_type type, uint32_t object)
{
    ASSERT(type == OBJECT_TABLE || type == OBJECT_UNTYPED);
    return type == OBJECT_TABLE ? table_at(k, (table_ix){object})->level
                                : untyped_at(k, (untyped_ix){object})->level;
}
