// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * cap_move: what it does, and that all it touches is there. Taken as given: no capability is its
 * own sibling (lists are not circular, which no invariant of one slot says).
 * Of: kernel/object/cap.c
 *
 * Quick goal effect: -DPROOF_EFFECT
 * Quick goal cells: -DPROOF_CELLS
 * Goal safety: -DPROOF_SAFETY
 */
#define CELLS_slot 7
#define CELLS_table 5
#define CELLS_untyped 1
#define CELLS_original 1
#define CELLS_irq 1
#define ASSUMED(n) ((n) == 2 || (n) == 3)
#include "proofs/kernel/kernel.h"

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
    uint32_t w = look_asked(nondet_u32());
    proof_looked();
    ASSUME_CALLER();
    ASSUME_REF(2, 1, 1);
    ASSUME_REF(4, 3, 2);
    ASSUME_ASKED();
    ASSUME(source.next.n != src && source.previous.n != src);

    bool done = cap_move(PROOF_KERNEL, to, from) == STATUS_OK;

    PROVE_EFFECT(!done || (WAS(slot, dst).type == OBJECT_NONE && source.type != OBJECT_NONE &&
                           source.child.n == NIL));
    PROVE_EFFECT(!done || slot_same(IS(slot, dst), source));
    PROVE_EFFECT(!done || slot_same(IS(slot, src), (struct slot){0}));
    PROVE_EFFECT((done && (w == dst || w == src)) ||
                 slot_same(IS(slot, w), done ? neighbour(w, source, dst) : WAS(slot, w)));
    PROVE_EFFECT(UNCHANGED(table) && UNCHANGED(thread) && UNCHANGED(untyped));
    PROVE_EFFECT((done && source.original != 0) || (UNCHANGED(original) && UNCHANGED(irq)));
    PROOF_END();
}
