// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef DRIVERS_NET_CELL_ADDRESS_H
#define DRIVERS_NET_CELL_ADDRESS_H

#include <hallows/status.h>

#include "lib/net/stack.h"

/* Four decimal numbers with dots, each 0..255 without leading zeros. INVALID_ARGUMENT. */
status_t address_parse(const char *text, ipv4_t *address) HALLOWS_MUST_CHECK;
/* The same with "/bits" behind it, 1..30. INVALID_ARGUMENT. */
status_t address_parse_network(const char *text, ipv4_t *address,
                               uint32_t *prefix_bits) HALLOWS_MUST_CHECK;

#endif
