// SPDX-License-Identifier: MIT OR Apache-2.0
#include "apps/kvstore/core/number.h"

#include "apps/kvstore/core/fixture_fake.h"
#include "apps/kvstore/core/glob.h"
#include "tests/check.h"

TEST(integers_are_exact_or_refused)
{
    static const char *const wrong[] = {"",    "-",
                                        "+1",  "01",
                                        " 1",  "1 ",
                                        "-0",  "1.0",
                                        "0x1", "9223372036854775808",
                                        "--1", "-01",
                                        "1e3", "-9223372036854775809"};
    int64_t value;

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        CHECK(!number_parse_i64(slice_text(wrong[i]), &value));
    }
    static const int64_t right[] = {0, 1, -1, 10, 1234567890123, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
        uint8_t text[NUMBER_TEXT_MAX];
        size_t bytes = number_format_i64(right[i], text);
        CHECK(number_parse_i64(slice_of(text, bytes), &value));
        CHECK_EQ(value, right[i]);
    }
}

static void check_sum(const char *a, const char *b, const char *expected)
{
    char text[DECIMAL_TEXT_MAX + 1];
    size_t bytes = 0;

    CHECK_EQ(decimal_add(slice_text(a), slice_text(b), (uint8_t *)text, &bytes), DECIMAL_OK);
    text[bytes] = 0;
    CHECK_TEXT(text, expected);
}

TEST(decimals_add_exactly)
{
    check_sum("10.50", "0.1", "10.6");
    check_sum("0.1", "0.2", "0.3");
    check_sum("5.0e3", "2.0E+2", "5200");
    check_sum("1", "-1", "0");
    check_sum("-0.25", "0.25", "0");
    check_sum("-3", "1.5", "-1.5");
    check_sum("1.5", "-3", "-1.5");
    check_sum("99.99", "0.01", "100");
    check_sum("1e-17", "0", "0.00000000000000001");
    check_sum("5e-18", "0", "0.00000000000000001");
    check_sum("4e-18", "0", "0");
    check_sum(".5", "5.", "5.5");
    check_sum("1e30", "1e-17", "1000000000000000000000000000000.00000000000000001");
    static const char *const wrong[] = {"",    ".",     "-",   "e5",  "1e",
                                        "1e+", "1.2.3", "nan", "inf", "1 "};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        CHECK(!decimal_valid(slice_text(wrong[i])));
    }
    uint8_t text[DECIMAL_TEXT_MAX];
    size_t bytes;
    CHECK_EQ(decimal_add(slice_text("1e331"), slice_text("1"), text, &bytes), DECIMAL_TOO_LARGE);
    CHECK_EQ(decimal_add(slice_text("6e329"), slice_text("6e329"), text, &bytes),
             DECIMAL_TOO_LARGE);
}

TEST(decimals_survive_anything)
{
    static const char bytes_used[] = "0123456789.-+eE9x";
    uint64_t random = 9;

    for (unsigned round = 0; round < 20000; round++) {
        uint8_t a[40];
        uint8_t to[DECIMAL_TEXT_MAX];
        size_t length = random_next(&random) % sizeof a;
        size_t bytes = 0;
        for (size_t i = 0; i < length; i++) {
            a[i] = (uint8_t)bytes_used[random_next(&random) % (sizeof bytes_used - 1)];
        }
        if (decimal_add(slice_of(a, length), slice_text("-1.5"), to, &bytes) == DECIMAL_OK) {
            CHECK(bytes > 0 && bytes <= sizeof to && decimal_valid(slice_of(to, bytes)));
        }
    }
}

static bool match(const char *pattern, const char *text)
{
    return glob_match(slice_text(pattern), slice_text(text));
}

TEST(globs_match)
{
    CHECK(match("*", "") && match("", "") && !match("", "a") && match("a*c", "abbbc"));
    CHECK(match("a*b*c", "a1b2b3c") && !match("a*b*c", "a1c2b") && match("?", "x"));
    CHECK(match("[a-c]x", "bx") && !match("[^a-c]x", "bx") && match("[^a-c]x", "dx"));
    CHECK(match("\\*", "*") && !match("\\*", "a") && match("[\\]]", "]") && match("[a", "a"));
    CHECK(match("[]", "") == false && match("a\\", "a\\") && match("**a**", "bab"));
}

/* The work stays bounded by the product of the lengths: this would take years otherwise. */
TEST(globs_are_bounded)
{
    char pattern[400];
    char text[2000];

    for (size_t i = 0; i + 2 < sizeof pattern; i += 2) {
        pattern[i] = 'a';
        pattern[i + 1] = '*';
    }
    pattern[sizeof pattern - 2] = 'b';
    pattern[sizeof pattern - 1] = 0;
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = 0;
    CHECK(!match(pattern, text));
}
