// SPDX-License-Identifier: MIT OR Apache-2.0
/* Numbers as text, strictly: no spaces, no plus sign, no leading zeros. */
#ifndef APPS_KVSTORE_CORE_NUMBER_H
#define APPS_KVSTORE_CORE_NUMBER_H

#include "apps/kvstore/core/slice.h"

/* Longest text of a 64-bit integer: 19 digits and a sign. */
#define NUMBER_TEXT_MAX 20u
/* Longest text that decimal_add makes. */
#define DECIMAL_TEXT_MAX 352u

/* False if the text is not exactly a 64-bit integer as number_format_i64 writes it. */
bool number_parse_i64(struct slice text, int64_t *value);
/* As number_parse_i64 for unsigned. */
bool number_parse_u64(struct slice text, uint64_t *value);
/* Both write at most NUMBER_TEXT_MAX bytes, without a NUL, and return how many. */
size_t number_format_i64(int64_t value, uint8_t *to);
size_t number_format_u64(uint64_t value, uint8_t *to);

enum decimal_result { DECIMAL_OK, DECIMAL_NOT_A_NUMBER, DECIMAL_TOO_LARGE };

/* Whether the text is a decimal number (digits, one point, an exponent, a sign) in range. */
bool decimal_valid(struct slice text);
/* a + b, exact to 17 places after the point and rounded there, half away from zero, without
 * trailing zeros; `to` has DECIMAL_TEXT_MAX bytes. TOO_LARGE from 10^330 on. */
enum decimal_result decimal_add(struct slice a, struct slice b, uint8_t *to, size_t *bytes);

#endif
