// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * A keyed hash, so that nobody who does not know the key can choose keys that collide: four rounds
 * of AES with secret round keys for each 16 bytes where the CPU has the instruction, SipHash-1-3
 * elsewhere. Values differ between the two; none leaves the process.
 *
 * Sources: J. Daemen, V. Rijmen: "Understanding two-round differentials in AES", 2006 (four rounds:
 * no difference gets through with a probability above 2^-113); J.-P. Aumasson, D. J. Bernstein:
 * "SipHash: a fast short-input PRF", 2012.
 */
#ifndef APPS_KVSTORE_CORE_KEY_HASH_H
#define APPS_KVSTORE_CORE_KEY_HASH_H

#include <hallows/types.h>

#define KEY_HASH_ROUNDS 4u

struct key_hash_key {
    uint64_t rounds[KEY_HASH_ROUNDS + 1u][2] __attribute__((aligned(16)));
    uint64_t words[2];
    bool fast; /* by AES */
};

/* From 16 secret bytes. `fast`: use AES; only where the CPU has it (key_hash_has_aes). */
void key_hash_init(struct key_hash_key *key, const uint64_t secret[2], bool fast);
bool key_hash_has_aes(void);
uint64_t key_hash(const struct key_hash_key *key, const void *data, size_t bytes);

#endif
