// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/config/config.h"

#include "tests/check.h"

TEST(finds_a_value_by_its_whole_key)
{
    static const char text[] = "port=6379\0portable=no\0empty=\0last=x";

    CHECK_TEXT(config_find(text, sizeof(text), "port"), "6379");
    CHECK_TEXT(config_find(text, sizeof(text), "portable"), "no");
    CHECK_TEXT(config_find(text, sizeof(text), "empty"), "");
    CHECK_TEXT(config_find(text, sizeof(text), "last"), "x");
    CHECK(config_find(text, sizeof(text), "por") == NULL);
    CHECK(config_find(text, sizeof(text), "6379") == NULL);
    CHECK(config_find(text, sizeof(text) - 1u, "last") == NULL);
    CHECK(config_find(NULL, 0, "port") == NULL);
}

TEST(well_formed_means_key_equals_value_nul)
{
    CHECK(config_is_well_formed("a=b\0c=", 7));
    CHECK(config_is_well_formed(NULL, 0));
    CHECK(!config_is_well_formed("a=b", 3));
    CHECK(!config_is_well_formed("=b\0", 3));
    CHECK(!config_is_well_formed("ab\0", 3));
    CHECK(!config_is_well_formed("a=b\0\0", 5));
}

TEST(numbers_have_units_and_limits)
{
    uint64_t value = 7;

    CHECK_EQ(config_parse_u64("0", &value), STATUS_OK);
    CHECK_EQ(value, 0);
    CHECK_EQ(config_parse_u64("64M", &value), STATUS_OK);
    CHECK_EQ(value, 64u << 20);
    CHECK_EQ(config_parse_u64("0xfFk", &value), STATUS_OK);
    CHECK_EQ(value, 255u << 10);
    CHECK_EQ(config_parse_u64("18446744073709551615", &value), STATUS_OK);
    CHECK(value == UINT64_MAX);
    const char *bad[] = {
        "", "x", "0x", "1MB", "-1", " 1", "18446744073709551616", "99999999999999G"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        value = 7;
        CHECK_EQ(config_parse_u64(bad[i], &value), STATUS_INVALID_ARGUMENT);
        CHECK_EQ(value, 7);
    }
}

TEST(truth_has_eight_words)
{
    bool value = false;

    CHECK_EQ(config_parse_bool("yes", &value), STATUS_OK);
    CHECK(value);
    CHECK_EQ(config_parse_bool("off", &value), STATUS_OK);
    CHECK(!value);
    CHECK_EQ(config_parse_bool("maybe", &value), STATUS_INVALID_ARGUMENT);
}
