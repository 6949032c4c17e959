// SPDX-License-Identifier: MIT OR Apache-2.0
#include "services/supervisor/contract.h"

#include "tests/check.h"

#define S 1000000000ull

TEST(restarts_are_counted_within_their_window)
{
    struct system_cell cell = {
        .restart = SYSTEM_RESTART_ON_FAULT, .restarts_max = 2, .restart_window_s = 60};
    struct restart_history history = {0};

    CHECK(restart_allowed(&history, &cell, 5 * S));
    CHECK(restart_allowed(&history, &cell, 6 * S));
    CHECK(!restart_allowed(&history, &cell, 7 * S));
    CHECK(!restart_allowed(&history, &cell, 64 * S));
    CHECK(restart_allowed(&history, &cell, 65 * S));
    CHECK_EQ(history.total, 3);
    CHECK_EQ(history.in_window, 1);
}

TEST(never_and_zero_mean_never)
{
    struct system_cell cell = {.restart = SYSTEM_RESTART_NEVER, .restarts_max = 2};
    struct restart_history history = {0};

    CHECK(!restart_allowed(&history, &cell, S));
    cell.restart = SYSTEM_RESTART_ON_FAULT;
    cell.restarts_max = 0;
    CHECK(!restart_allowed(&history, &cell, S));
    cell.restarts_max = 1;
    CHECK(restart_allowed(&history, &cell, S));
    CHECK(!restart_allowed(&history, &cell, 100000 * S));
}
