// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/config/config.h"

#include "lib/base/bytes.h"

const char *config_find(const char *text, size_t bytes, const char *key)
{
    size_t key_length = strlen(key);

    while (bytes > 0) {
        size_t length = strnlen(text, bytes);
        if (length == bytes) {
            return NULL;
        }
        if (length > key_length && memcmp(text, key, key_length) == 0 && text[key_length] == '=') {
            return text + key_length + 1u;
        }
        text += length + 1u;
        bytes -= length + 1u;
    }
    return NULL;
}

bool config_is_well_formed(const char *text, size_t bytes)
{
    while (bytes > 0) {
        size_t length = strnlen(text, bytes);
        if (length == bytes || text[0] == '=' || memchr(text, '=', length) == NULL) {
            return false;
        }
        text += length + 1u;
        bytes -= length + 1u;
    }
    return true;
}

/* The digit's value, or 255. */
static uint32_t digit_value(char c)
{
    if (c >= '0' && c <= '9') {
        return (uint32_t)(c - '0');
    }
    if (c >= 'a' && c <= 'f') {
        return (uint32_t)(c - 'a') + 10u;
    }
    if (c >= 'A' && c <= 'F') {
        return (uint32_t)(c - 'A') + 10u;
    }
    return 255u;
}

/* The shift that a size letter stands for, 0 for none, 255 for another character. */
static uint32_t unit_shift(char c)
{
    switch (c) {
    case '\0':
        return 0;
    case 'K':
    case 'k':
        return 10;
    case 'M':
    case 'm':
        return 20;
    case 'G':
    case 'g':
        return 30;
    default:
        return 255;
    }
}

status_t config_parse_u64(const char *text, uint64_t *value)
{
    uint64_t base = 10;
    uint64_t result = 0;
    const char *c = text;

    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        base = 16;
        c += 2;
    }
    const char *first = c;
    for (; digit_value(*c) < base; c++) {
        if (__builtin_mul_overflow(result, base, &result) ||
            __builtin_add_overflow(result, (uint64_t)digit_value(*c), &result)) {
            return STATUS_INVALID_ARGUMENT;
        }
    }
    uint32_t shift = unit_shift(*c);
    if (c == first || shift == 255u || (*c != '\0' && c[1] != '\0')) {
        return STATUS_INVALID_ARGUMENT;
    }
    if (result > UINT64_MAX >> shift) {
        return STATUS_INVALID_ARGUMENT;
    }
    *value = result << shift;
    return STATUS_OK;
}

status_t config_parse_bool(const char *text, bool *value)
{
    static const char *const words[2][4] = {{"false", "no", "off", "0"},
                                            {"true", "yes", "on", "1"}};

    for (uint32_t truth = 0; truth < 2u; truth++) {
        for (uint32_t i = 0; i < 4u; i++) {
            if (strcmp(text, words[truth][i]) == 0) {
                *value = truth == 1u;
                return STATUS_OK;
            }
        }
    }
    return STATUS_INVALID_ARGUMENT;
}
