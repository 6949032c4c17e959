// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * What a fault report says: the cause in words and the chain of callers. Pure: the cell's stack is
 * given as bytes, and nothing in it is believed.
 */
#ifndef SUPERVISOR_FAULT_H
#define SUPERVISOR_FAULT_H

#include <hallows/syscall.h>
#include <hallows/types.h>

#define BACKTRACE_MAX 24u

/* Writes the cause of a fault message's words as text, e.g. "write to address 0x10, where nothing
 * is mapped". Always NUL-terminated; size > 0. */
void fault_describe(char *to, size_t size, const uint64_t words[FAULT_WORD_COUNT]);

/* Memory of a cell as the supervisor sees it: [address, address + bytes) lies at `data`. */
struct memory_view {
    uint64_t address;
    const uint8_t *data;
    uint64_t bytes;
};

/* What on the stack from `sp` up looks like a return address, innermost first: it points behind a
 * call instruction in `code`. Cells are built without frame pointers, so old addresses that nothing
 * has overwritten may be among them. Returns how many. */
uint32_t backtrace_scan(const struct memory_view *stack, uint64_t sp,
                        const struct memory_view *code, uint64_t addresses[BACKTRACE_MAX]);

#endif
