// SPDX-License-Identifier: MIT OR Apache-2.0
#include "apps/kvstore/core/number.h"

bool number_parse_u64(struct slice text, uint64_t *value)
{
    uint64_t result = 0;

    if (text.bytes == 0 || text.bytes > NUMBER_TEXT_MAX) {
        return false;
    }
    if (text.data[0] == '0' && text.bytes > 1) {
        return false;
    }
    for (size_t i = 0; i < text.bytes; i++) {
        uint32_t digit = (uint32_t)text.data[i] - '0';
        if (digit > 9) {
            return false;
        }
        if (__builtin_mul_overflow(result, 10u, &result) ||
            __builtin_add_overflow(result, digit, &result)) {
            return false;
        }
    }
    *value = result;
    return true;
}

bool number_parse_i64(struct slice text, int64_t *value)
{
    uint64_t magnitude;

    if (text.bytes > 1 && text.data[0] == '-') {
        if (!number_parse_u64(slice_of(text.data + 1, text.bytes - 1), &magnitude) ||
            magnitude == 0 || magnitude > (uint64_t)INT64_MAX + 1u) {
            return false;
        }
        *value = (int64_t)(0u - magnitude);
        return true;
    }
    if (!number_parse_u64(text, &magnitude) || magnitude > (uint64_t)INT64_MAX) {
        return false;
    }
    *value = (int64_t)magnitude;
    return true;
}

size_t number_format_u64(uint64_t value, uint8_t *to)
{
    uint8_t digits[NUMBER_TEXT_MAX];
    size_t count = 0;

    do {
        digits[count++] = (uint8_t)('0' + value % 10u);
        value /= 10u;
    } while (value != 0);
    for (size_t i = 0; i < count; i++) {
        to[i] = digits[count - 1 - i];
    }
    return count;
}

size_t number_format_i64(int64_t value, uint8_t *to)
{
    if (value >= 0) {
        return number_format_u64((uint64_t)value, to);
    }
    to[0] = '-';
    return 1 + number_format_u64(0u - (uint64_t)value, to + 1);
}

/* ---- Decimal ----------------------------------------------------------------------------------
 */

/* A fixed-point number: INTEGER_DIGITS before the point and PLACES after it, plus one guard digit
 * that rounding reads; digits[0] is the highest. */
enum { INTEGER_DIGITS = 331, PLACES = 17, DIGITS = INTEGER_DIGITS + PLACES };
enum { EXPONENT_MAX = 5000 };

struct decimal {
    bool negative;
    uint8_t digits[DIGITS];
};

/* What the text says before it is put into its place. */
struct decimal_text {
    bool negative;
    const uint8_t *mantissa; /* digits and at most one point */
    size_t mantissa_bytes;
    int32_t point; /* digits before the point, exponent included */
};

static bool scan_exponent(struct slice text, size_t at, int32_t *exponent)
{
    bool negative = false;
    int32_t value = 0;

    if (at < text.bytes && (text.data[at] == '+' || text.data[at] == '-')) {
        negative = text.data[at++] == '-';
    }
    if (at == text.bytes) {
        return false;
    }
    for (; at < text.bytes; at++) {
        uint32_t digit = (uint32_t)text.data[at] - '0';
        if (digit > 9) {
            return false;
        }
        if (value < EXPONENT_MAX) {
            value = value * 10 + (int32_t)digit;
        }
    }
    *exponent = negative ? -value : value;
    return true;
}

static bool scan(struct slice text, struct decimal_text *scanned)
{
    size_t at = 0;
    int32_t digits = 0;
    int32_t point = -1;
    int32_t exponent = 0;

    if (text.bytes == 0 || text.bytes > 1024) {
        return false;
    }
    scanned->negative = text.data[0] == '-';
    if (text.data[0] == '-' || text.data[0] == '+') {
        at++;
    }
    scanned->mantissa = text.data + at;
    for (; at < text.bytes; at++) {
        uint8_t byte = text.data[at];
        if (byte == '.' && point < 0) {
            point = digits;
        } else if (byte >= '0' && byte <= '9') {
            digits++;
        } else {
            break;
        }
    }
    scanned->mantissa_bytes = (size_t)(text.data + at - scanned->mantissa);
    if (digits == 0) {
        return false;
    }
    if (at < text.bytes &&
        ((text.data[at] | 0x20u) != 'e' || !scan_exponent(text, at + 1, &exponent))) {
        return false;
    }
    scanned->point = (point < 0 ? digits : point) + exponent;
    return true;
}

/* Adds one at the lowest place. False on overflow. */
static bool increment(struct decimal *number)
{
    for (int32_t i = DIGITS - 1; i >= 0; i--) {
        if (number->digits[i] < 9) {
            number->digits[i]++;
            return true;
        }
        number->digits[i] = 0;
    }
    return false;
}

static enum decimal_result parse(struct slice text, struct decimal *number)
{
    struct decimal_text scanned;
    bool round_up = false;

    if (!scan(text, &scanned)) {
        return DECIMAL_NOT_A_NUMBER;
    }
    memset(number, 0, sizeof *number);
    number->negative = scanned.negative;
    int32_t place = INTEGER_DIGITS - scanned.point;
    for (size_t i = 0; i < scanned.mantissa_bytes; i++) {
        if (scanned.mantissa[i] == '.') {
            continue;
        }
        uint8_t digit = (uint8_t)(scanned.mantissa[i] - '0');
        if (place < 0 && digit != 0) {
            return DECIMAL_TOO_LARGE;
        }
        if (place >= 0 && place < DIGITS) {
            number->digits[place] = digit;
        } else if (place == DIGITS) {
            round_up = digit >= 5;
        }
        place++;
    }
    if (round_up && !increment(number)) {
        return DECIMAL_TOO_LARGE;
    }
    return number->digits[0] != 0 ? DECIMAL_TOO_LARGE : DECIMAL_OK;
}

/* a += b for equal signs; overflow shows in digits[0]. */
static void add_magnitude(struct decimal *a, const struct decimal *b)
{
    uint32_t carry = 0;

    for (int32_t i = DIGITS - 1; i >= 0; i--) {
        uint32_t sum = (uint32_t)a->digits[i] + b->digits[i] + carry;
        carry = sum >= 10u;
        a->digits[i] = (uint8_t)(carry ? sum - 10u : sum);
    }
}

/* a -= b in magnitude, where |a| >= |b|. */
static void subtract_magnitude(struct decimal *a, const struct decimal *b)
{
    uint32_t borrow = 0;

    for (int32_t i = DIGITS - 1; i >= 0; i--) {
        uint32_t take = b->digits[i] + borrow;
        borrow = a->digits[i] < take;
        a->digits[i] = (uint8_t)(a->digits[i] + (borrow ? 10u : 0u) - take);
    }
}

static size_t format(const struct decimal *number, uint8_t *to)
{
    size_t first = 0;
    size_t end = DIGITS;
    size_t count = 0;

    while (first < INTEGER_DIGITS - 1 && number->digits[first] == 0) {
        first++;
    }
    while (end > INTEGER_DIGITS && number->digits[end - 1] == 0) {
        end--;
    }
    bool zero = end == INTEGER_DIGITS && first == INTEGER_DIGITS - 1 && number->digits[first] == 0;
    if (number->negative && !zero) {
        to[count++] = '-';
    }
    for (size_t i = first; i < end; i++) {
        if (i == INTEGER_DIGITS) {
            to[count++] = '.';
        }
        to[count++] = (uint8_t)('0' + number->digits[i]);
    }
    return count;
}

bool decimal_valid(struct slice text)
{
    struct decimal number;

    return parse(text, &number) == DECIMAL_OK;
}

enum decimal_result decimal_add(struct slice a_text, struct slice b_text, uint8_t *to,
                                size_t *bytes)
{
    struct decimal a;
    struct decimal b;
    enum decimal_result result = parse(a_text, &a);

    if (result == DECIMAL_OK) {
        result = parse(b_text, &b);
    }
    if (result != DECIMAL_OK) {
        return result;
    }
    if (a.negative == b.negative) {
        add_magnitude(&a, &b);
        if (a.digits[0] != 0) {
            return DECIMAL_TOO_LARGE;
        }
        *bytes = format(&a, to);
        return DECIMAL_OK;
    }
    if (memcmp(a.digits, b.digits, DIGITS) >= 0) {
        subtract_magnitude(&a, &b);
        *bytes = format(&a, to);
    } else {
        subtract_magnitude(&b, &a);
        *bytes = format(&b, to);
    }
    return DECIMAL_OK;
}
