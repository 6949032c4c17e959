// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef LIB_BASE_CRC32C_H
#define LIB_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* CRC-32C (Castagnoli; RFC 3720, appendix B.4) of `bytes` bytes; pass 0 first, then the last result
 * to go on over further data. */
uint32_t crc32c(uint32_t crc, const void *data, size_t bytes);

#endif
