// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Unaligned loads and stores of fixed byte order. `at` needs the named number of bytes.
 */
#ifndef LIB_BASE_ENDIAN_H
#define LIB_BASE_ENDIAN_H

#include <stdint.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the swaps below stand for big-endian");

/* Compilers turn these copies into one move each; they do not do that for every way of putting a
 * word together from bytes. */
static inline uint16_t load_le16(const void *at)
{
    uint16_t value;
    __builtin_memcpy(&value, at, sizeof value);
    return value;
}

static inline uint32_t load_le32(const void *at)
{
    uint32_t value;
    __builtin_memcpy(&value, at, sizeof value);
    return value;
}

static inline uint64_t load_le64(const void *at)
{
    uint64_t value;
    __builtin_memcpy(&value, at, sizeof value);
    return value;
}

static inline void store_le16(void *at, uint16_t value)
{
    __builtin_memcpy(at, &value, sizeof value);
}

static inline void store_le32(void *at, uint32_t value)
{
    __builtin_memcpy(at, &value, sizeof value);
}

static inline void store_le64(void *at, uint64_t value)
{
    __builtin_memcpy(at, &value, sizeof value);
}

static inline uint16_t load_be16(const void *at)
{
    return __builtin_bswap16(load_le16(at));
}

static inline uint32_t load_be32(const void *at)
{
    return __builtin_bswap32(load_le32(at));
}

static inline void store_be16(void *at, uint16_t value)
{
    store_le16(at, __builtin_bswap16(value));
}

static inline void store_be32(void *at, uint32_t value)
{
    store_le32(at, __builtin_bswap32(value));
}

#endif
