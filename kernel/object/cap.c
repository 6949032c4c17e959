// SPDX-License-Identifier: MIT OR Apache-2.0
#include "kernel/object/cap.h"

#include "kernel/object/lists.h"
#include "kernel/object/object.h"

/* ---- Finding --------------------------------------------------------------------------------- */

table_ix cap_table_of(struct kernel *k, slot_ix i)
{
    return (table_ix){page_get(k, granule_page(i.n)).owner};
}

/* ---- The tree ---------------------------------------------------------------------------------
 */

DEFINE_MEMBERS(cap, slot, slot, parent, child, next, previous)

/* Precondition: no children. Leaves the slot all zero. */
FAST static void cap_empty(struct kernel *k, slot_ix i)
{
    cap_unlink(k, i);
    *slot_at(k, i) = (struct slot){0};
}

FAST status_t cap_derivable(const struct slot *source)
{
    if (source->type == OBJECT_UNTYPED) {
        return STATUS_WRONG_TYPE;
    }
    return source->depth >= DERIVATION_DEPTH_MAX ? STATUS_DERIVATION_DEPTH : STATUS_OK;
}

FAST void cap_derive(struct kernel *k, slot_ix from, slot_ix to, uint32_t rights, uint64_t badge)
{
    const struct slot *source = slot_at(k, from);
    struct slot *slot = slot_at(k, to);

    slot->type = source->type;
    slot->rights = (uint8_t)rights_narrow(source->rights, rights);
    slot->depth = (uint8_t)(source->depth + 1u);
    slot->object = source->object;
    slot->badge = badge;
    slot->base = source->base;
    slot->length = source->length;
    cap_link(k, from, to);
}

/* The object, if the type has one, names that slot as its original. */
FAST static void original_set(struct kernel *k, enum object_type type, uint32_t object, slot_ix to)
{
    slot_ix *original = object_original(k, type, object);

    if (original != NULL) {
        *original = to;
    }
}

FAST void cap_create_root(struct kernel *k, slot_ix to, enum object_type type, uint32_t object)
{
    struct slot *slot = slot_at(k, to);

    slot->type = (uint8_t)type;
    slot->rights = RIGHTS_ALL;
    slot->original = 1;
    slot->object = object;
    original_set(k, type, object, to);
}

FAST void cap_create(struct kernel *k, slot_ix parent, slot_ix to, enum object_type type,
                     uint32_t object)
{
    cap_create_root(k, to, type, object);
    slot_at(k, to)->depth = (uint8_t)(slot_at(k, parent)->depth + 1u);
    cap_link(k, parent, to);
}

void cap_remove_copy(struct kernel *k, slot_ix i)
{
    cap_empty(k, i);
    if (page_get(k, granule_page(i.n)).kind == PAGE_OBJECT + OBJECT_THREAD) {
        thread_slot_lost(k, i);
    }
}

status_t cap_find_sched(struct kernel *k, uint64_t n, enum object_type type, uint64_t control,
                        struct slot **out, struct slot **with)
{
    status_t status = cap_find(k, n, type, RIGHT_MANAGE, out);

    return status == STATUS_OK ? cap_find(k, control, OBJECT_SCHED_CONTROL, 0, with) : status;
}

/* ---- Destruction ------------------------------------------------------------------------------
 */

/* Bound: DERIVATION_DEPTH_MAX hops, since depth grows by one with each. */
FAST static slot_ix cap_leaf(struct kernel *k, slot_ix i)
{
    slot_ix child = slot_at(k, i)->child;
    for (uint32_t depth = 0; depth < DERIVATION_DEPTH_MAX && child.n != NIL; depth++) {
        i = child;
        child = slot_at(k, i)->child;
    }
    ASSERT(child.n == NIL);
    return i;
}

#define DESTROY(TYPE, name)                                                                        \
    case OBJECT_##TYPE:                                                                            \
        return name##_destroy(k, (name##_ix){slot->object});

static status_t object_destroy(struct kernel *k, const struct slot *slot)
{
    if (slot->object == NIL) {
        return STATUS_OK; /* types without an object, and the identity I/O space */
    }
    switch ((enum object_type)slot->type) {
        OBJECT_KINDS(DESTROY)
    default:
        return STATUS_OK;
    }
}

/* Removes a leaf, or does one step of its object's teardown (AGAIN). */
FAST static status_t cap_delete_leaf(struct kernel *k, slot_ix i)
{
    struct slot *slot = slot_at(k, i);

    if (slot->original == 0) {
        cap_remove_copy(k, i);
        return STATUS_OK;
    }
    status_t status = object_destroy(k, slot);
    if (status == STATUS_OK) {
        original_set(k, (enum object_type)slot->type, slot->object, (slot_ix){NIL});
        cap_empty(k, i);
    }
    return status;
}

/* The last slot of a table if a leaf original of that table is at `i` and the slot is in use. */
FAST static bool table_blocked_by(struct kernel *k, slot_ix i, slot_ix *last)
{
    const struct slot *slot = slot_at(k, i);

    if (slot->type != OBJECT_TABLE || slot->original == 0) {
        return false;
    }
    uint32_t slots = table_at(k, (table_ix){slot->object})->slots;
    *last = (slot_ix){slot->object + slots - 1u};
    return slots > 1u && slot_at(k, *last)->type != OBJECT_NONE;
}

FAST uint32_t cap_reduce(struct kernel *k, slot_ix i)
{
    slot_ix leaf = cap_leaf(k, i);
    slot_ix last;

    for (uint32_t level = 0; level <= LEVEL_MAX && table_blocked_by(k, leaf, &last); level++) {
        leaf = cap_leaf(k, last);
    }
    bool copy = slot_at(k, leaf)->original == 0 &&
                page_get(k, granule_page(leaf.n)).kind == PAGE_OBJECT + OBJECT_TABLE;
    (void)cap_delete_leaf(k, leaf); /* AGAIN is a step too */
    return copy ? 1u : REVOKE_STEPS;
}

/* ---- Calls ------------------------------------------------------------------------------------
 */

/* The slot that `ref` names, which is not empty. */
INLINE status_t cap_ref_used(struct kernel *k, cap_ref_t ref, slot_ix *out)
{
    table_ix table;
    status_t status = cap_ref_slot(k, ref, out, &table);
    bool empty = status == STATUS_OK && slot_at(k, *out)->type == OBJECT_NONE;

    return empty ? STATUS_EMPTY_SLOT : status;
}

/* The same, for calls that are not measured. */
APART static status_t cap_ref_find(struct kernel *k, cap_ref_t ref, slot_ix *out)
{
    return cap_ref_used(k, ref, out);
}

FAST status_t cap_decode_pair(struct kernel *k, cap_ref_t to, cap_ref_t from, slot_ix *dst,
                              slot_ix *src)
{
    table_ix table;
    status_t status = cap_ref_slot(k, to, dst, &table);

    if (status != STATUS_OK) {
        return status;
    }
    if (slot_at(k, *dst)->type != OBJECT_NONE) {
        return STATUS_OCCUPIED_SLOT;
    }
    return cap_ref_used(k, from, src);
}

/*
 * Requires: dst names an empty slot, src a capability other than untyped, of depth below the limit;
 *           either table, if not the caller's own, held with MANAGE.
 * Changes:  dst is a child of src: its type, object, range and badge, rights & src's.
 * Else:     nothing changes.
 */
FAST status_t cap_copy(struct kernel *k, cap_ref_t to, cap_ref_t from, uint64_t rights)
{
    slot_ix dst;
    slot_ix src;
    status_t status = cap_decode_pair(k, to, from, &dst, &src);

    if (status != STATUS_OK) {
        return status;
    }
    status = cap_derivable(slot_at(k, src));
    if (status != STATUS_OK) {
        return status;
    }
    cap_derive(k, src, dst, (uint32_t)rights & RIGHTS_ALL, slot_at(k, src)->badge);
    return STATUS_OK;
}

/* A badge is given once; only authority over priorities is lowered again and again. */
static bool badge_allowed(const struct slot *source, uint64_t badge)
{
    switch ((enum object_type)source->type) {
    case OBJECT_ENDPOINT:
    case OBJECT_NOTIFICATION:
        return source->badge == 0 || source->badge == badge;
    case OBJECT_SCHED_CONTROL:
        return badge <= source->badge;
    default:
        return badge == source->badge;
    }
}

/*
 * Requires: as cap_copy; src an endpoint or notification without badge, or a sched_control of at
 *           least that priority (WRONG_TYPE or INVALID_ARGUMENT otherwise).
 * Changes:  as cap_copy, and the badge is set.
 */
FAST status_t cap_mint(struct kernel *k, cap_ref_t to, cap_ref_t from, uint64_t rights,
                       uint64_t badge)
{
    slot_ix dst;
    slot_ix src;
    status_t status = cap_decode_pair(k, to, from, &dst, &src);

    if (status != STATUS_OK) {
        return status;
    }
    status = cap_derivable(slot_at(k, src));
    if (status != STATUS_OK) {
        return status;
    }
    if (!badge_allowed(slot_at(k, src), badge)) {
        return STATUS_INVALID_ARGUMENT;
    }
    cap_derive(k, src, dst, (uint32_t)rights & RIGHTS_ALL, badge);
    return STATUS_OK;
}

/*
 * Requires: dst empty, src a capability without children (BUSY); an original of a table or untyped
 *           memory goes only into a table of lower level (DERIVATION_DEPTH).
 * Changes:  dst is what src was, at the same place of the tree; src is empty.
 */
status_t cap_move(struct kernel *k, cap_ref_t to, cap_ref_t from)
{
    slot_ix dst;
    slot_ix src;
    status_t status = cap_decode_pair(k, to, from, &dst, &src);

    if (status != STATUS_OK) {
        return status;
    }
    struct slot *source = slot_at(k, src);
    if (source->child.n != NIL) {
        return STATUS_BUSY;
    }
    if (source->original != 0 && (source->type == OBJECT_TABLE || source->type == OBJECT_UNTYPED) &&
        table_at(k, cap_table_of(k, dst))->level >=
            object_level(k, (enum object_type)source->type, source->object)) {
        return STATUS_DERIVATION_DEPTH;
    }
    *slot_at(k, dst) = *source;
    if (source->previous.n != NIL) {
        slot_at(k, source->previous)->next = dst;
    } else if (source->parent.n != NIL) {
        slot_at(k, source->parent)->child = dst;
    }
    if (source->next.n != NIL) {
        slot_at(k, source->next)->previous = dst;
    }
    if (source->original != 0) {
        original_set(k, (enum object_type)source->type, source->object, dst);
    }
    *source = (struct slot){0};
    return STATUS_OK;
}

/*
 * Requires: ref names a capability without children (BUSY).
 * Changes:  OK: the slot is empty; if it was an original, its object is dead and whoever waited on
 * it was woken with CANCELLED. AGAIN: a bounded part of that was done.
 */
FAST status_t cap_delete(struct kernel *k, cap_ref_t ref)
{
    slot_ix i;
    status_t status = cap_ref_used(k, ref, &i);

    if (status != STATUS_OK) {
        return status;
    }
    if (slot_at(k, i)->child.n != NIL) {
        return STATUS_BUSY;
    }
    for (uint32_t steps = 0; steps < REVOKE_STEPS;) {
        steps += cap_reduce(k, i);
        if (slot_at(k, i)->type == OBJECT_NONE) {
            return STATUS_OK;
        }
    }
    return STATUS_AGAIN;
}

/*
 * Requires: ref names a capability.
 * Changes:  at most REVOKE_STEPS leaves below it (or steps of their teardown) are gone. OK: nothing
 * is derived from it any more. AGAIN: something still is.
 */
status_t cap_revoke(struct kernel *k, cap_ref_t ref)
{
    slot_ix i;
    status_t status = cap_ref_find(k, ref, &i);

    if (status != STATUS_OK) {
        return status;
    }
    struct slot *slot = slot_at(k, i);
    for (uint32_t steps = 0; steps < REVOKE_STEPS && slot->child.n != NIL;) {
        steps += cap_reduce(k, slot->child);
    }
    return slot->child.n == NIL ? STATUS_OK : STATUS_AGAIN;
}

/* Requires: ref names a capability. Changes: nothing. */
status_t cap_identify(struct kernel *k, cap_ref_t ref, uint64_t values[2])
{
    slot_ix i;
    status_t status = cap_ref_find(k, ref, &i);

    if (status != STATUS_OK) {
        return status;
    }
    const struct slot *slot = slot_at(k, i);
    values[0] = (uint64_t)slot->type | (uint64_t)slot->rights << 8 | (uint64_t)slot->depth << 16;
    values[1] = slot->badge;
    return STATUS_OK;
}
