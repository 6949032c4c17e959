// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Three severities (docs/HACKING): ASSERT for own bugs in debug and host builds, VERIFY for own
 * bugs that must never pass, a status for anyone else's fault. Never use these on what a user, a
 * device, a peer or a disk supplies.
 */
#ifndef LIB_BASE_ASSERT_H
#define LIB_BASE_ASSERT_H

/* Reports and does not return. The program (kernel, cell runtime, host test) provides it. */
_Noreturn void assertion_failed(const char *expression, const char *file, int line);

#define VERIFY(condition) ((condition) ? (void)0 : assertion_failed(#condition, __FILE__, __LINE__))

#ifdef PROOF_SAFETY
#define ASSERT(condition) __CPROVER_assert(condition, #condition)
#elif defined(HALLOWS_DEBUG)
#define ASSERT(condition) VERIFY(condition)
#else
/* Still type-checked, never evaluated. */
#define ASSERT(condition) ((void)sizeof((condition) ? 1 : 0))
#endif

#endif
