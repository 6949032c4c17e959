// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * What a proof of a call on one object is written with, besides proofs/kernel/kernel.h: slots of
 * the caller's table by their number, and what the call requires of them.
 */
#ifndef PROOFS_KERNEL_CALL_H
#define PROOFS_KERNEL_CALL_H

#include "proofs/kernel/kernel.h"

/* Objects are large here, and no invariant needs it: what an operation did is not assumed. */
#ifndef PROOF_EFFECT
#undef PROVE_EFFECT
#define PROVE_EFFECT(condition) ((void)0)
#endif

/* Slot cell j is number n of the caller's table (table 0). */
#define LOOK_OWN(j, number) LOOK(slot, j, thread_was_0.table.n + (uint32_t)(number))
#define ASSUME_OWN(j)                                                                              \
    do {                                                                                           \
        ASSUME_IN_TABLE(j, 0);                                                                     \
        ASSUME_SLOT(j);                                                                            \
    } while (0)

/* The caller's thread is as it was. */
#define CALLER_UNCHANGED() __CPROVER_equal(thread_is_0, thread_was_0)

/* Number n is a slot of the caller's table, which is `s`, and holds that with these rights. */
static inline bool holds(uint64_t n, struct slot s, enum object_type type, uint32_t rights)
{
    return n != 0 && n < table_was_0.slots && s.type == type && (s.rights & rights) == rights;
}

#endif
