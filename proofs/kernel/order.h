// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * That siblings are in one list from their parent's first child on, so that who has no child is
 * nobody's parent. No field says so: a slot is given a *ticket*, which proofs alone know, and the
 * invariant is that there are tickets with:
 *
 * O1: whose parent is there has a parent with a first child, whose ticket is no smaller.
 *
 * O2: of two with one parent tickets differ, and the one with the larger has a next one, whose
 * ticket is no smaller than the other's.
 *
 * A new capability gets one that is larger than all. They do not say that nobody is its own
 * sibling.
 */
#ifndef PROOFS_KERNEL_ORDER_H
#define PROOFS_KERNEL_ORDER_H

#include "proofs/kernel/kernel.h"

#define TICKET(name, j) static uint64_t name##_ticket_##j;
EACH(TICKET, slot)
#define SEE_TICKET(name, j) slot_key_##j == n ? slot_ticket_##j:
static uint64_t ticket(uint32_t n)
{
    uint64_t any;

    return EACH(SEE_TICKET, slot) any;
}

/* With -DASK_ORDER=1 or 2: slot 8 is `w`, 9 is `b`, 10 and 11 what O1 or O2 of slot `like` looks
 * at. */
#ifdef ASK_ORDER
static uint32_t look_order(uint32_t w, uint32_t b, uint32_t like)
{
    LOOK(slot, 8, w);
    LOOK(slot, 9, b);
    LOOK(slot, 10, ASK_ORDER == 1 ? WAS(slot, like).parent.n : WAS(slot, like).next.n);
    LOOK(slot, 11, ASK_ORDER == 1 ? WAS(slot, slot_key_10).child.n : NIL);
    ASSUME(w != NIL && b != NIL);
    return w;
}
#endif

/* O1 of slot n. */
static bool order_first(struct kernel *k, uint32_t n)
{
    const struct slot s = proof_slot_get(k, n);

    if (s.type == OBJECT_NONE || s.parent.n == NIL) {
        return true;
    }
    const struct slot parent = proof_slot_get(k, s.parent.n);
    return parent.child.n != NIL && ticket(parent.child.n) >= ticket(n);
}

/* O2 of slots a and b, if a has the larger ticket or it is the same. */
static bool order_next(struct kernel *k, uint32_t a, uint32_t b)
{
    const struct slot x = proof_slot_get(k, a);
    const struct slot y = proof_slot_get(k, b);

    if (a == b || x.type == OBJECT_NONE || y.type == OBJECT_NONE || x.parent.n == NIL ||
        x.parent.n != y.parent.n || ticket(a) < ticket(b)) {
        return true;
    }
    return ticket(a) != ticket(b) && x.next.n != NIL && ticket(x.next.n) >= ticket(b);
}

/* Of a new capability in `dst`, derived from one whose first child is `first`, after the cells:
 * whom is asked is `dst` or any other (-DPROOF_CASE=1 or 0). */
#ifdef ASK_ORDER
static uint32_t look_order_of_new(uint32_t dst)
{
    uint32_t w = PROOF_CASE == 1 ? dst : nondet_u32();

    ASSUME(PROOF_CASE == 1 || w != dst);
    return look_order(w, nondet_u32(), w);
}

static void assume_order_of_new(uint32_t dst, uint32_t first)
{
    const uint32_t w = slot_key_8;
    const uint32_t b = slot_key_9;

    /* Its ticket is larger than all. */
    ASSUME(w == dst || ticket(dst) > ticket(w));
    ASSUME(b == dst || ticket(dst) > ticket(b));
    ASSUME(first == NIL || ticket(dst) > ticket(first));
    ASSUME(ASK_ORDER == 1 || order_first(PROOF_BEFORE, b));
    ASSUME(PROOF_CASE == 1 ||
           (ASK_ORDER == 1 ? order_first(PROOF_BEFORE, w) : order_next(PROOF_BEFORE, w, b)));
}
#endif

/* That of O1 and O2 which is asked. */
#ifdef ASK_ORDER
static bool order_asked(struct kernel *k)
{
    return ASK_ORDER == 1 ? order_first(k, slot_key_8) : order_next(k, slot_key_8, slot_key_9);
}
#endif

#endif
