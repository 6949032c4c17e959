// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef RUNTIME_RANDOM_H
#define RUNTIME_RANDOM_H

#include <hallows/types.h>

/* Fills `to` from the CPU's generator (RDRAND). A CPU without one gives mixed time stamps, which
 * keep accidents apart and no attacker out; then it returns false. */
bool random_bytes(void *to, size_t bytes);

#endif
