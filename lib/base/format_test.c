// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/base/format.h"

#include <limits.h>

#include "lib/base/crc32c.h"
#include "tests/check.h"

/* Every case is compared with the C library's own answer. */
#define CHECK_LIKE_LIBC(...)                                                                       \
    do {                                                                                           \
        char ours[128];                                                                            \
        char theirs[128];                                                                          \
        size_t length = format_text(ours, sizeof(ours), __VA_ARGS__);                              \
        int expected = snprintf(theirs, sizeof(theirs), __VA_ARGS__);                              \
        CHECK_TEXT(ours, theirs);                                                                  \
        CHECK_EQ(length, expected);                                                                \
    } while (0)

TEST(format_matches_the_c_library)
{
    CHECK_LIKE_LIBC("plain 100%%");
    CHECK_LIKE_LIBC("%d %i %u", -1, INT_MIN, UINT_MAX);
    CHECK_LIKE_LIBC("%ld %lu %zu", LONG_MIN, ULONG_MAX, (size_t)7);
    CHECK_LIKE_LIBC("%x %X %08lx", 0xbeefu, 0xBEEFu, 0x1234ul);
    CHECK_LIKE_LIBC("[%6d][%-6d][%06d][%.4d]", -42, -42, -42, -42);
    CHECK_LIKE_LIBC("[%8s][%-8s][%.2s][%*s]", "abc", "abc", "abc", 5, "x");
    CHECK_LIKE_LIBC("%c%c", 'o', 'k');
}

TEST(format_cuts_at_the_size_and_reports_the_whole_length)
{
    char text[4];

    CHECK_EQ(format_text(text, sizeof(text), "%s", "abcdef"), 6);
    CHECK_TEXT(text, "abc");
    CHECK_EQ(format_text(NULL, 0, "%s", "abcdef"), 6);
}

TEST(crc32c_known_answers)
{
    uint8_t zeros[32] = {0};

    CHECK_EQ(crc32c(0, "123456789", 9), 0xe3069283u);       /* the check value of CRC-32C */
    CHECK_EQ(crc32c(0, zeros, sizeof(zeros)), 0x8a9136aau); /* RFC 3720, B.4 */
    CHECK_EQ(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xe3069283u);
}
