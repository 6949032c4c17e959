// SPDX-License-Identifier: MIT OR Apache-2.0
#include "services/supervisor/fault.h"

#include "lib/base/endian.h"
#include "lib/base/format.h"

#define VECTOR_PAGE_FAULT 14u
#define VECTOR_COUNT 22u

/* Page-fault error code: Intel SDM vol. 3, 4.7. */
#define PAGE_ERROR_PRESENT (1u << 0)
#define PAGE_ERROR_WRITE (1u << 1)
#define PAGE_ERROR_RESERVED (1u << 3)
#define PAGE_ERROR_FETCH (1u << 4)

/* Intel SDM vol. 3, table 6-1, in our words. */
static const char *const vector_texts[VECTOR_COUNT] = {
    [0] = "integer division by zero or out of range",
    [1] = "debug exception",
    [3] = "breakpoint instruction",
    [4] = "overflow trap",
    [5] = "bound range exceeded",
    [6] = "invalid instruction (an assertion or trap ends like this)",
    [7] = "floating-point unit not available",
    [8] = "double fault",
    [10] = "invalid task state segment",
    [11] = "segment not present",
    [12] = "stack segment fault (non-canonical stack address)",
    [13] = "protection fault (privileged instruction or non-canonical address)",
    [16] = "x87 floating-point error",
    [17] = "misaligned access",
    [18] = "machine check",
    [19] = "SIMD floating-point error",
    [20] = "virtualization exception",
    [21] = "control-flow protection fault",
};

static void page_fault_describe(char *to, size_t size, uint64_t error, uint64_t address)
{
    const char *access = "read from";
    const char *why = "where nothing is mapped";

    if ((error & PAGE_ERROR_FETCH) != 0) {
        access = "instruction fetch from";
    } else if ((error & PAGE_ERROR_WRITE) != 0) {
        access = "write to";
    }
    if ((error & PAGE_ERROR_RESERVED) != 0) {
        why = "whose page table entry is damaged";
    } else if ((error & PAGE_ERROR_PRESENT) != 0) {
        why = "which the page's rights forbid";
    }
    (void)format_text(to, size, "%s address 0x%lx, %s", access, address, why);
}

void fault_describe(char *to, size_t size, const uint64_t words[FAULT_WORD_COUNT])
{
    uint64_t vector = words[FAULT_WORD_VECTOR];

    if (vector == VECTOR_PAGE_FAULT) {
        page_fault_describe(to, size, words[FAULT_WORD_ERROR], words[FAULT_WORD_ADDRESS]);
        return;
    }
    const char *text = vector < VECTOR_COUNT ? vector_texts[vector] : NULL;
    if (text == NULL) {
        text = "CPU exception";
    }
    (void)format_text(to, size, "%s (vector %lu, error 0x%lx)", text, vector,
                      words[FAULT_WORD_ERROR]);
}

/* Whether the bytes before code[at] end a near call: E8 with a displacement, or FF /2 with its
 * operand (Intel SDM vol. 2, CALL). */
static bool follows_call(const uint8_t *code, uint64_t at)
{
    if (at >= 5u && code[at - 5u] == 0xe8u) {
        return true;
    }
    for (uint64_t length = 2; length <= 7u && length <= at; length++) {
        if (code[at - length] == 0xffu && (code[at - length + 1u] >> 3 & 7u) == 2u) {
            return true;
        }
    }
    return false;
}

uint32_t backtrace_scan(const struct memory_view *stack, uint64_t sp,
                        const struct memory_view *code, uint64_t addresses[BACKTRACE_MAX])
{
    uint32_t count = 0;

    if (sp < stack->address || sp - stack->address > stack->bytes) {
        return 0;
    }
    for (uint64_t at = (sp - stack->address + 7u) & ~7ull;
         count < BACKTRACE_MAX && at < stack->bytes && stack->bytes - at >= 8u; at += 8u) {
        uint64_t address = load_le64(stack->data + at);
        uint64_t offset = address - code->address;
        if (offset < code->bytes && follows_call(code->data, offset)) {
            addresses[count++] = address;
        }
    }
    return count;
}
