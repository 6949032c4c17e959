// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Test cell: serves for a moment, then breaks in the way that its manifest names (`fault`), in its
 * first `times` lives; the next one stays up. For the tests of fault reports and restarts.
 */
#include "lib/base/assert.h"
#include "runtime/cell.h"
#include "runtime/syscall.h"

#define NS_PER_MS 1000000ull
#define RECURSION_BYTES 4096u

/* Read by every fault, so that none of them is compiled away. */
static volatile uint64_t sink;

static __attribute__((noinline)) uint64_t overflow_stack(uint64_t depth)
{
    volatile char frame[RECURSION_BYTES];
    frame[0] = (char)depth;
    if (depth == UINT64_MAX) {
        return 0;
    }
    return overflow_stack(depth + 1) + (uint64_t)frame[0];
}

static bool is(const char *fault, const char *name)
{
    size_t i = 0;
    while (fault[i] != '\0' && fault[i] == name[i]) {
        i++;
    }
    return fault[i] == name[i];
}

static __attribute__((noinline)) void break_down(const char *fault)
{
    if (is(fault, "read")) {
        __asm__ volatile("movq 0x10, %%rax" ::: "rax", "memory");
    } else if (is(fault, "write")) {
        __asm__ volatile("movb $1, (%0)" ::"r"(break_down) : "memory"); /* text is read-only */
    } else if (is(fault, "execute")) {
        __asm__ volatile("call *%0" ::"r"(&sink) : "memory"); /* data is not executable */
    } else if (is(fault, "kernel")) {
        __asm__ volatile("movq 0xffffffff80000000, %%rax" ::: "rax", "memory");
    } else if (is(fault, "opcode")) {
        __asm__ volatile("ud2");
    } else if (is(fault, "privileged")) {
        __asm__ volatile("hlt");
    } else if (is(fault, "ports")) {
        __asm__ volatile("outb %0, %1" ::"a"((uint8_t)0), "Nd"((uint16_t)0x80));
    } else if (is(fault, "divide")) {
        __asm__ volatile("xorl %%ecx, %%ecx; divl %%ecx" ::: "eax", "ecx", "edx", "cc");
    } else if (is(fault, "noncanonical")) {
        __asm__ volatile("movabsq $0x8000000000000000, %%rax; movq (%%rax), %%rax" ::: "rax");
    } else if (is(fault, "stack")) {
        sink = overflow_stack(0);
    } else if (is(fault, "assertion")) {
        VERIFY(sink == 1);
    }
}

static status_t wait_until(time_ns_t deadline)
{
    uint64_t word = 0;
    status_t status = notification_wait(CELL_SLOT_NOTIFICATION, deadline, &word);
    if (status == STATUS_OK && (word & CELL_EVENT_SHUTDOWN) != 0) {
        supervisor_shutdown_done();
    }
    return status;
}

status_t cell_main(const struct cell_info *info)
{
    const char *fault = config_text(info, "fault", "read");
    uint64_t delay_ns = config_u64(info, "delay_ms", 500) * NS_PER_MS;
    bool breaks = info->generation < config_u64(info, "times", 1);

    log_line("life %u", info->generation);
    status_t status = supervisor_ready();
    if (status == STATUS_OK && breaks) {
        status = wait_until(clock_ns(&info->time) + delay_ns);
        break_down(fault);
        return STATUS_CORRUPT; /* `fault = "exit"` */
    }
    log_line("stays up");
    while (status == STATUS_OK) {
        status = wait_until(DEADLINE_NEVER);
    }
    return status;
}
