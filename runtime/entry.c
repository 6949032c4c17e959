// SPDX-License-Identifier: MIT OR Apache-2.0
/* Where start.S goes. Weak, because the initial cell has an entry of its own. */
#include "runtime/entry.h"
#include "runtime/cell.h"
#include "runtime/syscall.h"

__attribute__((weak)) _Noreturn void cell_worker(const struct cell_info *info, uint32_t thread)
{
    uint64_t word;

    (void)info;
    for (;;) {
        (void)notification_wait(thread_notification(thread), DEADLINE_NEVER, &word);
    }
}

__attribute__((weak)) _Noreturn void program_entry(const void *page, uint64_t thread)
{
    const struct cell_info *info = page;

    if (info->magic != CELL_INFO_MAGIC || info->version != CELL_INFO_VERSION) {
        __builtin_trap();
    }
    if (thread != 0) {
        cell_worker(info, (uint32_t)thread);
    }
    log_open(CELL_SLOT_CONSOLE, info->name);
    supervisor_exit(cell_main(info));
}
