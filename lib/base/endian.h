// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Unaligned loads and stores of fixed byte order. `at` needs the named number of bytes.
 */
#ifndef LIB_BASE_ENDIAN_H
#define LIB_BASE_ENDIAN_H

#include <stdint.h>

static inline uint16_t load_be16(const void *at)
{
    const uint8_t *b = at;
    return (uint16_t)((uint16_t)b[0] << 8 | b[1]);
}

static inline uint32_t load_be32(const void *at)
{
    const uint8_t *b = at;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static inline void store_be16(void *at, uint16_t value)
{
    uint8_t *b = at;
    b[0] = (uint8_t)(value >> 8);
    b[1] = (uint8_t)value;
}

static inline void store_be32(void *at, uint32_t value)
{
    uint8_t *b = at;
    b[0] = (uint8_t)(value >> 24);
    b[1] = (uint8_t)(value >> 16);
    b[2] = (uint8_t)(value >> 8);
    b[3] = (uint8_t)value;
}

static inline uint16_t load_le16(const void *at)
{
    const uint8_t *b = at;
    return (uint16_t)((uint16_t)b[1] << 8 | b[0]);
}

static inline uint32_t load_le32(const void *at)
{
    const uint8_t *b = at;
    return (uint32_t)b[3] << 24 | (uint32_t)b[2] << 16 | (uint32_t)b[1] << 8 | b[0];
}

static inline uint64_t load_le64(const void *at)
{
    return (uint64_t)load_le32((const uint8_t *)at + 4) << 32 | load_le32(at);
}

static inline void store_le16(void *at, uint16_t value)
{
    uint8_t *b = at;
    b[0] = (uint8_t)value;
    b[1] = (uint8_t)(value >> 8);
}

static inline void store_le32(void *at, uint32_t value)
{
    store_le16(at, (uint16_t)value);
    store_le16((uint8_t *)at + 2, (uint16_t)(value >> 16));
}

static inline void store_le64(void *at, uint64_t value)
{
    store_le32(at, (uint32_t)value);
    store_le32((uint8_t *)at + 4, (uint32_t)(value >> 32));
}

#endif
