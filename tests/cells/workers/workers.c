// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Test cell: its threads run at one time on their CPUs, wake each other, and in its first life the
 * last one of them breaks. For the tests of `workers` in manifests.
 */
#include "runtime/cell.h"
#include "runtime/syscall.h"

#define TURNS 2000u /* so many each; threads of one CPU would take seconds for them */
#define WAKES 50u

static struct worker_gate gate;
static uint32_t turn;  /* whose it is, counted on; atomic */
static uint32_t woken; /* the same */

/* Each in turn counts on, without a system call between. */
static void count_in_turn(const struct cell_info *info, uint32_t thread)
{
    for (uint32_t i = 0; i < TURNS; i++) {
        uint32_t mine = i * info->thread_count + thread;
        while (__atomic_load_n(&turn, __ATOMIC_ACQUIRE) != mine) {
            __builtin_ia32_pause();
        }
        __atomic_store_n(&turn, mine + 1u, __ATOMIC_RELEASE);
    }
}

/* The same, asleep until it is woken. */
static void wake_in_turn(const struct cell_info *info, uint32_t thread)
{
    uint64_t word;

    for (uint32_t i = 0; i < WAKES; i++) {
        uint32_t mine = i * info->thread_count + thread;
        while (__atomic_load_n(&woken, __ATOMIC_ACQUIRE) != mine) {
            (void)notification_wait(thread_notification(thread), DEADLINE_NEVER, &word);
        }
        __atomic_store_n(&woken, mine + 1u, __ATOMIC_RELEASE);
        thread_wake((thread + 1u) % info->thread_count);
    }
}

_Noreturn void cell_worker(const struct cell_info *info, uint32_t thread)
{
    worker_await(&gate, thread);
    count_in_turn(info, thread);
    wake_in_turn(info, thread);
    if (info->generation == 0 && thread + 1u == info->thread_count) {
        __asm__ volatile("movq 0x10, %%rax" ::: "rax", "memory");
    }
    for (;;) {
        uint64_t word;
        (void)notification_wait(thread_notification(thread), DEADLINE_NEVER, &word);
    }
}

status_t cell_main(const struct cell_info *info)
{
    uint64_t word = 0;
    uint64_t start = clock_ns(&info->time);

    worker_release(&gate, info);
    count_in_turn(info, 0);
    while (__atomic_load_n(&turn, __ATOMIC_ACQUIRE) != TURNS * info->thread_count) {
        __builtin_ia32_pause();
    }
    log_line("%u turns of %u threads in %lu us", TURNS, info->thread_count,
             (clock_ns(&info->time) - start) / 1000u);
    wake_in_turn(info, 0);
    while (__atomic_load_n(&woken, __ATOMIC_ACQUIRE) != WAKES * info->thread_count) {
        __builtin_ia32_pause();
    }
    log_line("%u wake-ups", woken);
    status_t status = supervisor_ready();
    while (status == STATUS_OK && (word & CELL_EVENT_SHUTDOWN) == 0) {
        status = notification_wait(CELL_SLOT_NOTIFICATION, DEADLINE_NEVER, &word);
    }
    supervisor_shutdown_done();
}
