// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * cap_remove_copy, with which cap_delete and cap_revoke take out a copy in a table: what it does,
 * that all it touches has a cell, and invariants 1 to 4, 6, 11 and the order of siblings
 * (proofs/kernel/order.h) of every slot. Of: kernel/object/cap.c
 *
 * Quick goal effect: -DPROOF_EFFECT
 * Quick goal cells: -DPROOF_CELLS
 * Quick goal shape: -DASK=1
 * Goal parent: -DASK=2
 * Goal siblings: -DASK=3
 * Goal child: -DASK=4
 * Goal level: -DASK=6
 * Goal inside: -DASK=11
 * Goal order_first: -DASK_ORDER=1
 * Goal order_next: -DASK_ORDER=2
 */
#define CELLS_slot 4
#define CELLS_table 1
#ifdef ASK_ORDER
#define ASK 3
#endif
#if !defined(ASK) || ASK != 2
#define ASSUMED(n) ((n) == 3)
#endif
#include "proofs/kernel/order.h"

#include "kernel/invariants.c"
#include "kernel/object/cap.c"
#include "kernel/object/table.c"

void thread_slot_lost(struct kernel *k, slot_ix i)
{
    (void)k;
    (void)i;
    __CPROVER_assert(0, "not in a thread");
}

/* Slot `w`, not the one removed, as it should be afterwards. */
static struct slot neighbour(uint32_t w, struct slot source)
{
    struct slot is = WAS(slot, w);

    if (w == source.previous.n) {
        is.next.n = source.next.n;
    }
    if (source.previous.n == NIL && w == source.parent.n) {
        is.child.n = source.next.n;
    }
    if (w == source.next.n) {
        is.previous.n = source.previous.n;
    }
    return is;
}

void prove_remove(void)
{
    proof_begin();
    LOOK(slot, 1, nondet_u32());
    uint32_t i = slot_key_1;
    struct slot source = WAS(slot, i);
    LOOK(slot, 2, source.previous.n != NIL ? source.previous.n : source.parent.n);
    LOOK(slot, 3, source.next.n);
#ifdef ASK_ORDER
    uint32_t w = nondet_u32();
    (void)look_order(w, nondet_u32(), w);
#else
    uint32_t w = look_asked(nondet_u32());
#endif
    proof_looked();
    /* What its callers owe. */
    ASSUME(i != NIL && source.type != OBJECT_NONE && source.original == 0);
    ASSUME(source.child.n == NIL && source.parent.n != NIL);
    ASSUME(page_get(PROOF_BEFORE, granule_page(i)).kind == PAGE_OBJECT + OBJECT_TABLE);
    ASSUME(source.previous.n != NIL || WAS(slot, source.parent.n).child.n == i); /* invariant 3 */
    ASSUME(source.parent.n != i);                                                /* invariant 2 */
    ASSUME(source.next.n != i && source.previous.n != i);                        /* given */
#ifdef ASK_ORDER
    ASSUME_SLOT(1);
    ASSUME(order_asked(PROOF_BEFORE));
    ASSUME(order_next(PROOF_BEFORE, i, ASK_ORDER == 1 ? w : slot_key_9));
    ASSUME(ASK_ORDER == 1 || order_next(PROOF_BEFORE, slot_key_9, i));
#elif ASK != 0
    ASSUME_SLOT(1);
    ASSUME_ASKED();
    /* O1: what has no child is nobody's parent. */
    ASSUME(WAS(slot, w).type == OBJECT_NONE || WAS(slot, w).parent.n != i);
#endif

    cap_remove_copy(PROOF_KERNEL, (slot_ix){i});

    PROVE_EFFECT(slot_same(IS(slot, i), (struct slot){0}) && IS(slot, i).type == OBJECT_NONE);
    PROVE_EFFECT(w == i || slot_same(IS(slot, w), neighbour(w, source)));
    PROVE_EFFECT(UNCHANGED(table) && UNCHANGED(thread));
#ifdef ASK_ORDER
    PROVE(order_asked(PROOF_AFTER));
#else
    prove_slot(w);
#endif
    PROOF_END();
}
