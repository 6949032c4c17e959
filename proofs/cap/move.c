// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * cap_move: what it does, that all it touches is there, and invariants 1 to 4 and the order of
 * siblings (proofs/kernel/order.h) of every slot. Taken as given: no capability is its own sibling.
 * Of: kernel/object/cap.c
 *
 * Quick goal effect: -DPROOF_EFFECT
 * Quick goal cells: -DPROOF_CELLS
 * Goal safety: -DPROOF_SAFETY
 * Goal shape: -DASK=1
 * Goal parent_of_new: -DASK=2 -DPROOF_CASE=1
 * Goal parent_of_others: -DASK=2 -DPROOF_CASE=0
 * Goal siblings_of_new: -DASK=3 -DPROOF_CASE=1
 * Goal siblings_of_others: -DASK=3 -DPROOF_CASE=0
 * Goal child: -DASK=4
 * Goal inside_of_new: -DASK=11 -DPROOF_CASE=1
 * Goal inside_of_others: -DASK=11 -DPROOF_CASE=0
 * Goal order_first_of_new: -DASK_ORDER=1 -DPROOF_CASE=1
 * Goal order_first_of_others: -DASK_ORDER=1 -DPROOF_CASE=0
 * Goal order_next_of_new: -DASK_ORDER=2 -DPROOF_CASE=1
 * Goal order_next_before_new: -DASK_ORDER=2 -DPROOF_CASE=2
 * Goal order_next_of_others: -DASK_ORDER=2 -DPROOF_CASE=0
 */
#define CELLS_slot 7
#define CELLS_table 5
#define CELLS_untyped 1
#define CELLS_original 1
#define CELLS_irq 1
#ifdef ASK_ORDER
#define ASK 3
#endif
#ifndef ASK
#define ASSUMED(n) ((n) == 2 || (n) == 3)
#elif ASK == 2 || ASK == 11
#define ASSUMED(n) ((n) == 2)
#else
#define ASSUMED(n) ((n) == 3)
#endif
#include "proofs/kernel/order.h"

#include "kernel/invariants.c"
#include "kernel/object/cap.c"
#include "kernel/object/table.c"

/* Slot `w`, neither the new place nor the old one, as it should be after the move. */
static struct slot neighbour(uint32_t w, struct slot source, uint32_t dst)
{
    struct slot is = WAS(slot, w);

    if (w == source.previous.n) {
        is.next.n = dst;
    }
    if (source.previous.n == NIL && w == source.parent.n) {
        is.child.n = dst;
    }
    if (w == source.next.n) {
        is.previous.n = dst;
    }
    return is;
}

void prove_move(void)
{
    cap_ref_t to = nondet_u64();
    cap_ref_t from = nondet_u64();

    proof_begin();
    LOOK_REF(2, 1, 1, to);
    LOOK_REF(4, 3, 2, from);
    uint32_t dst = slot_key_2;
    uint32_t src = slot_key_4;
    struct slot source = WAS(slot, src);
    LOOK(slot, 5, source.previous.n != NIL ? source.previous.n : source.parent.n);
    LOOK(slot, 6, source.next.n);
    LOOK(table, 3, page_get(PROOF_BEFORE, granule_page(dst)).owner);
    LOOK(table, 4, source.object);
    LOOK(untyped, 0, source.object);
    LOOK_ORIGINAL(0, source);
#ifdef ASK_ORDER
    uint32_t any = nondet_u32();
    uint32_t b = PROOF_CASE == 2 ? dst : nondet_u32();
    uint32_t w = PROOF_CASE == 1 ? dst : any;
    ASSUME(PROOF_CASE == 1 || any != dst);
    ASSUME(PROOF_CASE == 2 || b != dst);
    (void)look_order(w, b, PROOF_CASE == 1 ? src : w);
#else
    uint32_t w = look_asked(asked_slot(dst, NIL, NIL));
#if PROOF_CASE == 1 && ASK != 3
    LOOK(slot, 9, source.parent.n); /* the new place's neighbours are the old one's */
#endif
#if PROOF_CASE == 1 && ASK == 11
    LOOK(untyped, 8, WAS(slot, source.parent.n).object);
#endif
#endif
    proof_looked();
    ASSUME_CALLER();
    ASSUME_REF(2, 1, 1);
    ASSUME_REF(4, 3, 2);
    ASSUME(source.next.n != src && source.previous.n != src); /* given */
#ifdef ASK_ORDER
    ASSUME(ticket(dst) == ticket(src)); /* the ticket moves along */
    /* What holds of the old place is asked of the new one. */
    ASSUME(ASK_ORDER == 1 ? order_first(PROOF_BEFORE, w == dst ? src : w)
                          : order_next(PROOF_BEFORE, w == dst ? src : w, b == dst ? src : b));
#else
    ASSUME_ASKED();
    /* O1: what has no child is nobody's parent, and invariant 3 of a first one. */
    ASSUME(WAS(slot, w).type == OBJECT_NONE || WAS(slot, w).parent.n != src ||
           source.child.n != NIL);
#endif

    bool done = cap_move(PROOF_KERNEL, to, from) == STATUS_OK;

    PROVE_EFFECT(!done || (WAS(slot, dst).type == OBJECT_NONE && source.type != OBJECT_NONE &&
                           source.child.n == NIL));
    PROVE_EFFECT(!done || slot_same(IS(slot, dst), source));
    PROVE_EFFECT(!done || slot_same(IS(slot, src), (struct slot){0}));
    PROVE_EFFECT((done && (w == dst || w == src)) ||
                 slot_same(IS(slot, w), done ? neighbour(w, source, dst) : WAS(slot, w)));
    PROVE_EFFECT(UNCHANGED(table) && UNCHANGED(thread) && UNCHANGED(untyped));
    PROVE_EFFECT((done && source.original != 0) || (UNCHANGED(original) && UNCHANGED(irq)));
#ifdef ASK_ORDER
    PROVE(!done || order_asked(PROOF_AFTER)); /* of a refused one see the goal effect */
#else
    if (done || PROOF_CASE != 1) {
        prove_slot(w);
    }
#endif
    PROOF_END();
}
