// SPDX-License-Identifier: MIT OR Apache-2.0
/* IPv6 addresses as text (RFC 4291, 2.2; RFC 5952). */
#include "lib/net/internal.h"

static uint32_t group_of(const struct ipv6_address *address, uint32_t i)
{
    return load_be16(address->byte + 2u * i);
}

/* The longest run of zero groups, at least two; the first of equal ones. */
static uint32_t longest_zeros(const struct ipv6_address *address, uint32_t *start)
{
    uint32_t best = 1;

    *start = 8;
    for (uint32_t i = 0; i < 8u; i++) {
        uint32_t run = 0;
        while (i + run < 8u && group_of(address, i + run) == 0) {
            run++;
        }
        if (run > best) {
            best = run;
            *start = i;
        }
        i += run;
    }
    return *start < 8u ? best : 0;
}

void ipv6_format(const struct ipv6_address *address, char text[IPV6_TEXT_BYTES])
{
    uint32_t start;
    uint32_t zeros = longest_zeros(address, &start);
    char *at = text;

    for (uint32_t i = 0; i < 8u; i++) {
        if (i == start) {
            *at++ = ':';
            *at++ = ':';
            i += zeros - 1u;
            continue;
        }
        if (i != 0 && at[-1] != ':') {
            *at++ = ':';
        }
        uint32_t group = group_of(address, i);
        for (uint32_t shift = 12; shift < 16u; shift -= 4u) {
            if (group >> shift != 0 || shift == 0) {
                *at++ = "0123456789abcdef"[group >> shift & 15u];
            }
        }
    }
    *at = '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One group of one to four digits; moves *text behind it. */
static bool take_group(const char **text, uint32_t *group)
{
    uint32_t digits = 0;

    *group = 0;
    for (; hex_digit(**text) >= 0; (*text)++) {
        *group = *group << 4 | (uint32_t)hex_digit(**text);
        if (++digits > 4u) {
            return false;
        }
    }
    return digits != 0;
}

/* Up to eight groups with at most one "::"; *end is behind them. */
static bool take_address(const char *text, struct ipv6_address *address, const char **end)
{
    struct ipv6_address result = {0};
    uint32_t count = 0;
    uint32_t gap = 8;
    uint32_t group;

    if (text[0] == ':' && text[1] != ':') {
        return false;
    }
    for (;;) {
        if (text[0] == ':' && text[1] == ':' && gap == 8u) {
            gap = count;
            text += 2;
            if (hex_digit(*text) < 0) {
                break;
            }
        } else if (count != 0 && count != gap && *text++ != ':') {
            return false;
        }
        if (count == 8u || !take_group(&text, &group)) {
            return false;
        }
        store_be16(result.byte + 2u * count++, (uint16_t)group);
        if (*text != ':') {
            break;
        }
    }
    if (gap == 8u ? count != 8u : count > 7u) {
        return false;
    }
    if (gap != 8u) {
        uint32_t tail = 2u * (count - gap);
        memmove(result.byte + 16u - tail, result.byte + 2u * gap, tail);
        memset(result.byte + 2u * gap, 0, 16u - 2u * count);
    }
    *address = result;
    *end = text;
    return true;
}

status_t ipv6_parse(const char *text, struct ipv6_address *address, uint32_t *prefix_bits)
{
    struct ipv6_address result;
    uint32_t bits = 0;

    if (!take_address(text, &result, &text)) {
        return STATUS_INVALID_ARGUMENT;
    }
    if (prefix_bits != NULL) {
        if (*text++ != '/' || *text < '1' || *text > '9') {
            return STATUS_INVALID_ARGUMENT;
        }
        for (; *text >= '0' && *text <= '9' && bits <= 128u; text++) {
            bits = bits * 10u + (uint32_t)(*text - '0');
        }
    }
    if (*text != '\0' || bits > 128u) {
        return STATUS_INVALID_ARGUMENT;
    }
    *address = result;
    if (prefix_bits != NULL) {
        *prefix_bits = bits;
    }
    return STATUS_OK;
}
