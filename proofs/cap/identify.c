// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * cap_identify: it tells the slot's type, rights, depth and badge, and changes nothing.
 * Of: kernel/object/cap.c
 *
 * Quick goal effect: -DPROOF_EFFECT
 * Quick goal cells: -DPROOF_CELLS
 * Quick goal safety: -DPROOF_SAFETY
 */
#define CELLS_slot 3
#define CELLS_table 2
#include "proofs/kernel/kernel.h"

#include "kernel/invariants.c"
#include "kernel/object/cap.c"
#include "kernel/object/table.c"

void prove_identify(void)
{
    cap_ref_t ref = nondet_u64();
    uint64_t values[2] = {0, 0};

    proof_begin();
    LOOK_REF(2, 1, 1, ref);
    (void)look_asked(nondet_u32());
    proof_looked();
    ASSUME_CALLER();
    ASSUME_REF(2, 1, 1);

    status_t status = cap_identify(PROOF_KERNEL, ref, values);

    struct slot s = WAS(slot, slot_key_2);
    PROVE_EFFECT(UNCHANGED(slot) && UNCHANGED(table) && UNCHANGED(thread));
    PROVE_EFFECT(status != STATUS_OK || (s.type != OBJECT_NONE && (values[0] & 0xffu) == s.type &&
                                         ((values[0] >> 8) & 0xffu) == s.rights &&
                                         values[0] >> 16 == s.depth && values[1] == s.badge));
    PROVE_EFFECT(status == STATUS_OK || (values[0] == 0 && values[1] == 0));
    PROOF_END();
}
