// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Kernel tests that run as the initial cell. A test is KERNEL_TEST(name) { ... } with EXPECT and
 * EXPECT_EQ in it; each gets fresh untyped memory, whose revocation afterwards takes along all that
 * the test made. The console gets `PASS name` or `FAIL name: why` for each, then `TESTS DONE`.
 *
 * The tests' own thread runs at PRIORITY_TEST, so that a helper above it runs at once when it is
 * woken, and one below only while the test waits.
 */
#ifndef TESTS_KERNEL_HARNESS_H
#define TESTS_KERNEL_HARNESS_H

#include <hallows/boot.h>
#include <hallows/cell.h>

#include "runtime/cell.h"
#include "runtime/syscall.h"

#define PRIORITY_TEST 100u
#define PRIORITY_HIGH 150u
#define PRIORITY_LOW 50u
#define PRIORITY_IDLE 1u
#define HELPERS_MAX 24u

struct kernel_test {
    const char *name;
    void (*run)(void);
};

#define KERNEL_TEST(test_name)                                                                     \
    static void test_name(void);                                                                   \
    static struct kernel_test test_name##_entry = {#test_name, test_name};                         \
    __attribute__((section("kernel_tests"),                                                        \
                   used)) static struct kernel_test *const test_name##_link = &test_name##_entry;  \
    static void test_name(void)

#define EXPECT(condition)                                                                          \
    ((condition) ? (void)0 : test_failed(__FILE__, __LINE__, #condition, 0, 1))
#define EXPECT_EQ(actual, expected)                                                                \
    test_equal(__FILE__, __LINE__, #actual, (int64_t)(actual), (int64_t)(expected))
#define EXPECT_OK(call) EXPECT_EQ(call, STATUS_OK)

void test_failed(const char *file, int line, const char *what, int64_t actual, int64_t expected);
void test_equal(const char *file, int line, const char *what, int64_t actual, int64_t expected);
void test_skip(const char *why);

extern const struct boot_info *boot;
/* TSC ticks from the kernel's first instructions to the first of this program. */
extern uint64_t boot_ticks;
/* Untyped memory of the running test. */
extern cap_slot_t test_untyped;

void print(const char *format, ...) __attribute__((format(printf, 1, 2)));
time_ns_t now_ns(void);

/* An empty slot; slots come back when the test ends. */
cap_slot_t slot_new(void);
/* The first of `count` consecutive empty slots. */
cap_slot_t next_slots(uint32_t count);
/* Repeats while the call answers AGAIN. */
status_t retype(cap_slot_t untyped, struct retype_request request);
status_t revoke(cap_ref_t ref);
status_t reset(cap_slot_t untyped);
status_t destroy(cap_ref_t ref);
/* A new object from the test's untyped memory; a failure is the test's. */
cap_slot_t object_new(uint32_t type, uint64_t size);
/* A copy of `from` with those rights and badge in a new slot. */
cap_slot_t minted(cap_slot_t from, uint32_t rights, uint64_t badge);
uint32_t slot_type(cap_slot_t slot);
/* Of those that came with boot. */
cap_slot_t largest_untyped(void);

/* A thread in this address space and table, on a stack of its own, that runs entry(argument) and,
 * when that returns, stops itself for good. */
struct helper {
    cap_slot_t thread;
    uint32_t index;
};
struct helper helper_new(void (*entry)(uint64_t), uint64_t argument, uint32_t priority);
struct helper helper_start(void (*entry)(uint64_t), uint64_t argument, uint32_t priority);
/* As helper_start, with an endpoint for its faults and another address space (0: this one). */
struct helper helper_start_in(void (*entry)(uint64_t), uint64_t argument, uint32_t priority,
                              cap_slot_t fault_endpoint, cap_slot_t aspace);

/* Waits until every thread above PRIORITY_IDLE waits for something or has stopped. */
void let_others_run(void);
/* Sleeps. */
void pause_ns(time_ns_t ns);

/* A segment of `pages` populated pages. */
cap_slot_t segment_new(uint32_t pages, uint32_t rights);
/* Attaches, entering page tables as needed. */
status_t attach(cap_slot_t segment, cap_slot_t aspace, uint64_t address, uint32_t rights);
/* An address space that shows this program too: its code and data, but not its heap. */
cap_slot_t aspace_clone(void);

/* Address where tests may map: 2 MiB windows from here on. */
uint64_t test_address(void);

void benchmarks_run(void);

#endif
