// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Reads a cell's configuration: "key=value" strings, each ended by a NUL, as tools/image writes
 * them from the manifest.
 */
#ifndef LIB_CONFIG_CONFIG_H
#define LIB_CONFIG_CONFIG_H

#include <hallows/status.h>
#include <hallows/types.h>

/* The NUL-terminated value of `key` in `bytes` bytes at `text`; NULL if it is not there. A last
 * string without NUL does not count. */
const char *config_find(const char *text, size_t bytes, const char *key);
/* Decimal or 0x hexadecimal, then K, M or G (powers of 1024) if wanted, nothing behind it.
 * INVALID_ARGUMENT: no number, or above 2^64 - 1; *value is unchanged. */
status_t config_parse_u64(const char *text, uint64_t *value) HALLOWS_MUST_CHECK;
/* true yes on 1 / false no off 0. INVALID_ARGUMENT: anything else; *value is unchanged. */
status_t config_parse_bool(const char *text, bool *value) HALLOWS_MUST_CHECK;
/* Whether every string has a key, a '=' and its NUL: what config_find relies on being sensible. */
bool config_is_well_formed(const char *text, size_t bytes);

#endif
