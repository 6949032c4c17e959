// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The accesses to shared words that lib/ring is made of. With RING_MODEL they are functions of the
 * test that includes the header, which explores their interleavings.
 */
#ifndef LIB_RING_RING_ATOMIC_H
#define LIB_RING_RING_ATOMIC_H

#include <hallows/types.h>

#ifdef RING_MODEL

uint32_t ring_load(const uint32_t *word);        /* acquire */
void ring_store(uint32_t *word, uint32_t value); /* release */
void ring_fence(void);

#else

/* Acquire: nothing after it happens before it. */
static inline uint32_t ring_load(const uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

/* Release: everything before it is visible before it. */
static inline void ring_store(uint32_t *word, uint32_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

/* Orders earlier stores before later loads. */
static inline void ring_fence(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

#endif

#endif
