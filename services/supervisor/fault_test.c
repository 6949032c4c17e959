// SPDX-License-Identifier: MIT OR Apache-2.0
#include "services/supervisor/fault.h"

#include <stdlib.h>

#include "lib/base/endian.h"
#include "tests/check.h"

TEST(causes_read_well)
{
    char text[96];

    fault_describe(text, sizeof(text), (uint64_t[6]){14, 6, 0x10, 0, 0, 0});
    CHECK_TEXT(text, "write to address 0x10, where nothing is mapped");
    fault_describe(text, sizeof(text), (uint64_t[6]){14, 0x15, 0x400000, 0, 0, 0});
    CHECK_TEXT(text, "instruction fetch from address 0x400000, which the page's rights forbid");
    fault_describe(text, sizeof(text), (uint64_t[6]){0, 0, 0, 0, 0, 0});
    CHECK_TEXT(text, "integer division by zero or out of range (vector 0, error 0x0)");
    fault_describe(text, sizeof(text), (uint64_t[6]){UINT64_MAX, 1, 0, 0, 0, 0});
    CHECK_TEXT(text, "CPU exception (vector 18446744073709551615, error 0x1)");
    fault_describe(text, 8, (uint64_t[6]){14, 0, 0, 0, 0, 0});
    CHECK_TEXT(text, "read fr");
}

#define BASE 0x3ff00000ull

TEST(a_good_stack_gives_its_callers)
{
    uint8_t memory[128] = {0};
    struct stack_view stack = {BASE, memory, sizeof(memory)};
    uint64_t addresses[BACKTRACE_MAX];

    store_le64(memory + 16, BASE + 48);
    store_le64(memory + 24, 0x400111);
    store_le64(memory + 48, BASE + 112);
    store_le64(memory + 56, 0x400222);
    store_le64(memory + 112, 0);
    store_le64(memory + 120, 0x400333);
    CHECK_EQ(backtrace_walk(&stack, BASE + 16, addresses), 3);
    CHECK_EQ(addresses[0], 0x400111);
    CHECK_EQ(addresses[2], 0x400333);
    CHECK_EQ(backtrace_walk(&stack, BASE + 120, addresses), 0);
    CHECK_EQ(backtrace_walk(&stack, BASE + 17, addresses), 0);
    CHECK_EQ(backtrace_walk(&stack, BASE - 8, addresses), 0);
    CHECK_EQ(backtrace_walk(&stack, UINT64_MAX - 7, addresses), 0);
    store_le64(memory + 48, BASE + 16);
    CHECK_EQ(backtrace_walk(&stack, BASE + 16, addresses), 2);
}

TEST(any_stack_ends)
{
    srand(4);
    for (uint32_t round = 0; round < 5000u; round++) {
        uint8_t *memory = malloc(512);
        struct stack_view stack = {BASE, memory, 512};
        uint64_t addresses[BACKTRACE_MAX];
        for (uint32_t i = 0; i < 512u; i += 8u) {
            store_le64(memory + i, BASE + ((uint64_t)rand() % 80u) * 8u);
        }
        CHECK(backtrace_walk(&stack, BASE, addresses) <= BACKTRACE_MAX);
        free(memory);
    }
}
