// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * SipHash-1-3: a keyed hash, so that nobody who does not know the key can choose keys that collide.
 * After J.-P. Aumasson, D. J. Bernstein: "SipHash: a fast short-input PRF", 2012.
 */
#ifndef APPS_KVSTORE_CORE_KEY_HASH_H
#define APPS_KVSTORE_CORE_KEY_HASH_H

#include <hallows/types.h>

uint64_t key_hash(const uint64_t key[2], const void *data, size_t bytes);

#endif
