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
struct stack_view {
    uint64_t address;
    const uint8_t *data;
    uint64_t bytes;
};

/* Return addresses of the frames from frame pointer `frame` on, innermost first (System V ABI: the
 * caller's frame pointer at [frame], the return address at [frame + 8]). Ends at the first frame
 * outside the view, not 8-byte aligned, or not above the one before. Returns how many. */
uint32_t backtrace_walk(const struct stack_view *stack, uint64_t frame,
                        uint64_t addresses[BACKTRACE_MAX]);

#endif
