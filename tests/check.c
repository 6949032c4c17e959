// SPDX-License-Identifier: MIT OR Apache-2.0
#include "tests/check.h"

#include <stdarg.h>
#include <stdlib.h>

#include "lib/base/assert.h"

static struct test_case *first_test;
static struct test_case *last_test;
static unsigned failures_in_test;

void test_register(struct test_case *test)
{
    if (first_test == NULL) {
        first_test = test;
    } else {
        last_test->next = test;
    }
    last_test = test;
}

void check_failed(const char *file, int line, const char *format, ...)
{
    va_list arguments;

    failures_in_test++;
    printf("  %s:%d: ", file, line);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
}

void check_equal(const char *file, int line, const char *what, int64_t actual, int64_t expected)
{
    if (actual != expected) {
        check_failed(file, line,
                     "%s is %" PRId64 " (0x%" PRIx64 "), expected %" PRId64 " (0x%" PRIx64 ")",
                     what, actual, (uint64_t)actual, expected, (uint64_t)expected);
    }
}

void check_text(const char *file, int line, const char *what, const char *actual,
                const char *expected)
{
    if (strcmp(actual, expected) != 0) {
        check_failed(file, line, "%s is \"%s\", expected \"%s\"", what, actual, expected);
    }
}

_Noreturn void assertion_failed(const char *expression, const char *file, int line)
{
    printf("  %s:%d: assertion failed: %s\n", file, line, expression);
    fflush(stdout);
    abort();
}

int main(int argc, char **argv)
{
    const char *only = argc > 1 ? argv[1] : "";
    /* For tools/mutants.py: name each test before it runs, and end with the first that fails. */
    bool one_failure = getenv("HALLOWS_TEST_FIRST_FAILURE") != NULL;
    unsigned passed = 0;
    unsigned failed = 0;

    for (struct test_case *test = first_test; test != NULL; test = test->next) {
        if (strstr(test->name, only) == NULL) {
            continue;
        }
        failures_in_test = 0;
        if (one_failure) {
            printf("RUN %s\n", test->name);
            fflush(stdout);
        }
        test->run();
        if (failures_in_test != 0) {
            printf("FAIL %s\n", test->name);
            failed++;
            if (one_failure) {
                break;
            }
        } else {
            passed++;
        }
        fflush(stdout);
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed != 0 || passed == 0;
}
