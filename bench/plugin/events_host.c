// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * QEMU TCG plugin: the privileged events of each operation that the kernel's benchmarks measure.
 *
 *   -plugin build/bench/events.so,output=FILE[,trace=FILE]
 *
 * The benchmark marks where a measurement begins and ends, and where it reports a figure, by no-ops
 * that nothing else uses (tests/kernel/bench_marks.h). For each report, FILE gets one line: the
 * kernel's and the user's instructions and the events of the measurement with the fewest kernel
 * instructions since the report before, "kernel N user N cr3 N ...", or "none" if there was none.
 * The trace has the addresses of that measurement's kernel instructions on one line each report.
 * One vCPU. The words of the line: `event_names`.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/plugin/qemu_plugin.h"
#include "tests/kernel/bench_marks.h"

enum event {
    EVENT_KERNEL,
    EVENT_USER,
    EVENT_CR3,
    EVENT_CR0,
    EVENT_CR4,
    EVENT_TLB,
    EVENT_TIMER,
    EVENT_IPI,
    EVENT_EOI,
    EVENT_MSR,
    EVENT_PORT,
    EVENT_MMIO,
    EVENT_COUNT,
    EVENT_MARK = EVENT_COUNT, /* + number of the mark */
};
static const char *const event_names[EVENT_COUNT] = {
    "kernel", "user", "cr3", "cr0", "cr4", "tlb", "timer", "ipi", "eoi", "msr", "port", "mmio"};

/* x2APIC registers (Intel SDM vol. 3, table 11-6) and the TSC deadline. */
#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_X2APIC_EOI 0x80bu
#define MSR_X2APIC_ICR 0x830u
#define MSR_X2APIC_TIMER_COUNT 0x838u

#define TRACE_MAX (1u << 20)

struct measurement {
    uint64_t events[EVENT_COUNT];
    uint64_t *trace;
    size_t traced;
};

int qemu_plugin_version = PLUGIN_API_VERSION;

static struct measurement *now, *best;
static bool measuring, measured;
static FILE *output, *trace_output;
static struct qemu_plugin_register *rcx;

static uint32_t msr_number(void)
{
    static plugin_array *bytes;
    uint32_t number = 0;

    if (bytes == NULL) {
        bytes = g_byte_array_new();
    }
    g_byte_array_set_size(bytes, 0);
    if (rcx != NULL && qemu_plugin_read_register(rcx, bytes) >= (int)sizeof(number)) {
        memcpy(&number, bytes->data, sizeof(number));
    }
    return number;
}

static enum event msr_event(uint32_t msr)
{
    switch (msr) {
    case MSR_TSC_DEADLINE:
    case MSR_X2APIC_TIMER_COUNT:
        return EVENT_TIMER;
    case MSR_X2APIC_ICR:
        return EVENT_IPI;
    case MSR_X2APIC_EOI:
        return EVENT_EOI;
    default:
        return EVENT_MSR;
    }
}

static void report(void)
{
    if (!measured) {
        fputs("none\n", output);
    } else {
        for (size_t e = 0; e < EVENT_COUNT; e++) {
            fprintf(output, "%s %" PRIu64 "%c", event_names[e], best->events[e],
                    e + 1 < EVENT_COUNT ? ' ' : '\n');
        }
    }
    fflush(output);
    if (trace_output != NULL) {
        for (size_t n = 0; measured && n < best->traced; n++) {
            fprintf(trace_output, "%" PRIx64 " ", best->trace[n]);
        }
        fputs("\n", trace_output);
        fflush(trace_output);
    }
    measured = false;
}

static void on_mark(uint64_t mark)
{
    if (mark == BENCH_MARK_BEGIN) {
        memset(now->events, 0, sizeof(now->events));
        now->traced = 0;
        measuring = true;
    } else if (mark == BENCH_MARK_END && measuring) {
        measuring = false;
        if (!measured || now->events[EVENT_KERNEL] < best->events[EVENT_KERNEL]) {
            struct measurement *other = best;
            best = now;
            now = other;
            measured = true;
        }
    } else if (mark == BENCH_MARK_REPORT) {
        report();
    }
}

/* An instruction that is more than one of its side: data is its enum event. */
static void on_event(unsigned vcpu, void *data)
{
    uint64_t event = (uint64_t)data;

    (void)vcpu;
    if (event > EVENT_MARK) {
        on_mark(event - EVENT_MARK);
    } else {
        now->events[event == EVENT_MSR ? msr_event(msr_number()) : event]++;
    }
}

static void on_instruction(unsigned vcpu, void *data)
{
    uint64_t address = (uint64_t)data;

    (void)vcpu;
    if (!measuring) {
        return;
    }
    now->events[address >> 63 ? EVENT_KERNEL : EVENT_USER]++;
    if (trace_output != NULL && address >> 63 && now->traced < TRACE_MAX) {
        now->trace[now->traced++] = address;
    }
}

static void on_store(unsigned vcpu, qemu_plugin_meminfo_t info, uint64_t address, void *data)
{
    const struct qemu_plugin_hwaddr *where = qemu_plugin_get_hwaddr(info, address);

    (void)vcpu;
    (void)data;
    if (where != NULL && qemu_plugin_hwaddr_is_io(where)) {
        now->events[EVENT_MMIO]++;
    }
}

/* What an instruction is beside one of its side; EVENT_KERNEL: nothing (Intel SDM vol. 2). */
static uint64_t classify(const uint8_t *bytes, size_t length, bool kernel)
{
    size_t at = 0;
    uint32_t mark;

    while (at + 3 < length && (bytes[at] == 0x66 || (bytes[at] & 0xf0) == 0x40)) {
        at++; /* operand size, REX */
    }
    const uint8_t *op = bytes + at;
    uint32_t reg = (op[2] >> 3) & 7u;
    if (!kernel) {
        if (length != BENCH_MARK_BYTES || op[0] != 0x0f || op[1] != 0x1f || op[2] != 0x80) {
            return EVENT_KERNEL;
        }
        memcpy(&mark, op + 3, sizeof(mark));
        bool known = mark > BENCH_MARK_BASE && mark <= BENCH_MARK_BASE + BENCH_MARK_REPORT;
        return known ? EVENT_MARK + (mark - BENCH_MARK_BASE) : EVENT_KERNEL;
    }
    if ((op[0] & 0xf6) == 0xe6) {
        return EVENT_PORT; /* IN and OUT */
    }
    if (op[0] != 0x0f) {
        return EVENT_KERNEL;
    }
    switch (op[1]) {
    case 0x06: /* CLTS */
        return EVENT_CR0;
    case 0x22: /* MOV CR */
        return reg == 3 ? EVENT_CR3 : reg == 4 ? EVENT_CR4 : EVENT_CR0;
    case 0x30: /* WRMSR */
        return EVENT_MSR;
    case 0x01: /* INVLPG: group 7, /7 with memory */
        return reg == 7 && op[2] < 0xc0 ? EVENT_TLB : EVENT_KERNEL;
    case 0x38: /* INVPCID */
        return op[2] == 0x82 ? EVENT_TLB : EVENT_KERNEL;
    default:
        return EVENT_KERNEL;
    }
}

static void translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    size_t count = qemu_plugin_tb_n_insns(tb);

    (void)id;
    for (size_t i = 0; i < count; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        uint64_t address = qemu_plugin_insn_vaddr(insn);
        uint8_t bytes[16] = {0};
        size_t length = qemu_plugin_insn_data(insn, bytes, sizeof(bytes) - 1);
        uint64_t event = classify(bytes, length, address >> 63);

        qemu_plugin_register_vcpu_insn_exec_cb(insn, on_instruction, QEMU_PLUGIN_CB_NO_REGS,
                                               (void *)address);
        if (event != EVENT_KERNEL) {
            qemu_plugin_register_vcpu_insn_exec_cb(
                insn, on_event, event == EVENT_MSR ? QEMU_PLUGIN_CB_R_REGS : QEMU_PLUGIN_CB_NO_REGS,
                (void *)event);
        }
        if (address >> 63) {
            qemu_plugin_register_vcpu_mem_cb(insn, on_store, QEMU_PLUGIN_CB_NO_REGS,
                                             QEMU_PLUGIN_MEM_W, NULL);
        }
    }
}

static void find_registers(qemu_plugin_id_t id, unsigned vcpu)
{
    const plugin_array *all = qemu_plugin_get_registers();
    const struct qemu_plugin_reg_descriptor *registers = (const void *)all->data;

    (void)id;
    (void)vcpu;
    for (unsigned n = 0; n < all->length && rcx == NULL; n++) {
        rcx = strcmp(registers[n].name, "rcx") == 0 ? registers[n].handle : NULL;
    }
}

static struct measurement *measurement_new(void)
{
    struct measurement *m = calloc(1, sizeof(*m));

    m->trace = trace_output == NULL ? NULL : malloc(TRACE_MAX * sizeof(*m->trace));
    return m;
}

int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info_t *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "output=", 7) == 0) {
            output = fopen(argv[i] + 7, "we");
        } else if (strncmp(argv[i], "trace=", 6) == 0) {
            trace_output = fopen(argv[i] + 6, "we");
        } else {
            fprintf(stderr, "events plugin: unknown argument '%s'\n", argv[i]);
            return -1;
        }
    }
    if (output == NULL) {
        fprintf(stderr, "events plugin: cannot write output=FILE\n");
        return -1;
    }
    now = measurement_new();
    best = measurement_new();
    qemu_plugin_register_vcpu_init_cb(id, find_registers);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    return 0;
}
