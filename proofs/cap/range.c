// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * range_derive: invariants 1 to 4, 6 and 11 of every slot, what it does, that the new range lies
 * within the source's (invariant 7 of the new slot), and that all it touches is there.
 * Of: kernel/object/range.c
 *
 * Goal effect: -DPROOF_EFFECT
 * Quick goal cells: -DPROOF_CELLS
 * Goal safety: -DPROOF_SAFETY
 * Goal shape: -DASK=1
 * Goal parent: -DASK=2
 * Goal siblings_of_new: -DASK=3 -DPROOF_CASE=1
 * Goal siblings_of_source: -DASK=3 -DPROOF_CASE=2
 * Goal siblings_of_next: -DASK=3 -DPROOF_CASE=3
 * Goal siblings_of_others: -DASK=3 -DPROOF_CASE=0
 * Goal child: -DASK=4
 * Goal level: -DASK=6
 * Goal inside: -DASK=11
 * Goal order_first_of_new: -DASK_ORDER=1 -DPROOF_CASE=1
 * Goal order_first_of_others: -DASK_ORDER=1 -DPROOF_CASE=0
 * Goal order_next_of_new: -DASK_ORDER=2 -DPROOF_CASE=1
 * Goal order_next_of_others: -DASK_ORDER=2 -DPROOF_CASE=0
 */
#ifdef ASK_ORDER
#define ASK 3
#define ASSUMED(n) false
#endif
#include "proofs/kernel/order.h"

#include "kernel/invariants.c"
#include "kernel/object/cap.c"
#include "kernel/object/range.c"
#include "kernel/object/table.c"

void prove_range(void)
{
    const struct range_request request = {nondet_u64(), nondet_u64(), nondet_u64(), nondet_u64(),
                                          nondet_u64()};

    proof_begin();
    LOOK_REF(2, 1, 1, request.to);
    LOOK_REF(4, 3, 2, request.from);
    uint32_t dst = slot_key_2;
    uint32_t src = slot_key_4;
    struct slot source = WAS(slot, src);
    LOOK(slot, 5, source.child.n);
#ifdef ASK_ORDER
    uint32_t w = look_order_of_new(dst);
#else
    uint32_t w = look_asked(asked_slot(dst, src, source.child.n));
#endif
    proof_looked();
    ASSUME_CALLER();
    ASSUME_REF(2, 1, 1);
    ASSUME_REF(4, 3, 2);
    ASSUME_SLOT(5);
#ifdef ASK_ORDER
    assume_order_of_new(dst, source.child.n);
#else
    ASSUME_ASKED();
#endif

    bool done = range_derive(PROOF_KERNEL, &request) == STATUS_OK;

    struct slot is = IS(slot, dst);
    struct slot other = WAS(slot, w);
    if (done && w == src) {
        other.child.n = dst;
    }
    if (done && w == source.child.n) {
        other.previous.n = dst;
    }
    PROVE_EFFECT((done && w == dst) || slot_same(IS(slot, w), other));
    PROVE_EFFECT(!done ||
                 (WAS(slot, dst).type == OBJECT_NONE && is.parent.n == src &&
                  is.type == source.type && is.object == source.object && is.badge == 0 &&
                  is.original == 0 && is.base == request.base && is.length == request.length &&
                  is.rights == (source.rights & (uint8_t)request.rights)));
    PROVE_EFFECT(!done || (is.length != 0 && is.base >= source.base &&
                           is.base - source.base <= source.length &&
                           is.length <= source.length - (is.base - source.base)));
    PROVE_EFFECT(UNCHANGED(table) && UNCHANGED(thread));
#ifdef ASK_ORDER
    PROVE(!done || order_asked(PROOF_AFTER)); /* of a refused one see the goal effect */
#else
    prove_slot(w);
#endif
    PROOF_END();
}
