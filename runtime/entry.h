// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef RUNTIME_ENTRY_H
#define RUNTIME_ENTRY_H

#include <hallows/types.h>

/* Called by program_start with the information page: struct cell_info, in the initial cell struct
 * boot_info; and the number of the thread, which is 0 there. */
_Noreturn void program_entry(const void *page, uint64_t thread);

#endif
