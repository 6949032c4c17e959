// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Only the last star seen can need another try: what an earlier one matched need never change,
 * since a longer run for the later one covers it. So one point of return is enough.
 */
#include "apps/kvstore/core/glob.h"

/* Matches one byte with the set that starts at pattern[*at], just after '['; moves *at past it. A
 * set without its ']' ends with the pattern. */
static bool match_set(struct slice pattern, size_t *at, uint8_t byte)
{
    size_t i = *at;
    bool inverted = i < pattern.bytes && pattern.data[i] == '^';
    bool found = false;

    if (inverted) {
        i++;
    }
    while (i < pattern.bytes && pattern.data[i] != ']') {
        if (pattern.data[i] == '\\' && i + 1 < pattern.bytes) {
            i++;
        }
        uint8_t low = pattern.data[i];
        uint8_t high = low;
        if (i + 2 < pattern.bytes && pattern.data[i + 1] == '-' && pattern.data[i + 2] != ']') {
            high = pattern.data[i + 2];
            i += 2;
        }
        if (low > high) {
            uint8_t swap = low;
            low = high;
            high = swap;
        }
        if (byte >= low && byte <= high) {
            found = true;
        }
        i++;
    }
    *at = i < pattern.bytes ? i + 1 : i;
    return found != inverted;
}

/* Matches one byte with the pattern element at *at, which is no star; moves *at past it. */
static bool match_one(struct slice pattern, size_t *at, uint8_t byte)
{
    uint8_t element = pattern.data[(*at)++];

    if (element == '?') {
        return true;
    }
    if (element == '[') {
        return match_set(pattern, at, byte);
    }
    if (element == '\\' && *at < pattern.bytes) {
        element = pattern.data[(*at)++];
    }
    return element == byte;
}

bool glob_match(struct slice pattern, struct slice text)
{
    size_t in_pattern = 0;
    size_t in_text = 0;
    size_t star_pattern = SIZE_MAX; /* just after the last star */
    size_t star_text = 0;           /* where its run ends at present */

    while (in_text < text.bytes) {
        if (in_pattern < pattern.bytes && pattern.data[in_pattern] == '*') {
            star_pattern = ++in_pattern;
            star_text = in_text;
            continue;
        }
        if (in_pattern < pattern.bytes) {
            size_t next = in_pattern;
            if (match_one(pattern, &next, text.data[in_text])) {
                in_pattern = next;
                in_text++;
                continue;
            }
        }
        if (star_pattern == SIZE_MAX) {
            return false;
        }
        in_pattern = star_pattern;
        in_text = ++star_text;
    }
    while (in_pattern < pattern.bytes && pattern.data[in_pattern] == '*') {
        in_pattern++;
    }
    return in_pattern == pattern.bytes;
}
