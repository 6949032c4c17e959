// SPDX-License-Identifier: MIT OR Apache-2.0
/* Host only: the hash of toeplitz.h as data sheets define it, bit by bit, for fake devices. */
#ifndef DRIVERS_NET_TOEPLITZ_FAKE_H
#define DRIVERS_NET_TOEPLITZ_FAKE_H

#include <hallows/types.h>

/* Of `bytes` bytes, with a key of at least 4 more. */
uint32_t toeplitz_fake(const uint8_t *key, const uint8_t *input, uint32_t bytes);

#endif
