// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef RUNTIME_ENTRY_H
#define RUNTIME_ENTRY_H

/* Called by program_start with the information page: struct cell_info, in the initial cell struct
 * boot_info. */
_Noreturn void program_entry(const void *page);

#endif
