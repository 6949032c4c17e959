// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * What a proof is written with. Each `void prove_name(void)` in a file below proofs/ is one: it
 * takes arbitrary values (nondet_*), says with ASSUME what the caller promises, calls the real
 * code, and says with PROVE what must hold then. PROOF_END stands last: a second run shows that it
 * can be reached (PROOF_END_IF: so that this is the case), so that no proof holds for want of a
 * case. tools/proofs.py runs them.
 */
#ifndef PROOFS_PROOF_H
#define PROOFS_PROOF_H

#include <hallows/types.h>

uint8_t nondet_u8(void);
uint32_t nondet_u32(void);
uint64_t nondet_u64(void);

#define ASSUME(condition) __CPROVER_assume(condition)
#define IMPLIES(a, b) (!(a) || (b))
#ifdef PROOF_REACH
#define PROVE(condition) ((void)0)
#define PROOF_END() __CPROVER_assert(0, "reached")
#define PROOF_END_IF(condition) __CPROVER_assert(!(condition), "reached")
#else
#define PROVE(condition) __CPROVER_assert(condition, #condition)
#define PROOF_END() ((void)0)
#define PROOF_END_IF(condition) ((void)0)
#endif

#endif
