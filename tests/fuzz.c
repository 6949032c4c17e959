// SPDX-License-Identifier: MIT OR Apache-2.0
#include "tests/fuzz.h"

#include <stdio.h>

_Noreturn void assertion_failed(const char *expression, const char *file, int line)
{
    fprintf(stderr, "%s:%d: %s\n", file, line, expression);
    abort();
}
