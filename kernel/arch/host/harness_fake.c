// SPDX-License-Identifier: MIT OR Apache-2.0
#include "kernel/arch/host/harness.h"

#include <stdlib.h>
#include <string.h>

#include <hallows/boot.h>

#include "tests/check.h"

struct kernel *kernel_under_test;
static struct kernel kernel_before;
static uint8_t *memory_before;
static struct cpu cpus[HARNESS_CPUS];
static struct cpu cpus_before[HARNESS_CPUS];
static struct page pages[HARNESS_BYTES / PAGE_BYTES];
static struct page pages_before[HARNESS_BYTES / PAGE_BYTES];

static void start_roots(struct kernel *k)
{
    const struct start_capability roots[] = {
        {.slot = BOOT_SLOT_IRQ_CONTROL, .type = OBJECT_IRQ_CONTROL},
        {.slot = BOOT_SLOT_IO_PORTS, .type = OBJECT_IO_PORTS, .base = 0x400, .length = 0x400},
        {.slot = BOOT_SLOT_SCHED_CONTROL, .type = OBJECT_SCHED_CONTROL, .badge = 200},
        {.slot = BOOT_SLOT_IOSPACE, .type = OBJECT_IOSPACE},
        {.slot = BOOT_SLOT_CONSOLE, .type = OBJECT_CONSOLE},
        {.slot = BOOT_SLOT_TRACE, .type = OBJECT_TRACE},
        {.slot = BOOT_SLOT_PCI_FUNCTIONS, .type = OBJECT_PCI_FUNCTIONS, .length = 0x10000},
    };

    for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
        start_root(k, &roots[i]);
    }
}

void harness_start(void)
{
    if (memory_before == NULL) {
        memory_before = malloc(HARNESS_BYTES);
        kernel_under_test = malloc(sizeof(struct kernel));
        VERIFY(memory_before != NULL && kernel_under_test != NULL);
    }
    struct kernel *k = kernel_under_test;
    *k = (struct kernel){0};
    memset(cpus, 0, sizeof(cpus));
    memset(pages, 0, sizeof(pages));
    host_cpu = &cpus[0];
    host_machine_start(HARNESS_BYTES);
    kernel_init(k, cpus, HARNESS_CPUS, pages, HARNESS_BYTES / PAGE_BYTES);
    start_memory(k, 0x10000, 0xf0000);
    VERIFY(start_cell(k, HARNESS_TABLE_SLOTS, HARNESS_PRIORITY) == STATUS_OK);
    start_roots(k);
    start_untyped(k, SLOT_UNTYPED, HARNESS_UNTYPED_BASE, HARNESS_UNTYPED_BYTES);
    start_untyped(k, SLOT_UNTYPED_2, HARNESS_UNTYPED_BASE + HARNESS_UNTYPED_BYTES, 0x80000);
    start_device_memory(k, SLOT_DEVICE, HARNESS_DEVICE_BASE, 0x10000);
    start_device_memory(k, SLOT_DEVICE_LARGE, HARNESS_DEVICE_LARGE_BASE,
                        HARNESS_DEVICE_LARGE_BYTES);
    void *memory;
    VERIFY(start_page(k, 0x400000, RIGHT_READ | RIGHT_EXECUTE, &memory) == STATUS_OK);
    start_thread(k, 0x400000, 0x500000, 0);
    harness_check("start");
}

struct thread *harness_current(void)
{
    VERIFY(current_thread(kernel_under_test).n != NIL);
    return thread_at(kernel_under_test, current_thread(kernel_under_test));
}

struct slot *harness_slot(uint32_t slot)
{
    struct kernel *k = kernel_under_test;

    return slot_at(k, (slot_ix){k->initial_table.n + slot});
}

thread_ix harness_thread_ix(uint32_t slot)
{
    VERIFY(harness_slot(slot)->type == OBJECT_THREAD);
    return (thread_ix){harness_slot(slot)->object};
}

struct thread *harness_thread(uint32_t slot)
{
    return thread_at(kernel_under_test, harness_thread_ix(slot));
}

#define TOUCHED_MAX 32u
uint32_t harness_check_every = 1;
static uint32_t checks;
static uint32_t touched[TOUCHED_MAX];
static uint32_t touched_count;

void harness_touch(uint32_t page)
{
    for (uint32_t n = 0; n < touched_count; n++) {
        if (touched[n] == page) {
            return;
        }
    }
    if (touched_count < TOUCHED_MAX && page < kernel_under_test->page_count) {
        touched[touched_count++] = page;
    }
}

static struct invariant_failure check_due(void)
{
    struct invariant_failure failure = {0, 0};

    if (++checks % harness_check_every == 0) {
        touched_count = 0;
        return invariants_check(kernel_under_test);
    }
    for (; touched_count > 0 && failure.number == 0; touched_count--) {
        failure = invariants_check_page(kernel_under_test, touched[touched_count - 1u]);
    }
    return failure;
}

void harness_check(const char *after)
{
    struct invariant_failure failure = check_due();

    if (!host_io_fresh()) {
        check_failed(__FILE__, __LINE__, "after %s: a device can use what its tables do not say",
                     after);
        abort();
    }
    if (!host_tlb_fresh()) {
        check_failed(__FILE__, __LINE__, "after %s: a CPU can use what the tables do not say",
                     after);
        fflush(stdout);
        abort();
    }

    if (failure.number != 0) {
        check_failed(__FILE__, __LINE__, "after %s: invariant %u at %u: %s", after, failure.number,
                     failure.index, invariant_text(failure.number));
        fflush(stdout);
        abort();
    }
    if (checks % harness_check_every == 0) {
        host_tlb_fill(kernel_under_test);
    }
}

static bool refused(int64_t status)
{
    return status < 0 && status != STATUS_AGAIN && status != STATUS_TIMED_OUT &&
           status != STATUS_CANCELLED;
}

int64_t harness_call(const struct call *call)
{
    struct kernel *k = kernel_under_test;
    thread_ix self = current_thread(k);
    struct thread *t = harness_current();
    struct registers *r = &t->registers;

    r->result = call->number | (uint64_t)call->aux << 32;
    r->arg0 = call->a[0];
    r->arg1 = call->a[1];
    for (uint32_t n = 0; n < 4; n++) {
        r->word[n] = call->a[n + 2];
    }
    r->caps = call->caps;
    bool compare = harness_check_every == 1;
    if (compare) {
        kernel_before = *k;
        memcpy(memory_before, host_memory, HARNESS_BYTES);
        memcpy(pages_before, pages, sizeof(pages));
        memcpy(cpus_before, cpus, sizeof(cpus));
    }
    kernel_syscall(k, thread_at(k, current_thread(k)));
    harness_check("call");
    if (t->state != THREAD_READY && t->state != THREAD_INACTIVE) {
        return BLOCKED;
    }
    int64_t status = (int64_t)r->result;
    if (compare && refused(status)) {
        struct thread *old = (struct thread *)(memory_before + granule_address(self.n));
        old->registers.result = r->result;
        CHECK(memcmp(&kernel_before, k, sizeof(*k)) == 0);
        CHECK(memcmp(memory_before, host_memory, HARNESS_BYTES) == 0);
        CHECK(memcmp(pages_before, pages, sizeof(pages)) == 0);
        CHECK(memcmp(cpus_before, cpus, sizeof(cpus)) == 0);
    }
    return status;
}

void harness_compare_paths(void)
{
    static struct kernel kernel_fast;
    static struct cpu cpus_fast[HARNESS_CPUS];
    static struct host_machine machine_before;
    static uint8_t *memory_fast;
    struct kernel *k = kernel_under_test;

    if (memory_fast == NULL) {
        memory_fast = malloc(HARNESS_BYTES);
        VERIFY(memory_fast != NULL);
    }
    kernel_before = *k;
    machine_before = host_machine;
    memcpy(cpus_before, cpus, sizeof(cpus));
    memcpy(memory_before, host_memory, HARNESS_BYTES);
    kernel_syscall(k, thread_at(k, current_thread(k)));
    kernel_fast = *k;
    memcpy(cpus_fast, cpus, sizeof(cpus));
    uint64_t timer_fast = host_machine.timer_ns;
    memcpy(memory_fast, host_memory, HARNESS_BYTES);
    *k = kernel_before;
    memcpy(cpus, cpus_before, sizeof(cpus));
    host_machine = machine_before;
    memcpy(host_memory, memory_before, HARNESS_BYTES);
    kernel_syscall_slow(k, thread_at(k, current_thread(k)));
    CHECK(memcmp(&kernel_fast, k, sizeof(*k)) == 0);
    CHECK(memcmp(cpus_fast, cpus, sizeof(cpus)) == 0);
    CHECK(memcmp(memory_fast, host_memory, HARNESS_BYTES) == 0);
    CHECK_EQ(timer_fast, host_machine.timer_ns);
}

int64_t harness_repeat(const struct call *call, uint32_t most)
{
    int64_t status = STATUS_AGAIN;

    while (status == STATUS_AGAIN && most-- > 0) {
        status = harness_call(call);
    }
    return status;
}

void harness_spawn(uint32_t slot, uint32_t priority)
{
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_THREAD, 0, slot, 1), STATUS_OK);
    CHECK_EQ(CALL(thread_configure, slot, BOOT_SLOT_TABLE, BOOT_SLOT_ASPACE, 0), STATUS_OK);
    CHECK_EQ(CALL(thread_set_priority, slot, BOOT_SLOT_SCHED_CONTROL, priority), STATUS_OK);
    CHECK_EQ(CALL(thread_resume, slot), STATUS_OK);
}

void harness_time(uint64_t now_ns)
{
    host_machine.now_ns = now_ns;
    kernel_timer(kernel_under_test);
    harness_check("timer");
}
