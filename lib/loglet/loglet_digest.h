// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The digest of a frame's body: 128 bits, made with the round of AES (FIPS-197) as the step that
 * mixes (docs/decisions/045-frames-carry-an-aes-digest.md). It finds damage; it keeps no secret
 * and stops no forger.
 *
 * Input is taken 64 bytes at a time into four lanes of 16 bytes: lane = MixColumns(SubBytes(
 * ShiftRows(lane))) ^ input, one AESENC instruction. What is left at the end is padded with zeroes;
 * then the number of bytes is taken, the lanes are folded into one and stirred. The result is the
 * same with and without the instruction.
 */
#ifndef LIB_LOGLET_DIGEST_H
#define LIB_LOGLET_DIGEST_H

#include <hallows/types.h>

#define DIGEST_BYTES 16u
#define DIGEST_STEP_BYTES 64u

struct digest {
    uint8_t lanes[DIGEST_STEP_BYTES] __attribute__((aligned(16)));
    uint64_t bytes;
};

/* Whether this CPU has AESENC; what `fast` is to be below. */
bool digest_is_fast(void);

void digest_begin(struct digest *digest);
/* Takes `bytes` bytes, a multiple of DIGEST_STEP_BYTES, from 16-byte aligned memory. */
void digest_add(struct digest *digest, bool fast, const void *data, size_t bytes);
/* Takes the last `bytes`, any number, from 16-byte aligned memory, and gives the result. */
void digest_end(struct digest *digest, bool fast, const void *data, size_t bytes,
                uint8_t result[DIGEST_BYTES]);

#endif
