// SPDX-License-Identifier: MIT OR Apache-2.0
#include "drivers/net/cell/address.h"

/* A decimal number up to `max`; moves *text behind it. */
static bool take_number(const char **text, uint32_t max, uint32_t *value)
{
    const char *at = *text;
    uint32_t number = 0;

    if (at[0] < '0' || at[0] > '9' || (at[0] == '0' && at[1] >= '0' && at[1] <= '9')) {
        return false;
    }
    while (*at >= '0' && *at <= '9') {
        number = number * 10u + (uint32_t)(*at++ - '0');
        if (number > max) {
            return false;
        }
    }
    *text = at;
    *value = number;
    return true;
}

static bool take_address(const char **text, ipv4_t *address)
{
    ipv4_t result = 0;

    for (uint32_t i = 0; i < 4; i++) {
        uint32_t byte;
        if (i > 0 && *(*text)++ != '.') {
            return false;
        }
        if (!take_number(text, 255, &byte)) {
            return false;
        }
        result = result << 8 | byte;
    }
    *address = result;
    return true;
}

status_t address_parse(const char *text, ipv4_t *address)
{
    ipv4_t result;

    if (!take_address(&text, &result) || *text != '\0') {
        return STATUS_INVALID_ARGUMENT;
    }
    *address = result;
    return STATUS_OK;
}

status_t address_parse_network(const char *text, ipv4_t *address, uint32_t *prefix_bits)
{
    ipv4_t result;
    uint32_t bits;

    if (!take_address(&text, &result) || *text++ != '/' || !take_number(&text, 30, &bits) ||
        bits == 0 || *text != '\0') {
        return STATUS_INVALID_ARGUMENT;
    }
    *address = result;
    *prefix_bits = bits;
    return STATUS_OK;
}
