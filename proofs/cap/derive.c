// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * cap_copy and cap_mint: invariants 1 to 4, 6 and 11 of every slot, what they do, and that all they
 * touch is there. Not decided within the minute: 5 and 7, which read only fields that the goal
 * `effect` says are as they were, or in the new slot as in the source.
 * Of: kernel/object/cap.c
 *
 * Quick goal effect: -DPROOF_EFFECT
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
#define CELLS_original 1
#define CELLS_irq 1
#ifdef ASK_ORDER
#define ASK 3
#define ASSUMED(n) false
#endif
#include "proofs/kernel/order.h"

#include "kernel/invariants.c"
#include "kernel/object/cap.c"
#include "kernel/object/table.c"

static void derive(bool mint)
{
    cap_ref_t to = nondet_u64();
    cap_ref_t from = nondet_u64();
    uint64_t rights = nondet_u64();
    uint64_t badge = nondet_u64();

    proof_begin();
    LOOK_REF(2, 1, 1, to);
    LOOK_REF(4, 3, 2, from);
    uint32_t dst = slot_key_2;
    uint32_t src = slot_key_4;
    struct slot source = WAS(slot, src);
    LOOK(slot, 5, source.child.n);
    LOOK_ORIGINAL(0, source);
#ifdef ASK_ORDER
    uint32_t w = look_order_of_new(dst);
#else
    uint32_t w = look_asked(asked_slot(dst, src, source.child.n));
#endif
#if ASK == 5
    LOOK(slot, 9, WAS_ORIGINAL(0, source));
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
#if ASK == 5
    ASSUME_ORIGINAL(0, source.type);
#endif

    status_t status = mint ? cap_mint(PROOF_KERNEL, to, from, rights, badge)
                           : cap_copy(PROOF_KERNEL, to, from, rights);
    bool done = status == STATUS_OK;

    struct slot is = IS(slot, dst);
    struct slot other = WAS(slot, w);
    if (done && w == src) {
        other.child.n = dst;
    }
    if (done && w == source.child.n) {
        other.previous.n = dst;
    }
    PROVE_EFFECT((done && w == dst) || slot_same(IS(slot, w), other));
    PROVE_EFFECT(!done || (WAS(slot, dst).type == OBJECT_NONE && is.parent.n == src &&
                           is.type == source.type && is.object == source.object &&
                           is.badge == (mint ? badge : source.badge) && is.base == source.base &&
                           is.length == source.length && is.original == 0 &&
                           is.rights == (source.rights & (uint8_t)rights)));
    PROVE_EFFECT(ASK != 0 || (UNCHANGED(table) && UNCHANGED(thread) && UNCHANGED(original)));
#ifdef ASK_ORDER
    PROVE(!done || order_asked(PROOF_AFTER)); /* of a refused one see the goal effect */
#else
    prove_slot(w);
#endif
    PROOF_END();
}

void prove_copy(void)
{
    derive(false);
}

void prove_mint(void)
{
    derive(true);
}
