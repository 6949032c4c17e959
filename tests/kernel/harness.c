// SPDX-License-Identifier: MIT OR Apache-2.0
#include "tests/kernel/harness.h"

#include <stdarg.h>

#include "lib/base/bytes.h"
#include "lib/base/format.h"
#include "runtime/entry.h"

#define TEST_MEMORY_BYTES 0x2000000ull
#define HELPER_STACK_BYTES 16384u

const struct boot_info *boot;
uint64_t boot_ticks;
cap_slot_t test_untyped;

static cap_slot_t next_slot;
static cap_slot_t first_test_slot;
static uint64_t next_address;
static bool failed;
static const char *skipped;
static const char *running;
static uint32_t helper_count;
static cap_slot_t pause_notification;
static uint8_t stacks[HELPERS_MAX][HELPER_STACK_BYTES] __attribute__((aligned(16)));

extern struct kernel_test *const __start_kernel_tests[], *const __stop_kernel_tests[];

/* ---- Report ---------------------------------------------------------------------------------- */

void print(const char *format, ...)
{
    char line[256];
    va_list arguments;
    va_start(arguments, format);
    size_t length = format_text_va(line, sizeof line, format, arguments);
    va_end(arguments);
    log_text(line, length < sizeof line ? length : sizeof line - 1);
}

void test_failed(const char *file, int line, const char *what, int64_t actual, int64_t expected)
{
    if (!failed)
        print("FAIL %s: %s:%d %s is %ld, not %ld\n", running, file, line, what, actual, expected);
    failed = true;
}

void test_equal(const char *file, int line, const char *what, int64_t actual, int64_t expected)
{
    if (actual != expected)
        test_failed(file, line, what, actual, expected);
}

void test_skip(const char *why)
{
    skipped = why;
}

time_ns_t now_ns(void)
{
    return clock_ns(&boot->time);
}

/* ---- Objects --------------------------------------------------------------------------------- */

cap_slot_t slot_new(void)
{
    return next_slot++;
}

cap_slot_t next_slots(uint32_t count)
{
    cap_slot_t first = next_slot;
    next_slot += count;
    return first;
}

status_t retype(cap_slot_t untyped, struct retype_request request)
{
    status_t status;
    do
        status = untyped_retype(untyped, request);
    while (status == STATUS_AGAIN);
    return status;
}

status_t revoke(cap_ref_t ref)
{
    status_t status;
    do
        status = cap_revoke(ref);
    while (status == STATUS_AGAIN);
    return status;
}

status_t reset(cap_slot_t untyped)
{
    status_t status;
    do
        status = untyped_reset(untyped);
    while (status == STATUS_AGAIN);
    return status;
}

status_t destroy(cap_ref_t ref)
{
    status_t status;
    do
        status = cap_delete(ref);
    while (status == STATUS_AGAIN);
    return status;
}

cap_slot_t object_new(uint32_t type, uint64_t size)
{
    cap_slot_t slot = slot_new();
    EXPECT_OK(retype(test_untyped, (struct retype_request){type, size, slot, 1}));
    return slot;
}

cap_slot_t minted(cap_slot_t from, uint32_t rights, uint64_t badge)
{
    cap_slot_t slot = slot_new();
    EXPECT_OK(cap_mint(slot, from, rights, badge));
    return slot;
}

uint32_t slot_type(cap_slot_t slot)
{
    uint64_t values[2];
    return cap_identify(slot, values) == STATUS_OK ? (uint32_t)values[0] & 0xff : OBJECT_NONE;
}

/* ---- Helpers --------------------------------------------------------------------------------- */

/* All it needs comes in registers, since its address space may have data of its own. */
static _Noreturn void helper_main(void (*entry)(uint64_t), uint64_t argument, cap_slot_t thread)
{
    entry(argument);
    for (;;)
        (void)thread_suspend(thread);
}

static struct helper helper_make(void (*entry)(uint64_t), uint64_t argument, uint32_t priority,
                                 cap_slot_t fault_endpoint, cap_slot_t aspace)
{
    struct helper helper = {object_new(OBJECT_THREAD, 0), helper_count++};
    EXPECT_OK(thread_configure(helper.thread, BOOT_SLOT_TABLE,
                               aspace ? aspace : (cap_slot_t)BOOT_SLOT_ASPACE, fault_endpoint));
    uint64_t control[8] = {(uint64_t)helper_main,
                           (uint64_t)stacks[helper.index] + HELPER_STACK_BYTES - 8, 0x202};
    uint64_t low[8] = {[3] = helper.thread, [4] = argument, [5] = (uint64_t)entry};
    EXPECT_OK(thread_write_registers(helper.thread, REGISTERS_CONTROL, control));
    EXPECT_OK(thread_write_registers(helper.thread, REGISTERS_LOW, low));
    EXPECT_OK(thread_set_priority(helper.thread, BOOT_SLOT_SCHED_CONTROL, priority));
    return helper;
}

struct helper helper_new(void (*entry)(uint64_t), uint64_t argument, uint32_t priority)
{
    return helper_make(entry, argument, priority, 0, 0);
}

struct helper helper_start(void (*entry)(uint64_t), uint64_t argument, uint32_t priority)
{
    return helper_start_in(entry, argument, priority, 0, 0);
}

struct helper helper_start_in(void (*entry)(uint64_t), uint64_t argument, uint32_t priority,
                              cap_slot_t fault_endpoint, cap_slot_t aspace)
{
    struct helper helper = helper_make(entry, argument, priority, fault_endpoint, aspace);
    EXPECT_OK(thread_resume(helper.thread));
    return helper;
}

static void signal_it(uint64_t notification)
{
    (void)notification_signal((cap_slot_t)notification);
}

void let_others_run(void)
{
    uint64_t word;
    cap_slot_t idle = object_new(OBJECT_NOTIFICATION, 0);
    (void)helper_start(signal_it, minted(idle, RIGHT_SEND, 1), PRIORITY_IDLE);
    EXPECT_OK(notification_wait(idle, DEADLINE_NEVER, &word));
}

void pause_ns(time_ns_t ns)
{
    uint64_t word;
    if (pause_notification == 0)
        pause_notification = object_new(OBJECT_NOTIFICATION, 0);
    (void)notification_wait(pause_notification, now_ns() + ns, &word);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

uint64_t test_address(void)
{
    uint64_t address = next_address;
    next_address += SEGMENT_BYTES;
    return address;
}

cap_slot_t segment_new(uint32_t pages, uint32_t rights)
{
    cap_slot_t segment = object_new(OBJECT_SEGMENT, 0);
    for (uint32_t page = 0; page < pages;) {
        uint32_t count = pages - page < POPULATE_PAGES_MAX ? pages - page : POPULATE_PAGES_MAX;
        status_t status = segment_populate(segment, page, count, test_untyped, rights);
        if (status == STATUS_AGAIN)
            continue;
        EXPECT_OK(status);
        page += count;
    }
    return segment;
}

status_t attach(cap_slot_t segment, cap_slot_t aspace, uint64_t address, uint32_t rights)
{
    status_t status = segment_attach(segment, aspace, address, rights);
    for (uint32_t i = 0; i < 2 && status == STATUS_MISSING_TABLE; i++) {
        status = aspace_map_table(aspace, object_new(OBJECT_PAGE_TABLE, 0), address);
        if (status != STATUS_OK)
            return status;
        status = segment_attach(segment, aspace, address, rights);
    }
    return status;
}

extern uint8_t program_code_end[], program_end[];

cap_slot_t aspace_clone(void)
{
    cap_slot_t aspace = object_new(OBJECT_ASPACE, 0);
    uint64_t first = CELL_PROGRAM_ADDRESS & ~(SEGMENT_BYTES - 1ull);
    uint64_t scratch = test_address();
    for (uint64_t at = first; at < (uint64_t)program_end; at += SEGMENT_BYTES) {
        /* A copy of this program's pages: code stays executable, all else is writable. */
        cap_slot_t segment = segment_new(0, 0);
        EXPECT_OK(attach(segment, BOOT_SLOT_ASPACE, scratch, RIGHT_READ | RIGHT_WRITE));
        for (uint64_t page = at < CELL_PROGRAM_ADDRESS ? CELL_PROGRAM_ADDRESS : at;
             page < at + SEGMENT_BYTES && page < (uint64_t)program_end; page += PAGE_BYTES) {
            uint32_t index = (uint32_t)((page - at) / PAGE_BYTES);
            status_t status;
            do
                status =
                    segment_populate(segment, index, 1, test_untyped, RIGHT_READ | RIGHT_WRITE);
            while (status == STATUS_AGAIN);
            EXPECT_OK(status);
            memcpy((void *)(scratch + (page - at)), (const void *)page, PAGE_BYTES);
            if (page < (uint64_t)program_code_end)
                EXPECT_OK(segment_protect(segment, index, 1, RIGHT_READ | RIGHT_EXECUTE));
        }
        EXPECT_OK(segment_detach(segment, BOOT_SLOT_ASPACE, scratch));
        EXPECT_OK(attach(segment, aspace, at, RIGHT_READ | RIGHT_WRITE | RIGHT_EXECUTE));
    }
    return aspace;
}

/* ---- Running --------------------------------------------------------------------------------- */

cap_slot_t largest_untyped(void)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < boot->untyped_count; i++)
        if (boot->untyped[i].bytes > boot->untyped[best].bytes)
            best = i;
    return boot->untyped[best].slot;
}

static void prepare(void)
{
    next_slot = first_test_slot;
    next_address = boot->free_address;
    helper_count = 0;
    pause_notification = 0;
    failed = false;
    skipped = NULL;
}

static bool clean_up(void)
{
    /* Copies of what came with boot are not below the test's memory. */
    bool clean = revoke(test_untyped) == STATUS_OK && reset(test_untyped) == STATUS_OK;
    for (cap_slot_t slot = first_test_slot; slot < next_slot; slot++)
        if (slot_type(slot) != OBJECT_NONE && revoke(slot) == STATUS_OK)
            (void)destroy(slot);
    for (cap_slot_t slot = first_test_slot; slot < next_slot; slot++)
        clean = clean && slot_type(slot) == OBJECT_NONE;
    return clean;
}

/* The command line may name the tests to run: `test=NAME` or `test=` and the first letters. */
static bool wanted(const char *name)
{
    const char *line = boot->command_line;
    if (strncmp(line, "test=", 5) != 0)
        return true;
    return strncmp(name, line + 5, strlen(line + 5)) == 0;
}

static void run_all(void)
{
    uint32_t passes = 0, failures = 0, skips = 0;
    for (struct kernel_test *const *test = __start_kernel_tests; test < __stop_kernel_tests;
         test++) {
        if (!wanted((*test)->name))
            continue;
        prepare();
        running = (*test)->name;
        (*test)->run();
        if (!clean_up())
            test_failed(__FILE__, __LINE__, "clean-up", 0, 1);
        if (skipped != NULL && !failed) {
            print("SKIP %s: %s\n", running, skipped);
            skips++;
        } else if (!failed) {
            print("PASS %s\n", running);
            passes++;
        } else {
            failures++;
        }
    }
    print("TESTS DONE %u passed, %u failed, %u skipped\n", passes, failures, skips);
}

/* Word of the command line? */
static bool asked_for(const char *word)
{
    size_t length = strlen(word);
    for (const char *at = boot->command_line; *at != 0; at++)
        if (strncmp(at, word, length) == 0 && (at[length] == 0 || at[length] == ' '))
            return true;
    return false;
}

/* S5: SLP_TYPa and SLP_EN into PM1a control (ACPI 4.8.3.2.1). */
static void power_off(void)
{
    if (boot->acpi_s5_sleep_type <= 7 && boot->acpi_pm1a_control_port != 0)
        (void)port_out(BOOT_SLOT_IO_PORTS, boot->acpi_pm1a_control_port, 2,
                       boot->acpi_s5_sleep_type << 10 | 1u << 13);
}

_Noreturn void program_entry(const void *page, uint64_t thread)
{
    (void)thread; /* the first one */
    boot = page;
    boot_ticks = clock_ticks() - boot->start_tsc;
    log_open(BOOT_SLOT_CONSOLE, "tests");
    if (boot->magic != BOOT_INFO_MAGIC || boot->version != BOOT_INFO_VERSION) {
        print("FAIL boot_info: wrong magic or version\n");
        __builtin_trap();
    }
    next_slot = boot->first_free_slot;
    test_untyped = slot_new();
    first_test_slot = next_slot;
    status_t status =
        retype(largest_untyped(),
               (struct retype_request){OBJECT_UNTYPED, TEST_MEMORY_BYTES, test_untyped, 1});
    if (status != STATUS_OK)
        print("FAIL setup: no untyped memory: %s\n", status_name(status));
    (void)thread_set_priority(BOOT_SLOT_THREAD, BOOT_SLOT_SCHED_CONTROL, PRIORITY_TEST);
    if (asked_for("idle")) {
        print("IDLE\n");
        for (;;)
            (void)thread_suspend(BOOT_SLOT_THREAD);
    }
    if (asked_for("crash"))
        *(volatile uint64_t *)boot->free_address = 1; /* nothing is there */
    if (asked_for("bench")) {
        prepare();
        benchmarks_run();
        print("BENCH DONE\n");
    } else {
        run_all();
    }
    power_off();
    for (;;)
        (void)thread_suspend(BOOT_SLOT_THREAD);
}
