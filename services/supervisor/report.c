// SPDX-License-Identifier: MIT OR Apache-2.0
/* The readable report of a cell's fault. */
#include "services/supervisor/supervisor.h"

#include "lib/base/format.h"
#include "services/supervisor/fault.h"

#define CAUSE_BYTES 128u

struct registers {
    uint64_t control[MESSAGE_WORDS_MAX];
    uint64_t low[MESSAGE_WORDS_MAX];
    uint64_t high[MESSAGE_WORDS_MAX];
};

static status_t registers_read(cap_slot_t thread, struct registers *r)
{
    status_t status = thread_read_registers(thread, REGISTERS_CONTROL, r->control);

    if (status == STATUS_OK) {
        status = thread_read_registers(thread, REGISTERS_LOW, r->low);
    }
    return status == STATUS_OK ? thread_read_registers(thread, REGISTERS_HIGH, r->high) : status;
}

/* Up to three registers a line, so that each line reaches the console in few pieces. */
static void registers_print(const struct registers *r)
{
    static const char *const low[] = {"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp"};

    log_line("  rip %016lx  rsp %016lx  rflags %lx", r->control[0], r->control[1], r->control[2]);
    for (uint32_t i = 0; i + 1u < 7u; i += 2u) {
        log_line("  %s %016lx  %s %016lx", low[i], r->low[i], low[i + 1u], r->low[i + 1u]);
    }
    log_line("  %s %016lx  r8  %016lx", low[6], r->low[6], r->high[0]);
    for (uint32_t i = 1; i + 1u < 8u; i += 2u) {
        log_line("  r%-2u %016lx  r%-2u %016lx", 8u + i, r->high[i], 9u + i, r->high[i + 1u]);
    }
    log_line("  r15 %016lx  fs %lx  gs %lx", r->high[7], r->control[3], r->control[4]);
}

static void caller_print(const struct symbols *symbols, uint32_t number, uint64_t address)
{
    /* A return address lies behind its call, which may be a function's last instruction. */
    uint64_t at = number == 0 ? address : address - 1u;
    uint64_t offset = 0;
    const char *name = symbols_find(symbols, at, &offset);

    if (name == NULL) {
        log_line("  #%u 0x%lx", number, address);
    } else {
        log_line("  #%u 0x%lx %.80s+0x%lx", number, address, name, offset + (address - at));
    }
}

static void callers_print(struct supervisor *s, const struct cell *cell, uint32_t thread,
                          const struct registers *r)
{
    const struct bundle_entry *entry =
        bundle_find(&s->bundle, BUNDLE_SYMBOLS, cell->description->program);
    uint64_t stack_bytes = (uint64_t)cell->plan.stack_pages << PAGE_SHIFT;
    uint64_t depth = stack_depth(cell, thread) + stack_bytes;
    struct memory_view stack = {
        .address = CELL_STACK_TOP - depth,
        .data = cell->stack + SEGMENT_BYTES - depth,
        .bytes = stack_bytes,
    };
    struct memory_view code = {
        .address = cell->plan.code_address,
        .data = cell->program + (cell->plan.code_address - CELL_PROGRAM_ADDRESS),
        .bytes = cell->plan.code_bytes,
    };
    struct symbols symbols = {0};
    uint64_t addresses[BACKTRACE_MAX];
    const void *data;

    if (entry == NULL || bundle_read(&s->bundle, entry, &data) != STATUS_OK ||
        symbols_open(&symbols, data, entry->bytes) != STATUS_OK) {
        log_line("  (no symbols for %s in the bundle)", cell->description->program);
    }
    uint32_t count = backtrace_scan(&stack, r->control[1], &code, addresses);
    log_line("  callers:");
    caller_print(&symbols, 0, r->control[0]);
    for (uint32_t i = 0; i < count; i++) {
        caller_print(&symbols, i + 1u, addresses[i]);
    }
}

static void thread_report(struct supervisor *s, struct cell *cell, uint32_t thread)
{
    struct registers registers = {0};
    status_t status = registers_read(cell->slots.threads[thread].thread, &registers);

    if (status != STATUS_OK) {
        log_line("  registers cannot be read: %s", status_text(status));
        return;
    }
    registers_print(&registers);
    callers_print(s, cell, thread, &registers);
}

void fault_report(struct supervisor *s, struct cell *cell, uint32_t thread,
                  const struct message *fault)
{
    char cause[CAUSE_BYTES];

    fault_describe(cause, sizeof(cause), fault->words);
    if (thread == 0) {
        log_line("%s faulted: %s", cell->description->name, cause);
    } else {
        log_line("%s (worker on CPU %u) faulted: %s", cell->description->name,
                 thread_cpu(cell, thread), cause);
    }
    thread_report(s, cell, thread);
}
