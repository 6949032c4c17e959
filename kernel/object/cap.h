// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Capabilities: finding, deriving, moving, deleting, revoking.
 *
 * Model. The capabilities form an explicit forest. Roots are made at boot; a child is a copy of its
 * parent with no more rights, or (below untyped memory, irq control and ranges) the first
 * capability of something made from it. The *original* capability of an object is the one that its
 * creation made; the object dies with it, after everything derived from it is gone.
 *
 * Only leaves are deleted, so deletion is one unlink. Destroying more than a leaf is a repetition
 * of cap_reduce, which finds a leaf below a slot, and does one bounded step towards its deletion.
 * No cursor is stored: the next step finds its place again.
 *
 * Levels make that search finite. A table that dies takes the capabilities in it along, and those
 * may be originals of further tables or of untyped memory that has tables among its children. Each
 * table and untyped memory has a level above that of the table its original lies in and above that
 * of the untyped memory it was made from; so every step of the search from a table into a nested
 * one goes up a level, and two tables can never hold each other's originals.
 */
#ifndef KERNEL_OBJECT_CAP_H
#define KERNEL_OBJECT_CAP_H

#include "kernel/state.h"

/* Highest level of a table or untyped memory; the initial cell's are 1 and 2. */
#define LEVEL_MAX 16u
/* Copies that one cap_revoke or cap_delete removes at most; a step of an object's teardown, or a
 * copy that a thread loses, takes the whole call. Bounds its time with interrupts off. */
#define REVOKE_STEPS 8u

/* Slot n of a table, which may be empty. INVALID_SLOT: n is 0 or too large. */
INLINE HALLOWS_MUST_CHECK status_t slot_in(struct kernel *k, table_ix table, uint64_t n,
                                           slot_ix *out)
{
    uint64_t inside = arch_index(n, table_at(k, table)->slots);

    *out = (slot_ix){table.n + (uint32_t)inside};
    return inside == 0 ? STATUS_INVALID_SLOT : STATUS_OK;
}

/* The same of the current thread's table. */
INLINE HALLOWS_MUST_CHECK status_t cap_slot(struct kernel *k, uint64_t n, slot_ix *out)
{
    return slot_in(k, arch_caller(k)->table, n, out);
}

/* OK, EMPTY_SLOT, WRONG_TYPE, NO_RIGHTS unless all of `rights` are there. */
INLINE HALLOWS_MUST_CHECK status_t cap_check(const struct slot *slot, enum object_type type,
                                             uint32_t rights)
{
    if (slot->type != type) {
        return slot->type == OBJECT_NONE ? STATUS_EMPTY_SLOT : STATUS_WRONG_TYPE;
    }
    return (slot->rights & rights) == rights ? STATUS_OK : STATUS_NO_RIGHTS;
}

/* Slots n.. of the current thread's table, `count` in a row, the first of them. INVALID_SLOT. */
static inline HALLOWS_MUST_CHECK status_t cap_row(struct kernel *k, uint64_t n, uint64_t count,
                                                  slot_ix *first)
{
    status_t status = cap_slot(k, n, first);
    bool inside = n + count <= table_at(k, arch_caller(k)->table)->slots;

    return status == STATUS_OK && !inside ? STATUS_INVALID_SLOT : status;
}

/* As cap_slot; further EMPTY_SLOT, WRONG_TYPE, NO_RIGHTS unless all of `rights` are there. Inline,
 * for measured paths. */
INLINE HALLOWS_MUST_CHECK status_t cap_find_here(struct kernel *k, uint64_t n,
                                                 enum object_type type, uint32_t rights,
                                                 struct slot **out)
{
    slot_ix i;
    status_t status = cap_slot(k, n, &i);

    if (status != STATUS_OK) {
        return status;
    }
    *out = slot_at(k, i);
    return cap_check(*out, type, rights);
}

/* The same, for the others. */
static inline HALLOWS_MUST_CHECK status_t cap_find(struct kernel *k, uint64_t n,
                                                   enum object_type type, uint32_t rights,
                                                   struct slot **out)
{
    return cap_find_here(k, n, type, rights, out);
}

/* As cap_find, for types that boot also hands out without an object: UNSUPPORTED for that one. */
static inline HALLOWS_MUST_CHECK status_t cap_find_object(struct kernel *k, uint64_t n,
                                                          enum object_type type, uint32_t rights,
                                                          struct slot **out)
{
    status_t status = cap_find(k, n, type, rights, out);

    return status == STATUS_OK && (*out)->object == NIL ? STATUS_UNSUPPORTED : status;
}

/* The slot that `ref` names, which may be empty; *table is the one it lies in. INVALID_SLOT;
 * EMPTY_SLOT, WRONG_TYPE, NO_RIGHTS (MANAGE) for the table's capability. */
INLINE HALLOWS_MUST_CHECK status_t cap_ref_slot(struct kernel *k, cap_ref_t ref, slot_ix *out,
                                                table_ix *table)
{
    uint32_t n = (uint32_t)ref;
    uint32_t table_slot = (uint32_t)(ref >> 32);
    table_ix in = arch_caller(k)->table;

    if (table_slot != 0) {
        struct slot *slot;
        status_t status = cap_find(k, table_slot, OBJECT_TABLE, RIGHT_MANAGE, &slot);
        if (status != STATUS_OK) {
            return status;
        }
        in = (table_ix){slot->object};
    }
    *table = in;
    return slot_in(k, in, n, out);
}

/* For calls about time: n as cap_find with MANAGE, and a sched_control. */
HALLOWS_MUST_CHECK status_t cap_find_sched(struct kernel *k, uint64_t n, enum object_type type,
                                           uint64_t control, struct slot **out, struct slot **with);

/* Index of slot n of the caller's table. Precondition: cap_slot or cap_find accepted n. */
static inline slot_ix cap_own(struct kernel *k, uint64_t n)
{
    return (slot_ix){arch_caller(k)->table.n + (uint32_t)n};
}
/* The table that a slot lies in. Precondition: not an embedded slot. */
table_ix cap_table_of(struct kernel *k, slot_ix i);

/* The one function in which rights shrink. */
static inline uint32_t rights_narrow(uint32_t held, uint32_t asked)
{
    return held & asked;
}

/* `to` as *dst, which must be empty (OCCUPIED_SLOT), and `from` as *src, which must not
 * (EMPTY_SLOT); further as cap_ref_slot. */
HALLOWS_MUST_CHECK status_t cap_decode_pair(struct kernel *k, cap_ref_t to, cap_ref_t from,
                                            slot_ix *dst, slot_ix *src);
/* OK or why no copy of `source` can be made: WRONG_TYPE (untyped), DERIVATION_DEPTH. */
status_t cap_derivable(const struct slot *source);
/* Makes `to`, empty, a child of `from` with from's type, object and range. Cannot fail once
 * cap_derivable said OK. */
void cap_derive(struct kernel *k, slot_ix from, slot_ix to, uint32_t rights, uint64_t badge);
/* Makes `to`, empty, the original capability of a new object: child of `parent`. */
void cap_create(struct kernel *k, slot_ix parent, slot_ix to, enum object_type type,
                uint32_t object);
/* Makes `to`, empty, a root. */
void cap_create_root(struct kernel *k, slot_ix to, enum object_type type, uint32_t object);
/* Removes a childless, not original capability; the thread loses it if it was embedded. */
void cap_remove_copy(struct kernel *k, slot_ix i);

/* One bounded step towards removing `i` and everything below it; how many of REVOKE_STEPS it
 * took. Precondition: not empty. */
uint32_t cap_reduce(struct kernel *k, slot_ix i);

/* The calls. */
status_t cap_copy(struct kernel *k, cap_ref_t to, cap_ref_t from, uint64_t rights);
status_t cap_mint(struct kernel *k, cap_ref_t to, cap_ref_t from, uint64_t rights, uint64_t badge);
status_t cap_move(struct kernel *k, cap_ref_t to, cap_ref_t from);
status_t cap_delete(struct kernel *k, cap_ref_t ref);
status_t cap_revoke(struct kernel *k, cap_ref_t ref);
status_t cap_identify(struct kernel *k, cap_ref_t ref, uint64_t values[2]);

#endif
