// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Benchmarks of the kernel (command line: bench). Under `-icount shift=0,sleep=off` a TSC tick is
 * one instruction. One line each: BENCH kernel/name value unit (bench/targets.toml). A figure is
 * the smallest of ROUNDS, or the mean where the cost differs from time to time by design (retype
 * clears memory a page at a time). What the measurement costs is taken off, and for call and reply
 * the server's user instructions too, so that those are the kernel's alone.
 */
#include "tests/kernel/bench.h"
#include "runtime/syscall_time.h"
#include "runtime/upcall.h"
#include "tests/kernel/hpet.h"

#define ROUNDS 32u
#define BUDGET_NS 1000000000ull
#define RW (RIGHT_READ | RIGHT_WRITE)
#define SERVER_USER_INSTRUCTIONS 12u
#define SERVER_ACCEPTING_INSTRUCTIONS 5u

uint64_t bench_syscall(uint64_t rax, uint64_t rdi, uint64_t rsi, uint64_t rbx);
uint64_t bench_resume(struct upcall_area *area);
extern int64_t bench_status;
int64_t bench_status;
void bench_server(uint64_t argument);
void bench_faulter(uint64_t address);
void bench_spin(volatile uint32_t *last, volatile uint32_t *end);

static volatile uint32_t last_ticks, interrupted; /* bench_spin's */
static volatile uint32_t irq_ticks;

/* The smallest of ROUNDS of the call. */
static uint64_t best_of(uint64_t rax, uint64_t rdi, uint64_t rsi)
{
    uint64_t best = UINT64_MAX;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint64_t ticks = bench_syscall(rax, rdi, rsi, 0);
        best = ticks < best ? ticks : best;
        if (bench_status != STATUS_OK)
            print("FAIL call %lu: %s\n", rax & 0xffff, status_name((status_t)bench_status));
    }
    return without(best, bench_nothing());
}

/* A benchmark of a refused call measures nothing. */
static inline void done(status_t status)
{
    if (status != STATUS_OK)
        print("FAIL a measured call: %s\n", status_name(status));
}

static inline uint64_t measure_begin(void)
{
    BENCH_MARK(BENCH_MARK_BEGIN);
    return clock_ticks();
}

static inline uint64_t measure_end(void)
{
    uint64_t ticks = clock_ticks();
    BENCH_MARK(BENCH_MARK_END);
    return ticks;
}

/* Runs `statement` ROUNDS times with `i` counting and reports the smallest or the mean, with the
 * few instructions that the call's stub takes in user mode. */
#define MEASURE(name, mean, statement)                                                             \
    do {                                                                                           \
        uint64_t best = UINT64_MAX, total = 0;                                                     \
        for (uint32_t i = 0; i < ROUNDS; i++) {                                                    \
            uint64_t from = measure_begin();                                                       \
            statement;                                                                             \
            uint64_t ticks = measure_end() - from;                                                 \
            best = ticks < best ? ticks : best;                                                    \
            total += ticks;                                                                        \
        }                                                                                          \
        report(name, without((mean) ? total / ROUNDS : best, bench_nothing()));                    \
    } while (0)

static void bench_simple(void)
{
    cap_slot_t notification = object_new(OBJECT_NOTIFICATION, 0);
    report("syscall", best_of(CALL_yield, 0, 0));
    report("signal-nobody-waits",
           best_of(CALL_notification_signal, minted(notification, RIGHT_SEND, 1), 0));
    cap_slot_t to = next_slots(ROUNDS);
    MEASURE("cap-copy", false, done(cap_copy(to + i, notification, RIGHTS_ALL)));
    MEASURE("cap-delete", false, done(cap_delete(to + i)));
    MEASURE("cap-mint", false, done(cap_mint(to + i, notification, RIGHT_SEND, i)));
}

static void bench_retype(void)
{
    cap_slot_t to = next_slots(2 * ROUNDS);
    struct retype_request request = {OBJECT_ENDPOINT, 0, to, 1};
    MEASURE("retype-endpoint", true, (request.first = to + i, done(retype(test_untyped, request))));
    request.type = OBJECT_THREAD;
    MEASURE("retype-thread", true,
            (request.first = to + ROUNDS + i, done(retype(test_untyped, request))));
}

static void bench_memory(void)
{
    cap_slot_t segment = segment_new(1, RW);
    uint64_t address = test_address();
    (void)attach(segment, BOOT_SLOT_ASPACE, address, RW);
    MEASURE("segment-detach", false, ({
                if (i > 0) {
                    done(segment_attach(segment, BOOT_SLOT_ASPACE, address, RW));
                    from = measure_begin();
                }
                done(segment_detach(segment, BOOT_SLOT_ASPACE, address));
            }));
    MEASURE("segment-attach", false, ({
                if (i > 0) {
                    done(segment_detach(segment, BOOT_SLOT_ASPACE, address));
                    from = measure_begin();
                }
                done(segment_attach(segment, BOOT_SLOT_ASPACE, address, RW));
            }));
    /* Device pages need no clearing, so this is the mapping alone. */
    cap_slot_t devices = object_new(OBJECT_SEGMENT, 0);
    struct device_pages pages = {0, 1, boot->device_memory[0].slot, 0, RIGHT_READ};
    MEASURE("map-device", false,
            (pages.first_page = i, done(segment_populate_device(devices, pages))));
    MEASURE("unmap-device", false, done(segment_depopulate(devices, i, 1)));
    MEASURE("populate-and-clear", true, ({
                status_t status;
                do
                    status = segment_populate(segment, i + 1, 1, test_untyped, RW);
                while (status == STATUS_AGAIN);
            }));
    MEASURE("segment-protect", false, done(segment_protect(segment, i + 1, 1, RIGHT_READ)));
}

/* Map of a page that is prepared: the call before, for more pages than are cleared at once, was
 * answered AGAIN and only cleared. And unmap of RAM from an attached segment. */
static void bench_map(void)
{
    cap_slot_t segment = segment_new(0, RW);
    (void)attach(segment, BOOT_SLOT_ASPACE, test_address(), RW);
    MEASURE("map", false, ({
                if (segment_populate(segment, ROUNDS, POPULATE_PAGES_MAX, test_untyped, RW) !=
                    STATUS_AGAIN)
                    print("FAIL a measured map: nothing was to be cleared\n");
                from = measure_begin();
                done(segment_populate(segment, i, 1, test_untyped, RW));
            }));
    MEASURE("unmap", false, done(segment_depopulate(segment, i, 1)));
}

/* ---- Copies -----------------------------------------------------------------------------------
 */

#define CLONE_SEGMENTS_SMALL 32u /* 64 MiB, every page of it in use */
#define CLONE_SEGMENTS_LARGE 512u
#define CLONE_MEMORY_BYTES (80ull << 20)
#define CLONE_ADDRESS 0x200000000000ull

struct clone {
    cap_slot_t memory;
    cap_slot_t parents;
    cap_slot_t children;
    cap_slot_t aspace;
    uint32_t count;
};

/* Repeats on AGAIN, which freezing answers. */
static void clone_derive(const struct clone *c)
{
    for (uint32_t i = 0; i < c->count; i += DERIVE_COUNT_MAX) {
        status_t status;
        do
            status = segment_derive(
                (struct derive_request){c->parents + i, c->children + i, DERIVE_COUNT_MAX,
                                        c->aspace, CLONE_ADDRESS + (uint64_t)i * SEGMENT_BYTES, 0});
        while (status == STATUS_AGAIN);
        done(status);
    }
}

static void clone_objects(const struct clone *c, cap_slot_t first)
{
    for (uint32_t i = 0; i < c->count; i += RETYPE_COUNT_MAX)
        done(retype(c->memory,
                    (struct retype_request){OBJECT_SEGMENT, 0, first + i, RETYPE_COUNT_MAX}));
}

static void clone_parents(const struct clone *c, uint32_t pages)
{
    clone_objects(c, c->parents);
    for (uint32_t i = 0; i < c->count; i++) {
        for (uint32_t page = 0; page < pages;) {
            uint32_t count = pages - page < POPULATE_PAGES_MAX ? pages - page : POPULATE_PAGES_MAX;
            status_t status = segment_populate(c->parents + i, page, count, c->memory, RW);
            page += status == STATUS_OK ? count : 0;
            if (status != STATUS_AGAIN)
                done(status);
        }
        done(attach(c->parents + i, BOOT_SLOT_ASPACE, CLONE_ADDRESS + (uint64_t)i * SEGMENT_BYTES,
                    RW));
    }
}

static void clone_runs(uint64_t page)
{
    *(volatile uint64_t *)page = measure_end();
}

/* Copies of all segments of a cell, attached in another address space, and a thread there; from the
 * first call to that thread's first instruction. The objects exist already. `pages` of each segment
 * are in use; no step depends on how many. */
static void bench_clone(const char *first_name, const char *name, uint32_t count, uint32_t pages,
                        cap_slot_t other)
{
    struct clone c = {slot_new(), next_slots(count), next_slots(count), other, count};
    done(retype(largest_untyped(),
                (struct retype_request){OBJECT_UNTYPED, CLONE_MEMORY_BYTES, c.memory, 1}));
    clone_parents(&c, pages);
    cap_slot_t shared = segment_new(1, RW);
    uint64_t page = test_address();
    (void)attach(shared, BOOT_SLOT_ASPACE, page, RW);
    (void)attach(shared, other, page, RW);
    cap_slot_t empty = segment_new(0, RW);
    (void)attach(empty, other, CLONE_ADDRESS, RW); /* the page tables */
    done(segment_detach(empty, other, CLONE_ADDRESS));
    for (uint32_t round = 0; round < 2; round++) {
        clone_objects(&c, c.children);
        struct helper child = helper_new(clone_runs, page, PRIORITY_HIGH);
        done(thread_configure(child.thread, BOOT_SLOT_TABLE, other, 0));
        uint64_t from = measure_begin();
        clone_derive(&c);
        done(thread_resume(child.thread));
        report(round == 0 ? first_name : name, *(volatile uint64_t *)page - from);
        for (uint32_t i = 0; i < count; i++)
            (void)destroy(c.children + i);
    }
    (void)revoke(c.memory);
    (void)reset(c.memory);
    (void)destroy(c.memory);
}

/* The write to a page of a copy whose table is there already, and the first in a window. */
static void bench_copy_on_write(void)
{
    cap_slot_t parents = next_slots(ROUNDS), children = next_slots(ROUNDS);
    uint64_t at[ROUNDS];
    for (uint32_t i = 0; i < ROUNDS; i++) {
        at[i] = test_address();
        done(retype(test_untyped, (struct retype_request){OBJECT_SEGMENT, 0, parents + i, 1}));
        status_t status;
        do
            status = segment_populate(parents + i, 0, 2, test_untyped, RW);
        while (status == STATUS_AGAIN);
        done(retype(test_untyped, (struct retype_request){OBJECT_SEGMENT, 0, children + i, 1}));
        done(segment_derive((struct derive_request){parents + i, children + i, 1, 0, 0, 0}));
        done(attach(children + i, BOOT_SLOT_ASPACE, at[i], RW));
    }
    MEASURE("write-first-in-window", false, *(volatile uint64_t *)at[i] = 1);
    MEASURE("write-first-in-page", false, *(volatile uint64_t *)(at[i] + PAGE_BYTES) = 1);
    MEASURE("segment-revert", false, done(segment_revert(children + i)));
}

/* ---- Upcalls -----------------------------------------------------------------------------------
 */

static uint8_t upcall_stack[4096] __attribute__((aligned(16)));
extern uint64_t upcall_entered;
uint64_t upcall_entered; /* ticks at the first instruction of the handler */

/* Instead of the library's entry: the time first. */
void bench_upcall_entry(void);
__asm__(".text\nbench_upcall_entry:\n rdtsc\n shlq $32, %rdx\n orq %rdx, %rax\n"
        " movq %rax, upcall_entered(%rip)\n nopl 0x48420002(%rax)\n jmp upcall_entry");

static void upcall_quantum_over(struct upcall_area *area, uint64_t events)
{
    (void)area;
    (void)events;
    irq_ticks = (uint32_t)upcall_entered - last_ticks;
    interrupted = 1;
}

static void upcall_skip(struct upcall_area *area, uint64_t events)
{
    (void)events;
    area->frame.ip += 3;
}

static struct upcall_area *upcall_area_new(upcall_handler handler, uint32_t events)
{
    uint64_t address = test_address();
    cap_slot_t segment = segment_new(1, RW);
    (void)attach(segment, BOOT_SLOT_ASPACE, address, RW);
    struct upcall_area *area = (struct upcall_area *)address;
    upcall_open(area, handler, upcall_stack + sizeof upcall_stack);
    done(thread_set_upcall(BOOT_SLOT_THREAD, segment, 0, events));
    return area;
}

/* From the last instruction before the timer to the first of the handler; back from the handler's
 * end to the interrupted code; and a fault handled by its own thread, there and back. */
static void bench_upcalls(void)
{
    struct upcall_area *area = upcall_area_new(upcall_quantum_over, UPCALL_QUANTUM);
    area->handler = (uint64_t)bench_upcall_entry;
    uint64_t entry = UINT64_MAX, back = UINT64_MAX;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        interrupted = 0;
        done(upcall_quantum(20000));
        bench_spin(&last_ticks, &interrupted);
        entry = irq_ticks < entry ? irq_ticks : entry;
        done(upcall_quantum(0));
    }
    report("upcall-quantum", entry);
    /* An area that holds the end of this measurement as its frame. */
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint64_t ticks = bench_resume(area);
        back = ticks < back ? ticks : back;
    }
    report("upcall-resume", without(back, bench_nothing()));
    area = upcall_area_new(upcall_skip, UPCALL_FAULT);
    uint64_t nothing = test_address();
    MEASURE("upcall-fault", false,
            __asm__ volatile("movq (%0), %%rax"
                             :
                             : "D"(nothing)
                             : "rax", "memory"));
    done(thread_set_upcall(BOOT_SLOT_THREAD, 0, 0, 0));
}

/* ---- Between address spaces ------------------------------------------------------------------ */

/* flags: MESSAGE_DEADLINE sends call and answer the slow way. */
static uint64_t call_reply(cap_slot_t endpoint, uint32_t words, uint32_t flags)
{
    return without(best_of(CALL_ipc_call, endpoint, message_info(1u | flags, words) | flags),
                   SERVER_USER_INSTRUCTIONS);
}

static void bench_ipc(cap_slot_t other)
{
    cap_slot_t endpoint = object_new(OBJECT_ENDPOINT, 0), reply = object_new(OBJECT_REPLY, 0);
    struct helper helper =
        helper_start_in(bench_server, endpoint | reply << 16, PRIORITY_HIGH, 0, other);
    report("call-reply-0-unbudgeted", call_reply(endpoint, 0, 0));
    /* The row of the target: this thread has a budget, which the server runs on. */
    cap_slot_t context = object_new(OBJECT_SCHED_CONTEXT, 0);
    done(sched_context_configure(context, BOOT_SLOT_SCHED_CONTROL, BUDGET_NS, BUDGET_NS, 0));
    done(sched_context_bind(context, BOOT_SLOT_THREAD));
    done(thread_set_passive(helper.thread, 1, 0));
    report("call-reply-0", call_reply(endpoint, 0, 0));
    report("call-reply-4", call_reply(endpoint, 4, 0));
    done(sched_context_unbind(context));
    done(thread_set_passive(BOOT_SLOT_THREAD, 0, BOOT_SLOT_SCHED_CONTROL));
    done(thread_set_passive(helper.thread, 0, BOOT_SLOT_SCHED_CONTROL));
    report("call-reply-slow-5", call_reply(endpoint, 5, MESSAGE_DEADLINE));
    (void)thread_suspend(helper.thread);

    cap_slot_t accept = slot_new();
    cap_slot_t sent = object_new(OBJECT_NOTIFICATION, 0);
    uint64_t argument =
        endpoint | reply << 16 | (uint64_t)accept << 32 | (uint64_t)MESSAGE_ACCEPT << 48;
    /* Below this thread, so that the slot can be emptied before the server waits again. */
    (void)helper_start_in(bench_server, argument, PRIORITY_LOW, 0, other);
    cap_slot_t never = object_new(OBJECT_NOTIFICATION, 0);
    uint64_t best = UINT64_MAX;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint64_t word;
        (void)notification_wait(never, now_ns() + 1000000, &word);
        uint64_t ticks =
            bench_syscall(CALL_ipc_call, endpoint, message_info(1, 0) | MESSAGE_CAP, sent);
        if (cap_delete(accept) == STATUS_OK)
            best = ticks < best ? ticks : best;
    }
    if (best != UINT64_MAX)
        report("call-reply-cap", without(best, bench_nothing() + SERVER_ACCEPTING_INSTRUCTIONS));
}

static void bench_fault(cap_slot_t other)
{
    cap_slot_t endpoint = object_new(OBJECT_ENDPOINT, 0), reply = object_new(OBJECT_REPLY, 0);
    (void)helper_start_in(bench_faulter, test_address(), PRIORITY_HIGH, endpoint, other);
    struct message m = {0};
    if (ipc_recv(endpoint, reply, &m) != STATUS_OK)
        return;
    /* The answer lets it read again, which faults again. */
    report("fault", best_of(call_with_reply(CALL_ipc_reply_recv, reply), endpoint, 0));
}

struct waiter_page {
    uint64_t woken_ticks;
    cap_slot_t notification;
};

static void waiter(uint64_t address)
{
    volatile struct waiter_page *page = (volatile struct waiter_page *)address;
    for (;;) {
        uint64_t word;
        (void)notification_wait(page->notification, DEADLINE_NEVER, &word);
        page->woken_ticks = measure_end();
    }
}

static void bench_signal_switch(cap_slot_t other)
{
    cap_slot_t segment = segment_new(1, RW);
    uint64_t address = test_address();
    (void)attach(segment, BOOT_SLOT_ASPACE, address, RW);
    (void)attach(segment, other, address, RW);
    volatile struct waiter_page *page = (volatile struct waiter_page *)address;
    cap_slot_t notification = object_new(OBJECT_NOTIFICATION, 0);
    cap_slot_t signal = minted(notification, RIGHT_SEND, 1);
    page->notification = notification;
    (void)helper_start_in(waiter, address, PRIORITY_HIGH, 0, other);
    uint64_t best = UINT64_MAX;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint64_t from = measure_begin();
        (void)notification_signal(signal);
        uint64_t ticks = page->woken_ticks - from;
        best = ticks < best ? ticks : best;
    }
    report("signal-switch", without(best, bench_nothing()));
}

/* ---- Interrupts ------------------------------------------------------------------------------ */

static cap_slot_t irq_notification;

static void interrupt_handler(uint64_t unused)
{
    (void)unused;
    for (;;) {
        uint64_t word;
        (void)notification_wait(irq_notification, DEADLINE_NEVER, &word);
        irq_ticks = (uint32_t)measure_end() - last_ticks;
        interrupted = 1;
    }
}

static void bench_irq(void)
{
    volatile uint64_t *hpet = hpet_map();
    uint32_t gsi = hpet == NULL ? 0 : hpet_pin(hpet);
    cap_slot_t irq = slot_new();
    irq_notification = object_new(OBJECT_NOTIFICATION, 0);
    if (gsi == 0 || irq_create_ioapic(BOOT_SLOT_IRQ_CONTROL, irq, gsi, 0) != STATUS_OK ||
        irq_bind(irq, minted(irq_notification, RIGHTS_ALL, 1)) != STATUS_OK)
        return;
    (void)helper_start(interrupt_handler, 0, PRIORITY_HIGH);
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        interrupted = 0;
        hpet_fire_soon(hpet, gsi << HPET_ROUTE_SHIFT);
        bench_spin(&last_ticks, &interrupted);
        hpet_stop(hpet);
        best = irq_ticks < best ? irq_ticks : best;
    }
    report("irq", best);
}

void benchmarks_run(void)
{
    report("boot", boot_ticks);
    bench_simple();
    bench_retype();
    bench_memory();
    bench_map();
    bench_copy_on_write();
    bench_upcalls();
    cap_slot_t other = aspace_clone();
    bench_ipc(other);
    bench_fault(other);
    bench_signal_switch(other);
    bench_irq();
    benchmarks_longest();
    benchmarks_partition();
    bench_clone("clone-64m-open", "clone-64m", CLONE_SEGMENTS_SMALL, SEGMENT_PAGES, other);
    bench_clone("clone-1g-open", "clone-1g", CLONE_SEGMENTS_LARGE, 1, other);
}
