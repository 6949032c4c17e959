// SPDX-License-Identifier: MIT OR Apache-2.0
/* Where start.S goes. Weak, because the initial cell has an entry of its own. */
#include "runtime/entry.h"
#include "runtime/cell.h"

__attribute__((weak)) _Noreturn void program_entry(const void *page)
{
    const struct cell_info *info = page;

    if (info->magic != CELL_INFO_MAGIC || info->version != CELL_INFO_VERSION) {
        __builtin_trap();
    }
    log_open(CELL_SLOT_CONSOLE, info->name);
    supervisor_exit(cell_main(info));
}
