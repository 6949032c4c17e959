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
#define CODE 0x400000ull

TEST(a_good_stack_gives_its_callers)
{
    uint8_t memory[128] = {0};
    uint8_t program[64] = {0};
    struct memory_view stack = {BASE, memory, sizeof(memory)};
    struct memory_view code = {CODE, program, sizeof(program)};
    uint64_t addresses[BACKTRACE_MAX];

    program[3] = 0xe8; /* call 0x... */
    program[20] = 0xff;
    program[21] = 0x55; /* call *disp8(%rbp) */
    program[30] = 0x41;
    program[31] = 0xff;
    program[32] = 0xd2; /* call *%r10 */
    program[40] = 0xff;
    program[41] = 0x25; /* jmp *disp(%rip) */
    store_le64(memory + 16, CODE + 8);
    store_le64(memory + 24, CODE + 9);  /* behind no call */
    store_le64(memory + 40, CODE + 46); /* behind a jump */
    store_le64(memory + 48, CODE + 23);
    store_le64(memory + 56, CODE + 4096); /* outside */
    store_le64(memory + 120, CODE + 33);
    CHECK_EQ(backtrace_scan(&stack, BASE, &code, addresses), 3);
    CHECK_EQ(addresses[0], CODE + 8);
    CHECK_EQ(addresses[1], CODE + 23);
    CHECK_EQ(addresses[2], CODE + 33);
    CHECK_EQ(backtrace_scan(&stack, BASE + 17, &code, addresses), 2);
    CHECK_EQ(backtrace_scan(&stack, BASE + 121, &code, addresses), 0);
    CHECK_EQ(backtrace_scan(&stack, BASE + 128, &code, addresses), 0);
    CHECK_EQ(backtrace_scan(&stack, BASE - 8, &code, addresses), 0);
    CHECK_EQ(backtrace_scan(&stack, UINT64_MAX - 7, &code, addresses), 0);
    code.bytes = 0;
    CHECK_EQ(backtrace_scan(&stack, BASE, &code, addresses), 0);
}

TEST(any_stack_and_code_end)
{
    srand(4);
    for (uint32_t round = 0; round < 5000u; round++) {
        uint8_t *memory = malloc(512);
        uint8_t *program = malloc(64);
        struct memory_view stack = {BASE, memory, 512};
        struct memory_view code = {CODE, program, 64};
        uint64_t addresses[BACKTRACE_MAX];
        for (uint32_t i = 0; i < 512u; i += 8u) {
            store_le64(memory + i, CODE - 8u + (uint64_t)rand() % 80u);
        }
        for (uint32_t i = 0; i < 64u; i++) {
            program[i] = (uint8_t)(rand() % 2 ? 0xff : 0xe8);
        }
        CHECK(backtrace_scan(&stack, BASE, &code, addresses) <= BACKTRACE_MAX);
        free(program);
        free(memory);
    }
}
