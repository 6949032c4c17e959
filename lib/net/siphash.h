// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * SipHash-2-4 (Aumasson, Bernstein: "SipHash: a fast short-input PRF", 2012): the keyed hash behind
 * initial sequence numbers, hash-table keys and transaction numbers.
 */
#ifndef LIB_NET_SIPHASH_H
#define LIB_NET_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

struct siphash_key {
    uint64_t word[2];
};

uint64_t siphash(const struct siphash_key *key, const void *data, size_t bytes);

#endif
