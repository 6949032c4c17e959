// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * cap_copy keeps invariants 1 and 4 of every slot and 3 of the new one. Goals not yet decided
 * within the minute: -DASK=2, -DASK=3 in the other cases, -DPROOF_EFFECT
 * (docs/assurance/proofs.md). Of: kernel/object/cap.c
 *
 * Goal cells: -DPROOF_CELLS
 * Goal effect: -DPROOF_EFFECT
 * Goal slot_shape: -DASK=1
 * Goal slot_siblings_of_new: -DASK=3 -DPROOF_CASE=1
 * Goal slot_child: -DASK=4
 */
#define ASSUMED(n) ((n) >= 1 && (n) <= 4)
#define CELLS_slot (ASK == 3 ? 10 : ASK == 2 || ASK == 4 ? 8 : 7)
#include "proofs/kernel/kernel.h"

#include "kernel/invariants.c"
#include "kernel/object/cap.c"
#include "kernel/object/table.c"

/* Which slot the invariant is asked of; the cases are all there are. */
#if PROOF_CASE == 1
#define THIS_CASE(w, dst, src, next) ((w) == (dst))
#elif PROOF_CASE == 2
#define THIS_CASE(w, dst, src, next) ((w) == (src) && (w) != (dst))
#elif PROOF_CASE == 3
#define THIS_CASE(w, dst, src, next) ((w) == (next) && (w) != (src) && (w) != (dst))
#elif PROOF_CASE == 4
#define THIS_CASE(w, dst, src, next) ((w) != (next) && (w) != (src) && (w) != (dst))
#else
#define THIS_CASE(w, dst, src, next) true
#endif

static bool slot_same(struct slot a, struct slot b)
{
    return a.type == b.type && a.rights == b.rights && a.depth == b.depth && a.badge == b.badge &&
           a.original == b.original && a.object == b.object && a.parent.n == b.parent.n &&
           a.base == b.base && a.length == b.length;
}

void prove_copy(void)
{
    cap_ref_t to = nondet_u64();
    cap_ref_t from = nondet_u64();
    uint64_t rights = nondet_u64();

    proof_begin();
    LOOK_REF(2, 1, 1, to);
    LOOK_REF(4, 3, 2, from);
    uint32_t dst = slot_key_2;
    uint32_t src = slot_key_4;
    uint32_t next = WAS(slot, src).child.n;
    LOOK(slot, 5, next);
    LOOK_SLOT(6, 7, 8, 9);
    uint32_t w = slot_key_6;
    ASSUME(THIS_CASE(w, dst, src, next));
    proof_looked();
    ASSUME_SLOT(2);
    ASSUME_SLOT(4);
    ASSUME_SLOT(5);
    ASSUME_SLOT(6);

    status_t status = cap_copy(PROOF_KERNEL, to, from, rights);

    PROVE_SLOT(w);
    struct slot is = IS(slot, dst);
    struct slot source = WAS(slot, src);
    PROVE_EFFECT((status == STATUS_OK && w == dst) || slot_same(IS(slot, w), WAS(slot, w)));
    PROVE_EFFECT(status != STATUS_OK || (WAS(slot, dst).type == OBJECT_NONE && is.parent.n == src &&
                                         is.type == source.type && is.object == source.object &&
                                         is.badge == source.badge && is.base == source.base &&
                                         is.length == source.length && is.original == 0 &&
                                         is.rights == (source.rights & (uint8_t)rights)));
    PROVE_EFFECT(status == STATUS_OK || (IS(slot, w).child.n == WAS(slot, w).child.n &&
                                         IS(slot, w).next.n == WAS(slot, w).next.n &&
                                         IS(slot, w).previous.n == WAS(slot, w).previous.n));
    PROOF_END();
}
