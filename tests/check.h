// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The host unit-test frame. A test file holds TEST(name) { ... CHECK(...); } blocks and nothing
 * else; tests/check.c has main and runs them all, or those whose name contains argv[1].
 * A failed CHECK prints where and what, marks the test failed and goes on.
 */
#ifndef TESTS_CHECK_H
#define TESTS_CHECK_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct test_case {
    const char *name;
    void (*run)(void);
    struct test_case *next;
};

void test_register(struct test_case *test);
void check_failed(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define TEST(test_name)                                                                            \
    static void test_name(void);                                                                   \
    static struct test_case test_name##_case = {#test_name, test_name, NULL};                      \
    __attribute__((constructor)) static void test_name##_register(void)                            \
    {                                                                                              \
        test_register(&test_name##_case);                                                          \
    }                                                                                              \
    static void test_name(void)

#define CHECK(condition)                                                                           \
    ((condition) ? (void)0 : check_failed(__FILE__, __LINE__, "%s", #condition))

/* Integers of any type up to 64 bits; prints both sides. */
#define CHECK_EQ(actual, expected)                                                                 \
    check_equal(__FILE__, __LINE__, #actual, (int64_t)(actual), (int64_t)(expected))

#define CHECK_TEXT(actual, expected) check_text(__FILE__, __LINE__, #actual, (actual), (expected))

void check_equal(const char *file, int line, const char *what, int64_t actual, int64_t expected);
void check_text(const char *file, int line, const char *what, const char *actual,
                const char *expected);

#endif
